//! An executable specification of the service, one secret at a time.
//!
//! Written from the contract, never from the server's code, and shares none with it: what both
//! got wrong alike would never be found. Secrets do not touch each other (names need not be
//! unique, `contract §13` no. 1), so the state of a run is a map of these. Where they do, law L16
//! judges pages of a folder's secrets, and L17 the quota that they share. Sizes of values are not modelled: a history holds only hashes, and workloads
//! stay within the limits.

pub mod dice;
pub mod expected;
pub mod merge;
pub mod quota;
pub mod rights;
pub mod secret;
pub mod step;
pub mod synthetic;
mod synthetic_answer;
mod synthetic_calls;

pub use expected::Expected;
pub use secret::SecretState;
pub use step::{Named, Step, step};
