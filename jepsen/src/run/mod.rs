//! One run from its beginning to its verdict.
//!
//! Owns the order of the phases and the directory of a run. Promises that a run that was
//! interrupted heals what it broke, and that what it has recorded is judged. Knows neither how
//! faults work nor what makes an answer right.

pub mod attempt;
pub mod audits;
pub mod books;
pub mod canary_scan;
pub mod cluster_site;
pub mod conduct;
pub mod destroyed_scan;
pub mod directory;
pub mod evidence;
pub mod facts;
pub mod finale;
pub mod folders;
pub mod keep_data;
pub mod key_switcher;
pub mod ledgers;
pub mod load;
pub mod log_follower;
pub mod pace;
pub mod planned_trouble;
pub mod readers;
pub mod recorded_faults;
pub mod recovery;
pub mod requirements;
pub mod restored;
pub mod sampler;
pub mod setup;
pub mod site;
pub mod trouble;
pub mod wall_clock;
pub mod whole;
pub mod worker;
