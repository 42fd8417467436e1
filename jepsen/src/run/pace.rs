//! How fast workers may ask, and how much of the machine the harness takes for itself.
//!
//! A harness that uses up the machine measures itself: above 40 % of it (`verification §3.8`) the
//! workers are slowed down until it is below again.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

/// The share of the machine that the harness may take, in percent.
const SHARE_PERCENT_MAX: u64 = 40;
/// Below this share a slowed load is let go faster again, in percent.
const SHARE_PERCENT_EASY: u64 = 30;
/// Between two looks at the share.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Ticks of the kernel's accounting in a second; the same on every Linux that we run on.
const TICKS_PER_SECOND: u64 = 100;

/// The pace of all workers together.
#[derive(Debug)]
pub struct Pace {
    /// Between two operations of one worker, in nanoseconds.
    interval_ns: AtomicU64,
    /// The least that it may be.
    fastest_ns: u64,
    looks: AtomicU64,
    /// Sum of the shares, in hundredths of a percent.
    shares: AtomicU64,
    slowed: AtomicU64,
}

/// How the harness fared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HarnessShare {
    /// The mean share of the machine's CPU that the harness took, in percent.
    pub mean_percent: u64,
    /// Seconds in which the load had to be slowed down because of it.
    pub seconds_slowed: u64,
}

impl Pace {
    /// At most `per_second` operations of all `workers`.
    #[must_use]
    pub fn new(workers: usize, per_second: u64) -> Self {
        let workers = u64::try_from(workers).unwrap_or(u64::MAX);
        let fastest_ns = workers.saturating_mul(1_000_000_000) / per_second.max(1);
        Self {
            interval_ns: AtomicU64::new(fastest_ns),
            fastest_ns,
            looks: AtomicU64::new(0),
            shares: AtomicU64::new(0),
            slowed: AtomicU64::new(0),
        }
    }

    /// Waits until the worker whose last operation was due at `last` may begin another one, and
    /// returns when that was due. What was late is not made up for.
    pub async fn wait(&self, last: Instant) -> Instant {
        let due = last + Duration::from_nanos(self.interval_ns.load(Ordering::Relaxed));
        let due = due.max(Instant::now());
        sleep_until(due).await;
        due
    }

    /// Watches the harness's share until told to stop.
    pub async fn govern(&self, stop: CancellationToken) {
        let cores = std::thread::available_parallelism().map_or(1, usize::from) as u64;
        let mut before = (Instant::now(), cpu_ticks());
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(LOOK_EVERY) => {}
            }
            let now = (Instant::now(), cpu_ticks());
            let elapsed = now.0.duration_since(before.0).as_millis().max(1);
            let used_ms = now.1.saturating_sub(before.1) * 1000 / TICKS_PER_SECOND;
            let all_ms = u64::try_from(elapsed).unwrap_or(u64::MAX).saturating_mul(cores);
            self.adjust(used_ms * 10_000 / all_ms.max(1));
            before = now;
        }
    }

    /// Takes one look's share, in hundredths of a percent.
    fn adjust(&self, share: u64) {
        self.looks.fetch_add(1, Ordering::Relaxed);
        self.shares.fetch_add(share, Ordering::Relaxed);
        let interval = self.interval_ns.load(Ordering::Relaxed);
        let next = if share > SHARE_PERCENT_MAX * 100 {
            self.slowed.fetch_add(1, Ordering::Relaxed);
            interval + interval / 5
        } else if share < SHARE_PERCENT_EASY * 100 {
            (interval - interval / 10).max(self.fastest_ns)
        } else {
            interval
        };
        self.interval_ns.store(next, Ordering::Relaxed);
    }

    /// How it went so far.
    #[must_use]
    pub fn share(&self) -> HarnessShare {
        let looks = self.looks.load(Ordering::Relaxed).max(1);
        HarnessShare {
            mean_percent: self.shares.load(Ordering::Relaxed) / looks / 100,
            seconds_slowed: self.slowed.load(Ordering::Relaxed),
        }
    }
}

/// CPU time of this process, in the kernel's ticks; 0 when the kernel does not say.
fn cpu_ticks() -> u64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name before it is in parentheses and may hold anything. Then utime and stime are the
    // 12th and 13th.
    let rest = text.rsplit_once(')').map_or("", |(_, rest)| rest);
    rest.split_whitespace().skip(11).take(2).filter_map(|word| word.parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_harness_that_takes_too_much_is_slowed_and_let_go_again() {
        let pace = Pace::new(10, 100);
        let interval = || pace.interval_ns.load(Ordering::Relaxed);
        assert_eq!(interval(), 100_000_000);
        pace.adjust(4500);
        assert_eq!(interval(), 120_000_000);
        pace.adjust(3500);
        assert_eq!(interval(), 120_000_000);
        for _ in 0..5 {
            pace.adjust(1000);
        }
        assert_eq!(interval(), 100_000_000);
        assert_eq!(pace.share(), HarnessShare { mean_percent: 18, seconds_slowed: 1 });
    }

    #[test]
    fn work_is_seen() {
        let before = cpu_ticks();
        let mut sum = 0_u64;
        let begin = Instant::now();
        // Until the kernel has counted some.
        while cpu_ticks() < before + 3 {
            sum = sum.wrapping_mul(31).wrapping_add(1);
            assert!(begin.elapsed() < Duration::from_secs(20), "{sum}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_late_is_not_made_up_for() {
        let pace = Pace::new(1, 10);
        let begin = Instant::now();
        let first = pace.wait(begin).await;
        assert_eq!(first - begin, Duration::from_millis(100));
        tokio::time::advance(Duration::from_secs(5)).await;
        let second = pace.wait(first).await;
        assert!(second - first >= Duration::from_secs(5));
        assert_eq!(pace.wait(second).await - second, Duration::from_millis(100));
    }
}
