//! The classes of faults: the names under which plans, events, coverage and reports know them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A class of faults. At most one fault of a class is in force at a time.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    clap::ValueEnum,
)]
#[serde(rename_all = "snake_case")]
pub enum FaultClass {
    /// SIGKILL, and a start some seconds later.
    Kill,
    /// SIGSTOP and SIGCONT.
    Pause,
    /// Nodes that do not hear each other.
    Partition,
    /// Clients that do not reach nodes.
    ClientCut,
    /// Links with delay, loss, duplicates, reordering or little bandwidth.
    SlowLink,
    /// Wall clocks that jump.
    ClockStep,
    /// Disks without room, or with little.
    DiskFull,
    /// Disks that sync slowly or fail to.
    SyncFault,
    /// SIGKILL and the loss of what was not synced.
    PowerLoss,
    /// Bits of a stopped node's files that change.
    BitFlip,
    /// Nodes that join, leave and are replaced.
    Membership,
    /// Snapshots one after the other, and followers that need one.
    SnapshotStorm,
    /// Leadership handed around.
    TransferStorm,
    /// A KMS that is gone, stopped, paused, slow or cut off.
    Kms,
    /// Orderly restarts, one node at a time.
    RollingRestart,
    /// Backups while everything runs, and a cluster out of them when it is over.
    Restore,
}

impl FaultClass {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::Kill,
        Self::Pause,
        Self::Partition,
        Self::ClientCut,
        Self::SlowLink,
        Self::ClockStep,
        Self::DiskFull,
        Self::SyncFault,
        Self::PowerLoss,
        Self::BitFlip,
        Self::Membership,
        Self::SnapshotStorm,
        Self::TransferStorm,
        Self::Kms,
        Self::RollingRestart,
        Self::Restore,
    ];

    /// Its name, as in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Pause => "pause",
            Self::Partition => "partition",
            Self::ClientCut => "client_cut",
            Self::SlowLink => "slow_link",
            Self::ClockStep => "clock_step",
            Self::DiskFull => "disk_full",
            Self::SyncFault => "sync_fault",
            Self::PowerLoss => "power_loss",
            Self::BitFlip => "bit_flip",
            Self::Membership => "membership",
            Self::SnapshotStorm => "snapshot_storm",
            Self::TransferStorm => "transfer_storm",
            Self::Kms => "kms",
            Self::RollingRestart => "rolling_restart",
            Self::Restore => "restore",
        }
    }
}

impl fmt::Display for FaultClass {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_has_one_name() {
        for class in FaultClass::ALL {
            let json = serde_json::to_string(&class).unwrap();
            assert_eq!(json, format!("\"{class}\""));
        }
    }
}
