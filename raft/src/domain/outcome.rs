//! What applying a command came to, and every reason for which the state can refuse one.

use lockbox_core::{ResourceKind, VersionId};
use minicbor::{Decode, Encode};

use super::operation::OperationRecord;

/// The result of applying one log entry.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Outcome {
    /// The entry makes no operation: a blank, a membership change, a stamp of the time, the head
    /// of an audit, a feature level, a cap on what is kept, or a part of a comparison of states.
    #[n(0)]
    Nothing,
    /// The command took effect, now or when its first copy was applied.
    #[n(1)]
    Done(#[n(0)] Box<OperationRecord>),
    /// The command was refused and changed nothing.
    #[n(2)]
    Rejected(#[n(0)] Rejection),
}

/// A state that the request needs and that does not hold (FAILED_PRECONDITION).
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, thiserror::Error)]
pub enum Precondition {
    /// The secret is inactive.
    #[n(0)]
    #[error("secret is inactive")]
    SecretInactive,
    /// The version is scheduled for destruction or destroyed.
    #[n(1)]
    #[error("version {0} is not active")]
    VersionNotActive(#[n(0)] VersionId),
    /// The secret has no current version.
    #[n(2)]
    #[error("secret has no current version")]
    NoCurrentVersion,
    /// The secret is protected against deletion.
    #[n(3)]
    #[error("secret is protected against deletion")]
    DeletionProtected,
    /// More than one secret of the folder has that name.
    #[n(4)]
    #[error("more than one secret of the folder has that name")]
    AmbiguousName,
    /// The cluster was initialised before.
    #[n(5)]
    #[error("cluster is already initialised")]
    AlreadyInitialised,
    /// The cluster has not been initialised.
    #[n(6)]
    #[error("cluster is not initialised")]
    NotInitialised,
    /// A keyring step came out of order.
    #[n(7)]
    #[error("keyring key is not at the stage that this step needs")]
    KeyringStage,
    /// The version is not scheduled for destruction.
    #[n(8)]
    #[error("version {0} is not scheduled for destruction")]
    VersionNotScheduled(#[n(0)] VersionId),
    /// The version is destroyed.
    #[n(9)]
    #[error("version {0} is destroyed")]
    VersionDestroyed(#[n(0)] VersionId),
    /// The caller would end its own account.
    #[n(10)]
    #[error("an account cannot end or suspend itself")]
    OwnAccount,
    /// The head of an audit comes behind another one than its node has read.
    #[n(11)]
    #[error("another head of that audit was anchored meanwhile")]
    AuditHeadMoved,
    /// The head of an audit is said to follow the last one, and cannot.
    #[n(12)]
    #[error("the head of that audit contradicts the one that was anchored last")]
    AuditHeadContradicts,
    /// Not every member of the cluster understands the command yet.
    #[n(20)]
    #[error("not every member understands this yet: finish the upgrade of the cluster")]
    FeatureLevel,
}

/// Why the state refuses a command or a read. Carries ids and limits, never a value.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, thiserror::Error)]
pub enum Rejection {
    /// The token expired, or it, its credential or its account no longer counts.
    #[n(0)]
    #[error("token is not valid")]
    Unauthenticated,
    /// The caller holds no role that grants this.
    #[n(1)]
    #[error("permission denied")]
    PermissionDenied,
    /// There is no such resource.
    #[n(2)]
    #[error("{} {id} not found", kind.audit_name())]
    NotFound {
        /// What was looked for.
        #[n(0)]
        kind: ResourceKind,
        /// Under which id.
        #[n(1)]
        id: String,
    },
    /// The operation does not exist or is past its retention.
    #[n(3)]
    #[error("operation {0} not found")]
    OperationNotFound(#[n(0)] String),
    /// Something of that name exists.
    #[n(4)]
    #[error("{} with that name already exists", kind.audit_name())]
    AlreadyExists {
        /// What exists.
        #[n(0)]
        kind: ResourceKind,
    },
    /// A state conflict.
    #[n(5)]
    #[error("{0}")]
    Precondition(#[n(0)] Precondition),
    /// The default base moved between the merge and its application: merge again.
    #[n(6)]
    #[error("current version changed during the merge")]
    BaseMoved {
        /// The version that is the default base now.
        #[n(0)]
        current: Option<VersionId>,
    },
    /// `x-if-version` named another version than the current one.
    #[n(7)]
    #[error("current version is not the expected one")]
    CurrentMismatch {
        /// What the caller expected.
        #[n(0)]
        expected: VersionId,
        /// What is current.
        #[n(1)]
        current: Option<VersionId>,
    },
    /// A quota of `contract §9` is used up.
    #[n(8)]
    #[error("quota {quota} of {limit} is used up")]
    QuotaExceeded {
        /// The quota's name.
        #[n(0)]
        quota: String,
        /// Its limit.
        #[n(1)]
        limit: u32,
    },
    /// The idempotency key was used for another request.
    #[n(9)]
    #[error("idempotency key was used for another request")]
    IdempotencyConflict,
    /// The caller has too many live idempotency records.
    #[n(10)]
    #[error("too many idempotency keys are remembered for this caller")]
    IdempotencyFull,
    /// A field that only the state can judge is wrong.
    #[n(11)]
    #[error("{field}: {description}")]
    InvalidArgument {
        /// Path of the field in the request.
        #[n(0)]
        field: String,
        /// What is wrong with it; never its value.
        #[n(1)]
        description: String,
    },
    /// There is no authorized key of that id.
    #[n(12)]
    #[error("authorized key {0} not found")]
    KeyNotFound(#[n(0)] String),
}

impl Rejection {
    /// A resource that is not there.
    #[must_use]
    pub fn not_found(kind: ResourceKind, id: &str) -> Self {
        Self::NotFound { kind, id: id.to_owned() }
    }
}

impl From<Precondition> for Rejection {
    fn from(precondition: Precondition) -> Self {
        Self::Precondition(precondition)
    }
}
