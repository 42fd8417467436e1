//! L11: acknowledged ≤ billed ≤ acknowledged + indeterminate, per key, in the units of `design §9`,
//! and once for each idempotency key.
//!
//! Four books: the history, the nodes' audit (what they asked of the KMS, for which operation, and
//! whether it answered), the KMS's audit (what it served), and its ledger (what it billed). One
//! request to the KMS has one id in the last three. A request that was answered or served is billed,
//! and none twice; one that is billed is named by a node, or was made for an operation of unknown
//! outcome, whose node did not live to say so. An operation that succeeded with the KMS has its
//! bill: a read one `Decrypt` and no more; a new version one `GenerateDataKey` for all attempts
//! under one idempotency key together.

use std::collections::{BTreeMap, BTreeSet};

use crate::history::answer::Answer;
use crate::history::call::Call;
use crate::history::ids::{IdempotencyKey, KmsRequestId, OpId, SecretId};
use crate::history::ledger::{KmsOperation, Ledger};
use crate::history::op::Op;

use super::{Case, Law, LawReport, Violation};

/// What all books tell of one request to the KMS.
#[derive(Default)]
struct Request {
    /// Whether a node's audit names it.
    told: bool,
    /// Whether its answer reached a node.
    answered: bool,
    served: u64,
    billed: u64,
    operation: Option<KmsOperation>,
    /// Whom it was made for: one operation, or the attempts of one mutation.
    made_for: BTreeSet<OpId>,
}

/// What is asked for once, however often: a mutation under its key, or one operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Asked<'a> {
    Under(&'a IdempotencyKey),
    Once(OpId),
}

/// Requests that were billed, by whom they were made for and what they did.
type Bills<'a> = BTreeMap<(Asked<'a>, KmsOperation), BTreeSet<&'a KmsRequestId>>;

/// Judges a case.
#[must_use]
pub fn check(case: &Case<'_>) -> LawReport {
    let requests = gather(case);
    let bills = bills(case, &requests);
    let own_key = secrets_with_own_key(case);
    let needed: Vec<_> = case
        .history
        .ops
        .iter()
        .filter(|_| !requests.is_empty())
        .filter_map(|op| Some((op, needs(op, &own_key)?)))
        .collect();
    let by_request = requests.iter().filter_map(|(id, request)| judge(case, id, request));
    let unpaid =
        needed.iter().filter(|(op, operation)| !bills.contains_key(&(asked(op), *operation)));
    let unpaid = unpaid.map(|(op, operation)| unpaid_sentence(op, *operation));
    let again = bills.iter().filter_map(|((asked, operation), requests)| {
        paid_again(case, *asked, *operation, requests.len())
    });
    let violations = by_request.chain(again).chain(unpaid);
    let first = violations.min_by_key(|violation| violation.ops.last().copied());
    let [acknowledged, indeterminate, refused] = units(case, &requests);
    let counts = [
        ("requests to the KMS", requests.len() as u64),
        ("told by nodes", requests.values().filter(|request| request.told).count() as u64),
        ("served", requests.values().map(|request| request.served).sum()),
        ("billed", requests.values().map(|request| request.billed).sum()),
        ("billed of what was acknowledged", acknowledged),
        ("billed of unknown outcome", indeterminate),
        ("billed of what was refused later", refused),
        ("operations that needed it", needed.len() as u64),
    ];
    LawReport::new(Law::L11, first, &counts, "no ledger was collected")
}

fn gather<'a>(case: &Case<'a>) -> BTreeMap<&'a KmsRequestId, Request> {
    let mut requests: BTreeMap<&KmsRequestId, Request> = BTreeMap::new();
    for line in &case.history.ledger {
        let request = requests.entry(&line.request).or_default();
        match line.ledger {
            Ledger::NodeCalls => {
                request.told = true;
                request.answered |= line.answered;
            }
            Ledger::KmsServed => request.served += 1,
            Ledger::KmsBilled => request.billed += 1,
        }
        // An id of another run's history would be none of ours.
        request.made_for.extend(line.op.filter(|op| op.0 < case.history.ops.len() as u64));
        let operation = line.used.as_ref().map(|used| used.operation);
        request.operation = request.operation.or(operation);
    }
    requests
}

fn bills<'a>(case: &Case<'a>, requests: &BTreeMap<&'a KmsRequestId, Request>) -> Bills<'a> {
    let mut bills = Bills::new();
    for (id, request) in requests.iter().filter(|(_, request)| request.billed > 0) {
        let Some(operation) = request.operation else { continue };
        for op in &request.made_for {
            let asked = asked(case.history.op(*op));
            bills.entry((asked, operation)).or_default().insert(*id);
        }
    }
    bills
}

/// What an operation is an attempt of. Reads ignore idempotency keys: each is an access.
fn asked(op: &Op) -> Asked<'_> {
    match &op.asked.idempotency_key {
        Some(key) if op.asked.call.is_mutation() => Asked::Under(key),
        Some(_) | None => Asked::Once(op.id),
    }
}

/// What is wrong with one request.
fn judge(case: &Case<'_>, id: &KmsRequestId, request: &Request) -> Option<Violation> {
    let Request { told, answered, served, billed, made_for, .. } = request;
    let uncertain = || made_for.iter().any(|op| case.history.op(*op).is_uncertain());
    let what = match billed {
        0 if *served > 0 => "was served and never billed".to_owned(),
        0 if *answered => "was answered and never billed".to_owned(),
        0 => return None,
        1 if *told || uncertain() => return None,
        1 => "was billed, and no node says that it asked".to_owned(),
        times => format!("was billed {times} times"),
    };
    let whom = made_for.last().map_or_else(|| "nobody".to_owned(), |op| format!("#{op}"));
    let sentence = format!("request {id} to the KMS, made for {whom}, {what}");
    Some(Violation { ops: made_for.iter().copied().collect(), sentence })
}

/// Finds what was paid for twice under two ids: a read, or the data key of a mutation. A mutation
/// may open several bases.
fn paid_again(
    case: &Case<'_>,
    asked: Asked<'_>,
    operation: KmsOperation,
    times: usize,
) -> Option<Violation> {
    if times < 2 {
        return None;
    }
    let ops: Vec<OpId> = match asked {
        Asked::Once(op) => vec![op],
        Asked::Under(key) => {
            let of_it = |op: &&Op| op.asked.idempotency_key.as_ref() == Some(key);
            case.history.ops.iter().filter(of_it).map(|op| op.id).collect()
        }
    };
    let last = case.history.op(*ops.last()?);
    let once = match operation {
        KmsOperation::GenerateDataKey => true,
        KmsOperation::Decrypt => !last.asked.call.is_mutation(),
        KmsOperation::Encrypt | KmsOperation::ReEncrypt => false,
    };
    let (name, id) = (last.asked.call.name(), last.id);
    let sentence =
        format!("{name} #{id} was billed {times} times for {operation:?}, under different ids");
    once.then_some(Violation { ops, sentence })
}

fn secrets_with_own_key<'a>(case: &Case<'a>) -> BTreeSet<&'a SecretId> {
    let shows_key = |op: &'a Op| match &op.success()?.answer {
        Answer::Secret(view) if view.kms_key.is_some() => Some(&view.id),
        _ => None,
    };
    case.history.ops.iter().filter_map(shows_key).collect()
}

/// What an operation that succeeded cannot have done without the KMS (`contract §4.5`, `§7`).
fn needs(op: &Op, own_key: &BTreeSet<&SecretId>) -> Option<KmsOperation> {
    let operation = match &op.asked.call {
        Call::CreateSecret(call) => call.first.as_ref().map(|_| KmsOperation::GenerateDataKey)?,
        Call::AddVersion(_) => KmsOperation::GenerateDataKey,
        Call::GetPayload(_) => KmsOperation::Decrypt,
        _ => return None,
    };
    op.success()?;
    own_key.contains(op.secret()?).then_some(operation)
}

fn unpaid_sentence(op: &Op, operation: KmsOperation) -> Violation {
    let secret = op.secret().map_or("", SecretId::as_str);
    let name = op.asked.call.name();
    let sentence = format!(
        "{name} #{} succeeded on secret {secret}, which has a key of its own, and no \
         {operation:?} was billed for it",
        op.id
    );
    Violation { ops: vec![op.id], sentence }
}

/// Units billed for what was acknowledged, for what may have been, and for what was refused after
/// the KMS had done its part.
fn units(case: &Case<'_>, requests: &BTreeMap<&KmsRequestId, Request>) -> [u64; 3] {
    let mut units = [0; 3];
    for request in requests.values() {
        let is =
            |what: fn(&Op) -> bool| request.made_for.iter().any(|op| what(case.history.op(*op)));
        let place = if is(|op| op.success().is_some()) {
            0
        } else if is(Op::is_uncertain) {
            1
        } else {
            2
        };
        units[place] += request.billed;
    }
    units
}

#[cfg(test)]
mod tests {
    use crate::check::laws::Finding;
    use crate::check::script::{Script, add, entries, get, payload, refused, secret, version};
    use crate::history::answer::Code;
    use crate::history::ledger::KmsUse;

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
}
