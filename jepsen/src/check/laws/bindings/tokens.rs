//! L7, of tokens: after a revocation is acknowledged, no read by that token that starts later
//! succeeds. A revoked token never comes back, so nothing opens what that has closed.

use std::collections::BTreeMap;

use crate::check::fences::Span;
use crate::check::laws::{Case, Violation, ms};
use crate::history::call::Call;
use crate::history::ids::TokenId;
use crate::history::op::Op;

/// What a history shows of tokens.
#[derive(Default)]
pub(super) struct Looked {
    /// The first success by a token that had been revoked.
    pub(super) violation: Option<Violation>,
    /// Operations by tokens whose revocation had been acknowledged before they began.
    pub(super) late_reads: u64,
    /// Acknowledged revocations.
    pub(super) revocations: u64,
    /// Operations whose token was refused before anybody had asked to revoke it. Counted and not
    /// judged: a token may end by itself, when clocks are turned.
    pub(super) unfounded: u64,
}

/// The revocation of one token.
#[derive(Clone, Copy)]
struct Revocation<'a> {
    /// When somebody first asked for it.
    asked: u64,
    /// The one that was acknowledged first.
    done: Option<&'a Op>,
}

/// Looks at all tokens.
pub(super) fn look(case: &Case<'_>) -> Looked {
    let mut revoked: BTreeMap<&TokenId, Revocation<'_>> = BTreeMap::new();
    for op in &case.history.ops {
        let Call::RevokeToken(call) = &op.asked.call else { continue };
        // In the order of beginnings, so the first is the earliest.
        let of = revoked.entry(&call.token);
        let of = of.or_insert(Revocation { asked: op.invoked.order, done: None });
        let earlier = of.done.is_none_or(|done| op.ended() < done.ended());
        if op.success().is_some() && earlier {
            of.done = Some(op);
        }
    }
    let done = revoked.values().filter(|of| of.done.is_some()).count() as u64;
    let mut looked = Looked { revocations: done, ..Looked::default() };
    for op in &case.history.ops {
        let Some(token) = &op.asked.token else { continue };
        let of = revoked.get(token).copied();
        if op.is_turned_away() && of.is_none_or(|of| op.ended() < of.asked) {
            looked.unfounded += 1;
        }
        let Some(done) = of.and_then(|of| of.done) else { continue };
        if done.ended() >= Span::from(op).from {
            continue;
        }
        looked.late_reads += 1;
        // A refusal by the state is no better than a success: the token was believed.
        if looked.violation.is_none() && op.reply().is_some() {
            looked.violation = Some(believed(token, done, op));
        }
    }
    looked
}

fn believed(token: &TokenId, revocation: &Op, op: &Op) -> Violation {
    let at_ns = revocation.completed.as_ref().map_or(0, |(at, _)| at.ns);
    let sentence = format!(
        "{} #{} was answered to the token {token}, though its revocation #{} had been \
         acknowledged {} before it began",
        op.asked.call.name(),
        op.id,
        revocation.id,
        ms(at_ns, op.invoked.ns)
    );
    Violation { ops: vec![revocation.id, op.id], sentence }
}

#[cfg(test)]
mod tests {
    use crate::check::script::{Script, entries, payload, refused, revoke};
    use crate::history::answer::{Answer, Code};
    use crate::history::ids::OpId;
    use crate::history::op::{Failure, Outcome};

    use super::*;

    fn begin(script: &mut Script) -> OpId {
        (script.subject, script.token) = (Some("ann"), Some("ann/1"));
        let op = script.begin(payload(None));
        (script.subject, script.token) = (None, None);
        op
    }

    fn served(script: &mut Script, op: OpId) {
        script.ok(op, entries("v1", &[("a", 1)]), 9);
    }

    fn turned_away(script: &mut Script, op: OpId) {
        let failure = Failure { code: Code::Unauthenticated, message: "no".to_owned() };
        script.end(op, Outcome::Fail(failure));
    }

    fn looked(script: Script) -> Looked {
        let history = script.history();
        look(&Case::new(&history, None))
    }

    #[test]
    fn a_token_is_good_until_its_revocation_ends_and_never_after() {
        let mut script = Script::new();
        let read = begin(&mut script);
        served(&mut script, read);
        let revocation = script.begin(revoke("ann/1"));
        let (during, overlapping) = (begin(&mut script), begin(&mut script));
        served(&mut script, during);
        script.ok(revocation, Answer::Done, 5);
        served(&mut script, overlapping);
        let read = begin(&mut script);
        turned_away(&mut script, read);
        // Another one of the same reader.
        (script.subject, script.token) = (Some("ann"), Some("ann/2"));
        script.done(payload(None), entries("v1", &[("a", 1)]), 9);
        let looked = looked(script);
        assert!(looked.violation.is_none());
        assert_eq!((looked.late_reads, looked.revocations, looked.unfounded), (1, 1, 0));
    }

    #[test]
    fn a_success_after_the_revocation_is_a_violation() {
        let mut script = Script::new();
        script.done(revoke("ann/1"), Answer::Done, 5);
        let read = begin(&mut script);
        served(&mut script, read);
        let violation = looked(script).violation.unwrap();
        assert_eq!(violation.ops, [OpId(0), OpId(1)]);
        let expected = "get_payload #1 was answered to the token ann/1, though its revocation #0 \
                        had been acknowledged 1.000 ms before it began";
        assert_eq!(violation.sentence, expected);
    }

    #[test]
    fn a_refusal_that_believes_the_token_is_a_violation_too() {
        let mut script = Script::new();
        script.done(revoke("ann/1"), Answer::Done, 5);
        let read = begin(&mut script);
        script.ok(read, refused(Code::PermissionDenied), 9);
        assert!(looked(script).violation.is_some());
    }

    #[test]
    fn a_revocation_without_an_answer_closes_nothing() {
        let mut script = Script::new();
        let lost = script.begin(revoke("ann/1"));
        script.info(lost);
        let read = begin(&mut script);
        served(&mut script, read);
        let looked = looked(script);
        assert!(looked.violation.is_none());
        assert_eq!(looked.revocations, 0);
    }

    #[test]
    fn refusals_that_nobody_asked_for_are_counted() {
        let mut script = Script::new();
        let read = begin(&mut script);
        turned_away(&mut script, read);
        let looked = looked(script);
        assert!(looked.violation.is_none());
        assert_eq!(looked.unfounded, 1);
    }
}
