//! Hand-written books, good and bad.

use crate::check::laws::Finding;
use crate::check::script::{Script, add, entries, get, payload, refused, secret, version};
use crate::history::event::Event;
use crate::history::ledger::LedgerLine;

use super::*;

use KmsOperation::{Decrypt, GenerateDataKey};

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

fn lines(
    script: &mut Script,
    request: &str,
    op: OpId,
    operation: KmsOperation,
    ledgers: &[Ledger],
) {
    for ledger in ledgers {
        let used = KmsUse { key: "key".into(), operation };
        script.ledger(*ledger, request, Some(op), Some(used));
    }
}

/// A node has asked, and has no answer that says yes.
fn unanswered(script: &mut Script, request: &str, op: OpId) {
    let (ledger, request, op) = (Ledger::NodeCalls, request.into(), Some(op));
    let used = Some(KmsUse { key: "key".into(), operation: Decrypt });
    script.push(|at| Event::Ledger(LedgerLine { at, ledger, request, op, used, answered: false }));
}

/// All three ledgers have it.
fn whole(script: &mut Script, request: &str, op: OpId, operation: KmsOperation) {
    let all = [Ledger::NodeCalls, Ledger::KmsServed, Ledger::KmsBilled];
    lines(script, request, op, operation, &all);
}

fn violation(script: Script) -> (Vec<OpId>, String) {
    match finding(script) {
        Finding::Violated { ops, sentence } => (ops, sentence),
        found => panic!("{found:?}"),
    }
}

#[test]
fn books_that_agree_hold_and_are_counted() {
    let (mut script, read) = script();
    whole(&mut script, "r1", read, Decrypt);
    // Served again under its id, as merges and retries are: once on the bill.
    lines(&mut script, "r1", read, Decrypt, &[Ledger::KmsServed]);
    // A write that nobody answered; its node was killed before it could say what it asked.
    let lost = script.begin(add("d", &[("a", 2)]));
    script.info(lost);
    lines(&mut script, "r2", lost, Decrypt, &[Ledger::KmsServed, Ledger::KmsBilled]);
    // One that was refused after the KMS had done its part.
    let late = script.done(add("e", &[("a", 3)]), refused(Code::Aborted), 2);
    whole(&mut script, "r3", late, Decrypt);
    let history = script.history();
    let report = check(&Case::new(&history, None));
    assert_eq!(report.finding, Finding::Holds);
    let counts: Vec<u64> = report.counts.iter().map(|(_, count)| *count).collect();
    assert_eq!(counts, [3, 2, 4, 3, 1, 1, 1, 1]);
}

#[test]
fn billed_twice_is_a_violation() {
    let (mut script, read) = script();
    whole(&mut script, "r1", read, Decrypt);
    lines(&mut script, "r1", read, Decrypt, &[Ledger::KmsBilled]);
    let (ops, sentence) = violation(script);
    assert_eq!(ops, [read]);
    assert_eq!(sentence, "request r1 to the KMS, made for #1, was billed 2 times");
}

#[test]
fn what_was_served_or_answered_and_is_not_billed_is_a_violation() {
    for ledger in [Ledger::KmsServed, Ledger::NodeCalls] {
        let (mut script, read) = script();
        whole(&mut script, "r1", read, Decrypt);
        lines(&mut script, "r2", read, Decrypt, &[ledger]);
        let (_, sentence) = violation(script);
        assert!(sentence.ends_with("and never billed"), "{sentence}");
    }
}

/// A KMS that bills another key than it was asked for, or another operation.
#[test]
fn a_bill_for_another_key_or_operation_is_a_violation() {
    for (key, operation, billed) in [
        ("other", Decrypt, "Decrypt with key other"),
        ("key", GenerateDataKey, "GenerateDataKey with key key"),
    ] {
        let (mut script, read) = script();
        let asked = [Ledger::NodeCalls, Ledger::KmsServed];
        lines(&mut script, "r1", read, Decrypt, &asked);
        let used = KmsUse { key: key.into(), operation };
        script.ledger(Ledger::KmsBilled, "r1", Some(read), Some(used));
        let (ops, sentence) = violation(script);
        assert_eq!(ops, [read]);
        let expected = "request r1 to the KMS, made for #1, is not the same in all books: Decrypt \
                        with key key, ";
        assert_eq!(sentence, format!("{expected}{billed}"));
    }
}

/// The KMS bills what it refuses: the node was told no, and so was its client.
#[test]
fn a_bill_for_what_was_refused_is_a_violation() {
    let refusals: [fn(&mut Script, OpId); 2] = [
        |script, op| script.fail_with(op, Code::FailedPrecondition),
        |script, op| script.ok(op, refused(Code::PermissionDenied), 2),
    ];
    for refuse in refusals {
        let (mut script, read) = script();
        whole(&mut script, "r1", read, Decrypt);
        let other = script.begin(payload(None));
        refuse(&mut script, other);
        unanswered(&mut script, "r2", other);
        lines(&mut script, "r2", other, Decrypt, &[Ledger::KmsBilled]);
        let (ops, sentence) = violation(script);
        assert_eq!(ops, [other]);
        assert!(sentence.ends_with("was billed, and neither served nor answered"), "{sentence}");
    }
}

/// Killed between its ledger and its audit, the KMS has billed what it does not say it served.
#[test]
fn a_bill_of_a_kms_that_was_killed_before_it_answered_holds() {
    let ends: [fn(&mut Script, OpId); 2] =
        [|script, op| script.info(op), |script, op| script.fail_with(op, Code::Unavailable)];
    for end in ends {
        let (mut script, read) = script();
        whole(&mut script, "r1", read, Decrypt);
        let other = script.begin(payload(None));
        end(&mut script, other);
        unanswered(&mut script, "r2", other);
        lines(&mut script, "r2", other, Decrypt, &[Ledger::KmsBilled]);
        assert_eq!(finding(script), Finding::Holds);
    }
}

/// What a later step refused was served: the node has its answer, or did not wait for it.
#[test]
fn a_bill_for_what_was_served_and_refused_later_holds() {
    for answered in [true, false] {
        let (mut script, read) = script();
        whole(&mut script, "r1", read, Decrypt);
        let late = script.done(add("d", &[("a", 2)]), refused(Code::FailedPrecondition), 2);
        match answered {
            true => lines(&mut script, "r2", late, Decrypt, &[Ledger::NodeCalls]),
            false => unanswered(&mut script, "r2", late),
        }
        lines(&mut script, "r2", late, Decrypt, &[Ledger::KmsServed, Ledger::KmsBilled]);
        assert_eq!(finding(script), Finding::Holds);
    }
}

#[test]
fn a_payload_without_a_bill_is_a_violation() {
    let (mut script, read) = script();
    let other = script.done(payload(None), entries("v1", &[("a", 1)]), 1);
    whole(&mut script, "r1", other, Decrypt);
    let (ops, sentence) = violation(script);
    assert_eq!(ops, [read]);
    assert!(sentence.contains("no Decrypt was billed"), "{sentence}");
}

#[test]
fn a_bill_that_nobody_can_explain_is_a_violation() {
    // Its node has answered the client, so it has written what it asked.
    let (mut script, read) = script();
    lines(&mut script, "r1", read, Decrypt, &[Ledger::KmsServed, Ledger::KmsBilled]);
    let (_, sentence) = violation(script);
    assert!(sentence.contains("no node says that it asked"), "{sentence}");
    let (mut script, read) = self::script();
    whole(&mut script, "r1", read, Decrypt);
    script.ledger(Ledger::KmsBilled, "r2", None, None);
    let (_, sentence) = violation(script);
    assert!(sentence.contains("made for nobody"), "{sentence}");
}

#[test]
fn attempts_under_one_key_are_paid_for_once() {
    let attempts = |requests: [&str; 2]| {
        let (mut script, read) = script();
        whole(&mut script, "r", read, Decrypt);
        script.key = Some("key");
        let first = script.begin(add("d", &[("a", 2)]));
        script.info(first);
        let again = script.begin(add("d", &[("a", 2)]));
        script.ok(again, Answer::Version(version("v2", "d", &["a"])), 2);
        let billed = [Ledger::KmsServed, Ledger::KmsBilled];
        lines(&mut script, requests[0], first, GenerateDataKey, &billed);
        lines(&mut script, requests[1], again, GenerateDataKey, &[Ledger::NodeCalls]);
        if requests[0] != requests[1] {
            lines(&mut script, requests[1], again, GenerateDataKey, &billed);
        }
        script
    };
    assert_eq!(finding(attempts(["r1", "r1"])), Finding::Holds);
    let (ops, sentence) = violation(attempts(["r1", "r2"]));
    assert_eq!(ops, [OpId(2), OpId(3)]);
    assert!(sentence.contains("was billed 2 times for GenerateDataKey"), "{sentence}");
}

#[test]
fn a_read_is_paid_for_once() {
    let (mut script, read) = script();
    whole(&mut script, "r1", read, Decrypt);
    whole(&mut script, "r2", read, Decrypt);
    let (_, sentence) = violation(script);
    assert_eq!(sentence, "get_payload #1 was billed 2 times for Decrypt, under different ids");
}

#[test]
fn without_ledgers_nothing_is_said() {
    let (script, _) = script();
    assert!(matches!(finding(script), Finding::NotChecked { .. }));
}
