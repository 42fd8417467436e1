//! The lines of a history file, in the order in which they happened.

use serde::{Deserialize, Serialize};

use super::fault::FaultEvent;
use super::ids::{NodeId, OpId};
use super::key_switch::KeySwitch;
use super::ledger::{CanaryScan, LedgerLine};
use super::op::{Invocation, Outcome, Stamp};
use super::restored::RestoredAnswer;
use super::sample::RaftSample;

/// Version of the file format. A reader refuses every other one.
pub const FORMAT_VERSION: u32 = 1;

/// The first line of a history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// [`FORMAT_VERSION`].
    pub format: u32,
    /// Seed of the plan of the run.
    pub seed: u64,
    /// Nodes of the cluster at its beginning.
    pub nodes: Vec<NodeId>,
    /// Wall clock at stamp 0, nanoseconds since 1970.
    pub started_at_ns: i64,
}

/// One line of a history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// An operation begins.
    Invoke(Invoke),
    /// An operation ends.
    Complete(Complete),
    /// A fault begins or ends.
    Fault(FaultEvent),
    /// A majority of voters is reachable again, or is not any more.
    Majority(MajorityEvent),
    /// A look at a node.
    Sample(RaftSample),
    /// A phase begins; it lasts until the next one.
    Phase(PhaseEvent),
    /// A key of the KMS is switched off or on.
    KeySwitch(KeySwitch),
    /// A line of a ledger.
    Ledger(LedgerLine),
    /// A search for canaries.
    Scan(CanaryScan),
    /// An answer of a cluster that was restored from a backup.
    Restored(RestoredAnswer),
    /// The harness failed at something; such a run is invalid.
    HarnessFailure(HarnessFailure),
}

/// The beginning of an operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Invoke {
    /// The operation.
    pub op: OpId,
    /// When.
    pub at: Stamp,
    /// What is asked.
    pub asked: Invocation,
}

/// The end of an operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Complete {
    /// The operation.
    pub op: OpId,
    /// When.
    pub at: Stamp,
    /// What came of it.
    pub outcome: Outcome,
}

/// What the nemesis sees of the voters, told when it changes: a fault may take many seconds until
/// it is in force, and nodes are down meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MajorityEvent {
    /// When.
    pub at: Stamp,
    /// Whether a majority is up and reaches each other.
    pub reachable: bool,
}

/// The beginning of a phase.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PhaseEvent {
    /// When.
    pub at: Stamp,
    /// Which one.
    pub phase: Phase,
}

/// The phases of a run, in their order (`verification §1`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Load without faults.
    Quiet,
    /// Load under faults.
    Faults,
    /// Everything is healed, and load goes on.
    Heal,
    /// Final reads and writes that must succeed.
    Final,
    /// All of those are done, and what is left is collecting evidence.
    Done,
}

/// Something that the harness itself could not do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HarnessFailure {
    /// When.
    pub at: Stamp,
    /// What, in one sentence.
    pub what: String,
}

impl Event {
    /// When it happened.
    #[must_use]
    pub const fn at(&self) -> Stamp {
        match self {
            Self::Invoke(event) => event.at,
            Self::Complete(event) => event.at,
            Self::Fault(event) => event.at,
            Self::Majority(event) => event.at,
            Self::Sample(event) => event.at,
            Self::Phase(event) => event.at,
            Self::KeySwitch(event) => event.at,
            Self::Ledger(event) => event.at,
            Self::Scan(event) => event.at,
            Self::Restored(event) => event.at,
            Self::HarnessFailure(event) => event.at,
        }
    }
}
