//! What a report is made of: a history, and what the checkers found in it.
//!
//! The structures here are the report's own, so that a page can be made of any verdict and a
//! law never depends on how it is drawn.

use crate::history::History;
use crate::history::fault::FaultClass;
use crate::history::ids::{OpId, SecretId};
use crate::history::op::Op;

/// A run and its findings.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// What was recorded.
    pub history: &'a History,
    /// Which run it was.
    pub run: &'a RunFacts,
    /// What was found.
    pub findings: &'a Findings,
}

/// Which run it was; printed as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunFacts {
    /// Name of the run, such as that of its directory.
    pub name: String,
    /// The profile: `smoke`, `soak` and so on.
    pub profile: String,
    /// The commit whose binaries ran.
    pub commit: String,
}

/// What the checkers found.
#[derive(Debug, Clone, PartialEq)]
pub struct Findings {
    /// The worst of everything (`verification §3.7`).
    pub state: VerdictState,
    /// Why it is that one, a sentence each; for a valid run, what was shown.
    pub reasons: Vec<String>,
    /// The laws in their order.
    pub laws: Vec<LawFinding>,
    /// Violations, worst first.
    pub violations: Vec<Violation>,
    /// What the run had to reach.
    pub coverage: Vec<CoverageFinding>,
    /// Classes of faults that this machine can't do.
    pub missing_faults: Vec<MissingFault>,
    /// How long all checkers ran, seconds.
    pub check_seconds: f64,
}

/// The verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VerdictState {
    /// Every law held, and enough was tried.
    Valid,
    /// A law was broken, an answer was out of contract, or the harness failed.
    Invalid,
    /// Nothing was seen to be wrong, but too little was seen.
    Unknown,
}

/// What was found about one law.
#[derive(Debug, Clone, PartialEq)]
pub struct LawFinding {
    /// Its number, such as `L5`.
    pub law: String,
    /// What it demands, in a few words.
    pub demands: String,
    /// Whether it held.
    pub state: LawState,
    /// How many things were judged by it.
    pub counted: u64,
    /// What was counted, in the plural: `reads`, `pairs`.
    pub counted_what: String,
    /// How long it took, seconds.
    pub seconds: f64,
    /// What was found, in one sentence.
    pub sentence: String,
}

/// Whether a law held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LawState {
    /// It held.
    Holds,
    /// It was broken.
    Violated,
    /// The search was cut off, or there was not enough to judge.
    Unknown,
    /// The run has nothing that it speaks of.
    NotJudged,
}

/// One breach of one law.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The law.
    pub law: String,
    /// The breach in one sentence.
    pub sentence: String,
    /// The operations that contradict each other, the earlier one first; may be empty.
    pub ops: Vec<OpId>,
    /// The secret, where one secret is concerned.
    pub secret: Option<SecretId>,
    /// Moment of a breach that no operation shows, nanoseconds since the run began.
    pub at_ns: Option<u64>,
}

/// One thing that a run had to reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CoverageFinding {
    /// What: `operations checked`.
    pub what: String,
    /// How many there had to be.
    pub wanted: u64,
    /// How many there were.
    pub got: u64,
}

impl CoverageFinding {
    /// Whether enough was reached.
    #[must_use]
    pub const fn is_reached(&self) -> bool {
        self.got >= self.wanted
    }
}

/// A class of faults that this machine can't do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingFault {
    /// The class.
    pub class: FaultClass,
    /// Why, in one sentence.
    pub why: String,
}

impl<'a> Input<'a> {
    /// The last moment that anything tells of, nanoseconds since the run began; at least 1.
    #[must_use]
    pub fn end_ns(&self) -> u64 {
        self.history.end.ns.max(1)
    }

    /// The operation of that id.
    #[must_use]
    pub fn op(&self, id: OpId) -> Option<&'a Op> {
        self.history.ops.get(usize::try_from(id.0).ok()?)
    }
}
