//! The openraft type configuration and the aliases that the rest of the crate uses.
//!
//! Only this crate names openraft (`design §5`).

use std::fmt;

use bytes::Bytes;
use lockbox_core::NodeId;
use openraft::alias::{EntryOf, LogIdOf, SnapshotMetaOf, SnapshotOf, StoredMembershipOf, VoteOf};

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

/// Where a member is reached.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Member {
    /// `host:port` of its peer listener (mutual TLS).
    pub peer_address: String,
    /// `host:port` that clients use; the leader hint.
    pub api_address: String,
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
/// A vote.
pub type Vote = VoteOf<TypeConfig>;
/// A membership together with the entry that set it.
pub type StoredMembership = StoredMembershipOf<TypeConfig>;
/// What a snapshot contains, without its data.
pub type SnapshotMeta = SnapshotMetaOf<TypeConfig>;
/// A snapshot: metadata and a handle on its files.
pub type Snapshot = SnapshotOf<TypeConfig, crate::store::SnapshotHandle>;
