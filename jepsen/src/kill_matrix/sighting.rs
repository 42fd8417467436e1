//! What of a verdict kills a mutant: which laws saw it, when, and what was in force then.
//!
//! A failure of the harness, an unexpected answer and missing coverage make a run invalid or
//! unknown and kill nothing: they do not show what is wrong. Neither does a recovery that took too
//! long (L14), unless the mutant is one of recovery: a machine that is busy is slow too.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::check::laws::{Finding, Law};
use crate::check::verdict::Verdict;
use crate::history::History;
use crate::history::event::Phase;
use crate::history::fault::{Edge, FaultClass, FaultOutcome};
use crate::history::ids::OpId;

/// The search that does not believe the index, where laws are named.
const SEARCH: &str = "search";
/// Nanoseconds of a millisecond.
const MS: u64 = 1_000_000;

/// What saw a mutant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sighting {
    /// The laws, the one with the earliest violation first; `search` is the search that does not
    /// believe the index.
    pub(super) laws: Vec<String>,
    /// What the first of them says.
    pub(super) sentence: String,
    /// From the beginning of the load to the first violation, in milliseconds.
    pub(super) after_ms: u64,
    /// The classes of faults that were in force at the first violation. Empty: none was.
    pub(super) in_force: BTreeSet<String>,
    /// The classes of those that were over by then.
    pub(super) before: BTreeSet<String>,
}

impl Sighting {
    /// Whether one of these laws is among those that saw it. What the search finds, L1 is about.
    pub(super) fn is_by_one_of(&self, expected: &[String]) -> bool {
        let law = |seen: &String| match seen.as_str() {
            SEARCH => Law::L1.to_string(),
            law => law.to_owned(),
        };
        self.laws.iter().map(law).any(|law| expected.contains(&law))
    }
}

/// One violation, and between which moments it happened, in nanoseconds.
struct Violation {
    law: String,
    sentence: String,
    from_ns: u64,
    to_ns: u64,
}

/// What of this verdict kills a mutant of which these laws are expected. `logs_disagree` is how
/// the nodes' committed logs contradict each other, if they do.
pub(super) fn sighting(
    verdict: &Verdict,
    history: &History,
    logs_disagree: Option<&str>,
    expected: &[String],
) -> Option<Sighting> {
    let mut violations = violations(verdict, history, expected);
    if let Some(sentence) = logs_disagree {
        // A part of that law which it leaves to the verdict, for there is no one log to look at.
        violations.retain(|violation| violation.law != Law::L13.to_string());
        let (from_ns, to_ns) = span(history, &[]);
        let law = Law::L13.to_string();
        violations.push(Violation { law, sentence: sentence.to_owned(), from_ns, to_ns });
    }
    violations.sort_by_key(|violation| violation.to_ns);
    let first = violations.first()?;
    let began_ns = history.phase(Phase::Quiet).map_or(0, |at| at.ns);
    let (in_force, before) = faults(history, first);
    Some(Sighting {
        laws: violations.iter().map(|violation| violation.law.clone()).collect(),
        sentence: first.sentence.clone(),
        after_ms: first.to_ns.saturating_sub(began_ns) / MS,
        in_force,
        before,
    })
}

fn violations(verdict: &Verdict, history: &History, expected: &[String]) -> Vec<Violation> {
    let mut violations = Vec::new();
    for report in &verdict.laws {
        let Finding::Violated { ops, sentence } = &report.finding else { continue };
        let law = report.law.to_string();
        if report.law == Law::L14 && !expected.contains(&law) {
            continue;
        }
        let (from_ns, to_ns) = span(history, ops);
        violations.push(Violation { law, sentence: sentence.clone(), from_ns, to_ns });
    }
    let spans = verdict.search.illegal.iter().map(|(_, op)| (span(history, &[*op]), *op));
    if let Some(((from_ns, to_ns), op)) = spans.min_by_key(|((_, to_ns), _)| *to_ns) {
        let name = history.op(op).asked.call.name();
        let sentence = format!("no order of the operations explains {name} #{op}");
        violations.push(Violation { law: SEARCH.to_owned(), sentence, from_ns, to_ns });
    }
    violations
}

/// When the last of these operations was on its way; without any, the end of the history, where
/// what nodes hold is compared.
fn span(history: &History, ops: &[OpId]) -> (u64, u64) {
    let Some(last) = ops.last() else { return (history.end.ns, history.end.ns) };
    let op = history.op(*last);
    let ended = op.completed.as_ref().map_or(op.invoked, |(at, _)| *at);
    (op.invoked.ns, ended.ns)
}

/// The classes of faults that were in force during a violation, and of those over by then.
fn faults(history: &History, violation: &Violation) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut in_force, mut before) = (BTreeSet::new(), BTreeSet::new());
    for begun in history.faults.iter().filter(|event| event.edge == Edge::Begin) {
        let skipped = matches!(begun.outcome, FaultOutcome::Skipped { .. });
        if skipped || begun.at.ns > violation.to_ns {
            continue;
        }
        let is_end = |event: &&crate::history::fault::FaultEvent| {
            event.id == begun.id && event.edge == Edge::End
        };
        let ended_ns = history.faults.iter().find(is_end).map_or(u64::MAX, |event| event.at.ns);
        let classes = if ended_ns >= violation.from_ns { &mut in_force } else { &mut before };
        classes.insert(name(begun.class));
    }
    before.retain(|class| !in_force.contains(class));
    (in_force, before)
}

/// The name of a class, as in the history.
fn name(class: FaultClass) -> String {
    let name = serde_json::to_value(class).ok();
    name.and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::coverage::Required;
    use crate::check::script::{Script, add, create, get, secret, version};
    use crate::check::verdict::{SearchBounds, judge};
    use crate::history::event::{Event, HarnessFailure};
    use crate::history::fault::FaultEvent;
    use crate::history::ids::FaultId;

    fn fault(script: &mut Script, id: u64, edge: Edge, class: FaultClass) {
        script.push(|at| {
            Event::Fault(FaultEvent {
                id: FaultId(id),
                at,
                edge,
                class,
                variant: String::new(),
                target: Vec::new(),
                outcome: FaultOutcome::Installed,
                leader: None,
                majority_reachable: true,
            })
        });
    }

    fn seen(change: impl FnOnce(&mut Script)) -> Option<Sighting> {
        let mut script = Script::new();
        script.phase(Phase::Quiet);
        let first = version("v1", "first", &["a"]);
        script.done(create(&[("a", 1)]), secret(Some(first)), 1);
        let second = version("v2", "second", &["a"]);
        script.done(add("second", &[("a", 2)]), crate::history::answer::Answer::Version(second), 2);
        change(&mut script);
        let history = script.history();
        let verdict = judge(&history, Ok(None), &Required::default(), SearchBounds::default());
        sighting(&verdict, &history, None, &["L5".to_owned()])
    }

    #[test]
    fn a_stale_read_is_seen_with_its_time_and_its_faults() {
        let seen = seen(|script| {
            fault(script, 1, Edge::Begin, FaultClass::Kill);
            fault(script, 1, Edge::End, FaultClass::Kill);
            fault(script, 2, Edge::Begin, FaultClass::Partition);
            script.done(get(), secret(Some(version("v1", "first", &["a"]))), 2);
            fault(script, 2, Edge::End, FaultClass::Partition);
            fault(script, 3, Edge::Begin, FaultClass::Pause);
        });
        let seen = seen.unwrap();
        assert!(seen.laws.contains(&"L1".to_owned()) && seen.laws.contains(&"search".to_owned()));
        assert_eq!(seen.in_force, BTreeSet::from(["partition".to_owned()]));
        assert_eq!(seen.before, BTreeSet::from(["kill".to_owned()]));
        let is_by = |law: &str| seen.is_by_one_of(&[law.to_owned()]);
        assert!(is_by("L1") && !is_by("L12"));
        assert!(seen.after_ms > 0 && seen.sentence.contains("get_secret"), "{seen:?}");
    }

    #[test]
    fn a_harness_that_failed_kills_nothing() {
        let seen = seen(|script| {
            let what = "node 2 has ended by itself".to_owned();
            script.push(|at| Event::HarnessFailure(HarnessFailure { at, what }));
        });
        assert_eq!(seen, None);
    }
}
