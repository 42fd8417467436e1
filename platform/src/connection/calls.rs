//! The calls of one connection, for who wants to know whether it is of use.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep};

/// Counts the calls that are under way. Clones share the count.
#[derive(Debug, Clone)]
pub(super) struct Calls(Arc<Counted>);

#[derive(Debug)]
struct Counted {
    begin: Instant,
    under_way: AtomicUsize,
    /// When the last call ended, in milliseconds since `begin`.
    last_end_ms: AtomicU64,
}

/// A call that is under way, until the last of its answer is handed on.
#[derive(Debug)]
pub(super) struct UnderWay(Arc<Counted>);

impl Calls {
    pub(super) fn new() -> Self {
        let (under_way, last_end_ms) = (AtomicUsize::new(0), AtomicU64::new(0));
        Self(Arc::new(Counted { begin: Instant::now(), under_way, last_end_ms }))
    }

    pub(super) fn begin(&self) -> UnderWay {
        self.0.under_way.fetch_add(1, Ordering::Relaxed);
        UnderWay(Arc::clone(&self.0))
    }

    /// Returns when no call was under way for this long.
    pub(super) async fn idle_for(&self, span: Duration) {
        loop {
            let left = span.saturating_sub(self.0.quiet());
            if left.is_zero() {
                return;
            }
            sleep(left).await;
        }
    }
}

impl Counted {
    /// How long no call has been under way; nothing while one is.
    fn quiet(&self) -> Duration {
        if self.under_way.load(Ordering::Acquire) > 0 {
            return Duration::ZERO;
        }
        let last_end = Duration::from_millis(self.last_end_ms.load(Ordering::Relaxed));
        self.begin.elapsed().saturating_sub(last_end)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let now = u64::try_from(self.0.begin.elapsed().as_millis()).unwrap_or(u64::MAX);
        // ORDER: the time before the count, or a look between the two would see an old one.
        self.0.last_end_ms.fetch_max(now, Ordering::Relaxed);
        self.0.under_way.fetch_sub(1, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_idle_when_no_call_was_under_way_for_long_enough() {
        let span = Duration::from_secs(10);
        let calls = Calls::new();
        let begun = Instant::now();
        calls.idle_for(span).await;
        assert_eq!(begun.elapsed(), span);

        // However long the call takes, it is no idleness.
        let call = calls.begin();
        let (idle, ()) = tokio::join!(
            async {
                calls.idle_for(span).await;
                begun.elapsed()
            },
            async {
                sleep(Duration::from_secs(25)).await;
                drop(call);
            }
        );
        assert_eq!(idle, Duration::from_secs(10 + 25 + 10));
    }
}
