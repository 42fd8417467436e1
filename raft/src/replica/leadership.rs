//! Who leads, as far as this node knows: a hint, never a licence. Only consensus itself decides
//! whether a write or a read may pass.

use std::collections::BTreeSet;
use std::sync::Arc;

use lockbox_core::NodeId;
use openraft::ServerState;
use openraft::alias::WatchReceiverOf;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::metrics::RaftServerMetrics;

use crate::network::{Raft, Target};
use crate::types::{Member, StoredMembership, TypeConfig};

/// Who leads, and whether it is this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leadership {
    /// The term.
    pub term: u64,
    /// The leader of that term, when this node knows one.
    pub leader: Option<NodeId>,
    /// Whether this node believes that it leads; it may not have heard of a newer leader yet.
    pub is_leader: bool,
}

/// Where a request has to go.
pub(super) enum Place {
    /// This node believes that it leads.
    Here,
    /// Another node leads.
    There(Target),
    /// No leader is known.
    Nowhere,
}

/// Follows the leadership. Cheap to clone.
#[derive(Clone)]
pub struct LeadershipWatch {
    me: NodeId,
    server: WatchReceiverOf<TypeConfig, RaftServerMetrics<TypeConfig>>,
}

impl LeadershipWatch {
    pub(super) fn new(me: NodeId, raft: &Raft) -> Self {
        Self { me, server: raft.server_metrics() }
    }

    /// Who leads now.
    #[must_use]
    pub fn current(&self) -> Leadership {
        let server = self.server.borrow_watched();
        Leadership {
            term: server.vote.leader_id.term,
            leader: server.current_leader,
            is_leader: server.state == ServerState::Leader,
        }
    }

    /// Waits until leadership, or the membership, may have changed since the last call; false
    /// when consensus has stopped and nothing will change any more.
    pub async fn changed(&mut self) -> bool {
        self.server.changed().await.is_ok()
    }

    /// Waits until a node other than `former` is known to lead; for ever when none ever does.
    pub(super) async fn another_than(&self, former: NodeId) {
        let mut watch = self.clone();
        while self.current().leader.is_none_or(|leader| leader == former) {
            if !watch.changed().await {
                return std::future::pending().await;
            }
        }
    }

    /// The leader with its addresses.
    pub(super) fn leader(&self) -> Option<(NodeId, Member)> {
        let server = self.server.borrow_watched();
        let id = server.current_leader?;
        server.membership_config.get_node(&id).map(|member| (id, member.clone()))
    }

    pub(super) fn place(&self) -> Place {
        let server = self.server.borrow_watched();
        match server.current_leader {
            Some(id) if id == self.me => Place::Here,
            Some(id) => match server.membership_config.get_node(&id) {
                Some(member) => Place::There(Target { id, member: member.clone() }),
                None => Place::Nowhere,
            },
            None => Place::Nowhere,
        }
    }

    pub(super) fn membership(&self) -> Arc<StoredMembership> {
        Arc::clone(&self.server.borrow_watched().membership_config)
    }

    pub(super) fn voters(&self) -> BTreeSet<NodeId> {
        self.server.borrow_watched().membership_config.voter_ids().collect()
    }
}
