//! L11: acknowledged ≤ billed ≤ acknowledged + indeterminate, per key, in the units of `design §9`,
//! and once for each idempotency key.
//!
//! Four books: the history, the nodes' audit (what they asked of the KMS, for which operation, and
//! whether it answered), the KMS's audit (what it served), and its ledger (what it billed). One
//! request to the KMS has one id in the last three, and is the same operation with the same key in
//! all of them. A request that was answered or served is billed, and none twice; one that is billed
//! is named by a node, or was made for an operation of unknown outcome, whose node did not live to
//! say so. What the KMS refused is not billed. An operation that succeeded with the KMS has its
//! bill: a read one `Decrypt` and no more; a new version one `GenerateDataKey` for all attempts
//! under one idempotency key together.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use crate::history::answer::{Answer, Code};
use crate::history::call::Call;
use crate::history::ids::{IdempotencyKey, KmsRequestId, OpId, SecretId};
use crate::history::ledger::{KmsOperation, KmsUse, Ledger};
use crate::history::op::{Failure, Op, Outcome};

use super::{Case, Law, LawReport, Violation};

/// What all books tell of one request to the KMS.
#[derive(Default)]
struct Request<'a> {
    /// Whether a node's audit names it.
    told: bool,
    /// Whether its answer reached a node.
    answered: bool,
    served: u64,
    billed: u64,
    /// What it was, in the words of each book: one use, or somebody is wrong.
    uses: BTreeSet<&'a KmsUse>,
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

fn gather<'a>(case: &Case<'a>) -> BTreeMap<&'a KmsRequestId, Request<'a>> {
    let mut requests: BTreeMap<&KmsRequestId, Request<'_>> = BTreeMap::new();
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
        request.uses.extend(&line.used);
    }
    requests
}

fn bills<'a>(case: &Case<'a>, requests: &BTreeMap<&'a KmsRequestId, Request<'a>>) -> Bills<'a> {
    let mut bills = Bills::new();
    for (id, request) in requests.iter().filter(|(_, request)| request.billed > 0) {
        // Where books differ it is a bill for any of them: that they do is told anyway.
        for (op, used) in
            request.made_for.iter().flat_map(|op| request.uses.iter().map(move |used| (op, used)))
        {
            let asked = asked(case.history.op(*op));
            bills.entry((asked, used.operation)).or_default().insert(*id);
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
fn judge(case: &Case<'_>, id: &KmsRequestId, request: &Request<'_>) -> Option<Violation> {
    let Request { told, answered, served, billed, uses, made_for } = request;
    let made_for_one = |is: fn(&Op) -> bool| made_for.iter().any(|op| is(case.history.op(*op)));
    let what = match billed {
        _ if uses.len() > 1 => told_differently(uses),
        0 if *served > 0 => "was served and never billed".to_owned(),
        0 if *answered => "was answered and never billed".to_owned(),
        0 => return None,
        1 if !told && !made_for_one(Op::is_uncertain) => {
            "was billed, and no node says that it asked".to_owned()
        }
        1 if *served == 0 && !answered && !made_for_one(may_be_unheard) => {
            "was billed, and neither served nor answered".to_owned()
        }
        1 => return None,
        times => format!("was billed {times} times"),
    };
    let whom = made_for.last().map_or_else(|| "nobody".to_owned(), |op| format!("#{op}"));
    let sentence = format!("request {id} to the KMS, made for {whom}, {what}");
    Some(Violation { ops: made_for.iter().copied().collect(), sentence })
}

fn told_differently(uses: &BTreeSet<&KmsUse>) -> String {
    let uses = uses.iter().map(|used| format!("{:?} with key {}", used.operation, used.key));
    format!("is not the same in all books: {}", uses.collect::<Vec<_>>().join(", "))
}

/// Whether the KMS may have billed it and been killed before its audit says that it served. Then
/// nobody was answered: the operation is of unknown outcome, or its node says that the KMS is not
/// available. Any other end was decided by an answer of the KMS, or without it.
fn may_be_unheard(op: &Op) -> bool {
    let is_unavailable = |failure: &Failure| failure.code == Code::Unavailable;
    op.is_uncertain()
        || matches!(&op.completed, Some((_, Outcome::Fail(failure))) if is_unavailable(failure))
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
fn units(case: &Case<'_>, requests: &BTreeMap<&KmsRequestId, Request<'_>>) -> [u64; 3] {
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
