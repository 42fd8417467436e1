//! L2: exactly one current version whenever a version exists, and never one that was destroyed
//! when it became current.
//!
//! Two answers at one index that show different current versions, an answer without a current
//! version at or after an index that had one, a move onto a version that an earlier index had
//! shown destroyed. A version may be destroyed while it is current; the pointer then stays
//! (`contract §2.4`).

use std::collections::{BTreeMap, BTreeSet};

use crate::history::answer::{Answer, VersionStatus};
use crate::history::call::Call;
use crate::history::ids::{OpId, SecretId, VersionId};
use crate::history::op::Op;

use super::{Case, Law, LawReport, Violation};

/// What an answer says of the current version at its index.
struct Shown<'a> {
    op: OpId,
    index: u64,
    current: Option<&'a VersionId>,
    moves: bool,
    destroyed: Vec<&'a VersionId>,
}

/// Judges a case.
#[must_use]
pub fn check(case: &Case<'_>) -> LawReport {
    let mut secrets: BTreeMap<&SecretId, Vec<Shown<'_>>> = BTreeMap::new();
    for op in case.history.ops.iter().filter(|op| !case.resolution.repeats(op.id)) {
        if let (Some(secret), Some(shown)) = (op.secret(), shown(op)) {
            secrets.entry(secret).or_default().push(shown);
        }
    }
    let mut looked_at = 0;
    let mut violation = None;
    for (secret, mut all) in secrets {
        looked_at += all.len() as u64;
        // A move is what others at its index observe.
        all.sort_by_key(|shown| (shown.index, !shown.moves, shown.op));
        violation = violation.or_else(|| judge(secret, &all));
    }
    let counts = [("answers that show the current version", looked_at)];
    LawReport::new(Law::L2, violation, &counts, "no answer shows a current version")
}

fn shown(op: &Op) -> Option<Shown<'_>> {
    let reply = op.success()?;
    let (current, moves) = match (&op.asked.call, &reply.answer) {
        // Answers with the secret as it was before.
        (Call::DeleteSecret(_), _) => return None,
        (call, Answer::Secret(view)) => {
            (view.current.as_ref().map(|version| &version.id), call.is_mutation())
        }
        (Call::AddVersion(_) | Call::SetCurrentVersion(_), Answer::Version(view)) => {
            (Some(&view.id), true)
        }
        (Call::GetPayload(call), Answer::Payload(view)) if call.version.is_none() => {
            (Some(&view.version), false)
        }
        _ => return None,
    };
    let destroyed = reply.answer.versions().filter(|view| view.status == VersionStatus::Destroyed);
    let destroyed = destroyed.map(|view| &view.id).collect();
    Some(Shown { op: op.id, index: reply.index, current, moves, destroyed })
}

fn judge(secret: &SecretId, all: &[Shown<'_>]) -> Option<Violation> {
    let mut destroyed: BTreeSet<&VersionId> = BTreeSet::new();
    let mut last: Option<(&Shown<'_>, &VersionId)> = None;
    for shown in all {
        if let Some((before, current)) = last {
            let (index, op) = (shown.index, shown.op);
            if shown.current.is_none() {
                let sentence = format!(
                    "#{op} shows secret {secret} without a current version at index {index}, but \
                     #{} had shown {current} at index {}",
                    before.op, before.index
                );
                return Some(Violation { ops: vec![before.op, op], sentence });
            }
            if before.index == index && shown.current != Some(current) {
                let other = shown.current.map_or("none", VersionId::as_str);
                let sentence = format!(
                    "secret {secret} has two current versions at index {index}: #{} shows \
                     {current} and #{op} shows {other}",
                    before.op
                );
                return Some(Violation { ops: vec![before.op, op], sentence });
            }
        }
        let moved = last.is_none_or(|(_, known)| shown.current != Some(known));
        if let Some(current) = shown.current.filter(|current| moved && destroyed.contains(*current))
        {
            let (op, index) = (shown.op, shown.index);
            let sentence = format!(
                "#{op} shows that version {current} of secret {secret}, which had been destroyed, \
                 became current by index {index}"
            );
            return Some(Violation { ops: vec![op], sentence });
        }
        destroyed.extend(&shown.destroyed);
        last = shown.current.map(|current| (shown, current)).or(last);
    }
    None
}

#[cfg(test)]
mod tests {
    use crate::check::laws::Finding;
    use crate::check::script::{
        Script, create, entries, get, payload, secret, set_current, version,
    };

    use super::*;

    fn script() -> Script {
        let mut script = Script::new();
        let first = version("v1", "first", &["a"]);
        script.done(create(&[("a", 1)]), secret(Some(first)), 1);
        script
    }

    fn sentence(script: Script) -> Option<String> {
        let history = script.history();
        match check(&Case::new(&history, None)).finding {
            Finding::Violated { sentence, .. } => Some(sentence),
            Finding::Holds => None,
            Finding::NotChecked { why } => panic!("{why}"),
        }
    }

    #[test]
    fn one_current_version_at_each_index_holds() {
        let mut script = script();
        script.done(payload(None), entries("v1", &[("a", 1)]), 1);
        let moved = Answer::Version(version("v2", "second", &["a"]));
        script.done(set_current("v2"), moved, 4);
        script.done(payload(None), entries("v2", &[("a", 1)]), 4);
        assert_eq!(sentence(script), None);
    }

    #[test]
    fn two_at_one_index_are_a_violation() {
        let mut script = script();
        script.done(get(), secret(Some(version("v1", "first", &["a"]))), 7);
        script.done(payload(None), entries("v2", &[("a", 1)]), 7);
        let expected = "secret s has two current versions at index 7: #1 shows v1 and #2 shows v2";
        assert_eq!(sentence(script).as_deref(), Some(expected));
    }

    #[test]
    fn none_after_one_is_a_violation() {
        let mut script = script();
        script.done(get(), secret(None), 3);
        let expected = "#1 shows secret s without a current version at index 3, but #0 had shown \
                        v1 at index 1";
        assert_eq!(sentence(script).as_deref(), Some(expected));
    }

    #[test]
    fn a_destroyed_version_may_stay_current_and_never_become_it() {
        let mut gone = version("v1", "first", &["a"]);
        gone.status = VersionStatus::Destroyed;
        let mut stays = script();
        stays.done(get(), secret(Some(gone.clone())), 3);
        stays.done(get(), secret(Some(gone.clone())), 4);
        let next = Answer::Version(version("v2", "second", &["b"]));
        stays.done(set_current("v2"), next, 5);
        stays.done(get(), secret(Some(version("v2", "second", &["b"]))), 6);
        assert_eq!(sentence(stays), None);

        let mut comes = script();
        comes.done(get(), secret(Some(gone.clone())), 3);
        let next = Answer::Version(version("v2", "second", &["b"]));
        comes.done(set_current("v2"), next, 5);
        comes.done(get(), secret(Some(gone)), 6);
        assert!(sentence(comes).is_some_and(|s| s.contains("became current by index 6")));
    }
}
