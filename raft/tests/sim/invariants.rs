//! What holds of every node at every moment.

use std::collections::BTreeMap;

use lockbox_core::NodeId;
use lockbox_raft::replica::{ReplicaStatus, Role};
use lockbox_raft::store::state_hash;

use crate::ledger::Ledger;
use crate::node::Node;
use crate::trace::Trace;

/// Steps between two comparisons of whole states.
const STEPS_PER_STATE: u64 = 61;

/// What was last seen of one life.
struct Seen {
    status: ReplicaStatus,
}

/// Looks at all nodes after each step.
pub(crate) struct Invariants {
    ledger: Ledger,
    trace: Trace,
    seen: BTreeMap<NodeId, Seen>,
    steps: u64,
}

impl Invariants {
    pub(crate) const fn new(ledger: Ledger, trace: Trace) -> Self {
        Self { ledger, trace, seen: BTreeMap::new(), steps: 0 }
    }

    /// A process has begun: what its predecessor had seen in memory does not bind it.
    pub(crate) fn new_life(&mut self, id: NodeId) {
        self.seen.remove(&id);
    }

    pub(crate) fn check(&mut self, nodes: &[Node]) {
        self.steps += 1;
        for node in nodes.iter().filter(|node| !node.is_frozen()) {
            let Some(replica) = node.replica() else { continue };
            let status = replica.status();
            self.check_order(&status);
            if status.role == Role::Leader {
                self.ledger.leads(node.id, status.term);
            }
            if let Some(seen) = self.seen.get(&node.id) {
                self.check_monotonic(&seen.status, &status);
            }
            let numbers = numbers(&status);
            if self.seen.get(&node.id).is_none_or(|seen| self::numbers(&seen.status) != numbers) {
                self.trace.hash("status", format!("{} {numbers:?}", node.id).as_bytes());
            }
            self.seen.insert(node.id, Seen { status });
            if self.steps.is_multiple_of(STEPS_PER_STATE) {
                self.check_state(node);
            }
        }
    }

    /// Compares the whole state with those that others had at the same index.
    pub(crate) fn check_state(&self, node: &Node) {
        let Some(replica) = node.replica() else { return };
        // A disk that fails at this moment is told by the node itself.
        if let Ok(reading) = replica.read_stale(|view, _now| state_hash(view))
            && let Ok(hash) = reading.value
        {
            self.trace.hash("state", &hash);
            self.ledger.is_at(node.id, reading.index, hash);
        }
    }

    fn check_order(&self, status: &ReplicaStatus) {
        let ReplicaStatus { purged, snapshot, applied, committed, last_log, .. } = *status;
        let in_order = purged <= snapshot && snapshot <= applied && applied <= committed;
        if !in_order || committed > last_log {
            let id = status.node_id;
            let how = format_args!(
                "node {id}: purged {purged}, snapshot {snapshot}, applied {applied}, committed \
                 {committed}, last {last_log}"
            );
            self.trace.broken("purged <= snapshot <= applied <= committed <= last", how);
        }
    }

    fn check_monotonic(&self, before: &ReplicaStatus, now: &ReplicaStatus) {
        let id = now.node_id;
        for (what, before, now) in [
            ("term", before.term, now.term),
            ("committed", before.committed, now.committed),
            ("applied", before.applied, now.applied),
            ("snapshot", before.snapshot, now.snapshot),
            ("purged", before.purged, now.purged),
        ] {
            if now < before {
                let how = format_args!("node {id}: {what} went from {before} to {now}");
                self.trace.broken("nothing goes back", how);
            }
        }
    }
}

fn numbers(status: &ReplicaStatus) -> [u64; 7] {
    let ReplicaStatus { term, purged, snapshot, applied, committed, last_log, .. } = *status;
    let leader = status.leader.as_ref().map_or(0, |(id, _)| *id);
    [term, leader, purged, snapshot, applied, committed, last_log]
}
