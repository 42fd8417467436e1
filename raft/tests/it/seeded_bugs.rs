//! Known bugs, switched on one at a time between the store and the disk, to show that an oracle
//! sees them.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use lockbox_raft::StorageError;
use lockbox_raft::state::{Space, StateRead, Write, keys};
use lockbox_raft::store::engine::{LogOp, LogRecord, RecoveredLog};
use lockbox_raft::store::{Engines, LogEngine, StateEngine};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Bug {
    CallbackBeforeSync,
    VoteNotSynced,
    LastAppliedOutsideTheBatch,
}

impl Bug {
    pub(crate) const ALL: [Self; 3] =
        [Self::CallbackBeforeSync, Self::VoteNotSynced, Self::LastAppliedOutsideTheBatch];

    /// By the name that `Debug` gives it, for another process.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|bug| format!("{bug:?}") == name)
    }
}

pub(crate) struct Buggy {
    pub(crate) inner: Arc<dyn Engines>,
    pub(crate) bug: Option<Bug>,
}

impl Engines for Buggy {
    fn open_log(&self, directory: &Path) -> Result<Arc<dyn LogEngine>, StorageError> {
        Ok(Arc::new(BuggyLog { inner: self.inner.open_log(directory)?, bug: self.bug }))
    }

    fn open_state(&self, directory: &Path) -> Result<Arc<dyn StateEngine>, StorageError> {
        Ok(Arc::new(BuggyState { inner: self.inner.open_state(directory)?, bug: self.bug }))
    }
}

struct BuggyLog {
    inner: Arc<dyn LogEngine>,
    bug: Option<Bug>,
}

impl LogEngine for BuggyLog {
    fn write(&self, ops: &[LogOp], sync: bool) -> Result<(), StorageError> {
        let is_vote = |op: &LogOp| matches!(op, LogOp::Record { record: LogRecord::Vote, .. });
        let is_append = |op: &LogOp| matches!(op, LogOp::Append { .. });
        match self.bug {
            // The writer answers when this returns.
            Some(Bug::CallbackBeforeSync) if ops.iter().any(is_append) => {
                self.inner.write(ops, false)
            }
            Some(Bug::VoteNotSynced) if ops.iter().any(is_vote) => self.inner.write(ops, false),
            _ => self.inner.write(ops, sync),
        }
    }

    fn read(&self, range: Range<u64>, bytes_max: usize) -> Result<Vec<Bytes>, StorageError> {
        self.inner.read(range, bytes_max)
    }

    fn recover(&self) -> Result<RecoveredLog, StorageError> {
        self.inner.recover()
    }
}

struct BuggyState {
    inner: Arc<dyn StateEngine>,
    bug: Option<Bug>,
}

impl StateEngine for BuggyState {
    fn with_view(&self, read: &mut dyn FnMut(&dyn StateRead)) {
        self.inner.with_view(read);
    }

    fn commit(&self, writes: &[Write]) -> Result<(), StorageError> {
        if self.bug != Some(Bug::LastAppliedOutsideTheBatch) {
            return self.inner.commit(writes);
        }
        let is_last_applied = |write: &&Write| {
            (write.space, &*write.key) == (Space::System, keys::SYSTEM_LAST_APPLIED)
        };
        let (mark, data): (Vec<&Write>, Vec<&Write>) = writes.iter().partition(is_last_applied);
        self.inner.commit(&data.into_iter().cloned().collect::<Vec<_>>())?;
        self.inner.commit(&mark.into_iter().cloned().collect::<Vec<_>>())
    }

    fn flush(&self) -> Result<(), StorageError> {
        self.inner.flush()
    }

    fn checkpoint(&self, directory: &Path) -> Result<(), StorageError> {
        self.inner.checkpoint(directory)
    }
}
