//! How far this node has come with taking destroyed payloads out of its files: for metrics, for
//! readiness, and for operators.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use lockbox_core::LogTime;
use tokio::time::Instant;

use super::Replica;

/// What a node says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ErasureStatus {
    /// Payloads that are deleted from the state and may still be in files.
    pub pending: u64,
    /// How long the oldest of them, as far as that is known, has been waiting.
    pub pending_for: Duration,
    /// Whether that is longer than it should be.
    pub is_overdue: bool,
    /// When this process last had done all that there was, in milliseconds since the Unix epoch;
    /// 0 when it has not yet.
    pub last_done_ms: u64,
}

/// What the eraser has seen and done.
#[derive(Default)]
pub(super) struct ErasureProgress(Mutex<Progress>);

#[derive(Clone, Copy, Default)]
struct Progress {
    pending: u64,
    oldest: LogTime,
    since: Option<Instant>,
    last_done_ms: u64,
}

impl ErasureProgress {
    /// So many are pending, and the oldest of them that is known was then.
    pub(super) fn pending(&self, count: u64, oldest: LogTime) {
        self.change(|progress| {
            progress.pending = count;
            progress.oldest = oldest;
            progress.since.get_or_insert_with(Instant::now);
        });
    }

    /// All is done that was pending, at this time of the wall clock; what came meanwhile has been
    /// waiting from `since` on.
    pub(super) fn done(&self, since: Instant, wall_ms: u64) {
        self.change(|progress| {
            progress.pending = 0;
            progress.since = Some(since);
            progress.last_done_ms = wall_ms;
        });
    }

    /// Nothing is pending.
    pub(super) fn nothing(&self) {
        self.change(|progress| {
            progress.pending = 0;
            progress.since = None;
        });
    }

    /// How long the oldest has been waiting, when it is so late on the log's clock: a node that was
    /// away, or began anew, learns of what is long destroyed, whatever was destroyed since.
    pub(super) fn pending_for(&self, log_now: LogTime) -> Duration {
        let progress = self.look();
        if progress.pending == 0 {
            return Duration::ZERO;
        }
        let here = progress.since.map_or(Duration::ZERO, |since| since.elapsed());
        here.max(log_now.since(progress.oldest))
    }

    fn look(&self) -> Progress {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Progress)) {
        let mut progress = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut progress);
    }
}

impl Replica {
    /// How far this node has come with taking destroyed payloads out of its files.
    #[must_use]
    pub fn erasure(&self) -> ErasureStatus {
        let inner = &self.0;
        let (progress, pending_for) =
            (inner.erasure.look(), inner.erasure.pending_for(self.log_now()));
        ErasureStatus {
            pending: progress.pending,
            pending_for,
            is_overdue: pending_for > inner.config.destroy.purge_within,
            last_done_ms: progress.last_done_ms,
        }
    }
}
