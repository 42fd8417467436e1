//! Measures Lockbox from outside, and others in the same way.
//!
//! Owns the closed-loop load generator, the runs against etcd and a bare echo server, and the
//! table of ratios made of them. Reaches every server through its API and its process and imports
//! nothing of ours but the wire definitions, so a figure cannot come from knowing too much.

pub mod arguments;
pub mod certificates;
pub mod cli;
pub mod closed_loop;
pub mod connect;
pub mod contend;
pub mod counters;
pub mod echo;
pub mod etcd;
pub mod fill;
pub mod first_read;
pub mod fsync;
pub mod kill_switch;
pub mod latency;
pub mod ledger;
pub mod lockbox;
pub mod machine;
pub mod overload;
pub mod record;
pub mod report;
pub mod run;
pub mod sample;
pub mod target;
