//! The report: well-formed, escaped, the same for the same run, honest about what it leaves out.

mod structure;
mod synthetic;
mod synthetic_cluster;
mod synthetic_findings;
mod synthetic_ops;
mod well_formed;
