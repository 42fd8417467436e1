//! One run from its beginning to its verdict.
//!
//! Owns the order of the phases and the directory of a run. Promises that a run that was
//! interrupted heals what it broke, and that what it has recorded is judged. Knows neither how
//! faults work nor what makes an answer right.

pub mod attempt;
pub mod books;
pub mod canary_scan;
pub mod conduct;
pub mod directory;
pub mod enclosed_site;
pub mod evidence;
pub mod finale;
pub mod load;
pub mod log_follower;
pub mod pace;
pub mod recovery;
pub mod sampler;
pub mod setup;
pub mod site;
pub mod trouble;
pub mod wall_clock;
pub mod worker;
