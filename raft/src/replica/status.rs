//! What a replica says of itself: for people, metrics and the choice of a successor.

use lockbox_core::NodeId;
use openraft::ServerState;
use openraft::async_runtime::watch::WatchReceiver;

use super::membership::MembershipToken;
use crate::network::Raft;
use crate::types::{Member, StoreId};

/// The part that a node plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Receives the log and does not vote.
    Learner,
    /// Votes and follows a leader.
    Follower,
    /// Stands for election.
    Candidate,
    /// Leads.
    Leader,
    /// Has stopped.
    Stopped,
}

impl Role {
    /// Its name in status output and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Learner => "learner",
            Self::Follower => "follower",
            Self::Candidate => "candidate",
            Self::Leader => "leader",
            Self::Stopped => "stopped",
        }
    }
}

impl From<ServerState> for Role {
    fn from(state: ServerState) -> Self {
        match state {
            ServerState::Learner => Self::Learner,
            ServerState::Follower => Self::Follower,
            ServerState::Candidate => Self::Candidate,
            ServerState::Leader => Self::Leader,
            ServerState::Shutdown => Self::Stopped,
        }
    }
}

/// A member as this node sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberStatus {
    /// Its node id.
    pub node_id: NodeId,
    /// Its addresses.
    pub member: Member,
    /// Whether it votes.
    pub voter: bool,
    /// The last entry that is known to be on its disk; only the leader knows.
    pub matched: Option<u64>,
}

/// The state of one replica. Indexes are 0 while there is no such entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaStatus {
    /// This node.
    pub node_id: NodeId,
    /// The cluster's id; empty while it is unknown.
    pub cluster_id: String,
    /// Which epoch of the cluster it belongs to; 0 is the first, one more for each quorum that was
    /// lost for good.
    pub cluster_epoch: u64,
    /// The part it plays.
    pub role: Role,
    /// The leader it knows.
    pub leader: Option<(NodeId, Member)>,
    /// The term it is in.
    pub term: u64,
    /// Last entry in its log.
    pub last_log: u64,
    /// Last entry that it knows to be committed.
    pub committed: u64,
    /// Last entry applied to its state.
    pub applied: u64,
    /// Last entry in its newest snapshot; beyond `applied` while one is being installed.
    pub snapshot: u64,
    /// Last entry removed from its log.
    pub purged: u64,
    /// All members.
    pub members: Vec<MemberStatus>,
    /// Names the membership; a change may be tied to it.
    pub membership: MembershipToken,
    /// A change of the voters is between its two steps.
    pub joint: bool,
    /// The data directory of this node.
    pub store_id: StoreId,
    /// Which state of that directory it serves: 1 at first, one more with each installed snapshot.
    pub state_generation: u64,
    /// Largest skew between this node's wall clock and a voter's, while it leads; milliseconds.
    pub clock_skew_ms: u64,
    /// Rounds of the read barrier since the start.
    pub read_rounds: u64,
    /// Reads that these rounds served.
    pub reads_confirmed: u64,
}

/// What the caller adds to consensus' own numbers.
pub(super) struct Beside {
    pub(super) store_id: StoreId,
    pub(super) state_generation: u64,
    pub(super) cluster_id: String,
    pub(super) cluster_epoch: u64,
    pub(super) applied: u64,
    pub(super) clock_skew_ms: u64,
    pub(super) rounds_and_reads: (u64, u64),
}

pub(super) fn of(raft: &Raft, beside: Beside) -> ReplicaStatus {
    let metrics = raft.metrics().borrow_watched().clone();
    let index = |id: Option<&crate::types::LogId>| id.map_or(0, crate::types::LogId::index);
    let membership = metrics.membership_config.membership();
    let voters: Vec<NodeId> = membership.voter_ids().collect();
    let matched = |id: &NodeId| {
        let replication = metrics.replication.as_ref()?;
        replication.get(id).map(|matched| index(matched.as_ref()))
    };
    let members = membership.nodes().map(|(id, member)| MemberStatus {
        node_id: *id,
        member: member.clone(),
        voter: voters.contains(id),
        matched: matched(id),
    });
    // The core publishes its numbers when it comes round, what is applied shows at once: applied is
    // committed, and in the log.
    let committed = index(metrics.local_committed.as_ref()).max(beside.applied);
    let last_log = metrics.last_log_index.unwrap_or(0).max(committed);
    let leader = metrics.current_leader;
    ReplicaStatus {
        node_id: metrics.id,
        cluster_id: beside.cluster_id,
        cluster_epoch: beside.cluster_epoch,
        role: if metrics.running_state.is_ok() { metrics.state.into() } else { Role::Stopped },
        leader: leader.and_then(|id| membership.get_node(&id).map(|m| (id, m.clone()))),
        term: metrics.current_term,
        last_log,
        committed,
        applied: beside.applied,
        snapshot: index(metrics.snapshot.as_ref()),
        purged: index(metrics.purged.as_ref()),
        members: members.collect(),
        membership: MembershipToken::of(&metrics.membership_config),
        joint: membership.get_joint_config().len() > 1,
        store_id: beside.store_id,
        state_generation: beside.state_generation,
        clock_skew_ms: beside.clock_skew_ms,
        read_rounds: beside.rounds_and_reads.0,
        reads_confirmed: beside.rounds_and_reads.1,
    }
}
