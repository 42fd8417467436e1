//! What a planned fault does: the class with everything that is drawn before the run begins.
//!
//! Targets are named by their part (`leader`, `minority`, …), because who that is shows only when
//! the fault begins.

use serde::{Deserialize, Serialize};

use super::class::FaultClass;
use super::grudge::Grudge;
use crate::cluster::power::Survives;
use crate::cluster::switch::LinkRule;

/// Which nodes a fault hits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Victims {
    /// One, whoever it is.
    One,
    /// The leader.
    Leader,
    /// One that does not lead.
    Follower,
    /// As many as the cluster can do without.
    Minority,
    /// One more than that.
    Majority,
    /// All.
    All,
}

/// What makes a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Means {
    /// The harness's switch.
    Switch,
    /// The kernel's packet filter where the packets arrive.
    Filter,
    /// The door before a node, on loopback: nothing of others reaches it.
    Door,
}

/// Between whom links are bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Links {
    /// Between all nodes.
    Peers,
    /// From and to one node, other nodes only.
    OneNode,
    /// From the leader to the others, not back.
    OutOfLeader,
    /// Between all clients and all nodes.
    Clients,
}

/// What happens to syncs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SyncTrouble {
    /// Each takes this much longer, in microseconds.
    Slow(u32),
    /// The next one fails.
    FailsOnce,
    /// All fail.
    Fails,
}

/// What happens to the KMS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KmsTrouble {
    /// SIGKILL, and a start at the end.
    Kill,
    /// SIGTERM, and a start at the end.
    Stop,
    /// SIGSTOP.
    Pause,
    /// Its answers come this much later, in microseconds.
    Slow(u32),
    /// So many of 100 packets are lost, both ways.
    Lossy(u8),
    /// No node reaches it.
    CutOff,
    /// Its answers do not arrive, so what it serves is not known: killed in that state.
    KillBeforeAnswer,
}

/// What happens to the members.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemberChange {
    /// A new node joins and gets a vote.
    Grow,
    /// A member leaves.
    Shrink,
    /// A new node with an empty disk takes a member's place.
    Replace,
    /// A member comes back without its data, must refuse, and is replaced.
    LoseDisk,
}

/// A fault with all that is drawn of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "class")]
pub enum Action {
    /// See [`FaultClass::Kill`].
    Kill {
        /// Who.
        who: Victims,
    },
    /// See [`FaultClass::Pause`].
    Pause {
        /// Who.
        who: Victims,
    },
    /// See [`FaultClass::Partition`].
    Partition {
        /// Who drops whom.
        grudge: Grudge,
        /// By what.
        means: Means,
    },
    /// See [`FaultClass::ClientCut`].
    ClientCut {
        /// Which nodes clients do not reach.
        who: Victims,
        /// Requests arrive and answers do not.
        answers_only: bool,
    },
    /// See [`FaultClass::SlowLink`].
    SlowLink {
        /// Which links.
        links: Links,
        /// What they do.
        rule: LinkRule,
    },
    /// See [`FaultClass::ClockStep`].
    ClockStep {
        /// Whose clocks.
        who: Victims,
        /// By how many seconds.
        offset_s: i64,
    },
    /// See [`FaultClass::DiskFull`].
    DiskFull {
        /// Whose disks.
        who: Victims,
        /// Whether they are only low: a write fits, and there is less room than the mark.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        low: bool,
    },
    /// See [`FaultClass::SyncFault`].
    SyncFault {
        /// Whose disks.
        who: Victims,
        /// What they do.
        trouble: SyncTrouble,
    },
    /// See [`FaultClass::PowerLoss`].
    PowerLoss {
        /// Who.
        who: Victims,
        /// What is left.
        survives: Survives,
    },
    /// See [`FaultClass::BitFlip`].
    BitFlip {
        /// How many bits, each in a file of its own draw.
        bits: u8,
    },
    /// See [`FaultClass::Membership`].
    Membership {
        /// What changes.
        change: MemberChange,
    },
    /// See [`FaultClass::SnapshotStorm`].
    SnapshotStorm {
        /// A follower is cut off until it needs a snapshot.
        starve: bool,
    },
    /// See [`FaultClass::TransferStorm`].
    TransferStorm {
        /// Between two transfers, in milliseconds.
        every_ms: u64,
    },
    /// See [`FaultClass::Kms`].
    Kms {
        /// What.
        trouble: KmsTrouble,
    },
    /// See [`FaultClass::RollingRestart`].
    RollingRestart,
    /// See [`FaultClass::Restore`].
    Restore,
}

impl Action {
    /// Its class.
    #[must_use]
    pub const fn class(&self) -> FaultClass {
        match self {
            Self::Kill { .. } => FaultClass::Kill,
            Self::Pause { .. } => FaultClass::Pause,
            Self::Partition { .. } => FaultClass::Partition,
            Self::ClientCut { .. } => FaultClass::ClientCut,
            Self::SlowLink { .. } => FaultClass::SlowLink,
            Self::ClockStep { .. } => FaultClass::ClockStep,
            Self::DiskFull { .. } => FaultClass::DiskFull,
            Self::SyncFault { .. } => FaultClass::SyncFault,
            Self::PowerLoss { .. } => FaultClass::PowerLoss,
            Self::BitFlip { .. } => FaultClass::BitFlip,
            Self::Membership { .. } => FaultClass::Membership,
            Self::SnapshotStorm { .. } => FaultClass::SnapshotStorm,
            Self::TransferStorm { .. } => FaultClass::TransferStorm,
            Self::Kms { .. } => FaultClass::Kms,
            Self::RollingRestart => FaultClass::RollingRestart,
            Self::Restore => FaultClass::Restore,
        }
    }
}
