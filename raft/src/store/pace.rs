//! Work on files beside everything else: at a bounded rate, and no longer than until it is told to
//! end.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// Work of less than this goes through without a pause.
const PAUSE_MIN: Duration = Duration::from_millis(20);

/// Whether work has lost its object meanwhile.
type IsMoot = dyn Fn() -> bool + Send + Sync;

/// Spends the time that bytes take at a given rate. For threads that may block.
#[derive(Clone)]
pub struct Pace {
    bytes_per_second: u64,
    /// Bytes of work that no pause has paid for.
    owed: u64,
    /// All bytes so far.
    done: u64,
    stop: CancellationToken,
    is_moot: Option<Arc<IsMoot>>,
}

impl fmt::Debug for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes at {} a second", self.done, self.bytes_per_second)
    }
}

impl Pace {
    /// At this rate, until `stop`. A rate of 0 is no limit.
    #[must_use]
    pub const fn new(bytes_per_second: u64, stop: CancellationToken) -> Self {
        Self { bytes_per_second, owed: 0, done: 0, stop, is_moot: None }
    }

    /// Ends the work from here on also when this says so; replaces what was set before.
    pub(crate) fn end_when(&mut self, is_moot: impl Fn() -> bool + Send + Sync + 'static) {
        self.is_moot = Some(Arc::new(is_moot));
    }

    /// Goes on with other work, which has an object of its own.
    pub(crate) fn next_object(&mut self) {
        self.is_moot = None;
    }

    /// Pays for so much work; false when there is to be no more. Blocks.
    #[must_use]
    pub fn spend(&mut self, bytes: u64) -> bool {
        self.done = self.done.saturating_add(bytes);
        self.owed = self.owed.saturating_add(bytes);
        let pause = self.pause();
        if pause >= PAUSE_MIN {
            self.owed = 0;
            std::thread::sleep(pause);
        }
        !self.stop.is_cancelled() && !self.is_moot.as_ref().is_some_and(|is_moot| is_moot())
    }

    /// What the work that is not paid for takes at this rate.
    fn pause(&self) -> Duration {
        if self.bytes_per_second == 0 {
            return Duration::ZERO;
        }
        let ms = u128::from(self.owed).saturating_mul(1000) / u128::from(self.bytes_per_second);
        Duration::from_millis(u64::try_from(ms).unwrap_or(u64::MAX))
    }

    /// No more pauses from here on.
    pub const fn unbounded(&mut self) {
        self.bytes_per_second = 0;
    }

    /// Bytes that were worked on so far.
    #[must_use]
    pub const fn done(&self) -> u64 {
        self.done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_take_their_time_and_small_work_is_paid_together() {
        let mut pace = Pace::new(1000, CancellationToken::new());
        pace.owed = 19;
        assert!(pace.pause() < PAUSE_MIN);
        pace.owed = 500;
        assert_eq!(pace.pause(), Duration::from_millis(500));
        pace.owed = 0;
        assert!(pace.spend(19) && pace.owed == 19, "less than a pause is owed");
        assert!(pace.spend(1) && pace.owed == 0);
        assert_eq!(pace.done(), 20);
        pace.unbounded();
        assert!(pace.spend(u64::MAX));
    }

    #[test]
    fn it_ends_when_it_is_told_to() {
        let stop = CancellationToken::new();
        let mut pace = Pace::new(0, stop.clone());
        assert!(pace.spend(1));
        stop.cancel();
        assert!(!pace.spend(1));
    }
}
