//! The openraft type configuration and the aliases that the rest of the crate uses.
//!
//! Only this crate names openraft (`design §5`).

use std::fmt;

use bytes::Bytes;
use lockbox_core::NodeId;
use openraft::alias::{EntryOf, LogIdOf, SnapshotMetaOf, SnapshotOf, StoredMembershipOf, VoteOf};
use openraft::metrics::RaftMetrics;

use crate::domain::Outcome;

/// An encoded [`crate::domain::Envelope`]: cloning it counts a reference.
#[derive(Clone, PartialEq, Eq)]
pub struct Proposal(pub Bytes);

impl fmt::Debug for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "proposal[{} bytes]", self.0.len())
    }
}

impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Names one data directory for as long as it exists: random, made with it.
///
/// A node that was set up anew under an old id has another one, by which it is told from the
/// member that it claims to be.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct StoreId([u8; 16]);

impl StoreId {
    /// That of a member nobody has asked yet; equal to no directory's.
    pub const UNKNOWN: Self = Self([0; 16]);

    /// The id with these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Whether it names a directory.
    #[must_use]
    pub fn is_known(&self) -> bool {
        *self != Self::UNKNOWN
    }

    /// As requests between nodes carry it; empty when unknown.
    pub(crate) fn to_wire(self) -> Vec<u8> {
        if self.is_known() { self.0.to_vec() } else { Vec::new() }
    }

    /// What [`Self::to_wire`] wrote; unknown when it is no id at all.
    pub(crate) fn from_wire(bytes: &[u8]) -> Self {
        bytes.try_into().map_or(Self::UNKNOWN, Self)
    }
}

impl fmt::Display for StoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for StoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Where a member is reached, and on which directory it runs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Member {
    /// `host:port` of its peer listener (mutual TLS).
    pub peer_address: String,
    /// `host:port` that clients use; the leader hint.
    pub api_address: String,
    /// Its data directory, as it said when it became a member; unknown before.
    pub store_id: StoreId,
}

impl Member {
    /// A node at these addresses that nobody has asked for its directory yet.
    #[must_use]
    pub const fn at(peer_address: String, api_address: String) -> Self {
        Self { peer_address, api_address, store_id: StoreId::UNKNOWN }
    }
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.peer_address)
    }
}

openraft::declare_raft_types!(
    /// The types that consensus is instantiated with. One leader for each term
    /// (`leader_id_std`), which keeps invariants and audits simple.
    pub TypeConfig:
        D = Proposal,
        R = Outcome,
        NodeId = NodeId,
        Node = Member,
        LeaderId = openraft::impls::leader_id_std::LeaderId<u64, u64>,
        AsyncRuntime = openraft_rt_tokio::TokioRuntime,
);

/// A log entry.
pub type LogEntry = EntryOf<TypeConfig>;
/// The id of a log entry: term, leader and index.
pub type LogId = LogIdOf<TypeConfig>;
/// What consensus says of itself.
pub type Metrics = RaftMetrics<TypeConfig>;
/// A vote.
pub type Vote = VoteOf<TypeConfig>;
/// A membership together with the entry that set it.
pub type StoredMembership = StoredMembershipOf<TypeConfig>;
/// What a snapshot contains, without its data.
pub type SnapshotMeta = SnapshotMetaOf<TypeConfig>;
/// A snapshot: metadata and a handle on its files.
pub type Snapshot = SnapshotOf<TypeConfig, crate::store::SnapshotHandle>;
