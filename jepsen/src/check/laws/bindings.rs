//! L7: after the removal of a binding is acknowledged, no read by that subject that starts later
//! succeeds; after a grant is acknowledged, no read that starts later is denied.
//!
//! The same fences as for L6, for each secret, subject and role. Subjects of a run hold nothing
//! but what is bound on secrets. What ends with a token is in `tokens.rs`.

mod tokens;

use std::collections::BTreeMap;

use crate::check::fences::{Fence, Span};
use crate::history::answer::{Answer, Code};
use crate::history::call::Call;
use crate::history::ids::{OpId, SecretId, Subject};
use crate::history::joined::join_repeats;
use crate::history::op::Op;
use crate::model::rights::PAYLOAD_ROLES;

use super::{Case, Law, LawReport, Violation, ms};

/// Changes of one role, each as it was asked for and whether it was acknowledged.
#[derive(Default)]
struct OfRole {
    grants: Vec<(Span, bool)>,
    removals: Vec<(Span, bool)>,
}

#[derive(Default)]
struct OfSubject<'a> {
    roles: BTreeMap<&'a str, OfRole>,
    reads: Vec<&'a Op>,
}

/// Judges a case.
#[must_use]
pub fn check(case: &Case<'_>) -> LawReport {
    let mut subjects: BTreeMap<(&SecretId, &Subject), OfSubject<'_>> = BTreeMap::new();
    for joined in join_repeats(case.history) {
        if let Call::ChangeBinding(call) = &joined.first().asked.call
            && PAYLOAD_ROLES.contains(&call.role.as_str())
        {
            let of = subjects.entry((&call.secret, &call.member)).or_default();
            let role = of.roles.entry(&call.role).or_default();
            let changes = if call.grant { &mut role.grants } else { &mut role.removals };
            changes.push(((&joined).into(), joined.success.is_some()));
        }
    }
    for op in &case.history.ops {
        if let (Call::GetPayload(call), Some(subject)) = (&op.asked.call, &op.asked.subject) {
            subjects.entry((&call.secret, subject)).or_default().reads.push(op);
        }
    }
    let (mut changes, mut reads) = (0, 0);
    let mut violation = None;
    for ((secret, subject), of) in &subjects {
        let of_roles = of.roles.values().map(|role| role.grants.len() + role.removals.len());
        changes += of_roles.sum::<usize>() as u64;
        reads += of.reads.len() as u64;
        violation = violation.or_else(|| judge(case, secret, subject, of));
    }
    let tokens = tokens::look(case);
    violation = violation.or(tokens.violation);
    let counts = [
        ("reads by subjects of bindings", reads),
        ("changes of bindings", changes),
        ("reads by tokens that were revoked", tokens.late_reads),
        ("revocations of tokens", tokens.revocations),
        ("refusals of tokens that nobody had revoked", tokens.unfounded),
    ];
    LawReport::new(Law::L7, violation, &counts, "no subject read under a binding")
}

fn judge(
    case: &Case<'_>,
    secret: &SecretId,
    subject: &Subject,
    of: &OfSubject<'_>,
) -> Option<Violation> {
    let fences: Vec<(&str, Fence, Fence)> =
        of.roles.iter().map(|(role, of)| (*role, closing(of), granting(of))).collect();
    for read in &of.reads {
        let span = Span::from(*read);
        let Some(reply) = read.reply() else { continue };
        match &reply.answer {
            Answer::Payload(_) => {
                let open = |(_, closing, _): &(&str, Fence, Fence)| {
                    closing.may_have_opened(span) && closing.closed_before(span).is_none()
                };
                if !fences.iter().any(open) {
                    let taken = fences.iter().find_map(|(_, fence, _)| fence.closed_before(span));
                    return Some(succeeded(case, secret, subject, taken, read));
                }
            }
            Answer::Refused(refusal) if refusal.code == Code::PermissionDenied => {
                let granted = fences
                    .iter()
                    .find_map(|(role, _, fence)| Some((*role, fence.closed_before(span)?)));
                if let Some((role, grant)) = granted {
                    return Some(denied(case, secret, subject, role, grant, read));
                }
            }
            _ => {}
        }
    }
    None
}

fn acknowledged(changes: &[(Span, bool)]) -> Vec<Span> {
    changes.iter().filter(|(_, acknowledged)| *acknowledged).map(|(span, _)| *span).collect()
}

fn possible(changes: &[(Span, bool)]) -> Vec<Span> {
    changes.iter().map(|(span, _)| *span).collect()
}

/// Closed by a removal, opened by a grant.
fn closing(role: &OfRole) -> Fence {
    Fence::new(acknowledged(&role.removals), possible(&role.grants))
}

/// The other way round: what a grant ends is the denial.
fn granting(role: &OfRole) -> Fence {
    Fence::new(acknowledged(&role.grants), possible(&role.removals))
}

fn ended_ns(case: &Case<'_>, op: OpId) -> u64 {
    case.history.op(op).completed.as_ref().map_or(0, |(at, _)| at.ns)
}

fn succeeded(
    case: &Case<'_>,
    secret: &SecretId,
    subject: &Subject,
    taken: Option<OpId>,
    read: &Op,
) -> Violation {
    let op = read.id;
    let Some(taken) = taken else {
        let sentence =
            format!("get_payload #{op} by {subject} succeeded on secret {secret} without a grant");
        return Violation { ops: vec![op], sentence };
    };
    let sentence = format!(
        "get_payload #{op} by {subject} succeeded on secret {secret}, though the removal #{taken} \
         of its role had been acknowledged {} before it began",
        ms(ended_ns(case, taken), read.invoked.ns)
    );
    Violation { ops: vec![taken, op], sentence }
}

fn denied(
    case: &Case<'_>,
    secret: &SecretId,
    subject: &Subject,
    role: &str,
    grant: OpId,
    read: &Op,
) -> Violation {
    let op = read.id;
    let sentence = format!(
        "get_payload #{op} by {subject} was denied on secret {secret}, though the grant #{grant} \
         of {role} had been acknowledged {} before it began",
        ms(ended_ns(case, grant), read.invoked.ns)
    );
    Violation { ops: vec![grant, op], sentence }
}

#[cfg(test)]
mod tests {
    use crate::check::laws::Finding;
    use crate::check::script::{Script, bind, entries, payload, refused};

    use super::*;

    fn change(script: &mut Script, grant: bool) {
        script.subject = None;
        script.done(bind("ann", grant), Answer::Done, 3);
    }

    fn read(script: &mut Script, succeeds: bool) {
        script.subject = Some("ann");
        let answer =
            if succeeds { entries("v1", &[("a", 1)]) } else { refused(Code::PermissionDenied) };
        script.done(payload(None), answer, 9);
    }

    fn finding(script: Script) -> Finding {
        let history = script.history();
        check(&Case::new(&history, None)).finding
    }

    #[test]
    fn rights_that_follow_their_changes_hold() {
        let mut script = Script::new();
        read(&mut script, false);
        change(&mut script, true);
        read(&mut script, true);
        let removal = script.begin(bind("ann", false));
        script.subject = None;
        read(&mut script, true);
        read(&mut script, false);
        script.ok(removal, Answer::Done, 5);
        read(&mut script, false);
        assert_eq!(finding(script), Finding::Holds);
    }

    #[test]
    fn a_success_after_the_removal_is_a_violation() {
        let mut script = Script::new();
        change(&mut script, true);
        change(&mut script, false);
        read(&mut script, true);
        let Finding::Violated { sentence, ops } = finding(script) else { panic!() };
        assert_eq!(ops, [OpId(1), OpId(2)]);
        let expected = "get_payload #2 by ann succeeded on secret s, though the removal #1 of its \
                        role had been acknowledged 1.000 ms before it began";
        assert_eq!(sentence, expected);
    }

    #[test]
    fn a_read_without_an_answer_hides_no_later_one() {
        let mut script = Script::new();
        change(&mut script, true);
        script.subject = Some("ann");
        let lost = script.begin(payload(None));
        script.info(lost);
        script.subject = None;
        change(&mut script, false);
        read(&mut script, true);
        assert!(matches!(finding(script), Finding::Violated { .. }));
    }

    #[test]
    fn a_denial_after_the_grant_is_a_violation() {
        let mut script = Script::new();
        change(&mut script, true);
        read(&mut script, false);
        let Finding::Violated { sentence, .. } = finding(script) else { panic!() };
        assert!(sentence.starts_with("get_payload #1 by ann was denied on secret s"), "{sentence}");
    }

    #[test]
    fn a_success_without_any_grant_is_a_violation() {
        let mut script = Script::new();
        read(&mut script, true);
        assert!(matches!(finding(script), Finding::Violated { .. }));
    }
}
