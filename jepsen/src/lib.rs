//! Breaks real clusters and judges what they answered.
//!
//! Owns the plan of a run, the cluster and its faults, the clients, the recorded history, an
//! executable specification of the service, the laws, the report, and the evidence of it all.
//! Reaches every server through its API and its process and imports nothing of ours but the wire
//! definitions: a checker that shared code with the server would share its bugs.

pub mod check;
pub mod cli;
pub mod client;
pub mod cluster;
pub mod digest;
pub mod doctor;
pub mod evidence;
pub mod history;
pub mod kill_matrix;
pub mod model;
pub mod moment;
pub mod nemesis;
pub mod plan;
pub mod random;
pub mod report;
pub mod run;
pub mod workload;
