//! The faults of a made-up run, and what its nodes were under them.

use lockbox_jepsen::history::fault::{Edge, FaultClass, FaultEvent, FaultOutcome};
use lockbox_jepsen::history::ids::{FaultId, NodeId};
use lockbox_jepsen::history::sample::{RaftRole, RaftSample};

use super::synthetic::{END_NS, MS, NODES, Random, SECOND, stamp};

/// How long an election takes.
const ELECTION_NS: u64 = 1_300 * MS;

/// A cluster over time.
#[derive(Debug)]
pub(crate) struct Cluster {
    /// Beginnings and ends of faults in order.
    pub(crate) faults: Vec<FaultEvent>,
    /// From when on which node led in which term.
    leaders: Vec<(u64, Option<NodeId>, u64)>,
    /// Which nodes could not answer, from when to when, and by what.
    out: Vec<(NodeId, u64, u64, FaultClass)>,
    /// When the KMS was down.
    kms_down: Vec<(u64, u64)>,
}

/// Classes in the order in which they come; each comes three times.
const CLASSES: [(FaultClass, &str); 6] = [
    (FaultClass::Kill, ""),
    (FaultClass::Partition, "isolated_leader"),
    (FaultClass::LeaderTransfer, ""),
    (FaultClass::Pause, ""),
    (FaultClass::KmsDown, "stop"),
    (FaultClass::ClockStep, "plus_300_s"),
];

impl Cluster {
    /// A cluster with faults from second 22 to second 148.
    pub(crate) fn make(random: &mut Random) -> Self {
        let mut made = Self {
            faults: Vec::new(),
            leaders: vec![(0, None, 0), (400 * MS, Some(NodeId(1)), 1)],
            out: Vec::new(),
            kms_down: Vec::new(),
        };
        for number in 0..18_u64 {
            let (class, variant) = CLASSES[number as usize % CLASSES.len()];
            let from_ns = (22 + 7 * number) * SECOND + random.below(900) * MS;
            let lasts = 2_500 * MS + random.below(6_000) * MS;
            made.strike(number, class, variant, from_ns, from_ns + lasts);
        }
        let skipped = FaultOutcome::Skipped { why: "no loop device on this machine".to_owned() };
        made.note(18, FaultClass::DiskFull, "", &[NodeId(2)], (61 * SECOND, Edge::Begin), skipped);
        let why = "the counter page did not move".to_owned();
        let doubt = FaultOutcome::Indeterminate { why };
        made.note(
            19,
            FaultClass::FsyncSlow,
            "50_ms",
            &[NodeId(3)],
            (82 * SECOND, Edge::Begin),
            doubt,
        );
        let healed = FaultOutcome::Installed;
        made.note(
            19,
            FaultClass::FsyncSlow,
            "50_ms",
            &[NodeId(3)],
            (90 * SECOND, Edge::End),
            healed,
        );
        made.faults.sort_by_key(|fault| (fault.at, fault.id));
        made
    }

    fn strike(&mut self, id: u64, class: FaultClass, variant: &str, from_ns: u64, to_ns: u64) {
        let (leader, term) = self.leader_at(from_ns);
        let leader = leader.unwrap_or(NodeId(1));
        let follower = NodeId(leader.0 % 3 + 1);
        let mut end = to_ns;
        let target = match class {
            FaultClass::Kill | FaultClass::Partition if id < 12 => vec![leader],
            FaultClass::Kill | FaultClass::Partition | FaultClass::ClockStep => vec![follower],
            FaultClass::Pause => vec![if id < 6 { leader } else { follower }],
            FaultClass::LeaderTransfer => vec![leader],
            _ => Vec::new(),
        };
        match class {
            FaultClass::Kill | FaultClass::Pause | FaultClass::Partition => {
                self.out.extend(target.iter().map(|&node| (node, from_ns, to_ns, class)));
                if target.contains(&leader) {
                    self.leaders.push((from_ns, None, term));
                    self.leaders.push((from_ns + ELECTION_NS, Some(follower), term + 1));
                }
            }
            FaultClass::LeaderTransfer => {
                end = from_ns + 120 * MS;
                self.leaders.push((from_ns + 80 * MS, Some(follower), term + 1));
            }
            FaultClass::KmsDown => self.kms_down.push((from_ns, to_ns)),
            _ => {}
        }
        self.note(id, class, variant, &target, (from_ns, Edge::Begin), FaultOutcome::Installed);
        self.note(id, class, variant, &target, (end, Edge::End), FaultOutcome::Installed);
    }

    fn note(
        &mut self,
        id: u64,
        class: FaultClass,
        variant: &str,
        target: &[NodeId],
        (at_ns, edge): (u64, Edge),
        outcome: FaultOutcome,
    ) {
        self.faults.push(FaultEvent {
            id: FaultId(id),
            at: stamp(at_ns),
            edge,
            class,
            variant: variant.to_owned(),
            target: target.to_vec(),
            outcome,
            leader: self.leader_at(at_ns).0,
            // One pause takes the majority, so that the lane is there to be seen.
            majority_reachable: !(id == 9 && edge == Edge::Begin),
        });
    }

    /// The leader at that time, and the term.
    pub(crate) fn leader_at(&self, ns: u64) -> (Option<NodeId>, u64) {
        let now = self.leaders.iter().rev().find(|(from, _, _)| *from <= ns);
        now.map_or((None, 0), |&(_, leader, term)| (leader, term))
    }

    /// What keeps that node from answering at that time.
    pub(crate) fn out_by(&self, node: NodeId, ns: u64) -> Option<FaultClass> {
        let now = self.out.iter().find(|&&(n, from, to, _)| n == node && from <= ns && ns < to);
        now.map(|&(_, _, _, class)| class)
    }

    /// Whether the KMS is down at that time.
    pub(crate) fn kms_is_down(&self, ns: u64) -> bool {
        self.kms_down.iter().any(|&(from, to)| from <= ns && ns < to)
    }

    /// Samples of all nodes, five in a second.
    pub(crate) fn samples(&self, index_at: &[(u64, u64)]) -> Vec<RaftSample> {
        let mut samples = Vec::new();
        for tick in 0..END_NS / (200 * MS) {
            for node in NODES {
                let ns = tick * 200 * MS + node.0 * 3 * MS;
                let partitioned = self.out_by(node, ns) == Some(FaultClass::Partition);
                if self.out_by(node, ns).is_some() && !(partitioned && node.0 == 2) {
                    continue;
                }
                let (leader, term) = self.leader_at(ns);
                let role = match leader {
                    Some(leader) if leader == node => RaftRole::Leader,
                    Some(_) => RaftRole::Follower,
                    None => RaftRole::Candidate,
                };
                let place = index_at.partition_point(|&(at, _)| at <= ns);
                let index = place.checked_sub(1).map_or(0, |place| index_at[place].1);
                let snapshot = index / 1_500 * 1_500;
                samples.push(RaftSample {
                    at: stamp(ns),
                    node,
                    store: String::new(),
                    generation: 1,
                    incarnation: 1,
                    term,
                    role,
                    vote: leader,
                    last: index,
                    committed: index,
                    applied: index,
                    snapshot,
                    purged: snapshot.saturating_sub(1_000),
                    voters: NODES.to_vec(),
                    learners: Vec::new(),
                    state_hash: None,
                });
            }
        }
        samples
    }
}
