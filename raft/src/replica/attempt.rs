//! One try to propose, and what may be concluded from it.

use super::error::NotProposedReason;
use super::pause::Awaiting;
use super::proposer::Applied;

/// Why a try left no trace in any log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotTaken {
    /// The node that was asked does not lead, or none is known.
    NoLeader,
    /// The caller's time was over before anything was handed over.
    TooLate,
    /// The leader has not heard from a quorum yet: try again here (`openraft.md §7.1`).
    LeaseNotYet,
    /// The node that was asked has too much to do.
    QueueFull,
    /// The leader is handing over.
    LeaderDraining,
    /// The node that was asked refused the request itself.
    Refused,
    /// Not every member understands the command yet.
    FeatureLevel,
    /// The disks have too little room for it.
    NoRoom,
}

impl NotTaken {
    /// What to wait for before the next try; `None` when another try is not for this call.
    pub(super) const fn awaiting(self) -> Option<Awaiting> {
        match self {
            Self::LeaseNotYet => Some(Awaiting::Lease),
            Self::NoLeader | Self::LeaderDraining | Self::Refused => Some(Awaiting::Leader),
            Self::QueueFull | Self::TooLate | Self::FeatureLevel | Self::NoRoom => None,
        }
    }

    /// How the caller hears of it when no later try succeeded.
    pub(super) const fn reason(self) -> NotProposedReason {
        match self {
            Self::NoLeader | Self::LeaseNotYet | Self::LeaderDraining => {
                NotProposedReason::NoLeader
            }
            Self::TooLate => NotProposedReason::Deadline,
            Self::QueueFull => NotProposedReason::QueueFull,
            Self::Refused => NotProposedReason::Refused,
            Self::FeatureLevel => NotProposedReason::FeatureLevel,
            Self::NoRoom => NotProposedReason::NoRoom,
        }
    }
}

/// What one try came to.
#[derive(Debug)]
pub(super) enum Attempt {
    /// Applied, now or by an earlier try with the same request id.
    Applied(Box<Applied>),
    /// It is certain that this try proposed nothing.
    NotTaken(NotTaken),
    /// This try may have proposed.
    Unknown,
    /// Consensus has stopped on this node; no other try is possible here.
    Stopped,
}
