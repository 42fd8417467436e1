//! L6: after Deactivate or Delete is acknowledged, no payload read that starts later returns a
//! payload, unless an Activate may have happened between. Reads that overlap it may do either.
//! What ends with a key of the KMS is in `keys.rs`.
//!
//! The fence is the acknowledgement and not the index, so a lying index is caught too. Still to
//! come is the workload with a KMS that is slow while the secret is deactivated, so that payloads
//! are opened before and delivered after it.

mod keys;

use std::collections::BTreeMap;

use crate::check::fences::{Fence, Span};
use crate::history::answer::Answer;
use crate::history::call::Call;
use crate::history::ids::{OpId, SecretId};
use crate::history::joined::{Joined, join_repeats};
use crate::history::op::Reply;

use super::{Case, Law, LawReport, Violation, ms};

/// What the report counts of keys that are off: coverage asks for it.
pub(crate) const TRIED_WHILE_OFF: &str = "tried while such a key was off";

#[derive(Default)]
struct OfSecret {
    deactivations: Vec<Span>,
    activations: Vec<Span>,
    deletions: Vec<Span>,
    reads: Vec<Span>,
}

/// Judges a case.
#[must_use]
pub fn check(case: &Case<'_>) -> LawReport {
    let mut secrets: BTreeMap<&SecretId, OfSecret> = BTreeMap::new();
    let joined = join_repeats(case.history);
    for joined in &joined {
        if let Some(secret) = joined.first().asked.call.secret() {
            sort_in(secrets.entry(secret).or_default(), joined);
        }
    }
    let (mut fenced, mut reads) = (0, 0);
    let mut violation: Option<(u64, Violation)> = None;
    for (secret, of) in secrets {
        let closings = (of.deactivations.len() + of.deletions.len()) as u64;
        if closings > 0 {
            fenced += closings;
            reads += of.reads.len() as u64;
        }
        let inactive = Fence::new(of.deactivations, of.activations);
        // Nothing brings a deleted secret back.
        let deleted = Fence::new(of.deletions, Vec::new());
        for read in of.reads {
            let closed = inactive.closed_before(read).or_else(|| deleted.closed_before(read));
            if let Some(closing) = closed
                && violation.as_ref().is_none_or(|(from, _)| read.from < *from)
            {
                violation = Some((read.from, describe(case, secret, closing, read.op)));
            }
        }
    }
    let of_keys = keys::check(case.history);
    let counts = [
        ("acknowledged deactivations and deletions", fenced),
        ("payload reads of such secrets", reads),
        ("keys switched off", of_keys.switched_off),
        ("uses of such keys", of_keys.uses),
        (TRIED_WHILE_OFF, of_keys.tried_while_off),
    ];
    let both = [violation, of_keys.violation].into_iter().flatten();
    let violation = both.min_by_key(|(from, _)| *from).map(|(_, violation)| violation);
    LawReport::new(Law::L6, violation, &counts, "no secret was deactivated or deleted")
}

fn sort_in(of: &mut OfSecret, joined: &Joined<'_>) {
    let acknowledged = joined.success.is_some();
    match &joined.first().asked.call {
        Call::Deactivate(_) if acknowledged => of.deactivations.push(joined.into()),
        Call::DeleteSecret(_) if acknowledged => of.deletions.push(joined.into()),
        Call::Activate(_) => of.activations.push(joined.into()),
        Call::GetPayload(_) => {
            if let Some((_, Reply { answer: Answer::Payload(_), .. })) = joined.success {
                of.reads.push(joined.into());
            }
        }
        _ => {}
    }
}

fn describe(case: &Case<'_>, secret: &SecretId, closing: OpId, read: OpId) -> Violation {
    let (closed, op) = (case.history.op(closing), case.history.op(read));
    let ended = closed.completed.as_ref().map_or(0, |(at, _)| at.ns);
    let sentence = format!(
        "get_payload #{read} returned a payload of secret {secret}, though {} #{closing} had been \
         acknowledged {} before it began",
        closed.asked.call.name(),
        ms(ended, op.invoked.ns)
    );
    Violation { ops: vec![closing, read], sentence }
}

#[cfg(test)]
mod tests {
    use crate::check::laws::Finding;
    use crate::check::script::{Script, entries, inactive, on_secret, payload, secret};

    use super::*;

    fn finding(script: Script) -> Finding {
        let history = script.history();
        check(&Case::new(&history, None)).finding
    }

    fn read(script: &mut Script) {
        script.done(payload(None), entries("v1", &[("a", 1)]), 9);
    }

    #[test]
    fn reads_before_beside_and_after_an_activation_hold() {
        let mut script = Script::new();
        read(&mut script);
        let beside = script.begin(payload(None));
        script.done(Call::Deactivate(on_secret()), inactive(None), 3);
        script.ok(beside, entries("v1", &[("a", 1)]), 9);
        let activation = script.begin(Call::Activate(on_secret()));
        read(&mut script);
        script.ok(activation, secret(None), 4);
        read(&mut script);
        assert_eq!(finding(script), Finding::Holds);
    }

    #[test]
    fn an_activation_without_an_answer_may_have_happened() {
        let mut script = Script::new();
        script.done(Call::Deactivate(on_secret()), inactive(None), 3);
        let activation = script.begin(Call::Activate(on_secret()));
        script.info(activation);
        read(&mut script);
        assert_eq!(finding(script), Finding::Holds);
    }

    #[test]
    fn a_payload_after_the_acknowledgement_is_a_violation_though_the_index_lies() {
        let mut script = Script::new();
        script.done(Call::Activate(on_secret()), secret(None), 2);
        script.done(Call::Deactivate(on_secret()), inactive(None), 30);
        read(&mut script);
        let Finding::Violated { sentence, .. } = finding(script) else { panic!() };
        let expected = "get_payload #2 returned a payload of secret s, though deactivate #1 had \
                        been acknowledged 1.000 ms before it began";
        assert_eq!(sentence, expected);
    }

    /// The repeat is acknowledged after the activation, and its effect was before it.
    #[test]
    fn a_repeat_closes_when_its_first_one_did() {
        let reads = |activated: bool| {
            let mut script = Script::new();
            script.key = Some("k");
            let lost = script.begin(Call::Deactivate(on_secret()));
            script.info(lost);
            script.key = None;
            if activated {
                script.done(Call::Activate(on_secret()), secret(None), 4);
            }
            script.key = Some("k");
            script.done(Call::Deactivate(on_secret()), inactive(None), 3);
            script.key = None;
            read(&mut script);
            finding(script)
        };
        assert_eq!(reads(true), Finding::Holds);
        let Finding::Violated { ops, .. } = reads(false) else { panic!() };
        assert_eq!(ops, [OpId(1), OpId(2)]);
    }

    #[test]
    fn nothing_brings_a_deleted_secret_back() {
        let mut script = Script::new();
        script.done(Call::DeleteSecret(on_secret()), secret(None), 3);
        script.done(Call::Activate(on_secret()), secret(None), 4);
        read(&mut script);
        assert!(matches!(finding(script), Finding::Violated { .. }));
    }
}
