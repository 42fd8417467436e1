//! The real clock, the real source of randomness, and the user that the process acts as.
//!
//! Owns the only calls of the process to the wall clock, the monotonic clock and the kernel's
//! random generator. Everything else takes [`Clock`] and [`Randomness`], so that a test or a
//! simulation can supply its own. Refuses to know what the time or the bytes are used for.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use lockbox_core::{Clock, Randomness};

/// The machine's clocks.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock {
    started: Instant,
}

impl SystemClock {
    /// A clock whose monotonic side starts at zero now.
    #[must_use]
    #[allow(clippy::disallowed_methods, reason = "this file is where the ban points to")]
    pub fn new() -> Self {
        Self { started: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "this file is where the ban points to")]
    fn wall_ms(&self) -> u64 {
        // A clock set before 1970 reads as zero: log time is a maximum, so it cannot go back.
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
    }

    fn monotonic(&self) -> Duration {
        self.started.elapsed()
    }
}

/// The kernel's random generator.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemRandom;

impl Randomness for SystemRandom {
    fn fill(&self, bytes: &mut [u8]) {
        if getrandom::fill(bytes).is_err() {
            // Keys and ids made from anything weaker would be worse than no service at all.
            tracing::error!("the kernel's random generator failed");
            std::process::abort();
        }
    }
}

/// The id of the user whose rights the process has.
#[must_use]
pub fn effective_user() -> u32 {
    rustix::process::geteuid().as_raw()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_process_makes_is_its_users() {
        let file = tempfile::tempfile().unwrap();
        let metadata = file.metadata().unwrap();
        assert_eq!(std::os::unix::fs::MetadataExt::uid(&metadata), effective_user());
    }

    #[test]
    fn the_wall_clock_is_past_the_day_this_was_written() {
        assert!(SystemClock::new().wall_ms() > 1_700_000_000_000);
    }

    #[test]
    fn the_monotonic_clock_does_not_go_back() {
        let clock = SystemClock::new();
        let first = clock.monotonic();
        assert!(clock.monotonic() >= first);
    }

    #[test]
    fn two_fills_differ() {
        let (mut a, mut b) = ([0_u8; 32], [0_u8; 32]);
        SystemRandom.fill(&mut a);
        SystemRandom.fill(&mut b);
        assert_ne!(a, b);
        assert_ne!(a, [0_u8; 32]);
    }
}
