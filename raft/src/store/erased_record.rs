//! `ERASED`: how far a node has taken what was destroyed out of its files, and whether it serves
//! payloads meanwhile.
//!
//! Of one generation of the state: a snapshot of another node brings files in which it may be
//! again. A record that is missing, or cannot be read, only makes the node do it again.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::durable_files::{read_optional, replace_file};
use super::layout::FIRST_GENERATION;
use crate::error::StorageError;

/// How far it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Erased {
    /// Which generation of the state.
    pub(crate) generation: u64,
    /// How many erasures are done.
    pub(crate) count: u64,
}

/// What the file says, as text for the operator's eyes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Recorded {
    /// How far it is.
    #[serde(flatten)]
    pub(crate) done: Erased,
    /// Whether the rest has to be done before payloads are served. Records of before do not say.
    #[serde(default)]
    pub(crate) is_owed: bool,
}

impl Recorded {
    /// What counts without a record: the first state of a node is its own, and everything is to do.
    pub(crate) const NONE: Self =
        Self { done: Erased { generation: FIRST_GENERATION, count: 0 }, is_owed: false };
}

/// The file.
#[derive(Debug, Clone)]
pub struct ErasedRecord {
    pub(super) path: PathBuf,
}

impl ErasedRecord {
    /// What it says; nothing when it says nothing that can be read.
    pub(crate) fn read(&self) -> Result<Option<Recorded>, StorageError> {
        let content = read_optional(&self.path)?;
        Ok(content.and_then(|content| serde_json::from_slice(&content).ok()))
    }

    /// Replaces it, durably.
    pub(crate) fn write(&self, recorded: Recorded) -> Result<(), StorageError> {
        // INVARIANT: a struct of numbers always serializes.
        let Ok(mut json) = serde_json::to_vec_pretty(&recorded) else {
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
    fn what_is_written_is_read_and_a_torn_record_is_none() {
        let place = tempfile::tempdir().unwrap();
        let record = ErasedRecord { path: place.path().join("ERASED") };
        assert_eq!(record.read().unwrap(), None);
        let done = Erased { generation: 2, count: 9 };
        for is_owed in [false, true] {
            let recorded = Recorded { done, is_owed };
            record.write(recorded).unwrap();
            assert_eq!(record.read().unwrap(), Some(recorded));
        }
        std::fs::write(&record.path, "{\"generation\": 2, \"count\": 9}").unwrap();
        assert_eq!(record.read().unwrap(), Some(Recorded { done, is_owed: false }));
        std::fs::write(&record.path, "{\"generation\": 2").unwrap();
        assert_eq!(record.read().unwrap(), None);
    }
}
