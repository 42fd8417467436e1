//! Why a call has no answer. The mapping to the wire is in `grpc/status.rs`.
//!
//! No message holds content: ids and limits only.

use lockbox_core::{FolderId, KmsKeyId, KmsKeyVersionId, OperationId};

use crate::commit::CommitFailure;
use crate::store::StoreError;

/// A refusal that rests on the state at some commit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// There is no such key.
    #[error("symmetric key {0} not found")]
    KeyNotFound(KmsKeyId),
    /// The key has no such version.
    #[error("version {1} of symmetric key {0} not found")]
    VersionNotFound(KmsKeyId, KmsKeyVersionId),
    /// There is no such folder.
    #[error("folder {0} not found")]
    FolderNotFound(FolderId),
    /// There is no such operation.
    #[error("operation {0} not found")]
    OperationNotFound(OperationId),
    /// The caller lacks the role.
    #[error("permission denied")]
    Denied,
    /// The key is inactive.
    #[error("symmetric key {0} is inactive")]
    KeyInactive(KmsKeyId),
    /// The version is scheduled for destruction or destroyed.
    #[error("version {1} of symmetric key {0} is not active")]
    VersionNotActive(KmsKeyId, KmsKeyVersionId),
    /// The key is protected from deletion.
    #[error("symmetric key {0} is protected from deletion")]
    DeletionProtected(KmsKeyId),
    /// There is no deletion to take back.
    #[error("symmetric key {0} is not deleted, or what it held is destroyed")]
    KeyNotDeleted(KmsKeyId),
    /// Only scheduled versions can be kept.
    #[error("version {1} of symmetric key {0} is not scheduled for destruction")]
    VersionNotScheduled(KmsKeyId, KmsKeyVersionId),
    /// A key always has its primary version.
    #[error("version {1} of symmetric key {0} is primary: make another one primary first")]
    VersionIsPrimary(KmsKeyId, KmsKeyVersionId),
    /// The ciphertext does not open; the same for every cause.
    #[error("the ciphertext cannot be decrypted with this key and context")]
    Ciphertext,
    /// The KMS request id was used for something else.
    #[error("the KMS request id was used for another operation, key or input")]
    RequestIdReused,
    /// The idempotency key was used for another request.
    #[error("the idempotency key was used for another request")]
    IdempotencyKeyReused,
    /// The version has done as many encryptions as one may.
    #[error(
        "version {1} of symmetric key {0} has reached its limit of encryptions: rotate the key"
    )]
    VersionExhausted(KmsKeyId, KmsKeyVersionId),
    /// The cloud has as many keys as it may.
    #[error("the quota of symmetric keys per cloud is reached")]
    TooManyKeys,
    /// The key has as many versions as it may.
    #[error("the quota of versions per symmetric key is reached")]
    TooManyVersions,
    /// The key would have more bindings than it may.
    #[error("the quota of access bindings per symmetric key is reached")]
    TooManyBindings,
}

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub enum KmsError {
    /// A field of the request is wrong; nothing was looked at.
    #[error("{field} {problem}")]
    Invalid {
        /// The field's name on the wire.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// Known, and not offered here.
    #[error("{0}")]
    Unimplemented(&'static str),
    /// Decided on the state at a commit.
    #[error("{rejection}")]
    Rejected {
        /// The commit sequence that the decision reflects.
        index: u64,
        /// The decision.
        rejection: Rejection,
    },
    /// The keys changed faster than the call could be decided; nothing was done.
    #[error("the key is being changed, try again")]
    Contended,
    /// The commit writer did not take the call, or did not confirm it.
    #[error(transparent)]
    Commit(#[from] CommitFailure),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Stored key material does not open under the root key that opened others.
    #[error("the material of version {0} is damaged")]
    MaterialDamaged(KmsKeyVersionId),
}

impl KmsError {
    /// A wrong field.
    #[must_use]
    pub fn invalid(field: &'static str, problem: impl Into<String>) -> Self {
        Self::Invalid { field, problem: problem.into() }
    }

    /// The refusal, for tests and metrics.
    #[must_use]
    pub const fn rejection(&self) -> Option<&Rejection> {
        match self {
            Self::Rejected { rejection, .. } => Some(rejection),
            Self::Invalid { .. }
            | Self::Unimplemented(_)
            | Self::Contended
            | Self::Commit(_)
            | Self::Store(_)
            | Self::MaterialDamaged(_) => None,
        }
    }
}
