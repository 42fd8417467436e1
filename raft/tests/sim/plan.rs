//! What a seed decides before the run begins: the shape of the cluster and of its troubles.

use std::ops::Range;

use lockbox_core::NodeId;
use lockbox_raft::replica::{SnapshotSettings, Timing};

use crate::harness::Random;
use crate::nemesis::FaultKind;

/// Ids of nodes that never were members: each joins once.
const SPARES: NodeId = 4;

/// How the network behaves when nothing is wrong with it.
#[derive(Debug, Clone)]
pub(crate) struct NetworkPlan {
    /// The way of each link, drawn once.
    pub(crate) base_ms: Range<u64>,
    /// Added to each segment.
    pub(crate) jitter_ms: Range<u64>,
    /// Segments that are lost and sent again, in a thousand.
    pub(crate) spikes_permille: u64,
    /// How late those are.
    pub(crate) spike_ms: u64,
}

/// The plan of a run.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// The first voters.
    pub(crate) nodes: Vec<NodeId>,
    /// Nodes that may join.
    pub(crate) spares: Vec<NodeId>,
    /// One step of the driver: nothing that is sent arrives sooner.
    pub(crate) step_ms: u64,
    pub(crate) timing: Timing,
    pub(crate) snapshots: SnapshotSettings,
    pub(crate) apply_entries_max: usize,
    pub(crate) network: NetworkPlan,
    /// How long a healthy disk takes before and after a write.
    pub(crate) sync_ms: Range<u64>,
    /// Between two operations of clients.
    pub(crate) operation_gap_ms: Range<u64>,
    pub(crate) reads_permille: u64,
    /// Between two faults.
    pub(crate) fault_gap_ms: Range<u64>,
    pub(crate) faults: Vec<FaultKind>,
    /// How long faults come.
    pub(crate) troubled_ms: u64,
}

impl Plan {
    pub(crate) fn draw(random: &mut Random) -> Self {
        let size = random.pick(&[3, 3, 5]);
        let step_ms = random.pick(&[2, 3, 5]);
        let heartbeat_ms = random.pick(&[60, 100]);
        let election_ms = heartbeat_ms * 4;
        let base = step_ms..step_ms + random.pick(&[1, 5, 15]);
        let few = random.chance(300);
        Self {
            nodes: (1..=size).collect(),
            spares: (size + 1..=size + SPARES).collect(),
            step_ms,
            timing: Timing {
                heartbeat_ms,
                election_timeout_min_ms: election_ms,
                election_timeout_max_ms: election_ms * 2,
            },
            snapshots: SnapshotSettings {
                logs_since_last: random.pick(&[15, 40, 150]),
                logs_kept: random.pick(&[0, 5, 60]),
                logs_held_max: 100,
                purge_batch: random.pick(&[1, 10]),
            },
            apply_entries_max: random.pick(&[1, 7, 64]),
            network: NetworkPlan {
                base_ms: base,
                jitter_ms: 0..random.pick(&[1, 3, 10]),
                spikes_permille: random.pick(&[0, 2, 20]),
                spike_ms: 200,
            },
            sync_ms: 0..random.pick(&[1, 3, 12]),
            operation_gap_ms: 1..random.pick(&[25, 60, 150]),
            reads_permille: random.pick(&[200, 500]),
            fault_gap_ms: 50..random.pick(&[500, 1_200]),
            // A part of the classes at a time: the deepest troubles need a few to coincide often.
            faults: if few { random.part(&FaultKind::ALL) } else { FaultKind::ALL.to_vec() },
            troubled_ms: 7_000,
        }
    }
}
