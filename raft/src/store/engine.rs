//! What a storage engine must do. RocksDB in production, memory with explicit durability in tests
//! and simulation (`design §5`). Nothing above these traits knows which one runs.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;

use super::engine_stats::EngineStats;
use super::pace::Pace;
use crate::error::StorageError;
use crate::state::{StateRead, Write};

/// One write to the log. Operations of a batch take effect in order and together.
#[derive(Debug, Clone)]
pub enum LogOp {
    /// Stores an encoded entry; replaces nothing, indexes are consecutive.
    Append {
        /// Raft index of the entry.
        index: u64,
        /// The entry behind its format byte and checksum.
        encoded: Bytes,
    },
    /// Removes every entry from this index on.
    TruncateFrom {
        /// First index to remove.
        index: u64,
    },
    /// Removes every entry up to and including this index and records it as purged.
    Purge {
        /// First index that may still be there; the range delete never starts at 0.
        from: u64,
        /// Last index to remove.
        upto: u64,
        /// Encoded log id of `upto`.
        log_id: Vec<u8>,
    },
    /// Replaces one of the log's own records, see [`LogRecord`].
    Record {
        /// Which one.
        record: LogRecord,
        /// Its encoded value.
        value: Vec<u8>,
    },
}

/// Records that live beside the entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogRecord {
    /// The vote; losing it lets one node vote twice in a term.
    Vote,
    /// The last index known to be committed; spares a restart from reading stale state.
    Committed,
    /// The log id of the last purged entry.
    Purged,
    /// Cluster id, node id and format: whose log this is.
    Identity,
}

/// What an engine finds when it is opened.
#[derive(Debug, Clone, Default)]
pub struct RecoveredLog {
    /// The first and one-past-last index of the entries found; consecutive.
    pub entries: Range<u64>,
    /// Records found, encoded.
    pub records: std::collections::BTreeMap<LogRecord, Vec<u8>>,
}

/// The log's storage. One writer; any number of readers.
pub trait LogEngine: Send + Sync + 'static {
    /// Writes a batch atomically. With `sync`, returns after it and all before it are durable.
    ///
    /// # Errors
    /// [`StorageError`]; the engine must then not be written to again.
    fn write(&self, ops: &[LogOp], sync: bool) -> Result<(), StorageError>;

    /// Encoded entries of a range in order: a prefix of it, ended once `bytes_max` is exceeded,
    /// and never empty when its first entry exists.
    ///
    /// # Errors
    /// [`StorageError`], also when there is a hole: a short answer would be taken for the end.
    fn read(&self, range: Range<u64>, bytes_max: usize) -> Result<Vec<Bytes>, StorageError>;

    /// What is stored, checked for holes. All of it is durable from here on, also what a process
    /// before had written and not synced: consensus counts as synced what it finds at its start.
    ///
    /// # Errors
    /// [`StorageError`] when the log is damaged anywhere but in a torn tail.
    fn recover(&self) -> Result<RecoveredLog, StorageError>;

    /// Takes what was removed out of the files, where it may stand for long after. Returns the
    /// files that still hold it, and that go by themselves with their last user; nothing when that
    /// could not be done now, and has to be tried again. Blocks for as long as it takes to write
    /// the log anew.
    ///
    /// # Errors
    /// [`StorageError`].
    fn erase_removed(&self) -> Result<Option<Vec<PathBuf>>, StorageError> {
        Ok(Some(Vec::new()))
    }

    /// Which of the files that [`Self::erase_removed`] returned are still left. Removes those whose
    /// last reader has ended, which does not always remove them itself. Blocks.
    ///
    /// # Errors
    /// [`StorageError`].
    fn still_left(&self, mut files: Vec<PathBuf>) -> Result<Vec<PathBuf>, StorageError> {
        files.retain(|file| file.exists());
        Ok(files)
    }

    /// What it says of itself.
    fn stats(&self) -> EngineStats {
        EngineStats::default()
    }

    /// Reads every entry in the files again and compares its checksum; false when it was told to
    /// end before. Blocks.
    ///
    /// # Errors
    /// [`StorageError`]: corrupt when there is damage.
    fn scrub(&self, _pace: &mut Pace) -> Result<bool, StorageError> {
        Ok(true)
    }

    /// How long a writer that is a task ([`super::WriterHost::Task`]) waits before and after each
    /// write: such an engine does not block by itself. Engines with a disk wait inside `write`.
    fn latency(&self) -> Duration {
        Duration::ZERO
    }
}

/// The state's storage.
pub trait StateEngine: Send + Sync + 'static {
    /// Runs `read` on one consistent view.
    fn with_view(&self, read: &mut dyn FnMut(&dyn StateRead));

    /// Writes a batch atomically across all spaces; need not be durable.
    ///
    /// # Errors
    /// [`StorageError`]; the engine must then not be written to again.
    fn commit(&self, writes: &[Write]) -> Result<(), StorageError>;

    /// Makes everything committed so far durable.
    ///
    /// # Errors
    /// [`StorageError`].
    fn flush(&self) -> Result<(), StorageError>;

    /// What it says of itself.
    fn stats(&self) -> EngineStats {
        EngineStats::default()
    }

    /// Writes a durable, self-contained copy of the present state into a new directory.
    ///
    /// # Errors
    /// [`StorageError`].
    fn checkpoint(&self, directory: &Path) -> Result<(), StorageError>;

    /// Takes the payloads that were deleted within these ranges of keys out of the files, as
    /// [`LogEngine::erase_removed`]. Not possible while a view is older than this call.
    ///
    /// # Errors
    /// [`StorageError`].
    fn erase_removed(
        &self,
        _payloads: &[Range<Vec<u8>>],
    ) -> Result<Option<Vec<PathBuf>>, StorageError> {
        Ok(Some(Vec::new()))
    }

    /// Which of these files are still left, as [`LogEngine::still_left`].
    ///
    /// # Errors
    /// [`StorageError`].
    fn still_left(&self, mut files: Vec<PathBuf>) -> Result<Vec<PathBuf>, StorageError> {
        files.retain(|file| file.exists());
        Ok(files)
    }

    /// Reads every block of the files again and compares its checksum; false when it was told to
    /// end before. Blocks.
    ///
    /// # Errors
    /// [`StorageError`]: corrupt when there is damage.
    fn scrub(&self, _pace: &mut Pace) -> Result<bool, StorageError> {
        Ok(true)
    }
}

/// Opens engines in directories.
pub trait Engines: Send + Sync + 'static {
    /// Bytes of blocks that all of its engines together keep in memory.
    fn cache_bytes(&self) -> u64 {
        0
    }

    /// Opens or creates the log in `directory`.
    ///
    /// # Errors
    /// [`StorageError`].
    fn open_log(&self, directory: &Path) -> Result<std::sync::Arc<dyn LogEngine>, StorageError>;

    /// Opens or creates the state in `directory` (also one that a checkpoint wrote).
    ///
    /// # Errors
    /// [`StorageError`].
    fn open_state(&self, directory: &Path)
    -> Result<std::sync::Arc<dyn StateEngine>, StorageError>;
}
