//! `EPOCH`: which life of the cluster this directory belongs to.
//!
//! A cluster that has lost its quorum goes on from one survivor in a new epoch
//! (`docs/quorum-loss.md`). The number is in every request between nodes: who is behind was left
//! out of it, and what it has acknowledged since is not what the cluster has. It is beside the
//! state and not in it, for it has to hold before the first entry is applied; absent in the first
//! epoch.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::durable_files::{read_optional, replace_file};
use crate::error::StorageError;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EpochText {
    epoch: u64,
}

/// The file.
#[derive(Debug, Clone)]
pub struct EpochFile {
    pub(super) path: PathBuf,
}

impl EpochFile {
    /// What it says; 0 without it.
    ///
    /// # Errors
    /// [`StorageError`] when it cannot be read: a node must speak of no other epoch than its own.
    pub(crate) fn read(&self) -> Result<u64, StorageError> {
        let Some(content) = read_optional(&self.path)? else { return Ok(0) };
        let text: EpochText = serde_json::from_slice(&content).map_err(|error| {
            let path = self.path.display();
            StorageError::wrong_identity(format!("{path} is not readable: {error}"))
        })?;
        Ok(text.epoch)
    }

    /// Replaces it, durably.
    ///
    /// # Errors
    /// [`StorageError`].
    pub(crate) fn write(&self, epoch: u64) -> Result<(), StorageError> {
        // INVARIANT: a struct of numbers always serializes.
        let Ok(mut json) = serde_json::to_vec_pretty(&EpochText { epoch }) else {
            unreachable!("numbers serialize")
        };
        json.push(b'\n');
        replace_file(&self.path, &json)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_a_torn_file_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let file = EpochFile { path: place.path().join("EPOCH") };
        assert_eq!(file.read().unwrap(), 0);
        file.write(3).unwrap();
        assert_eq!(file.read().unwrap(), 3);
        std::fs::write(&file.path, "{\"epoch\": ").unwrap();
        assert!(file.read().unwrap_err().to_string().contains("EPOCH is not readable"));
    }
}
