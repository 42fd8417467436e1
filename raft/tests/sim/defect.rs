//! Known bugs, switched on one at a time to show that the simulation sees them.

use crate::seeded_bugs::Bug;

/// A bug that a run has on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Defect {
    /// Between the store and the disk.
    Disk(Bug),
    /// Reads are served as they are here, without the read barrier.
    SkippedBarrier,
}

impl Defect {
    pub(crate) fn of_the_disk(self) -> Option<Bug> {
        match self {
            Self::Disk(bug) => Some(bug),
            Self::SkippedBarrier => None,
        }
    }

    /// For the environment of another process.
    pub(crate) fn name(self) -> String {
        match self {
            Self::Disk(bug) => format!("{bug:?}"),
            Self::SkippedBarrier => format!("{self:?}"),
        }
    }

    /// What [`Self::name`] gave.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        if name == Self::SkippedBarrier.name() {
            return Some(Self::SkippedBarrier);
        }
        Bug::parse(name).map(Self::Disk)
    }
}
