//! One run from its beginning to its verdict.
//!
//! Owns the order of the phases and the directory of a run. Promises that a run that was
//! interrupted heals what it broke, and that what it has recorded is judged. Knows neither how
//! faults work nor what makes an answer right.

pub mod attempt;
pub mod books;
pub mod load;
pub mod pace;
pub mod sampler;
pub mod site;
pub mod worker;
