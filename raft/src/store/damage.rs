//! `DAMAGED`: that this node's data are not what the log has led to, or not what was written.
//!
//! Written when that is found out, and looked at before anything is opened: a supervisor that
//! starts the node again must not bring back what it was stopped for. The way on is a new node in
//! its place; who has mended the directory, from a copy of before, removes the file.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::durable_files::{read_optional, replace_file};
use crate::error::{StorageError, StorageFailure};

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    /// Stored bytes are not what was written.
    Corrupt,
    /// The state is another one than most members have.
    Diverged,
}

/// The file as text, for the operator's eyes.
#[derive(Debug, Serialize, Deserialize)]
struct DamageText {
    kind: Kind,
    reason: String,
}

/// The file.
#[derive(Debug, Clone)]
pub struct DamageMark {
    pub(super) path: PathBuf,
}

impl DamageMark {
    /// Marks the directory, once: what was found first stays. Says what the process ends because
    /// of, which is the damage also when it cannot be noted.
    pub(crate) fn set(&self, error: &StorageError) {
        let kind = match error.failure {
            StorageFailure::Diverged => Kind::Diverged,
            StorageFailure::Corrupt => Kind::Corrupt,
            StorageFailure::Io
            | StorageFailure::DiskFull
            | StorageFailure::WrongIdentity
            | StorageFailure::StoreLost => return,
        };
        if self.path.exists() {
            return;
        }
        let text = DamageText { kind, reason: error.to_string() };
        // INVARIANT: structs of text always serialize.
        let Ok(mut json) = serde_json::to_vec_pretty(&text) else {
            unreachable!("text serializes")
        };
        json.push(b'\n');
        if let Err(error) = replace_file(&self.path, &json) {
            tracing::error!(%error, "the damage cannot be noted: do not start this node again");
        }
    }

    /// Refuses a directory that is marked.
    ///
    /// # Errors
    /// [`StorageError`]: corrupt or diverged, as it was found.
    pub(super) fn check(&self) -> Result<(), StorageError> {
        let Some(content) = read_optional(&self.path)? else { return Ok(()) };
        let unreadable = |_torn| {
            let (kind, reason) = (Kind::Corrupt, "it cannot be read".to_owned());
            DamageText { kind, reason }
        };
        let found: DamageText = serde_json::from_slice(&content).unwrap_or_else(unreadable);
        let failure = match found.kind {
            Kind::Corrupt => StorageFailure::Corrupt,
            Kind::Diverged => StorageFailure::Diverged,
        };
        Err(StorageError {
            failure,
            context: "open the data directory".to_owned(),
            message: format!(
                "{} says that this node's data are damaged: {}. Put a new node into its place \
                 (`lockbox cluster replace`), with a new id and an empty directory",
                self.path.display(),
                found.reason
            ),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_damage_stays_and_nothing_opens_behind_it() {
        let place = tempfile::tempdir().unwrap();
        let mark = DamageMark { path: place.path().join("DAMAGED") };
        mark.check().unwrap();
        mark.set(&StorageError::store_lost("something else"));
        mark.check().unwrap();
        mark.set(&StorageError::diverged(7));
        mark.set(&StorageError::corrupt("read a table", "later"));
        let refused = mark.check().unwrap_err();
        assert_eq!(refused.failure, StorageFailure::Diverged);
        let message = refused.to_string();
        assert!(message.contains("entry 7") && message.contains("cluster replace"), "{message}");
        std::fs::write(&mark.path, "{").unwrap();
        assert_eq!(mark.check().unwrap_err().failure, StorageFailure::Corrupt);
    }
}
