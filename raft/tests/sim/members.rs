//! Changes of who is a member and who leads, asked of the leader under whatever else is wrong.
//!
//! Every change may come to nothing, or be left between its two steps: safety must hold all the
//! same, and after healing the members that there are then must serve.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lockbox_core::NodeId;
use lockbox_raft::replica::{ReplicaStatus, Role};
use lockbox_raft::types::Member;
use tokio::time::Instant;

use crate::harness::Random;
use crate::node::Node;
use crate::trace::Trace;

/// How long a change may take; some end between their steps.
const DEADLINE_MS: std::ops::Range<u64> = 200..5_000;
/// With fewer voters none is removed.
const VOTERS_MIN: usize = 3;

#[derive(Debug, Clone, Copy)]
enum Change {
    Join(NodeId),
    Promote(NodeId),
    Leave(NodeId),
    Replace { old: NodeId, new: NodeId },
}

/// Asks for changes, and counts what they came to.
pub(crate) struct Members {
    random: Random,
    trace: Trace,
    changed: Arc<AtomicU64>,
    transferred: Arc<AtomicU64>,
}

impl Members {
    pub(crate) fn new(random: Random, trace: Trace) -> Self {
        Self { random, trace, changed: Arc::default(), transferred: Arc::default() }
    }

    /// Changes of the membership that were answered with success.
    pub(crate) fn changed(&self) -> u64 {
        self.changed.load(Ordering::Relaxed)
    }

    /// Transfers of leadership that were.
    pub(crate) fn transferred(&self) -> u64 {
        self.transferred.load(Ordering::Relaxed)
    }

    /// Asks the leader to hand over, to a voter or to whom it likes; false when nobody leads.
    pub(crate) fn transfer(&mut self, nodes: &[Node]) -> bool {
        let Some((leader, status)) = leader(nodes) else { return false };
        let all = voters(&status);
        let to = self.random.chance(500).then(|| self.random.pick(&all));
        let (deadline, trace) = (self.deadline(), self.trace.clone());
        let transferred = Arc::clone(&self.transferred);
        trace.note(format_args!("node {} is asked to hand over to {to:?}", leader.id));
        leader.spawn(move |replica| async move {
            match replica.transfer_leader(to, Instant::now() + deadline).await {
                Ok(leader) => {
                    transferred.fetch_add(1, Ordering::Relaxed);
                    trace.note(format_args!("leadership is with {leader}"));
                }
                Err(error) => trace.note(format_args!("no hand-over: {error}")),
            }
        });
        true
    }

    /// Asks the leader for a change; false when there is none that it could make.
    pub(crate) fn change(&mut self, nodes: &mut [Node]) -> bool {
        let Some((leader, status)) = leader(nodes) else { return false };
        let leader = leader.id;
        let fresh = nodes.iter().find(|node| !node.was_started()).map(|node| node.id);
        let Some(change) = self.draw(&status, fresh) else { return false };
        if let (Change::Join(new) | Change::Replace { new, .. }, Some(fresh)) = (change, fresh)
            && new == fresh
        {
            let node = nodes.iter_mut().find(|node| node.id == fresh);
            node.into_iter().for_each(Node::start);
        }
        let (deadline, trace) = (self.deadline(), self.trace.clone());
        let changed = Arc::clone(&self.changed);
        trace.note(format_args!("node {leader} is asked for {change:?}"));
        for node in nodes.iter().filter(|node| node.id == leader) {
            let (trace, changed) = (trace.clone(), Arc::clone(&changed));
            node.spawn(move |replica| async move {
                let by = Instant::now() + deadline;
                let done = match change {
                    Change::Join(id) => replica.add_member(id, member(id), None, by).await,
                    Change::Promote(id) => replica.promote_member(id, None, by).await,
                    Change::Leave(id) => replica.remove_member(id, None, by).await,
                    Change::Replace { old, new } => {
                        replica.replace_member(old, new, member(new), None, by).await
                    }
                };
                match done {
                    Ok(done) => {
                        changed.fetch_add(u64::from(done.changed), Ordering::Relaxed);
                        trace.note(format_args!("{change:?} is done"));
                    }
                    Err(error) => trace.note(format_args!("{change:?} is not done: {error}")),
                }
            });
        }
        true
    }

    fn draw(&mut self, status: &ReplicaStatus, fresh: Option<NodeId>) -> Option<Change> {
        let voters = voters(status);
        let of_learners = status.members.iter().filter(|member| !member.voter);
        let learners: Vec<NodeId> = of_learners.map(|member| member.node_id).collect();
        let old = self.random.pick(&voters);
        let drawn = self.random.below(4);
        // What a change left behind is gone on with, at times by another one.
        if let (false, 0..=2) = (learners.is_empty(), drawn) {
            let new = self.random.pick(&learners);
            return Some(match drawn {
                0 => Change::Replace { old, new },
                1 => Change::Promote(new),
                _ => Change::Leave(new),
            });
        }
        match (drawn, fresh) {
            (0, Some(new)) => Some(Change::Join(new)),
            (1 | 2, Some(new)) => Some(Change::Replace { old, new }),
            _ => (voters.len() > VOTERS_MIN).then_some(Change::Leave(old)),
        }
    }

    fn deadline(&mut self) -> Duration {
        Duration::from_millis(self.random.within(&DEADLINE_MS))
    }
}

/// The node that leads in the highest term, and what it says of itself.
fn leader(nodes: &[Node]) -> Option<(&Node, ReplicaStatus)> {
    let of_node = |node| Some((node, Node::replica(node)?.status()));
    let leads = |(_, status): &(&Node, ReplicaStatus)| status.role == Role::Leader;
    let all = nodes.iter().filter(|node| !node.is_frozen()).filter_map(of_node).filter(leads);
    all.max_by_key(|(_, status)| status.term)
}

fn voters(status: &ReplicaStatus) -> Vec<NodeId> {
    status.members.iter().filter(|member| member.voter).map(|member| member.node_id).collect()
}

/// The voters, as the node says that leads in the highest term; none between two configurations.
pub(crate) fn agreed(nodes: &[Node]) -> Option<BTreeSet<NodeId>> {
    let (_, status) = leader(nodes).filter(|(_, status)| !status.joint)?;
    Some(voters(&status).into_iter().collect())
}

/// A node as a member.
pub(crate) fn member(id: NodeId) -> Member {
    let (peer_address, api_address) = (format!("node-{id}:9000"), format!("node-{id}:8443"));
    Member::at(peer_address, api_address)
}
