//! What a report is made of: a history, and what the checkers found in it.
//!
//! Laws and violations have structures of their own here, so that a page can be made of anything
//! that judges and a law never depends on how it is drawn.

use crate::check::coverage::CoverageRow;
use crate::check::verdict::Judgement;
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
    pub judgement: Judgement,
    /// Why it is not better, worst first, a sentence each.
    pub reasons: Vec<String>,
    /// The laws in their order.
    pub laws: Vec<LawFinding>,
    /// Violations, worst first.
    pub violations: Vec<Violation>,
    /// What the run had to reach.
    pub coverage: Vec<CoverageRow>,
    /// Classes of faults that this machine can't do.
    pub missing_faults: Vec<MissingFault>,
    /// How long all checkers ran, seconds; 0 if it was not measured.
    pub check_seconds: f64,
}

/// What was found about one law.
#[derive(Debug, Clone, PartialEq)]
pub struct LawFinding {
    /// Its number, such as `L5`, or another name of what was judged.
    pub law: String,
    /// What it demands, in a few words.
    pub demands: String,
    /// Whether it held.
    pub state: LawState,
    /// How much was looked at: each number with what it counts, the main one first.
    pub counts: Vec<(String, u64)>,
    /// How long it took, seconds, if it was measured.
    pub seconds: Option<f64>,
    /// What was found, in one sentence; empty if it held.
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
    /// The operations that contradict each other; may be empty.
    pub ops: Vec<OpId>,
    /// The secret, if it isn't simply that of the operations.
    pub secret: Option<SecretId>,
    /// Moment of a breach that no operation shows, nanoseconds since the run began.
    pub at_ns: Option<u64>,
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
