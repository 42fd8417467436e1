//! Faults, drawn from the seed, and how they end.
//!
//! Any number of them may be in force at once, majorities lost included: safety must hold then
//! too. Progress is asked for only after [`Nemesis::heal`].

use lockbox_core::NodeId;

use crate::disk::FAULTS;
use crate::harness::Random;
use crate::members::Members;
use crate::network::Network;
use crate::node::Node;
use crate::plan::Plan;
use crate::trace::Trace;

/// A class of faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum FaultKind {
    /// One node does not hear another.
    OneWay,
    /// The nodes fall into two halves.
    Halves,
    /// Two halves, and one node that sees both.
    Bridge,
    /// The leader is cut off.
    IsolateLeader,
    /// The connections between two nodes break.
    Resets,
    /// A process ends and comes back.
    Kill,
    /// A machine loses its power, and with it what was not synced.
    PowerCut,
    /// Several machines do at the same moment.
    PowerCuts,
    /// A process stops in order, handing leadership over, and comes back.
    Restart,
    /// A process is frozen and goes on later.
    Freeze,
    /// A wall clock is set wrong.
    ClockStep,
    /// A disk becomes slow.
    SlowDisk,
    /// A disk fails once.
    BrokenDisk,
    /// A snapshot is asked for.
    Snapshot,
    /// The leader is asked to hand over.
    Transfer,
    /// It is asked for a change of the membership.
    Membership,
}

impl FaultKind {
    pub(crate) const ALL: [Self; 16] = [
        Self::OneWay,
        Self::Halves,
        Self::Bridge,
        Self::IsolateLeader,
        Self::Resets,
        Self::Kill,
        Self::PowerCut,
        Self::PowerCuts,
        Self::Restart,
        Self::Freeze,
        Self::ClockStep,
        Self::SlowDisk,
        Self::BrokenDisk,
        Self::Snapshot,
        Self::Transfer,
        Self::Membership,
    ];
}

/// What ends a fault.
enum Cure {
    Release(Vec<(NodeId, NodeId)>),
    Start(NodeId),
    Thaw(NodeId),
    Pace(NodeId),
}

/// How long partitions and slow disks last; as long as a few elections.
const LASTING_MS: std::ops::Range<u64> = 100..2_500;
const DOWN_MS: std::ops::Range<u64> = 10..1_500;
const FROZEN_MS: std::ops::Range<u64> = 20..2_000;
const SLOW_SYNC_MS: std::ops::Range<u64> = 20..150;
/// Wall clocks go wrong by up to an hour.
const CLOCK_STEP_MS: u64 = 3_600_000;

/// Makes faults and ends them.
pub(crate) struct Nemesis {
    random: Random,
    trace: Trace,
    next_ms: u64,
    cures: Vec<(u64, Cure)>,
    pub(crate) members: Members,
    /// How often each kind took effect.
    pub(crate) counts: std::collections::BTreeMap<FaultKind, u64>,
}

impl Nemesis {
    pub(crate) fn new(mut random: Random, trace: Trace) -> Self {
        let members = Members::new(random.fork(), trace.clone());
        let (cures, counts) = (Vec::new(), std::collections::BTreeMap::new());
        Self { random, trace, next_ms: 0, cures, members, counts }
    }

    /// Ends what is due, and begins the next fault when its time has come.
    pub(crate) fn act(&mut self, now_ms: u64, plan: &Plan, network: &Network, nodes: &mut [Node]) {
        let due = |(at, _): &mut (u64, Cure)| *at <= now_ms;
        let cures: Vec<_> = self.cures.extract_if(.., due).collect();
        for (_, cure) in cures {
            self.cure(cure, plan, network, nodes);
        }
        if now_ms >= self.next_ms {
            self.next_ms = now_ms + self.random.within(&plan.fault_gap_ms);
            let kind = self.random.pick(&plan.faults);
            if self.begin(kind, now_ms, network, nodes) {
                *self.counts.entry(kind).or_default() += 1;
            }
        }
    }

    fn cure(&mut self, cure: Cure, plan: &Plan, network: &Network, nodes: &mut [Node]) {
        match cure {
            Cure::Release(links) => {
                self.trace.note(format_args!("{links:?} carry again"));
                links.into_iter().for_each(|(from, to)| network.release(from, to));
            }
            Cure::Start(id) => {
                let node = at(nodes, id);
                if !node.is_up() {
                    self.trace.note(format_args!("node {id} starts"));
                    node.start();
                }
            }
            Cure::Thaw(id) => {
                self.trace.note(format_args!("node {id} goes on"));
                at(nodes, id).thaw();
            }
            Cure::Pace(id) => {
                self.trace.note(format_args!("the disk of {id} is fast again"));
                at(nodes, id).disk.set_pace(plan.sync_ms.clone());
            }
        }
    }

    /// Begins a fault; false when there is nothing that it could do now.
    fn begin(
        &mut self,
        kind: FaultKind,
        now_ms: u64,
        network: &Network,
        nodes: &mut [Node],
    ) -> bool {
        // A machine that has no part yet cannot be hit.
        let there = nodes.iter().filter(|node| node.was_started());
        let all: Vec<NodeId> = there.map(|node| node.id).collect();
        let id = self.random.pick(&all);
        match kind {
            FaultKind::OneWay => {
                let others: Vec<_> = all.into_iter().filter(|other| *other != id).collect();
                let other = self.random.pick(&others);
                self.hold(now_ms, network, vec![(id, other)]);
            }
            FaultKind::Halves => {
                let half = self.random.part(&all);
                self.hold(now_ms, network, between(&half, &all, None));
            }
            FaultKind::Bridge => {
                let half = self.random.part(&all);
                self.hold(now_ms, network, between(&half, &all, Some(id)));
            }
            FaultKind::IsolateLeader => {
                let Some(leader) = leader(nodes) else { return false };
                let mut links = between(&[leader], &all, None);
                // Deaf, mute, or both.
                match self.random.below(3) {
                    0 => links.retain(|(from, _)| *from == leader),
                    1 => links.retain(|(_, to)| *to == leader),
                    _ => {}
                }
                self.hold(now_ms, network, links);
            }
            FaultKind::Resets => {
                let pair = self.random.part(&all);
                self.trace.note(format_args!("connections of {pair:?} break"));
                for other in all {
                    pair.iter().for_each(|one| network.reset(*one, other));
                }
            }
            FaultKind::Snapshot => {
                let node = at(nodes, id);
                if node.replica().is_none() {
                    return false;
                }
                self.trace.note(format_args!("node {id} is asked for a snapshot"));
                node.spawn(|replica| async move {
                    // One that has stopped meanwhile makes none.
                    let _stopped = replica.trigger_snapshot().await.is_err();
                });
            }
            FaultKind::PowerCuts => return self.cut_powers(&all, now_ms, nodes),
            FaultKind::Transfer => return self.members.transfer(nodes),
            FaultKind::Membership => return self.members.change(nodes),
            FaultKind::Kill
            | FaultKind::PowerCut
            | FaultKind::Restart
            | FaultKind::Freeze
            | FaultKind::ClockStep
            | FaultKind::SlowDisk
            | FaultKind::BrokenDisk => return self.strike(kind, now_ms, at(nodes, id)),
        }
        true
    }

    /// A fault of one node.
    fn strike(&mut self, kind: FaultKind, now_ms: u64, node: &mut Node) -> bool {
        let id = node.id;
        if !node.is_up() || node.is_frozen() {
            return false;
        }
        match kind {
            FaultKind::Kill => {
                self.trace.note(format_args!("node {id} is killed"));
                node.kill();
                self.start_later(id, now_ms);
            }
            FaultKind::PowerCut => {
                self.trace.note(format_args!("node {id} loses its power"));
                node.cut_power(self.random.next());
                self.start_later(id, now_ms);
            }
            FaultKind::Restart => {
                self.trace.note(format_args!("node {id} shuts down"));
                node.shut_down();
            }
            FaultKind::Freeze => {
                self.trace.note(format_args!("node {id} freezes"));
                node.freeze();
                let at = now_ms + self.random.within(&FROZEN_MS);
                self.cures.push((at, Cure::Thaw(id)));
            }
            FaultKind::ClockStep => {
                let size = self.random.within(&(1..CLOCK_STEP_MS));
                let size = i64::try_from(size).unwrap();
                let ms = if self.random.chance(500) { size } else { -size };
                self.trace.note(format_args!("the clock of {id} is set by {ms} ms"));
                node.clock.shift(ms);
            }
            FaultKind::SlowDisk => {
                self.trace.note(format_args!("the disk of {id} becomes slow"));
                node.disk.set_pace(SLOW_SYNC_MS);
                let at = now_ms + self.random.within(&LASTING_MS);
                self.cures.push((at, Cure::Pace(id)));
            }
            FaultKind::BrokenDisk => {
                let fault = self.random.pick(&FAULTS);
                self.trace.note(format_args!("the disk of {id} will fail: {fault:?}"));
                node.disk.fail_next(fault);
            }
            FaultKind::OneWay
            | FaultKind::Halves
            | FaultKind::Bridge
            | FaultKind::IsolateLeader
            | FaultKind::Resets
            | FaultKind::PowerCuts
            | FaultKind::Snapshot
            | FaultKind::Transfer
            | FaultKind::Membership => return false,
        }
        true
    }

    /// A majority or all of the machines lose their power at the same moment.
    fn cut_powers(&mut self, all: &[NodeId], now_ms: u64, nodes: &mut [Node]) -> bool {
        let mut struck = all.to_vec();
        while struck.len() > all.len() / 2 + 1 && self.random.chance(500) {
            let spared = self.random.pick(&struck);
            struck.retain(|id| *id != spared);
        }
        self.trace.note(format_args!("nodes {struck:?} lose their power"));
        for id in struck {
            let node = at(nodes, id);
            if node.is_up() {
                node.cut_power(self.random.next());
                self.start_later(id, now_ms);
            }
        }
        true
    }

    /// The process of a node has ended: its supervisor starts another one.
    pub(crate) fn start_later(&mut self, id: NodeId, now_ms: u64) {
        let at = now_ms + self.random.within(&DOWN_MS);
        self.cures.push((at, Cure::Start(id)));
    }

    fn hold(&mut self, now_ms: u64, network: &Network, links: Vec<(NodeId, NodeId)>) {
        self.trace.note(format_args!("{links:?} carry nothing"));
        links.iter().for_each(|(from, to)| network.hold(*from, *to));
        let at = now_ms + self.random.within(&LASTING_MS);
        self.cures.push((at, Cure::Release(links)));
    }

    /// Ends every fault that lasts. Clocks stay as they are.
    pub(crate) fn heal(&mut self, plan: &Plan, network: &Network, nodes: &mut [Node]) {
        self.trace.note("everything heals");
        for (_, cure) in std::mem::take(&mut self.cures) {
            self.cure(cure, plan, network, nodes);
        }
        network.release_all();
        self.next_ms = u64::MAX;
    }
}

fn at(nodes: &mut [Node], id: NodeId) -> &mut Node {
    nodes.iter_mut().find(|node| node.id == id).unwrap()
}

/// A node that believes that it leads.
fn leader(nodes: &[Node]) -> Option<NodeId> {
    let leads = |node: &&Node| {
        node.replica().is_some_and(|replica| replica.watch_leadership().current().is_leader)
    };
    nodes.iter().find(leads).map(|node| node.id)
}

/// The links between a half and the rest, in both directions; none of those of the bridge.
fn between(half: &[NodeId], all: &[NodeId], bridge: Option<NodeId>) -> Vec<(NodeId, NodeId)> {
    let pairs = all.iter().flat_map(|from| all.iter().map(move |to| (*from, *to)));
    let apart = |(from, to): &(NodeId, NodeId)| {
        half.contains(from) != half.contains(to) && bridge != Some(*from) && bridge != Some(*to)
    };
    pairs.filter(apart).collect()
}
