//! What all nodes together have said: the committed log, the leaders of the terms, the states.
//!
//! Every claim is compared with all earlier ones, of every node and of every life.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use lockbox_core::NodeId;
use lockbox_raft::store::decode_entry;
use openraft::EntryPayload;

use crate::trace::Trace;

/// The voters; two sets while one takes the other's place.
type Membership = Vec<BTreeSet<NodeId>>;

/// What one node has promised to keep.
#[derive(Default)]
struct Kept {
    /// Synced entries by index.
    synced: BTreeMap<u64, Bytes>,
    /// Behind the last entry that only its snapshot holds.
    covered: u64,
}

#[derive(Default)]
struct Inner {
    kept: BTreeMap<NodeId, Kept>,
    /// Entries that some node has applied, by index.
    applied: BTreeMap<u64, Bytes>,
    leaders: BTreeMap<u64, NodeId>,
    /// Every membership that some node has synced, by its index.
    memberships: BTreeMap<u64, Vec<Membership>>,
    states: BTreeMap<u64, [u8; 32]>,
}

/// The record of what holds in the whole cluster. Clones share it.
#[derive(Clone)]
pub(crate) struct Ledger {
    trace: Trace,
    inner: Arc<Mutex<Inner>>,
}

impl Ledger {
    pub(crate) fn new(nodes: &[NodeId], trace: Trace) -> Self {
        let kept = nodes.iter().map(|id| (*id, Kept::default())).collect();
        let inner = Arc::new(Mutex::new(Inner { kept, ..Inner::default() }));
        Self { trace, inner }
    }

    /// A node has promised to keep these entries from an index on, and nothing behind them.
    pub(crate) fn keeps<'e>(
        &self,
        node: NodeId,
        from: u64,
        entries: impl Iterator<Item = (&'e u64, &'e Bytes)>,
        covered: u64,
    ) {
        let mut inner = self.inner.lock().unwrap();
        let inner = &mut *inner;
        let kept = inner.kept.get_mut(&node).unwrap();
        drop(kept.synced.split_off(&from));
        kept.covered = covered;
        for (index, entry) in entries {
            kept.synced.insert(*index, entry.clone());
            if let Some(membership) = membership_of(entry) {
                let known = inner.memberships.entry(*index).or_default();
                if !known.contains(&membership) {
                    known.push(membership);
                }
            }
        }
    }

    /// A node applies an entry: the same one as every other node at this index.
    pub(crate) fn applies(&self, node: NodeId, index: u64, entry: Option<&Bytes>) {
        let Some(entry) = entry else {
            let how = format_args!("node {node} applies {index}, which its log does not hold");
            return self.trace.broken("state behind the log", how);
        };
        let mut inner = self.inner.lock().unwrap();
        let keeps = |kept: &Kept| {
            index < kept.covered || kept.synced.get(&index).is_some_and(|kept| kept == entry)
        };
        let keepers: BTreeSet<NodeId> =
            inner.kept.iter().filter(|(_, kept)| keeps(kept)).map(|(id, _)| *id).collect();
        let by_quorum = inner.may_commit(index).any(|membership| is_quorum(&keepers, membership));
        let first = !inner.applied.contains_key(&index);
        let agreed = inner.applied.entry(index).or_insert_with(|| entry.clone()) == entry;
        drop(inner);
        if first && !by_quorum {
            let how =
                format_args!("node {node} applies {index}, which nodes {keepers:?} have synced");
            self.trace.broken("what is committed is on the disks of a quorum", how);
        }
        if !agreed {
            let how = format_args!("node {node} applies another entry {index} than others did");
            self.trace.broken("committed prefixes agree", how);
        }
    }

    /// A node leads in a term: the only one that ever does.
    pub(crate) fn leads(&self, node: NodeId, term: u64) {
        let mut inner = self.inner.lock().unwrap();
        let first = !inner.leaders.contains_key(&term);
        let leader = *inner.leaders.entry(term).or_insert(node);
        drop(inner);
        if first {
            self.trace.note(format_args!("node {node} leads in term {term}"));
        }
        if leader != node {
            let how = format_args!("nodes {leader} and {node} both led in term {term}");
            self.trace.broken("one leader for each term", how);
        }
    }

    /// A node's whole state at an index: the same as that of every other node there.
    pub(crate) fn is_at(&self, node: NodeId, index: u64, state: [u8; 32]) {
        let mut inner = self.inner.lock().unwrap();
        let agreed = *inner.states.entry(index).or_insert(state);
        drop(inner);
        if agreed != state {
            let how = format_args!("node {node} has another state at {index} than others had");
            self.trace.broken("states agree", how);
        }
    }

    /// The highest index that any node has applied.
    pub(crate) fn end(&self) -> u64 {
        self.inner.lock().unwrap().applied.keys().next_back().copied().unwrap_or(0)
    }

    /// The committed log as far as anybody applied it.
    pub(crate) fn entries(&self) -> BTreeMap<u64, Bytes> {
        self.inner.lock().unwrap().applied.clone()
    }

    /// Terms that had a leader.
    pub(crate) fn terms_led(&self) -> usize {
        self.inner.lock().unwrap().leaders.len()
    }
}

impl Inner {
    /// The memberships under which an entry may have been committed: the one that was committed
    /// before it, and all that came later, for a membership is in force when it is in a log. One
    /// that another entry has taken the place of is in no log any more.
    fn may_commit(&self, index: u64) -> impl Iterator<Item = &Membership> {
        let committed = |at: &&u64| self.applied.get(at).and_then(membership_of).is_some();
        let before = self.memberships.range(..index).map(|(at, _)| at).rfind(committed);
        let from = before.copied().unwrap_or(0);
        self.memberships.range(from..).flat_map(|(at, memberships)| {
            let decided = self.applied.get(at).map(membership_of);
            memberships.iter().filter(move |membership| match &decided {
                Some(decided) => decided.as_ref() == Some(*membership),
                None => true,
            })
        })
    }
}

fn membership_of(entry: &Bytes) -> Option<Membership> {
    match decode_entry(entry).unwrap().payload {
        EntryPayload::Membership(membership) => Some(membership.get_joint_config().clone()),
        EntryPayload::Blank | EntryPayload::Normal(_) => None,
    }
}

/// Whether these nodes are a majority of every set.
fn is_quorum(nodes: &BTreeSet<NodeId>, membership: &Membership) -> bool {
    membership.iter().all(|voters| 2 * voters.intersection(nodes).count() > voters.len())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use lockbox_raft::store::encode_entry;
    use lockbox_raft::types::{LogEntry, LogId};
    use openraft::Membership as Stored;

    use super::*;
    use crate::members::member;
    use crate::time::WorldTime;

    fn entry(term: u64, index: u64, voters: &[&[NodeId]]) -> Bytes {
        let log_id = LogId::new_term_index(term, index);
        let payload = if voters.is_empty() {
            EntryPayload::Blank
        } else {
            let sets: Vec<BTreeSet<NodeId>> =
                voters.iter().map(|set| set.iter().copied().collect()).collect();
            let members: BTreeMap<_, _> =
                sets.iter().flatten().map(|id| (*id, member(*id))).collect();
            EntryPayload::Membership(Stored::new(sets, members).unwrap())
        };
        encode_entry(&LogEntry { log_id, payload })
    }

    /// A membership that only a deposed leader had synced commits nothing.
    #[test]
    fn a_membership_that_was_replaced_is_no_quorum() {
        let trace = Trace::new(WorldTime::default());
        let ledger = Ledger::new(&[1, 2, 3, 4, 5, 6], trace.clone());
        let joint = entry(1, 0, &[&[1, 2, 3, 4, 5], &[1, 2, 6]]);
        for node in 1..=6 {
            ledger.keeps(node, 0, [(&0, &joint)].into_iter(), 0);
        }
        ledger.applies(1, 0, Some(&joint));
        let deposed = entry(1, 1, &[&[1, 2, 6]]);
        ledger.keeps(1, 1, [(&1, &deposed)].into_iter(), 0);
        let (blank, next) = (entry(2, 1, &[]), entry(2, 2, &[]));
        for node in 2..=6 {
            ledger.keeps(node, 1, [(&1, &blank)].into_iter(), 0);
        }
        ledger.applies(2, 1, Some(&blank));
        assert_eq!(trace.violation(), None);
        for node in [1, 2] {
            ledger.keeps(node, 1, [(&1, &blank), (&2, &next)].into_iter(), 0);
        }
        ledger.applies(2, 2, Some(&next));
        assert!(trace.violation().is_some_and(|broken| broken.contains("nodes {1, 2}")));
    }
}
