//! What a node said of its consensus at a moment.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ids::NodeId;
use super::op::Stamp;

/// One look at one node. A node that did not answer has no sample.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RaftSample {
    /// When the answer had arrived.
    pub at: Stamp,
    /// The node.
    pub node: NodeId,
    /// Its data directory, as it names it: one id on another directory has another log, and no vote.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub store: String,
    /// Which state of that directory it serves: 1 at first, one more with each installed snapshot.
    #[serde(default)]
    pub generation: u64,
    /// How often its process had been started: what a process keeps in memory alone may go back
    /// across a restart.
    pub incarnation: u64,
    /// Its term.
    pub term: u64,
    /// Its role.
    pub role: RaftRole,
    /// For whom it voted in its term, if it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vote: Option<NodeId>,
    /// Index of the last entry of its log.
    pub last: u64,
    /// Index up to which it knows entries to be committed.
    pub committed: u64,
    /// Index up to which its state has applied them.
    pub applied: u64,
    /// Last index of its newest snapshot; 0 without one.
    pub snapshot: u64,
    /// Index up to which its log is purged.
    pub purged: u64,
    /// The voters of its last membership, ascending.
    pub voters: Vec<NodeId>,
    /// The learners of it, ascending.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub learners: Vec<NodeId>,
    /// Hashes of its state, if they were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_hash: Option<StateHash>,
}

/// What a node is in its term.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RaftRole {
    /// Has won an election, as far as it knows.
    Leader,
    /// Asks for votes.
    Candidate,
    /// Follows.
    Follower,
    /// Receives the log and has no vote.
    Learner,
}

/// Hashes of the replicated state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StateHash {
    /// Index of the state that was hashed.
    pub index: u64,
    /// Hash of each column family, in hex, by its name.
    pub families: BTreeMap<String, String>,
}
