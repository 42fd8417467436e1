//! A made-up run for looking at reports: a cluster of three nodes that never existed, 18 faults
//! that took effect and two that did not, and breaches planted where they can be found.
//!
//! One seed always makes the same run. It is shared by the tests and by `examples/report.rs`.

use lockbox_jepsen::history::History;
use lockbox_jepsen::history::event::{FORMAT_VERSION, Header, Phase, PhaseEvent};
use lockbox_jepsen::history::ids::NodeId;
use lockbox_jepsen::report::input::{Findings, Input, RunFacts};

use super::synthetic_cluster::Cluster;
use super::synthetic_findings::{findings, plant};
use super::synthetic_ops::operations;

/// Nanoseconds in a millisecond.
pub(crate) const MS: u64 = 1_000_000;
/// Nanoseconds in a second.
pub(crate) const SECOND: u64 = 1_000 * MS;
/// The nodes.
pub(crate) const NODES: [NodeId; 3] = [NodeId(1), NodeId(2), NodeId(3)];
/// How long the run lasts.
pub(crate) const END_NS: u64 = 180 * SECOND;

/// What to make.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wish {
    /// The seed.
    pub(crate) seed: u64,
    /// Operations, about.
    pub(crate) ops: usize,
    /// Whether breaches are planted.
    pub(crate) broken: bool,
}

/// A run that owns all of its parts.
#[derive(Debug)]
pub(crate) struct Run {
    /// What was recorded.
    pub(crate) history: History,
    /// Facts.
    pub(crate) facts: RunFacts,
    /// Findings.
    pub(crate) findings: Findings,
}

impl Run {
    /// The run that is wished for.
    pub(crate) fn make(wish: Wish) -> Self {
        let mut random = Random(wish.seed);
        let cluster = Cluster::make(&mut random);
        let (mut ops, index_at) = operations(&cluster, wish.ops, &mut random);
        let samples = cluster.samples(&index_at);
        let violations = if wish.broken { plant(&mut ops) } else { Vec::new() };
        let phases = [
            (0, Phase::Quiet),
            (20, Phase::Faults),
            (150, Phase::Heal),
            (166, Phase::Final),
            (178, Phase::Done),
        ];
        let phases = phases.map(|(second, phase)| PhaseEvent { at: stamp(second * SECOND), phase });
        let header = Header {
            format: FORMAT_VERSION,
            seed: wish.seed,
            nodes: NODES.to_vec(),
            started_at_ns: 1_795_550_400_000_000_000,
        };
        let findings = findings(&ops, &cluster.faults, violations);
        let facts = RunFacts {
            name: "smoke-2026-11-24-synthetic".to_owned(),
            profile: "smoke (synthetic)".to_owned(),
            commit: "685b864e1f0c".to_owned(),
        };
        let history = History {
            header,
            ops,
            majorities: Vec::new(),
            faults: cluster.faults,
            samples,
            phases: phases.to_vec(),
            ledger: Vec::new(),
            scans: Vec::new(),
            restored: Vec::new(),
            key_switches: Vec::new(),
            failures: Vec::new(),
            end: stamp(END_NS),
        };
        Self { history, facts, findings }
    }

    /// It as a report takes it.
    pub(crate) fn input(&self) -> Input<'_> {
        Input { history: &self.history, run: &self.facts, findings: &self.findings }
    }
}

/// A stamp of that time. Times are unique enough here to give the order too.
pub(crate) fn stamp(ns: u64) -> lockbox_jepsen::history::op::Stamp {
    lockbox_jepsen::history::op::Stamp { order: ns, ns }
}

/// SplitMix64.
#[derive(Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// The next number.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below that.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    /// A number between 0 and 1.
    pub(crate) fn part(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A latency with a long tail around a median, in nanoseconds.
    pub(crate) fn latency(&mut self, median_ms: f64) -> u64 {
        // The sum of uniform numbers is near enough to a normal one.
        let normal = (0..6).map(|_| self.part()).sum::<f64>() - 3.0;
        (median_ms * (normal * 0.9).exp() * MS as f64) as u64
    }
}
