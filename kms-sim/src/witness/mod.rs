//! The cluster bears witness for the KMS: how far it was, and what it has destroyed.
//!
//! The replicated state of the cluster outlives the KMS's disk. [`Keeper`] tells it ahead of time:
//! commits are reserved before they are made, and what is due is destroyed only once a majority
//! knows of it. [`settle`] asks it before a restored store serves anybody. docs/kms-backup.md has
//! the protocol, step by step. Refuses to know how backups are made.

mod cluster;
mod keeper;
mod settle;

use async_trait::async_trait;
use lockbox_core::LogTime;

pub use self::cluster::ClusterWitness;
pub(crate) use self::keeper::run;
pub use self::keeper::{AttestError, Keeper};
pub use self::settle::{STANDALONE_JUMP, SettleError, settle};
use crate::keys::apply::Tombstone;
use crate::store::identity::{Stamp, StoreIdentity};

/// Commits that are reserved beyond the last one: hours of heavy use without a cluster, and the
/// most that a restored store skips beside those that were made.
pub const AHEAD: u64 = 1 << 20;
/// Tombstones that are told or listed at once.
pub const TOMBSTONES_MAX: usize = 500;

/// The cluster could not be asked, or does not know the question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WitnessError {
    /// No node answered in time, none has a majority, or not every node knows what a witness is.
    #[error("no node of the cluster answers, or its upgrade is not finished")]
    Unreachable,
    /// The nodes are of an earlier build.
    #[error("the nodes of the cluster are of a build that bears no witness")]
    Unimplemented,
    /// An answer makes no sense.
    #[error("the cluster gives an answer that cannot be read")]
    Malformed,
}

/// What the cluster has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// The store that it bears witness for.
    pub store_id: Stamp,
    /// The life of it that may commit.
    pub incarnation: Stamp,
    /// The number of that.
    pub epoch: u64,
    /// No commit beyond this one may have been answered.
    pub reserved: u64,
    /// What was reserved when the incarnation began.
    pub floor: u64,
    /// The last commit that was attested.
    pub head: u64,
    /// The time of it.
    pub time: LogTime,
    /// How many tombstones there are.
    pub tombstones: u64,
}

/// What the KMS says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attestation {
    /// Who says it; what is reserved already is not said.
    pub identity: StoreIdentity,
    /// Its last commit.
    pub head: u64,
    /// How many commits beyond that are to be reserved.
    pub ahead: u64,
    /// The time of the last commit.
    pub time: LogTime,
    /// What it destroys; at most [`TOMBSTONES_MAX`].
    pub tombstones: Vec<Tombstone>,
}

/// Remembers for the KMS. Every answer reflects all that was acknowledged before it was asked for.
#[async_trait]
pub trait Witness: Send + Sync {
    /// What was seen; nothing before the first attestation.
    ///
    /// # Errors
    /// [`WitnessError`].
    async fn recall(&self) -> Result<Option<Seen>, WitnessError>;

    /// Tells it something; gives what is known then.
    ///
    /// # Errors
    /// [`WitnessError`]; it may have been noted all the same.
    async fn attest(&self, said: &Attestation) -> Result<Option<Seen>, WitnessError>;

    /// The tombstones behind this one, in the order of ids, and whether there are more.
    ///
    /// # Errors
    /// [`WitnessError`].
    async fn tombstones(
        &self,
        after: Option<&Tombstone>,
    ) -> Result<(Vec<Tombstone>, bool), WitnessError>;
}
