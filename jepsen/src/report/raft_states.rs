//! What each node was over time, made of samples; and of faults where a node gave none.

use std::collections::BTreeMap;

use crate::history::fault::FaultClass;
use crate::history::ids::NodeId;
use crate::history::sample::{RaftRole, RaftSample};

use super::fault_spans::FaultSpan;
use super::input::Input;
use super::quantity::SECOND;

/// A sample speaks for the time until the next one, but not for longer than this: nodes are
/// looked at five times in a second (`verification §3.5`, L15).
const SAMPLE_VALID_NS: u64 = SECOND;

/// What a node was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum NodeState {
    /// Led, as far as it knew.
    Leader,
    /// Asked for votes.
    Candidate,
    /// Followed.
    Follower,
    /// Received the log without a vote.
    Learner,
    /// Did not run, by a fault.
    Down,
    /// Stood still, by a fault.
    Paused,
    /// Gave no answer, and no fault on its process says why.
    Silent,
}

/// A span in which a node was the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StateSpan {
    /// Its beginning.
    pub(super) from_ns: u64,
    /// Its end.
    pub(super) to_ns: u64,
    /// What the node was.
    pub(super) state: NodeState,
    /// In which term, if it said so.
    pub(super) term: Option<u64>,
}

/// What one node was, from the first to the last that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NodeLane {
    /// The node.
    pub(super) node: NodeId,
    /// Its spans without gaps.
    pub(super) spans: Vec<StateSpan>,
    /// When it had a newer snapshot, and up to which index.
    pub(super) snapshots: Vec<(u64, u64)>,
}

/// The lanes of all nodes that the run began with or that gave a sample.
pub(super) fn lanes(input: &Input<'_>, faults: &[FaultSpan]) -> Vec<NodeLane> {
    let end_ns = input.end_ns();
    let mut by_node: BTreeMap<NodeId, Vec<&RaftSample>> =
        input.history.header.nodes.iter().map(|&node| (node, Vec::new())).collect();
    for sample in &input.history.samples {
        by_node.entry(sample.node).or_default().push(sample);
    }
    let founders = &input.history.header.nodes;
    by_node
        .into_iter()
        .map(|(node, samples)| {
            // Before its first sample a node that joined later wasn't there.
            let joined = samples.first().filter(|_| !founders.contains(&node));
            let from_ns = joined.map_or(0, |sample| sample.at.ns);
            let mut lane = Lane { node, faults, spans: Vec::new() };
            lane.cover(from_ns, end_ns, &samples);
            NodeLane { node, spans: lane.spans, snapshots: snapshots(&samples) }
        })
        .collect()
}

struct Lane<'a> {
    node: NodeId,
    faults: &'a [FaultSpan],
    spans: Vec<StateSpan>,
}

impl Lane<'_> {
    fn cover(&mut self, from_ns: u64, end_ns: u64, samples: &[&RaftSample]) {
        let mut covered = from_ns;
        for (place, sample) in samples.iter().enumerate() {
            if sample.at.ns > covered {
                self.unsampled(covered, sample.at.ns);
            }
            let next = samples.get(place + 1).map_or(end_ns, |next| next.at.ns);
            let mut until = next.min(sample.at.ns + SAMPLE_VALID_NS).max(sample.at.ns);
            // A fault on the process ends what the last sample before it said.
            let stopped = self.stops().map(|(fault, _)| fault.from_ns);
            if let Some(stop) = stopped.filter(|&at| sample.at.ns < at && at < until).min() {
                until = stop;
            }
            let state = match sample.role {
                RaftRole::Leader => NodeState::Leader,
                RaftRole::Candidate => NodeState::Candidate,
                RaftRole::Follower => NodeState::Follower,
                RaftRole::Learner => NodeState::Learner,
            };
            self.push(sample.at.ns, until, state, Some(sample.term));
            covered = until;
        }
        if covered < end_ns {
            self.unsampled(covered, end_ns);
        }
    }

    /// Fills a time without samples: with the faults that explain it, and silence around them.
    fn unsampled(&mut self, from_ns: u64, to_ns: u64) {
        let mut covered = from_ns;
        let stops: Vec<(u64, u64, NodeState)> =
            self.stops().map(|(fault, state)| (fault.from_ns, fault.to_ns, state)).collect();
        for (from, to, state) in stops {
            let (from, to) = (from.max(covered), to.min(to_ns));
            if from < to {
                self.push(covered, from, NodeState::Silent, None);
                self.push(from, to, state, None);
                covered = to;
            }
        }
        self.push(covered, to_ns, NodeState::Silent, None);
    }

    /// The faults on the process of the node, in order.
    fn stops(&self) -> impl Iterator<Item = (&FaultSpan, NodeState)> {
        self.faults.iter().filter(|fault| fault.target.contains(&self.node)).filter_map(|fault| {
            match fault.class {
                FaultClass::Kill | FaultClass::PowerLoss => Some((fault, NodeState::Down)),
                FaultClass::Pause => Some((fault, NodeState::Paused)),
                _ => None,
            }
        })
    }

    fn push(&mut self, from_ns: u64, to_ns: u64, state: NodeState, term: Option<u64>) {
        if from_ns >= to_ns {
            return;
        }
        match self.spans.last_mut() {
            Some(last) if last.state == state && last.term == term && last.to_ns == from_ns => {
                last.to_ns = to_ns;
            }
            Some(_) | None => self.spans.push(StateSpan { from_ns, to_ns, state, term }),
        }
    }
}

fn snapshots(samples: &[&RaftSample]) -> Vec<(u64, u64)> {
    let mut newest = samples.first().map_or(0, |sample| sample.snapshot);
    let mut found = Vec::new();
    for sample in samples {
        if sample.snapshot > newest {
            newest = sample.snapshot;
            found.push((sample.at.ns, newest));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{FaultClass, FaultSpan, Lane, NodeId, NodeState, RaftRole, RaftSample, SECOND};
    use crate::history::op::Stamp;

    fn sample(ns: u64, role: RaftRole, term: u64) -> RaftSample {
        RaftSample {
            at: Stamp { order: ns, ns },
            node: NodeId(1),
            store: String::new(),
            generation: 1,
            incarnation: 1,
            term,
            role,
            vote: None,
            last: 0,
            committed: 0,
            applied: 0,
            snapshot: 0,
            purged: 0,
            voters: vec![NodeId(1)],
            learners: Vec::new(),
            state_hash: None,
        }
    }

    fn fault(class: FaultClass, from_ns: u64, to_ns: u64) -> FaultSpan {
        FaultSpan {
            class,
            variant: String::new(),
            target: vec![NodeId(1)],
            from_ns,
            to_ns,
            ended: true,
            doubt: None,
            leader: None,
        }
    }

    fn states(faults: &[FaultSpan], samples: &[RaftSample]) -> Vec<(u64, NodeState, Option<u64>)> {
        let mut lane = Lane { node: NodeId(1), faults, spans: Vec::new() };
        lane.cover(0, 10 * SECOND, &samples.iter().collect::<Vec<_>>());
        let tenths = lane.spans.iter().map(|s| (s.from_ns / (SECOND / 10), s.state, s.term));
        tenths.collect()
    }

    #[test]
    fn a_gap_is_told_by_the_fault_that_made_it_and_is_silence_otherwise() {
        let samples: Vec<RaftSample> = (0..4)
            .map(|n| sample(n * SECOND / 2, RaftRole::Leader, 3))
            .chain([sample(5 * SECOND, RaftRole::Follower, 4)])
            .chain([sample(9 * SECOND + 500_000_000, RaftRole::Follower, 4)])
            .collect();
        let faults = [fault(FaultClass::Kill, 17 * SECOND / 10, 4 * SECOND)];
        assert_eq!(
            states(&faults, &samples),
            [
                (0, NodeState::Leader, Some(3)),
                (17, NodeState::Down, None),
                (40, NodeState::Silent, None),
                (50, NodeState::Follower, Some(4)),
                (60, NodeState::Silent, None),
                (95, NodeState::Follower, Some(4)),
            ]
        );
    }

    #[test]
    fn a_new_term_begins_a_new_span() {
        let samples = [sample(0, RaftRole::Follower, 1), sample(SECOND / 2, RaftRole::Follower, 2)];
        let pause = [fault(FaultClass::Pause, SECOND, 10 * SECOND)];
        assert_eq!(
            states(&pause, &samples),
            [
                (0, NodeState::Follower, Some(1)),
                (5, NodeState::Follower, Some(2)),
                (10, NodeState::Paused, None),
            ]
        );
    }
}
