//! The storage error of this crate, and how the process ends because of it.
//!
//! A storage error is final: nothing is retried, nothing more is acknowledged, and the process
//! exits with a code that says what happened (`design §5`). The type carries no value.

use std::io;

use lockbox_core::ExitCode;

/// What went wrong in storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StorageFailure {
    /// A read, write or sync failed.
    Io,
    /// The disk is full.
    DiskFull,
    /// Stored bytes are not what was written.
    Corrupt,
    /// The directory belongs to another node or cluster.
    WrongIdentity,
    /// The directory was wiped, as a whole or in part: it is not the one that the cluster knows
    /// this node by.
    StoreLost,
    /// The state is another one than most members of the cluster have.
    Diverged,
}

/// A storage failure with what was being done.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{context}: {message}")]
pub struct StorageError {
    /// What went wrong; decides the exit code.
    pub failure: StorageFailure,
    /// What was being done: a verb phrase, such as "append to the log".
    pub context: String,
    /// The cause in words; never holds stored data.
    pub message: String,
}

impl StorageError {
    /// Stored bytes that are not what was written.
    #[must_use]
    pub fn corrupt(context: &str, message: impl Into<String>) -> Self {
        Self {
            failure: StorageFailure::Corrupt,
            context: context.to_owned(),
            message: message.into(),
        }
    }

    /// A directory that is not this node's.
    #[must_use]
    pub fn wrong_identity(message: impl Into<String>) -> Self {
        Self {
            failure: StorageFailure::WrongIdentity,
            context: "open the data directory".to_owned(),
            message: message.into(),
        }
    }

    /// A directory that was wiped under a node that is a member.
    #[must_use]
    pub fn store_lost(message: impl Into<String>) -> Self {
        Self {
            failure: StorageFailure::StoreLost,
            context: "open the data directory".to_owned(),
            message: message.into(),
        }
    }

    /// Data of a newer build: this one would not know what it does.
    #[must_use]
    pub fn newer_build(level: u32, understood: u32) -> Self {
        Self {
            failure: StorageFailure::WrongIdentity,
            context: "read the state".to_owned(),
            message: format!(
                "the cluster is at feature level {level}, this build understands level \
                 {understood} at most: use the newer build again"
            ),
        }
    }

    /// A state that no log has led to, as the comparison at this entry has shown.
    #[must_use]
    pub fn diverged(index: u64) -> Self {
        Self {
            failure: StorageFailure::Diverged,
            context: "compare the state with the other members'".to_owned(),
            message: format!("at entry {index} this node's state is not that of most members"),
        }
    }

    /// An error of the operating system.
    #[must_use]
    pub fn io(context: &str, error: &io::Error) -> Self {
        let full = error.kind() == io::ErrorKind::StorageFull;
        Self {
            failure: if full { StorageFailure::DiskFull } else { StorageFailure::Io },
            context: context.to_owned(),
            message: error.to_string(),
        }
    }

    /// What a process exits with that ends because of this error.
    #[must_use]
    pub const fn exit_code(&self) -> ExitCode {
        match self.failure {
            StorageFailure::Io => ExitCode::Storage,
            StorageFailure::Corrupt => ExitCode::CorruptLog,
            StorageFailure::DiskFull => ExitCode::DiskFull,
            StorageFailure::WrongIdentity => ExitCode::IdentityMismatch,
            StorageFailure::StoreLost => ExitCode::StoreLost,
            StorageFailure::Diverged => ExitCode::StateDiverged,
        }
    }
}

impl From<StorageError> for io::Error {
    fn from(error: StorageError) -> Self {
        Self::other(error)
    }
}
