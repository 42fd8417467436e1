//! L9: the same idempotency key with the same request has one effect and one answer, across
//! leaders, restarts and snapshots; with another request it is refused.
//!
//! Groups the history by key, and counts the effects that the log has under each.

use std::collections::BTreeMap;

use crate::history::answer::{Answer, Code};
use crate::history::ids::{IdempotencyKey, OpId, Subject};
use crate::history::log_dump::{CommittedLog, EntryKind, EntryOutcome};
use crate::history::op::Op;

use super::effects::kind_of;
use super::{Case, Law, LawReport, Violation};

/// Judges a case.
#[must_use]
pub fn check(case: &Case<'_>) -> LawReport {
    // The scope of a key is the subject and the method (`contract §10`).
    let mut groups: BTreeMap<(&IdempotencyKey, Option<&Subject>, &str), Vec<&Op>> = BTreeMap::new();
    for op in case.history.ops.iter().filter(|op| op.asked.call.is_mutation()) {
        if let Some(key) = &op.asked.idempotency_key {
            let group = (key, op.asked.subject.as_ref(), op.asked.call.name());
            groups.entry(group).or_default().push(op);
        }
    }
    let effects = case.log.map(effects).unwrap_or_default();
    let (mut repeats, mut violation) = (0, None);
    for ((key, _, _), group) in &groups {
        repeats += group.len() as u64 - 1;
        violation = violation.or_else(|| judge(key, group));
        violation = violation.or_else(|| count_effects(key, group, &effects));
    }
    let counts = [("repeats under a key", repeats), ("keys", groups.len() as u64)];
    LawReport::new(Law::L9, violation, &counts, "no idempotency key was used twice")
}

fn judge(key: &IdempotencyKey, group: &[&Op]) -> Option<Violation> {
    let successes: Vec<&&Op> = group.iter().filter(|op| op.success().is_some()).collect();
    for pair in successes.windows(2) {
        let (one, other) = (pair[0], pair[1]);
        let what = if one.asked.call != other.asked.call {
            "two different requests"
        } else if answer(one) != answer(other) {
            "two different answers"
        } else if index(one) != index(other) {
            "effects at two indexes"
        } else {
            continue;
        };
        let sentence = format!("key {key} had {what}: #{} and #{} succeeded", one.id, other.id);
        return Some(Violation { ops: vec![one.id, other.id], sentence });
    }
    let first = successes.iter().min_by_key(|op| op.ended())?;
    let forgotten = |op: &&&Op| {
        // Whether a right that was taken meanwhile or the key comes first, no contract says.
        let refused = op.reply().is_some_and(|reply| match &reply.answer {
            Answer::Refused(refusal) => refusal.code != Code::PermissionDenied,
            _ => false,
        });
        refused && op.asked.call == first.asked.call && op.invoked.order > first.ended()
    };
    let refused = group.iter().find(forgotten)?;
    let sentence = format!(
        "key {key} was forgotten: #{} had succeeded before #{} began, which was refused",
        first.id, refused.id
    );
    Some(Violation { ops: vec![first.id, refused.id], sentence })
}

fn answer(op: &Op) -> Option<&Answer> {
    op.success().map(|reply| &reply.answer)
}

fn index(op: &Op) -> Option<u64> {
    op.success().map(|reply| reply.index)
}

/// Indexes of the entries that took effect, by the keys that they were asked for under.
fn effects(log: &CommittedLog) -> BTreeMap<(&IdempotencyKey, EntryKind), Vec<u64>> {
    let mut effects: BTreeMap<_, Vec<u64>> = BTreeMap::new();
    for entry in log.entries().filter(|entry| entry.outcome == EntryOutcome::Done) {
        if let Some(key) = &entry.key {
            effects.entry((key, entry.kind)).or_default().push(entry.index);
        }
    }
    effects
}

fn count_effects(
    key: &IdempotencyKey,
    group: &[&Op],
    effects: &BTreeMap<(&IdempotencyKey, EntryKind), Vec<u64>>,
) -> Option<Violation> {
    let kind = kind_of(&group.first()?.asked.call)?;
    let [first, second, ..] = effects.get(&(key, kind))?.as_slice() else { return None };
    let ops: Vec<OpId> = group.iter().map(|op| op.id).collect();
    let sentence = format!(
        "key {key} had two effects, at index {first} and at index {second}, for {} requests",
        ops.len()
    );
    Some(Violation { ops, sentence })
}

#[cfg(test)]
mod tests {
    use crate::check::laws::Finding;
    use crate::check::script::{Script, add, dump, refused, version};

    use super::*;

    fn added(id: &str) -> Answer {
        Answer::Version(version(id, "", &["a"]))
    }

    fn script() -> Script {
        let mut script = Script::new();
        script.key = Some("k");
        let lost = script.begin(add("op", &[("a", 1)]));
        script.info(lost);
        script.done(add("op", &[("a", 1)]), added("v1"), 3);
        script
    }

    fn finding(script: Script) -> Finding {
        let history = script.history();
        check(&Case::new(&history, None)).finding
    }

    #[test]
    fn one_answer_for_all_repeats_holds() {
        let mut script = script();
        script.done(add("op", &[("a", 1)]), added("v1"), 3);
        script.key = Some("other");
        script.done(add("op 2", &[("a", 2)]), added("v2"), 4);
        assert_eq!(finding(script), Finding::Holds);
    }

    #[test]
    fn two_answers_and_two_requests_are_violations() {
        let mut answers = script();
        answers.done(add("op", &[("a", 1)]), added("v2"), 4);
        let Finding::Violated { sentence, .. } = finding(answers) else { panic!() };
        assert_eq!(sentence, "key k had two different answers: #1 and #2 succeeded");
        let mut requests = script();
        requests.done(add("op", &[("b", 1)]), added("v1"), 4);
        let Finding::Violated { sentence, .. } = finding(requests) else { panic!() };
        assert_eq!(sentence, "key k had two different requests: #1 and #2 succeeded");
    }

    #[test]
    fn a_key_that_is_forgotten_is_a_violation() {
        let mut again = script();
        again.done(add("op", &[("a", 1)]), added("v1"), 4);
        let Finding::Violated { sentence, .. } = finding(again) else { panic!() };
        assert_eq!(sentence, "key k had effects at two indexes: #1 and #2 succeeded");

        let mut forgotten = script();
        forgotten.done(add("op", &[("a", 1)]), refused(Code::FailedPrecondition), 4);
        let Finding::Violated { sentence, .. } = finding(forgotten) else { panic!() };
        let expected = "key k was forgotten: #1 had succeeded before #2 began, which was refused";
        assert_eq!(sentence, expected);

        // Another request under the same key is refused rightly.
        let mut other = script();
        other.done(add("op", &[("b", 1)]), refused(Code::FailedPrecondition), 4);
        assert_eq!(finding(other), Finding::Holds);
    }

    #[test]
    fn two_effects_in_the_log_are_a_violation() {
        let history = script().history();
        let mut dump = dump(1, &[(EntryKind::AddVersion, Some("v1")); 3]);
        for entry in &mut dump.entries[1..] {
            entry.key = Some("k".into());
        }
        let log = CommittedLog::join([dump]).unwrap();
        let found = check(&Case::new(&history, Some(&log))).finding;
        let Finding::Violated { sentence, .. } = found else { panic!("{found:?}") };
        let expected = "key k had two effects, at index 2 and at index 3, for 2 requests";
        assert_eq!(sentence, expected);
    }
}
