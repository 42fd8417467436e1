//! L11: every request to the KMS is served at most once and billed exactly when served; every
//! acknowledged operation that needed the KMS has its bill, and one of unknown outcome at most
//! one for each request that a node made for it.
//!
//! Three ledgers: what nodes say they asked, what the KMS says it served, and what it billed.
//! Still to come is the workload on secrets with keys of their own that stops and kills the KMS.

use std::collections::{BTreeMap, BTreeSet};

use crate::history::answer::Answer;
use crate::history::call::Call;
use crate::history::ids::{KmsRequestId, OpId, SecretId};
use crate::history::ledger::Ledger;
use crate::history::op::Op;

use super::{Case, Law, LawReport, Violation};

#[derive(Default)]
struct Lines {
    asked_for: Option<OpId>,
    served: u64,
    billed: u64,
}

/// Judges a case.
#[must_use]
pub fn check(case: &Case<'_>) -> LawReport {
    let mut requests: BTreeMap<&KmsRequestId, Lines> = BTreeMap::new();
    for line in &case.history.ledger {
        let lines = requests.entry(&line.request).or_default();
        match line.ledger {
            Ledger::NodeCalls => lines.asked_for = lines.asked_for.or(line.op),
            Ledger::KmsServed => lines.served += 1,
            Ledger::KmsBilled => lines.billed += 1,
        }
    }
    let billed: u64 = requests.values().map(|lines| lines.billed).sum();
    let served: u64 = requests.values().map(|lines| lines.served).sum();
    let mut violation = requests.iter().find_map(|(request, lines)| judge(request, lines));
    let paid: BTreeSet<OpId> = requests
        .values()
        .filter(|lines| lines.billed > 0)
        .filter_map(|lines| lines.asked_for)
        .collect();
    let mut needed = 0;
    if !requests.is_empty() {
        let own_key = secrets_with_own_key(case);
        for op in case.history.ops.iter().filter(|op| needs_kms(op, &own_key)) {
            needed += 1;
            if !paid.contains(&op.id) && !case.resolution.repeats(op.id) && violation.is_none() {
                violation = Some(unpaid(op));
            }
        }
    }
    let counts = [
        ("requests to the KMS", requests.len() as u64),
        ("served", served),
        ("billed", billed),
        ("operations that needed it", needed),
    ];
    LawReport::new(Law::L11, violation, &counts, "no ledger was collected")
}

fn judge(request: &KmsRequestId, lines: &Lines) -> Option<Violation> {
    let Lines { served, billed, asked_for } = lines;
    let what = if *served > 1 {
        format!("was served {served} times")
    } else if billed != served {
        format!("was served {served} times and billed {billed} times")
    } else {
        return None;
    };
    let ops: Vec<OpId> = asked_for.iter().copied().collect();
    let of = ops.first().map_or_else(|| "nobody".to_owned(), |op| format!("#{op}"));
    let sentence = format!("request {request} to the KMS, made for {of}, {what}");
    Some(Violation { ops, sentence })
}

fn secrets_with_own_key<'a>(case: &Case<'a>) -> BTreeSet<&'a SecretId> {
    let shows_key = |op: &'a Op| match &op.success()?.answer {
        Answer::Secret(view) if view.kms_key.is_some() => Some(&view.id),
        _ => None,
    };
    case.history.ops.iter().filter_map(shows_key).collect()
}

/// Whether an operation can only have succeeded with the KMS (`contract §4.5`, `§7`).
fn needs_kms(op: &Op, own_key: &BTreeSet<&SecretId>) -> bool {
    let crypto = match &op.asked.call {
        Call::CreateSecret(call) => call.first.is_some(),
        Call::AddVersion(_) | Call::GetPayload(_) => true,
        _ => false,
    };
    crypto && op.success().is_some() && op.secret().is_some_and(|secret| own_key.contains(secret))
}

fn unpaid(op: &Op) -> Violation {
    let secret = op.secret().map_or("", SecretId::as_str);
    let name = op.asked.call.name();
    let sentence = format!(
        "{name} #{} succeeded on secret {secret}, which has a key of its own, and no billed \
         request was made for it",
        op.id
    );
    Violation { ops: vec![op.id], sentence }
}

#[cfg(test)]
mod tests {
    use crate::check::laws::Finding;
    use crate::check::script::{Script, entries, get, payload, secret};

    use super::*;

    /// A secret with a key of its own and one payload read of it.
    fn script() -> (Script, OpId) {
        let mut script = Script::new();
        let Answer::Secret(mut view) = secret(None) else { unreachable!() };
        view.kms_key = Some("key".into());
        script.done(get(), Answer::Secret(view), 1);
        let read = script.done(payload(None), entries("v1", &[("a", 1)]), 1);
        (script, read)
    }

    fn finding(script: Script) -> Finding {
        let history = script.history();
        check(&Case::new(&history, None)).finding
    }

    #[test]
    fn served_once_and_billed_once_holds() {
        let (mut script, read) = script();
        script.ledger(Ledger::NodeCalls, "r1", Some(read));
        script.ledger(Ledger::KmsServed, "r1", None);
        script.ledger(Ledger::KmsBilled, "r1", None);
        // Asked for and never served: the KMS was down.
        script.ledger(Ledger::NodeCalls, "r2", None);
        assert_eq!(finding(script), Finding::Holds);
    }

    #[test]
    fn billed_twice_and_served_unbilled_are_violations() {
        let (mut script, read) = script();
        script.ledger(Ledger::NodeCalls, "r1", Some(read));
        script.ledger(Ledger::KmsServed, "r1", None);
        script.ledger(Ledger::KmsBilled, "r1", None);
        script.ledger(Ledger::KmsBilled, "r1", None);
        let Finding::Violated { sentence, .. } = finding(script) else { panic!() };
        let expected = "request r1 to the KMS, made for #1, was served 1 times and billed 2 times";
        assert_eq!(sentence, expected);
        let (mut script, _) = self::script();
        script.ledger(Ledger::KmsServed, "r1", None);
        assert!(matches!(finding(script), Finding::Violated { .. }));
    }

    #[test]
    fn a_payload_without_a_bill_is_a_violation() {
        let (mut script, _) = script();
        script.ledger(Ledger::KmsServed, "r1", None);
        script.ledger(Ledger::KmsBilled, "r1", None);
        let Finding::Violated { ops, .. } = finding(script) else { panic!() };
        assert_eq!(ops, [OpId(1)]);
    }
}
