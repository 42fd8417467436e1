//! The verdict: the worst of everything that was found (`verification §3.7`).
//!
//! Invalid: a law is violated, the harness failed, a response was outside the contract, or nodes
//! committed different logs. Unknown, which is a failure too: coverage is missing, a search ran
//! out of steps, or the run did not come to a successful final phase. Valid is what is left.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::history::History;
use crate::history::event::Phase;
use crate::history::ids::{OpId, SecretId};
use crate::history::log_dump::{CommittedLog, Disagreement};
use crate::history::makers::Makers;
use crate::history::op::Outcome;

use super::case::Case;
use super::coverage::{CoverageRow, Required, cover};
use super::jit::{STEPS_MAX, Searched, search};
use super::laws::{Finding, Law, LawReport};
use super::partition::partition;

/// The three answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Judgement {
    /// All that was required was looked at, and all of it holds.
    Valid,
    /// Nothing is known to be wrong, and not enough was looked at.
    Unknown,
    /// Something is wrong.
    Invalid,
}

impl Judgement {
    /// The exit code of Jepsen's convention: 0 valid, 1 invalid, 2 unknown.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Valid => 0,
            Self::Invalid => 1,
            Self::Unknown => 2,
        }
    }
}

impl fmt::Display for Judgement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Valid => "valid",
            Self::Unknown => "unknown",
            Self::Invalid => "invalid",
        })
    }
}

/// Everything that was found, and the judgement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// The judgement.
    pub judgement: Judgement,
    /// Why it is not better, worst first, each in one sentence.
    pub reasons: Vec<Reason>,
    /// What each law says.
    pub laws: Vec<LawReport>,
    /// What the search says.
    pub search: SearchReport,
    /// What was required and what was reached.
    pub coverage: Vec<CoverageRow>,
    /// Operations that were begun.
    pub ops: u64,
    /// Operations that were decided.
    pub decided: u64,
}

/// One reason.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Reason {
    /// To what it brings the verdict.
    pub judgement: Judgement,
    /// Why.
    pub sentence: String,
}

/// What the search that does not believe the index found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SearchReport {
    /// Secrets that were searched.
    pub secrets: u64,
    /// Operations on them.
    pub ops: u64,
    /// Secrets whose answers no order explains, each with an answer that no order comes past: the
    /// first one that cannot be, or, where the search for it was too long, one in front of it.
    pub illegal: Vec<(SecretId, OpId)>,
    /// Secrets that were too much work.
    pub unknown: Vec<SecretId>,
}

/// Which secrets are searched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SearchBounds {
    /// Every how many-th secret, in the order of their ids: 1 for all of a smoke run.
    pub every: u64,
    /// Steps for one secret.
    pub steps_max: u64,
}

impl Default for SearchBounds {
    fn default() -> Self {
        Self { every: 1, steps_max: STEPS_MAX }
    }
}

/// Searches a history.
#[must_use]
pub fn search_all(history: &History, bounds: SearchBounds) -> SearchReport {
    let mut report = SearchReport::default();
    let parts = partition(history, &Makers::find(history));
    for part in (0..).zip(&parts).filter(|(at, _)| at % bounds.every.max(1) == 0).map(|(_, p)| p) {
        report.secrets += 1;
        report.ops += part.moves.len() as u64;
        match search(part, bounds.steps_max) {
            Searched::Legal => {}
            Searched::Illegal { op } => report.illegal.push((part.secret.clone(), op)),
            Searched::Unknown => report.unknown.push(part.secret.clone()),
        }
    }
    report
}

/// Judges a history.
#[must_use]
pub fn judge(
    history: &History,
    log: Result<Option<&CommittedLog>, &Disagreement>,
    required: &Required,
    bounds: SearchBounds,
) -> Verdict {
    let laws = check_laws(history, log.ok().flatten());
    let search = search_all(history, bounds);
    conclude(history, log, required, laws, search)
}

/// Judges a history by all laws.
#[must_use]
pub fn check_laws(history: &History, log: Option<&CommittedLog>) -> Vec<LawReport> {
    let case = Case::new(history, log);
    Law::ALL.iter().map(|law| law.check(&case)).collect()
}

/// The verdict of what was found.
#[must_use]
pub fn conclude(
    history: &History,
    log: Result<Option<&CommittedLog>, &Disagreement>,
    required: &Required,
    laws: Vec<LawReport>,
    search: SearchReport,
) -> Verdict {
    let coverage = cover(history, log.ok().flatten(), required, &laws);
    let mut reasons = Vec::new();
    let mut reason = |judgement, sentence| reasons.push(Reason { judgement, sentence });
    if let Err(disagreement) = log {
        reason(Judgement::Invalid, disagreement.to_string());
    }
    for report in &laws {
        if let Finding::Violated { sentence, .. } = &report.finding {
            reason(Judgement::Invalid, format!("{}: {sentence}", report.law));
        }
    }
    for (secret, op) in &search.illegal {
        let name = history.op(*op).asked.call.name();
        let sentence =
            format!("no order of the operations on secret {secret} explains {name} #{op}");
        reason(Judgement::Invalid, sentence);
    }
    for failure in &history.failures {
        reason(Judgement::Invalid, format!("the harness failed: {}", failure.what));
    }
    for op in &history.ops {
        if let Some((_, Outcome::Unexpected(failure))) = &op.completed {
            let (name, id) = (op.asked.call.name(), op.id);
            let sentence = format!("{name} #{id} got an unexpected response: {:?}", failure.code);
            reason(Judgement::Invalid, sentence);
        }
    }
    for secret in &search.unknown {
        reason(Judgement::Unknown, format!("the search of secret {secret} ran out of steps"));
    }
    for row in coverage.iter().filter(|row| !row.is_reached()) {
        let sentence = format!("{}: {} of {} required", row.what, row.reached, row.required);
        reason(Judgement::Unknown, sentence);
    }
    if !came_to_its_end(history, &laws) {
        let sentence = "there is no successful final phase".to_owned();
        reason(Judgement::Unknown, sentence);
    }
    reasons.sort_by_key(|reason| std::cmp::Reverse(reason.judgement));
    let judgement = reasons.first().map_or(Judgement::Valid, |reason| reason.judgement);
    let decided = history.ops.iter().filter(|op| op.reply().is_some()).count() as u64;
    let ops = history.ops.len() as u64;
    Verdict { judgement, reasons, laws, search, coverage, ops, decided }
}

/// All phases up to the end, and law L14, which judges the final operations, holds.
fn came_to_its_end(history: &History, laws: &[LawReport]) -> bool {
    let phases = [Phase::Final, Phase::Done].map(|phase| history.phase(phase));
    let recovered = laws.iter().find(|report| report.law == Law::L14);
    let recovered = recovered.is_some_and(|report| report.finding == Finding::Holds);
    matches!(phases, [Some(last), Some(done)] if last < done) && recovered
}

#[cfg(test)]
mod tests {
    use crate::check::script::{Script, add, create, get, secret, version};
    use crate::history::answer::{Answer, Code};
    use crate::history::event::{Event, HarnessFailure};
    use crate::history::op::Failure;

    use super::*;

    fn judged(change: impl FnOnce(&mut Script), required: &Required) -> Verdict {
        let mut script = Script::new();
        let first = version("v1", "first", &["a"]);
        script.done(create(&[("a", 1)]), secret(Some(first)), 1);
        change(&mut script);
        let history = script.history();
        judge(&history, Ok(None), required, SearchBounds::default())
    }

    fn ends_well(script: &mut Script) {
        script.phase(Phase::Final);
        let second = version("v2", "second", &["a"]);
        script.done(add("second", &[("a", 2)]), Answer::Version(second.clone()), 2);
        script.done(get(), secret(Some(second)), 2);
        script.phase(Phase::Done);
    }

    fn first_reason(verdict: &Verdict) -> &str {
        &verdict.reasons[0].sentence
    }

    #[test]
    fn a_run_that_came_to_its_end_is_valid() {
        let verdict = judged(ends_well, &Required::default());
        assert_eq!(verdict.reasons, []);
        assert_eq!((verdict.judgement, verdict.judgement.exit_code()), (Judgement::Valid, 0));
        assert_eq!((verdict.ops, verdict.decided, verdict.search.secrets), (3, 3, 1));
    }

    #[test]
    fn a_run_without_a_final_phase_is_never_valid() {
        let verdict = judged(|_| {}, &Required::default());
        assert_eq!((verdict.judgement, verdict.judgement.exit_code()), (Judgement::Unknown, 2));
        assert_eq!(first_reason(&verdict), "there is no successful final phase");
    }

    #[test]
    fn missing_coverage_makes_it_unknown() {
        let required = Required { ops: 4, ..Required::default() };
        let verdict = judged(ends_well, &required);
        assert_eq!(verdict.judgement, Judgement::Unknown);
        assert_eq!(first_reason(&verdict), "decided operations: 3 of 4 required");
    }

    #[test]
    fn a_violation_is_found_by_the_law_and_by_the_search_and_is_worse_than_all_else() {
        let stale = |script: &mut Script| {
            ends_well(script);
            script.done(get(), secret(Some(version("v1", "first", &["a"]))), 2);
        };
        let verdict = judged(stale, &Required { ops: 99, ..Required::default() });
        assert_eq!((verdict.judgement, verdict.judgement.exit_code()), (Judgement::Invalid, 1));
        assert!(first_reason(&verdict).starts_with("L1: get_secret #3"), "{verdict:#?}");
        assert_eq!(verdict.search.illegal, [("s".into(), OpId(3))]);
    }

    #[test]
    fn failures_of_the_harness_and_unexpected_responses_make_it_invalid() {
        let fails = |script: &mut Script| {
            ends_well(script);
            let what = "node 2 did not start".to_owned();
            script.push(|at| Event::HarnessFailure(HarnessFailure { at, what }));
        };
        let verdict = judged(fails, &Required::default());
        assert_eq!(verdict.judgement, Judgement::Invalid);
        assert_eq!(first_reason(&verdict), "the harness failed: node 2 did not start");

        let surprises = |script: &mut Script| {
            ends_well(script);
            let op = script.begin(get());
            let message = "corrupt".to_owned();
            script.end(op, Outcome::Unexpected(Failure { code: Code::DataLoss, message }));
        };
        let verdict = judged(surprises, &Required::default());
        assert_eq!(verdict.judgement, Judgement::Invalid);
        assert_eq!(first_reason(&verdict), "get_secret #3 got an unexpected response: DataLoss");
    }
}
