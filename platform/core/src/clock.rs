//! Time and randomness as traits, and the time that the log carries.
//!
//! Everything that needs the wall clock, a monotonic clock or random bytes takes one of these,
//! so that `apply` can be proved to use neither and the simulation can supply its own.

use std::fmt;
use std::time::Duration;

use minicbor::{Decode, Encode};

/// A point on the log's clock: milliseconds since 1970-01-01T00:00:00Z.
///
/// Stamped by the leader into each command and never decreasing along the log
/// (`design §5`). `created_at`, `destroy_at` and token expiry are points on this clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Encode, Decode)]
#[cbor(transparent)]
pub struct LogTime(#[n(0)] u64);

impl LogTime {
    /// The last point: later than everything that ends.
    pub const MAX: Self = Self(u64::MAX);

    /// The point `ms` milliseconds after the epoch.
    #[must_use]
    pub const fn from_ms(ms: u64) -> Self {
        Self(ms)
    }

    /// Milliseconds since the epoch.
    #[must_use]
    pub const fn as_ms(self) -> u64 {
        self.0
    }

    /// This point moved forward; stops at the largest representable point.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        let ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(ms))
    }

    /// The time from `earlier` to this point; zero when `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl fmt::Display for LogTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}ms", self.0)
    }
}

/// Source of wall-clock and monotonic time.
pub trait Clock: Send + Sync {
    /// The wall clock, in milliseconds since the epoch. May jump in both directions.
    fn wall_ms(&self) -> u64;

    /// A clock that never goes back, since an arbitrary start.
    fn monotonic(&self) -> Duration;
}

/// Source of cryptographically strong random bytes.
pub trait Randomness: Send + Sync {
    /// Fills `bytes` with random bytes. Aborts the process rather than return weak ones.
    fn fill(&self, bytes: &mut [u8]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_time_arithmetic_saturates() {
        let t = LogTime::from_ms(1_000);
        assert_eq!(t.plus(Duration::from_secs(1)), LogTime::from_ms(2_000));
        assert_eq!(LogTime::from_ms(u64::MAX).plus(Duration::MAX).as_ms(), u64::MAX);
        assert_eq!(t.since(LogTime::from_ms(5_000)), Duration::ZERO);
    }
}
