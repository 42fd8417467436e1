//! Backups of a cluster, and what is made of them.
//!
//! A backup is a sealed file ([`lockbox_platform::sealed_file`]) with the rows of one view of the
//! state, signed by the cluster. Promises: it is of one point of the log, holds nothing that was
//! destroyed before, and is read as a whole before anything is made of it. Beside the backups lie
//! signed lists of what was destroyed later.

pub mod content;
pub mod destination;
pub mod destroyed_list;
pub mod make;
pub mod metrics;
pub mod names;
pub mod restore;
pub mod schedule;
pub mod seal_for;
pub mod signer;
pub mod spool;
#[cfg(test)]
mod tests;
pub mod verify;

use lockbox_platform::sealed_file::SealedFileError;
use lockbox_raft::StorageError;
use lockbox_raft::store::RestoreError;

/// Why a backup is not made, not read, or not restored; each a sentence.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The state does not answer, or the disk fails.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The file is not what was written.
    #[error(transparent)]
    File(#[from] SealedFileError),
    /// There is nothing to back up.
    #[error("the cluster is not initialised")]
    NotInitialised,
    /// A file of another kind.
    #[error("it is a {0}, and no backup of a cluster")]
    OtherKind(String),
    /// Another build has written it.
    #[error("its {what} has format {found}, and this build reads up to {newest}: use a newer one")]
    Format {
        /// Of what the format is.
        what: &'static str,
        /// The one that it has.
        found: u32,
        /// The newest that this build reads.
        newest: u32,
    },
    /// What is inside is no backup.
    #[error("its content does not read: {0}")]
    Content(&'static str),
    /// Whoever has signed it is not the cluster.
    #[error("its signature is not that of the cluster: {0}")]
    Signature(&'static str),
    /// Nothing is restored.
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// The place of the backups does not do what it is asked.
    #[error("the place of the backups fails: {0}")]
    Place(String),
}
