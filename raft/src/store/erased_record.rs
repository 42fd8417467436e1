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
    /// So many erasures may go in their own time, done or not; the others are owed before payloads
    /// are served. Nothing while they are served: all of them may. Records of before do not say.
    #[serde(default)]
    pub(crate) known: Option<u64>,
}

impl Recorded {
    /// What counts where there was never a record: the first state of a node is its own.
    const NONE: Self =
        Self { done: Erased { generation: FIRST_GENERATION, count: 0 }, known: None };
    /// What counts when it cannot be read: it is of no state.
    const UNREADABLE: Self = Self { done: Erased { generation: 0, count: 0 }, known: Some(0) };
}

/// The file.
#[derive(Debug, Clone)]
pub struct ErasedRecord {
    pub(super) path: PathBuf,
}

impl ErasedRecord {
    /// What it says, or what counts when it says nothing.
    pub(crate) fn read(&self) -> Result<Recorded, StorageError> {
        let Some(content) = read_optional(&self.path)? else { return Ok(Recorded::NONE) };
        Ok(serde_json::from_slice(&content).unwrap_or(Recorded::UNREADABLE))
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
    fn what_is_written_is_read_and_a_torn_record_is_of_no_state() {
        let place = tempfile::tempdir().unwrap();
        let record = ErasedRecord { path: place.path().join("ERASED") };
        assert_eq!(record.read().unwrap(), Recorded::NONE);
        let done = Erased { generation: 2, count: 9 };
        for known in [None, Some(7)] {
            let recorded = Recorded { done, known };
            record.write(recorded).unwrap();
            assert_eq!(record.read().unwrap(), recorded);
        }
        std::fs::write(&record.path, "{\"generation\": 2, \"count\": 9}").unwrap();
        assert_eq!(record.read().unwrap(), Recorded { done, known: None });
        std::fs::write(&record.path, "{\"generation\": 2").unwrap();
        assert_eq!(record.read().unwrap(), Recorded::UNREADABLE);
    }
}
