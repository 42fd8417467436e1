//! Reading from a replica: behind the barrier, or as it is here; and the time to judge by.

use lockbox_core::LogTime;
use tokio::time::Instant;
use tracing::Instrument;

use super::Replica;
use super::error::ReadError;
use super::pause::{self, Awaiting};
use super::read_barrier::RoundFailure;
use crate::error::StorageError;
use crate::store::View;

/// What a read saw, and at which point of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading<R> {
    /// What the reader returned.
    pub value: R,
    /// The index that the view reflects.
    pub index: u64,
    /// The term in which the view was confirmed; for a stale read, that of the index.
    pub term: u64,
}

impl Replica {
    /// Reads a view that reflects everything acknowledged, by any node, before this call.
    ///
    /// With the view comes the time to judge by: log time after the barrier, so never behind that
    /// of the leader who confirmed the read.
    ///
    /// # Errors
    /// [`ReadError`]; trying again is always safe.
    pub async fn read<R>(
        &self,
        deadline: Instant,
        read: impl FnOnce(&View<'_>, LogTime) -> R,
    ) -> Result<Reading<R>, ReadError> {
        let span = tracing::trace_span!(target: "lockbox_trace", "pass_read_barrier");
        let term = self.pass_barrier(deadline).instrument(span).await?;
        let read = |view: &View<'_>| (read(view, self.log_now()), view.applied());
        let (value, at) = self.0.state.read(read)?;
        Ok(Reading { value, index: at.index, term })
    }

    /// Reads a view as it is here, however old (`design §5`: an explicit choice of the caller).
    ///
    /// The time is [`Self::log_time`]: a reader that has to judge by it and gets none must not
    /// judge, but pass the barrier.
    ///
    /// # Errors
    /// [`StorageError`] when the store cannot answer.
    pub fn read_stale<R>(
        &self,
        read: impl FnOnce(&View<'_>, Option<LogTime>) -> R,
    ) -> Result<Reading<R>, StorageError> {
        let read = |view: &View<'_>| (read(view, self.log_time()), view.applied());
        let (value, at) = self.0.state.read(read)?;
        Ok(Reading { value, index: at.index, term: at.term })
    }

    /// Whether this node has applied an index.
    #[must_use]
    pub fn has_applied(&self, index: u64) -> bool {
        self.0.state.applied().borrow().at.index >= index
    }

    /// Waits until this node has applied an index.
    ///
    /// # Errors
    /// [`ReadError::Deadline`] when the deadline comes first.
    pub async fn wait_applied(&self, index: u64, deadline: Instant) -> Result<(), ReadError> {
        let mut applied = self.0.state.applied();
        let reached = applied.wait_for(|applied| applied.at.index >= index);
        match tokio::time::timeout_at(deadline, reached).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(self.stopped()),
            Err(_elapsed) => Err(ReadError::Deadline),
        }
    }

    /// The log's time now: the last applied stamp plus the time since (`design §5`).
    ///
    /// Nothing until this process has passed its first read barrier: what it finds in its store
    /// may be late by as long as it was not running. Never ahead of what a view behind a later
    /// barrier is judged by: what is past its time by this is dead.
    #[must_use]
    pub fn log_time(&self) -> Option<LogTime> {
        self.0.clock.is_known().then(|| self.log_now())
    }

    pub(super) fn log_now(&self) -> LogTime {
        self.0.clock.log_now_at(self.0.state.applied().borrow().log_time)
    }

    /// Passes the read barrier, again and again until the deadline; returns the term.
    pub(super) async fn pass_barrier(&self, deadline: Instant) -> Result<u64, ReadError> {
        let inner = &self.0;
        let mut leadership = None;
        loop {
            let generation = inner.state.generation_number();
            if inner.draining.is_cancelled() {
                return Err(ReadError::Draining);
            }
            let failure = match inner.barrier.pass(deadline).await? {
                Ok(point) => {
                    let confirmed = inner.purge_first.confirmed(generation, &inner.state);
                    confirmed.map_err(|error| {
                        inner.faults.report(&error);
                        ReadError::Storage(error)
                    })?;
                    return Ok(point.term);
                }
                Err(failure) => failure,
            };
            if let Some(error) = inner.faults.current() {
                return Err(ReadError::Storage(error));
            }
            let leadership = leadership.get_or_insert_with(|| inner.leadership.clone());
            let random = inner.random.as_ref();
            if !pause::pause(Awaiting::Leader, leadership, random, deadline).await {
                return Err(match failure {
                    RoundFailure::NoLeader => ReadError::NoLeader,
                    RoundFailure::Behind => ReadError::Deadline,
                });
            }
        }
    }
}
