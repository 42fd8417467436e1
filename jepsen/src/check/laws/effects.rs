//! L10: effects are what was acknowledged and a part of what may have happened, each once; none
//! is lost, invented or done twice, and what was reported as not done was not.
//!
//! Against the log if it was dumped; what answers show of versions is looked at in any case.

use std::collections::{BTreeMap, BTreeSet};

use crate::history::answer::Answer;
use crate::history::call::Call;
use crate::history::ids::{OpId, VersionId};
use crate::history::log_dump::{CommittedLog, EntryKind, EntryOutcome, LogEntry};
use crate::history::makers;
use crate::history::op::{Op, Outcome};
use crate::history::resolve::{Fate, may_be_of};

use super::{Case, Law, LawReport, Violation};

/// Judges a case.
#[must_use]
pub fn check(case: &Case<'_>) -> LawReport {
    let acknowledged: Vec<&Op> = case
        .history
        .ops
        .iter()
        .filter(|op| op.asked.call.is_mutation() && op.success().is_some())
        .filter(|op| !case.resolution.repeats(op.id))
        .collect();
    let mut violation = shared_index(&acknowledged).or_else(|| failed_and_seen(case));
    let (mut effects, mut found) = (0, 0);
    if let Some(log) = case.log {
        violation = violation.or_else(|| lost(&acknowledged, log, &mut found));
        violation = violation.or_else(|| invented(case, &acknowledged, log, &mut effects));
    }
    // What answers show proves nothing about effects that nobody looked for.
    let counts = [
        ("acknowledged effects found in the log", found),
        ("acknowledged effects", acknowledged.len() as u64),
        ("effects in the log", effects),
    ];
    LawReport::new(Law::L10, violation, &counts, "no acknowledged effect was found in a log")
}

fn shared_index(acknowledged: &[&Op]) -> Option<Violation> {
    let mut by_index: BTreeMap<u64, OpId> = BTreeMap::new();
    for op in acknowledged {
        let index = op.success()?.index;
        if let Some(other) = by_index.insert(index, op.id) {
            let sentence = format!("#{other} and #{} both took effect at index {index}", op.id);
            return Some(Violation { ops: vec![other, op.id], sentence });
        }
    }
    None
}

/// A version whose maker was told that nothing happened.
fn failed_and_seen(case: &Case<'_>) -> Option<Violation> {
    let not_done = |op: &&Op| match &op.completed {
        Some((_, Outcome::Fail(_))) => true,
        Some((_, Outcome::Ok(reply))) => !reply.answer.is_success(),
        Some((_, Outcome::Info(_) | Outcome::Unexpected(_))) | None => false,
    };
    let failed: BTreeMap<&str, &Op> = case
        .history
        .ops
        .iter()
        .filter(not_done)
        // Another try under the same key may have done it.
        .filter(|op| op.asked.idempotency_key.is_none())
        .filter_map(|op| Some((makers::description(&op.asked.call)?, op)))
        .collect();
    for op in &case.history.ops {
        let Some(reply) = op.success() else { continue };
        for view in reply.answer.versions() {
            if let Some(maker) = failed.get(view.description.as_str()) {
                let sentence = format!(
                    "#{} shows version {} of {} #{}, which had been reported as not done",
                    op.id,
                    view.id,
                    maker.asked.call.name(),
                    maker.id
                );
                return Some(Violation { ops: vec![maker.id, op.id], sentence });
            }
        }
    }
    None
}

fn lost(acknowledged: &[&Op], log: &CommittedLog, found: &mut u64) -> Option<Violation> {
    let whole_from = log.whole_from();
    for op in acknowledged {
        let index = op.success()?.index;
        let there = log.entry(index).is_some_and(|entry| {
            matches!(entry.outcome, EntryOutcome::Done | EntryOutcome::Unknown) && is_of(entry, op)
        });
        // What was purged before it was dumped cannot be looked for.
        let known = log.entry(index).is_some() || index >= whole_from;
        *found += u64::from(there);
        if known && !there {
            let has = match log.entry(index) {
                Some(entry) => format!("{:?} ({:?})", entry.kind, entry.outcome),
                None => format!("nothing, for it ends at {}", log.last()),
            };
            let name = op.asked.call.name();
            let sentence = format!(
                "{name} #{} was acknowledged at index {index}, where the log has {has}",
                op.id
            );
            return Some(Violation { ops: vec![op.id], sentence });
        }
    }
    None
}

fn invented(
    case: &Case<'_>,
    acknowledged: &[&Op],
    log: &CommittedLog,
    effects: &mut u64,
) -> Option<Violation> {
    let mut claimed: BTreeSet<u64> =
        acknowledged.iter().filter_map(|op| Some(op.success()?.index)).collect();
    // Each of these may have had one effect, after what was known when it began.
    let mut unknown: Vec<(&Op, u64)> = Vec::new();
    for (op, fate) in case.resolution.fates() {
        match fate {
            Fate::At { index, .. } => drop(claimed.insert(*index)),
            Fate::Unknown { after } => unknown.push((case.history.op(op), *after)),
            Fate::Never => {}
        }
    }
    let ours: BTreeSet<_> = case.history.ops.iter().filter_map(Op::secret).collect();
    // Nobody else makes secrets once the run has begun, so one that no answer names is its own.
    let begun = claimed.first().copied().unwrap_or(u64::MAX);
    let made_since = |entry: &LogEntry| {
        entry.kind == EntryKind::CreateSecret && entry.index > begun && entry.secret.is_some()
    };
    let mut violation = None;
    for entry in log.entries() {
        // Before the run there were other callers; of a secret of the run there were not.
        let named = entry.secret.as_ref().is_some_and(|secret| ours.contains(secret));
        let of_run = named || made_since(entry);
        if entry.outcome != EntryOutcome::Done || !is_effect(entry.kind) || !of_run {
            continue;
        }
        *effects += 1;
        if claimed.contains(&entry.index) {
            continue;
        }
        // In the order of the log, so whoever can explain this one can explain all later ones of
        // its kind as well: it does not matter whom it is taken from.
        let fits = |(op, after): &(&Op, u64)| *after < entry.index && may_be_of(op, entry);
        if let Some(place) = unknown.iter().position(fits) {
            unknown.swap_remove(place);
        } else if violation.is_none() {
            let sentence = format!(
                "the log has an effect at index {}, {:?} of version {} on secret {}, that no \
                 operation asked for or that was done before",
                entry.index,
                entry.kind,
                entry.version.as_ref().map_or("none", VersionId::as_str),
                entry.secret.as_ref().map_or("none", |secret| secret.as_str()),
            );
            violation = Some(Violation { ops: Vec::new(), sentence });
        }
    }
    violation
}

/// What operations of a run ask for; the rest is the cluster's own.
const fn is_effect(kind: EntryKind) -> bool {
    match kind {
        EntryKind::CreateSecret
        | EntryKind::AddVersion
        | EntryKind::SetCurrentVersion
        | EntryKind::ScheduleDestruction
        | EntryKind::CancelDestruction
        | EntryKind::Activate
        | EntryKind::Deactivate
        | EntryKind::DeleteSecret
        | EntryKind::UpdateSecret
        | EntryKind::ChangeBinding
        | EntryKind::RevokeToken => true,
        EntryKind::DestroyVersion | EntryKind::Membership | EntryKind::Blank | EntryKind::Other => {
            false
        }
    }
}

/// The kind of entry that a mutation asks for.
pub(super) const fn kind_of(call: &Call) -> Option<EntryKind> {
    Some(match call {
        Call::CreateSecret(_) => EntryKind::CreateSecret,
        Call::AddVersion(_) => EntryKind::AddVersion,
        Call::SetCurrentVersion(_) => EntryKind::SetCurrentVersion,
        Call::ScheduleDestruction(_) => EntryKind::ScheduleDestruction,
        Call::CancelDestruction(_) => EntryKind::CancelDestruction,
        Call::Activate(_) => EntryKind::Activate,
        Call::Deactivate(_) => EntryKind::Deactivate,
        Call::DeleteSecret(_) => EntryKind::DeleteSecret,
        Call::UpdateSecret(_) => EntryKind::UpdateSecret,
        Call::ChangeBinding(_) => EntryKind::ChangeBinding,
        Call::RevokeToken(_) => EntryKind::RevokeToken,
        Call::GetSecret(_) | Call::ListVersions(_) | Call::GetPayload(_) | Call::ListSecrets(_) => {
            return None;
        }
    })
}

/// Whether an entry is what an acknowledged operation did.
fn is_of(entry: &LogEntry, op: &Op) -> bool {
    let version = match op.success().map(|reply| &reply.answer) {
        Some(Answer::Version(view)) => Some(&view.id),
        _ => None,
    };
    kind_of(&op.asked.call) == Some(entry.kind)
        && entry.secret.as_ref() == op.secret()
        && (version.is_none() || version == entry.version.as_ref())
}

#[cfg(test)]
mod tests {
    use crate::check::laws::Finding;
    use crate::check::script::{Script, add, dump, get, log, secret, set_current, version};

    use super::*;

    const ADD: (EntryKind, Option<&str>) = (EntryKind::AddVersion, Some("v1"));
    const SET: (EntryKind, Option<&str>) = (EntryKind::SetCurrentVersion, Some("v1"));

    fn added() -> Answer {
        Answer::Version(version("v1", "op", &["a"]))
    }

    fn sentence(script: Script, entries: &[(EntryKind, Option<&str>)]) -> Option<String> {
        let history = script.history();
        match check(&Case::new(&history, Some(&log(entries)))).finding {
            Finding::Violated { sentence, .. } => Some(sentence),
            Finding::Holds => None,
            Finding::NotChecked { why } => panic!("{why}"),
        }
    }

    #[test]
    fn acknowledged_effects_and_one_that_may_have_happened_hold() {
        let mut script = Script::new();
        script.done(add("op", &[("a", 1)]), added(), 1);
        let lost = script.begin(set_current("v1"));
        script.info(lost);
        assert_eq!(sentence(script, &[ADD, SET]), None);
    }

    #[test]
    fn an_acknowledged_effect_that_is_not_in_the_log_is_a_violation() {
        let mut script = Script::new();
        script.done(add("op", &[("a", 1)]), added(), 2);
        let expected = "add_version #0 was acknowledged at index 2, where the log has nothing, \
                        for it ends at 1";
        assert_eq!(sentence(script, &[(EntryKind::Blank, None)]).as_deref(), Some(expected));
    }

    #[test]
    fn a_creation_that_was_done_twice_is_a_violation() {
        let mut script = Script::new();
        script.done(add("op", &[("a", 1)]), added(), 1);
        let history = script.history();
        let mut log = dump(1, &[ADD, (EntryKind::CreateSecret, None)]);
        log.entries[1].secret = Some("nobody-names-it".into());
        let log = CommittedLog::join([log]).unwrap();
        let found = check(&Case::new(&history, Some(&log))).finding;
        let Finding::Violated { sentence, .. } = found else { panic!("{found:?}") };
        assert!(sentence.contains("an effect at index 2, CreateSecret"), "{sentence}");
    }

    #[test]
    fn an_effect_that_nobody_asked_for_is_a_violation() {
        let mut script = Script::new();
        script.done(add("op", &[("a", 1)]), added(), 1);
        let lost = script.begin(set_current("v1"));
        script.fail(lost);
        let found = sentence(script, &[ADD, SET]);
        assert!(found.is_some_and(|s| s.contains("an effect at index 2, SetCurrentVersion")));
    }

    #[test]
    fn one_operation_does_not_explain_two_effects() {
        let twice = |lost: &[&str]| {
            let mut script = Script::new();
            script.done(add("op", &[("a", 1)]), added(), 1);
            for version in lost {
                let lost = script.begin(set_current(version));
                script.info(lost);
            }
            sentence(script, &[ADD, SET, SET])
        };
        assert!(twice(&["v1"]).is_some_and(|s| s.contains("an effect at index 3")));
        assert!(twice(&["v1", "v2"]).is_some(), "the other one was of another version");
        assert_eq!(twice(&["v1", "v1"]), None);
    }

    #[test]
    fn two_effects_at_one_index_are_a_violation() {
        let mut script = Script::new();
        script.done(add("op", &[("a", 1)]), added(), 1);
        let other = Answer::Version(version("v2", "op 2", &["a"]));
        script.done(add("op 2", &[("a", 1)]), other, 1);
        let expected = "#0 and #1 both took effect at index 1";
        assert_eq!(sentence(script, &[ADD]).as_deref(), Some(expected));
    }

    #[test]
    fn what_was_reported_as_not_done_and_is_seen_is_a_violation_without_a_log_too() {
        let mut script = Script::new();
        let failed = script.begin(add("op", &[("a", 1)]));
        script.fail(failed);
        script.done(get(), secret(Some(version("v1", "op", &["a"]))), 3);
        let history = script.history();
        let found = check(&Case::new(&history, None)).finding;
        let Finding::Violated { sentence, .. } = found else { panic!("{found:?}") };
        let expected = "#1 shows version v1 of add_version #0, which had been reported as not done";
        assert_eq!(sentence, expected);
    }

    #[test]
    fn without_a_log_it_is_not_called_checked() {
        let mut script = Script::new();
        script.done(add("op", &[("a", 1)]), added(), 1);
        let history = script.history();
        let found = check(&Case::new(&history, None)).finding;
        assert!(matches!(found, Finding::NotChecked { .. }), "{found:?}");
    }
}
