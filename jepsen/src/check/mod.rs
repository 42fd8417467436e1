//! Judges a history: replay, sweeps, search, laws, coverage, and the verdict of all of them.
//!
//! Owns every judgement and promises that the same files give the same verdict: nothing here
//! reads a clock, and what is too much work is bounded by counted steps. Knows nothing of how a
//! run is made.

pub mod case;
pub mod coverage;
pub mod directory;
pub mod export;
pub mod fences;
pub mod folders;
mod hidden;
pub mod jit;
pub mod laws;
pub mod liveness;
mod order;
pub mod partition;
pub mod realtime;
pub mod replay;
pub mod room;
mod target;
pub mod verdict;
mod ways;

#[cfg(test)]
pub(crate) mod script;

pub use case::Case;
pub use directory::check_directory;
pub use export::export_directory;
pub use verdict::Verdict;
