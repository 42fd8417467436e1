//! Why a membership or the leadership did not change, sorted by what the operator does about it.

use lockbox_core::NodeId;

use super::token::MembershipToken;
use crate::network::ProbeError;
use crate::types::Member;

/// A change that would be unsafe or makes no sense. Nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChangeRefusal {
    /// There is no membership to change.
    #[error("this node belongs to no cluster")]
    NoCluster,
    /// The node id was a member before, and left.
    #[error(
        "node {0} was a member before and its id is never used again: set the node up under a new \
         id, with an empty directory"
    )]
    IdUsed(NodeId),
    /// The node is a member already, somewhere else.
    #[error("node {node_id} is a member already, at {address}")]
    OtherMember {
        /// The node.
        node_id: NodeId,
        /// Its peer address as a member.
        address: String,
    },
    /// The peer address belongs to another member.
    #[error("{address} is the peer address of node {node_id}, which is a member")]
    AddressTaken {
        /// Whose it is.
        node_id: NodeId,
        /// The address.
        address: String,
    },
    /// The node belongs to another cluster.
    #[error("node {node_id} belongs to the cluster {cluster_id}")]
    OtherCluster {
        /// The node.
        node_id: NodeId,
        /// Its cluster.
        cluster_id: String,
    },
    /// The node has a log, so it belongs or belonged to a cluster.
    #[error("node {0} is not fresh: its log holds entries; add a node with an empty directory")]
    NotFresh(NodeId),
    /// No such member.
    #[error("node {0} is not a member")]
    NotAMember(NodeId),
    /// The node does not vote.
    #[error("node {0} is no voter")]
    NotAVoter(NodeId),
    /// A node cannot take its own place.
    #[error("node {0} cannot replace itself")]
    Itself(NodeId),
    /// A learner, or the next leader, is too far behind.
    #[error("node {node_id} lags by {entries} log entries; try again when it has caught up")]
    Lags {
        /// The node.
        node_id: NodeId,
        /// Entries that it lacks.
        entries: u64,
    },
    /// Too few voters would be left that can be reached.
    #[error(
        "of the {voters} voters only {reachable} can be reached, and a majority needs {needed}: \
         the cluster would stand still"
    )]
    QuorumLost {
        /// Voters, before or after the change.
        voters: usize,
        /// Those of them that answer.
        reachable: usize,
        /// A majority.
        needed: usize,
    },
    /// The node would not understand what is in the log.
    #[error(
        "node {node_id} understands feature level {level} at most, and {wanted} is needed: give it \
         the newer build first"
    )]
    FeatureLevel {
        /// The node.
        node_id: NodeId,
        /// The highest level that it understands.
        level: u32,
        /// The level that it would have to.
        wanted: u32,
    },
    /// The only voter.
    #[error("node {0} is the only voter")]
    LastVoter(NodeId),
}

/// Why a change of the membership or the leadership was not made, or not as far as is known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// Another node leads, as far as this one knows; nothing has changed.
    #[error("this node does not lead")]
    NotLeader(Option<(NodeId, Member)>),
    /// Another change is under way; nothing has changed by this one.
    #[error("another change of the membership is under way")]
    Busy,
    /// The membership is not the one that the operator saw; nothing has changed.
    #[error("the membership has changed: it is {actual} now, not {expected}; look at it again")]
    Conflict {
        /// What the operator saw.
        expected: MembershipToken,
        /// What it is.
        actual: MembershipToken,
    },
    /// Unsafe, or without sense; nothing has changed.
    #[error(transparent)]
    Refused(#[from] ChangeRefusal),
    /// A node does not answer, or is not what it should be; nothing has changed.
    #[error(transparent)]
    Unreachable(#[from] ProbeError),
    /// The new member has not caught up in time. It stays a learner; the same call goes on.
    #[error(
        "node {node_id} is a learner and still lags by {entries} log entries; repeat the call to \
         go on"
    )]
    StillBehind {
        /// The node.
        node_id: NodeId,
        /// Entries that it lacks.
        entries: u64,
    },
    /// The time is over; nothing has changed by this call.
    #[error("no answer in time")]
    Deadline,
    /// The change was proposed and may be made, in part or whole: look at the status.
    #[error("the change may or may not be made: {0}")]
    Unknown(String),
    /// Consensus has stopped here.
    #[error("the replica has stopped")]
    Stopped,
}
