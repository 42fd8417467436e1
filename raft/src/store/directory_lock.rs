//! One process at a time in a data directory.

use std::fs::{File, TryLockError};
use std::path::Path;

use super::durable_files::failed;
use crate::error::StorageError;

const NAME: &str = "LOCK";

/// Holds the data directory until it is dropped; the kernel drops it with the process.
pub(super) struct DirectoryLock {
    file: File,
}

impl DirectoryLock {
    pub(super) fn acquire(directory: &Path) -> Result<Self, StorageError> {
        let path = directory.join(NAME);
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(|error| failed("open the lock file", &path, &error))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { file }),
            Err(TryLockError::WouldBlock) => Err(StorageError::wrong_identity(format!(
                "{} is in use by another process; stop it first",
                directory.display()
            ))),
            Err(TryLockError::Error(error)) => Err(failed("lock", &path, &error)),
        }
    }
}

impl Drop for DirectoryLock {
    fn drop(&mut self) {
        // Explicitly: a child process that is just being started shares the open file, and closing
        // it here alone would leave the lock held for that moment.
        if let Err(error) = self.file.unlock() {
            tracing::warn!(%error, "the data directory stays locked until the process ends");
        }
    }
}
