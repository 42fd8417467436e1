//! The harness's wall clock: for credentials and for the date of a run. No order and no duration is
//! ever judged by it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The time since 1970.
#[must_use]
#[allow(clippy::disallowed_methods, reason = "the suite imports nothing of the product's")]
pub fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO)
}
