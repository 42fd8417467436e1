//! What can go wrong with a replica, sorted by what the caller may conclude from it.

use lockbox_core::{ExitCode, NodeId};

use super::config::ConfigError;
use crate::error::StorageError;
use crate::network::ProbeError;

/// Why a replica does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting that cannot be.
    #[error("configuration: {0}")]
    Config(#[from] ConfigError),
    /// The directory cannot be used.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Why a cluster is not initialised.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InitializeError {
    /// This node already belongs to a cluster.
    #[error("this node already belongs to a cluster")]
    AlreadyInitialised,
    /// The members do not name this node.
    #[error("node {0} is not among the members")]
    NotAMember(NodeId),
    /// A member does not answer, or is not what it should be.
    #[error(transparent)]
    Unreachable(#[from] ProbeError),
    /// A member has a log, so it belongs or belonged to a cluster.
    #[error("node {0} is not fresh: its log holds entries; form a cluster of empty directories")]
    NotFresh(NodeId),
    /// Consensus has stopped.
    #[error("the replica has stopped")]
    Stopped,
}

/// Why nothing was handed to consensus.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotProposedReason {
    /// No leader was found in time.
    #[error("no leader")]
    NoLeader,
    /// The deadline had come before anything could be handed over.
    #[error("deadline exceeded")]
    Deadline,
    /// Too many proposals are under way.
    #[error("too many proposals are under way")]
    QueueFull,
    /// The node is shutting down.
    #[error("the node is shutting down")]
    Draining,
    /// The leader does not understand the proposal or refuses this node.
    #[error("the leader refused the proposal")]
    Refused,
    /// Not every member understands the command yet.
    #[error("not every member understands this yet: finish the upgrade of the cluster")]
    FeatureLevel,
    /// The disks have too little room for what makes the data grow.
    #[error("the disks of the cluster have too little room left")]
    NoRoom,
}

/// Why it is not known whether a proposal takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnknownReason {
    /// The deadline came first.
    #[error("deadline exceeded")]
    Deadline,
    /// A later try was refused by the state, but an earlier one may still be decided otherwise.
    #[error("an earlier try may still take effect")]
    EarlierTry,
    /// The replica stopped meanwhile.
    #[error("the node stopped")]
    Stopped,
}

/// What a failed proposal came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProposalOutcome {
    /// It is certain that the proposal takes no effect.
    NotProposed,
    /// It may or may not take effect; only the same request id or idempotency key may be retried.
    Unknown,
}

/// Why a proposal has no outcome from `apply`.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ProposeError {
    /// Nothing was handed to consensus.
    #[error("not proposed: {0}")]
    NotProposed(NotProposedReason),
    /// The proposal may take effect.
    #[error("outcome unknown: {0}")]
    Unknown(UnknownReason),
    /// The disk failed; the process ends.
    #[error(transparent)]
    Storage(StorageError),
}

impl ProposeError {
    /// What the caller may conclude.
    #[must_use]
    pub const fn outcome(&self) -> ProposalOutcome {
        match self {
            Self::NotProposed(_) => ProposalOutcome::NotProposed,
            Self::Unknown(_) | Self::Storage(_) => ProposalOutcome::Unknown,
        }
    }
}

/// Why a read was not served. Nothing has changed; a retry is always safe.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReadError {
    /// No leader confirmed itself in time.
    #[error("no leader")]
    NoLeader,
    /// The deadline came before this node had caught up.
    #[error("deadline exceeded")]
    Deadline,
    /// Too many reads wait.
    #[error("too many reads are waiting")]
    QueueFull,
    /// The node is shutting down.
    #[error("the node is shutting down")]
    Draining,
    /// The disk failed; the process ends.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Why a replica can no longer run.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReplicaFailure {
    /// The disk failed.
    #[error(transparent)]
    Storage(StorageError),
    /// Consensus or a task of the replica ended by itself.
    #[error("replication has ended: {0}")]
    Ended(String),
}

impl ReplicaFailure {
    /// What the process exits with.
    #[must_use]
    pub const fn exit_code(&self) -> ExitCode {
        match self {
            Self::Storage(error) => error.exit_code(),
            Self::Ended(_) => ExitCode::Consensus,
        }
    }
}
