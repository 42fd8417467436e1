//! How far this node has come with taking destroyed payloads out of its files: for metrics, for
//! readiness, and for operators.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use lockbox_core::LogTime;
use tokio::sync::watch;
use tokio::time::Instant;

use super::Replica;
use crate::domain::erasure::ErasurePoint;
use crate::error::StorageError;
use crate::state::tables;
use crate::store::{Erased, StateHandle};

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

/// What there is to erase, and how far it is done.
pub(super) struct ErasureProgress {
    progress: Mutex<Progress>,
    /// How often payloads have left this node's own files.
    clean_ups: watch::Sender<u64>,
}

#[derive(Clone, Copy)]
struct Progress {
    done: Erased,
    /// As `done`, but for what lies beside the node's own files.
    out_of_files: Erased,
    pending: u64,
    oldest: LogTime,
    since: Option<Instant>,
    last_done_ms: u64,
}

/// What is to be erased from the files of one generation of the state.
#[derive(Debug, Clone, Copy)]
pub(super) struct Due {
    /// Which generation.
    pub(super) generation: u64,
    /// How many erasures are done in it.
    pub(super) done: u64,
    /// How many are not.
    pub(super) pending: u64,
    /// The last of them.
    pub(super) point: ErasurePoint,
}

impl ErasureProgress {
    /// With how far the files were when this process began.
    pub(super) fn new(done: Erased) -> Self {
        let oldest = LogTime::from_ms(0);
        let out_of_files = done;
        let progress =
            Progress { done, out_of_files, pending: 0, oldest, since: None, last_done_ms: 0 };
        Self { progress: Mutex::new(progress), clean_ups: watch::Sender::new(0) }
    }

    /// Looks at the state for what is due, and remembers it.
    ///
    /// # Errors
    /// [`StorageError`].
    pub(super) fn look_at(&self, state: &StateHandle) -> Result<Due, StorageError> {
        loop {
            let generation = state.generation_number();
            let recorded = self.look().done;
            let done = if recorded.generation == generation { recorded.count } else { 0 };
            let found = state.read(|view| {
                let point = tables::erasures(view)?;
                Ok::<_, StorageError>((point, tables::erasing_since(view, done, point)?))
            });
            let (point, oldest) = found.and_then(std::convert::identity)?;
            if state.generation_number() != generation {
                // What was read is perhaps of the next one, in whose files everything may be again.
                continue;
            }
            let pending = point.count.saturating_sub(done);
            self.change(|progress| {
                // Else a round has ended meanwhile, and the next look says what is left.
                if progress.done == recorded {
                    progress.pending = pending;
                    progress.oldest = oldest.unwrap_or(point.at);
                    let since = progress.since.unwrap_or_else(Instant::now);
                    progress.since = (pending > 0).then_some(since);
                }
            });
            return Ok(Due { generation, done, pending, point });
        }
    }

    /// The files are so far now, at this time of the wall clock; what came meanwhile has been
    /// waiting from `since` on.
    pub(super) fn done(&self, done: Erased, since: Instant, wall_ms: u64) {
        self.change(|progress| {
            progress.done = done;
            progress.pending = 0;
            progress.since = Some(since);
            progress.last_done_ms = wall_ms;
        });
    }

    /// So many erasures are out of the node's own files, whatever lies beside them.
    pub(super) fn out_of_files(&self, now: Erased) {
        let mut is_new = false;
        self.change(|progress| {
            is_new = std::mem::replace(&mut progress.out_of_files, now) != now;
        });
        if is_new {
            self.clean_ups.send_modify(|clean_ups| *clean_ups += 1);
        }
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
        *self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Progress)) {
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut progress);
    }
}

impl Replica {
    /// Changes whenever destroyed payloads have left this node's own files.
    #[must_use]
    pub fn clean_ups(&self) -> watch::Receiver<u64> {
        self.0.erasure.clean_ups.subscribe()
    }

    /// How far this node has come with taking destroyed payloads out of its files; what it has
    /// applied a moment ago counts.
    #[must_use]
    pub fn erasure(&self) -> ErasureStatus {
        let inner = &self.0;
        if let Err(error) = inner.erasure.look_at(&inner.state) {
            inner.faults.report(&error);
        }
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
