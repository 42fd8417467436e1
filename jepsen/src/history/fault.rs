//! What the nemesis did, and what the cluster looked like at that moment.

use serde::{Deserialize, Serialize};

use super::ids::{FaultId, NodeId};
use super::op::Stamp;

/// The beginning or the end of a fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultEvent {
    /// The fault: its end has the same id as its beginning.
    pub id: FaultId,
    /// When.
    pub at: Stamp,
    /// Whether it begins or ends.
    pub edge: Edge,
    /// Its class.
    pub class: FaultClass,
    /// Which sort of it, such as `bridge` or `one_way_into_leader`; free text for the report.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub variant: String,
    /// The nodes that it is aimed at; none for the KMS and for clients.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub target: Vec<NodeId>,
    /// Whether it took effect, as verified.
    pub outcome: FaultOutcome,
    /// The leader at that moment, as far as anybody knew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader: Option<NodeId>,
    /// Whether, from this event on, a majority of voters is up and its members reach each other:
    /// only then liveness is owed.
    pub majority_reachable: bool,
}

/// Which end of a fault an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Edge {
    /// It begins.
    Begin,
    /// It is healed.
    End,
}

/// Whether a fault took effect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case", deny_unknown_fields)]
pub enum FaultOutcome {
    /// Verified: it is there, or for an end: it is gone.
    Installed,
    /// It was not tried, and why.
    Skipped {
        /// Why.
        why: String,
    },
    /// Nobody knows whether it took effect, and why.
    Indeterminate {
        /// Why.
        why: String,
    },
}

/// The classes of faults of `verification §3.2` and `§3.3`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultClass {
    /// SIGKILL and a restart.
    Kill,
    /// SIGSTOP or the freezer.
    Pause,
    /// Nodes that do not hear each other, both ways or one.
    Partition,
    /// Clients cut off from nodes.
    ClientPartition,
    /// Packets that are late.
    LinkDelay,
    /// Packets that are lost.
    LinkLoss,
    /// Packets that come twice.
    LinkDuplication,
    /// Packets that overtake each other.
    LinkReorder,
    /// Links with little bandwidth.
    LinkBandwidth,
    /// Connections that are reset.
    ConnectionReset,
    /// A wall clock that jumps.
    ClockStep,
    /// A disk without room.
    DiskFull,
    /// A sync that fails.
    FsyncError,
    /// A sync that is slow.
    FsyncSlow,
    /// A disk that is slow.
    DiskSlow,
    /// A frozen file system.
    DiskFreeze,
    /// Death that loses what was not synced.
    PowerLoss,
    /// A flipped bit or a cut file on a minority.
    Corruption,
    /// A change of the membership.
    Membership,
    /// Snapshots and purges in quick succession.
    SnapshotStorm,
    /// Leadership that is handed over.
    LeaderTransfer,
    /// A KMS that is stopped in order.
    KmsDown,
    /// A KMS that is killed: between any two of its steps.
    KmsKilled,
    /// A KMS that does not answer.
    KmsPause,
    /// A KMS that is slow or answers errors.
    KmsDegraded,
    /// Nodes that are drained and restarted one by one.
    RollingRestart,
    /// A client that goes away after it asked.
    ClientCrash,
    /// A backup that is made, and restored when the run is over.
    Restore,
}
