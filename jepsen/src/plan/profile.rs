//! The kinds of runs: how long, how large, which faults.

use serde::{Deserialize, Serialize};

use super::Phases;
use crate::cluster::files::PURGE_WITHIN_S;
use crate::nemesis::class::FaultClass;

/// A kind of run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// Five minutes, three nodes, every class: for each change.
    Smoke,
    /// The same without what needs root and namespaces.
    SmokeBasic,
    /// An hour, five nodes: before a release.
    Soak,
    /// A minute at a time: for each seeded bug until it is seen.
    Mutants,
    /// Two minutes of secrets with keys of their own, while nodes and the KMS are killed: for the
    /// bill.
    Bill,
}

/// The size of a profile.
pub(super) struct Shape {
    pub(super) nodes: u16,
    pub(super) phases: Phases,
    pub(super) window_ms: u64,
    /// How many classes a window that is not quiet has, at least …
    pub(super) active_min: u64,
    /// … and at most,
    pub(super) active_max: u64,
    /// but in so many of 100 windows all of them.
    pub(super) everything_percent: u64,
    pub(super) disk_mebibytes: u32,
    /// Within how long nodes erase what is destroyed. Where that is soon, the run looks at its end.
    pub(super) purge_within_s: u64,
}

const SECOND_MS: u64 = 1_000;

/// Classes that need neither root nor namespaces nor a mounted disk.
const BASIC: [FaultClass; 13] = [
    FaultClass::Kill,
    FaultClass::Pause,
    FaultClass::Partition,
    FaultClass::ClockStep,
    FaultClass::SyncFault,
    FaultClass::PowerLoss,
    FaultClass::BitFlip,
    FaultClass::Membership,
    FaultClass::SnapshotStorm,
    FaultClass::TransferStorm,
    FaultClass::Kms,
    FaultClass::RollingRestart,
    FaultClass::Restore,
];

/// What makes a bill wrong: a server that ends between two of its steps.
const ENDS: [FaultClass; 2] = [FaultClass::Kill, FaultClass::Kms];

impl Profile {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Smoke, Self::SmokeBasic, Self::Soak, Self::Mutants, Self::Bill];

    /// The classes that its plans draw from.
    #[must_use]
    pub const fn classes(self) -> &'static [FaultClass] {
        match self {
            Self::Smoke | Self::Soak | Self::Mutants => &FaultClass::ALL,
            Self::SmokeBasic => &BASIC,
            Self::Bill => &ENDS,
        }
    }

    /// Whether its runs are inside an enclosure, with a network of their own; the others are on
    /// this machine's loopback.
    #[must_use]
    pub const fn is_enclosed(self) -> bool {
        match self {
            Self::Smoke | Self::Soak | Self::Mutants => true,
            Self::SmokeBasic | Self::Bill => false,
        }
    }

    pub(super) const fn shape(self) -> Shape {
        match self {
            Self::Smoke | Self::SmokeBasic => Shape {
                nodes: 3,
                phases: phases(20, 180, 60),
                window_ms: 30 * SECOND_MS,
                active_min: 3,
                active_max: 5,
                everything_percent: 0,
                disk_mebibytes: 1024,
                purge_within_s: 120,
            },
            Self::Soak => Shape {
                nodes: 5,
                phases: phases(30, 3_480, 120),
                window_ms: 30 * SECOND_MS,
                // More, and most operations of an hour meet a node that is down.
                active_min: 3,
                active_max: 5,
                everything_percent: 5,
                // The state of an hour, and four times that for the image of what is durable.
                disk_mebibytes: 6144,
                purge_within_s: PURGE_WITHIN_S,
            },
            Self::Mutants => Shape {
                nodes: 3,
                phases: phases(5, 60, 60),
                window_ms: 15 * SECOND_MS,
                active_min: 4,
                active_max: 6,
                everything_percent: 0,
                disk_mebibytes: 512,
                purge_within_s: PURGE_WITHIN_S,
            },
            Self::Bill => Shape {
                nodes: 3,
                phases: phases(10, 100, 60),
                window_ms: 25 * SECOND_MS,
                active_min: 2,
                active_max: 2,
                everything_percent: 0,
                disk_mebibytes: 512,
                purge_within_s: PURGE_WITHIN_S,
            },
        }
    }
}

const fn phases(quiet_s: u64, faults_s: u64, recovery_s: u64) -> Phases {
    Phases {
        quiet_ms: quiet_s * SECOND_MS,
        faults_ms: faults_s * SECOND_MS,
        recovery_ms: recovery_s * SECOND_MS,
    }
}
