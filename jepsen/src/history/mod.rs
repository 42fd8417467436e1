//! What a run recorded: operations, faults and samples, on one order counter.
//!
//! Owns the record types and their file format, and promises that a file says everything that a
//! checker needs: years later the verdict can be found again from it alone. Knows nothing of
//! clusters, clients or laws. Values of secrets never enter a history, only their hashes.

pub mod answer;
pub mod call;
pub mod edn;
pub mod event;
pub mod fault;
pub mod ids;
pub mod joined;
pub mod jsonl;
pub mod key_switch;
pub mod ledger;
pub mod log_dump;
pub mod makers;
pub mod op;
pub mod porcupine;
pub mod recorded;
pub mod recorder;
pub mod register;
pub mod resolve;
pub mod restored;
pub mod sample;

pub use recorded::History;
