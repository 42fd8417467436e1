//! A snapshot that an operator asks for, and a log that is cut behind it.

use openraft::async_runtime::watch::WatchReceiver;
use tokio::time::Instant;

use super::Replica;
use super::error::ReadError;

/// Where the newest snapshot and the log stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotTaken {
    /// Last entry in the snapshot.
    pub index: u64,
    /// Last entry removed from the log.
    pub purged: u64,
}

impl Replica {
    /// Takes a snapshot of everything that is applied now, and waits for it. With `purge`, all
    /// entries that it covers are then removed from the log, which goes on in the background and
    /// waits for peers that are being sent a snapshot.
    ///
    /// # Errors
    /// [`ReadError::Deadline`] when it was not made in time; it may be made all the same.
    pub async fn take_snapshot(
        &self,
        purge: bool,
        deadline: Instant,
    ) -> Result<SnapshotTaken, ReadError> {
        let inner = &self.0;
        let wanted = inner.state.applied().borrow().at.index;
        let of = |snapshot: Option<&crate::types::LogId>| snapshot.map_or(0, |id| id.index);
        self.trigger_snapshot().await?;
        let mut metrics = inner.raft.metrics();
        let taken = metrics.wait_until(|metrics| of(metrics.snapshot.as_ref()) >= wanted);
        let seen = match tokio::time::timeout_at(deadline, taken).await {
            Ok(Ok(seen)) => seen,
            Ok(Err(_)) => return Err(self.stopped()),
            Err(_elapsed) => return Err(ReadError::Deadline),
        };
        let index = of(seen.snapshot.as_ref());
        if purge {
            inner.purger.ask(index).await.map_err(|_fatal| self.stopped())?;
        }
        let purged = of(inner.raft.metrics().borrow_watched().purged.as_ref());
        Ok(SnapshotTaken { index, purged })
    }

    /// Makes sure that a snapshot covers an applied entry, and cuts the log behind that entry and no
    /// further: peers that are a little late still find what follows. The cut goes on in the
    /// background, as with [`Self::take_snapshot`].
    ///
    /// # Errors
    /// [`ReadError::Deadline`] when the snapshot was not made in time.
    pub async fn cut_log(&self, upto: u64, deadline: Instant) -> Result<(), ReadError> {
        if self.status().snapshot < upto {
            self.take_snapshot(false, deadline).await?;
        }
        self.0.purger.ask(upto).await.map_err(|_fatal| self.stopped())
    }
}
