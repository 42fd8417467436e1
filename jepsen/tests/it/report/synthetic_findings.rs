//! Breaches to plant in a made-up run, and findings that tell of them.

use lockbox_jepsen::check::coverage::CoverageRow;
use lockbox_jepsen::check::verdict::Judgement;
use lockbox_jepsen::history::answer::Answer;
use lockbox_jepsen::history::call::{Call, GetPayload};
use lockbox_jepsen::history::fault::{Edge, FaultClass, FaultEvent, FaultOutcome};
use lockbox_jepsen::history::op::{Op, Outcome, Reply};
use lockbox_jepsen::report::input::{Findings, LawFinding, LawState, MissingFault, Violation};

use super::synthetic::{MS, SECOND};
use super::synthetic_ops::payload;

const LAWS: [(&str, &str, &str); 15] = [
    ("L1", "reads return the state at their index", "answers"),
    ("L2", "exactly one current version, never a destroyed one", "views"),
    ("L3", "versions never change", "versions"),
    ("L4", "the list of versions only grows, ids never return", "lists"),
    ("L5", "what ended before another began has the lower index", "operations"),
    ("L6", "no payload after a deactivation was acknowledged", "reads"),
    ("L7", "no access after a binding was taken", "reads"),
    ("L8", "no destruction before its time", "versions"),
    ("L9", "one effect for one idempotency key", "idempotency keys"),
    ("L10", "no lost, double or invented effects", "effects"),
    ("L11", "what is served is billed, once", "KMS requests"),
    ("L12", "no plaintext at rest", "files"),
    ("L13", "all nodes end in one state", "hashes"),
    ("L14", "service recovers after healing", "windows"),
    ("L15", "one leader in a term, nothing committed is lost", "samples"),
];

/// Plants three breaches: a stale read right after a write, a payload long after a deactivation,
/// and one that no operation shows.
pub(crate) fn plant(ops: &mut [Op]) -> Vec<Violation> {
    let stale = plant_stale_read(ops);
    let late = plant_late_payload(ops);
    let split = Violation {
        law: "L15".to_owned(),
        sentence: "nodes 1 and 3 both led in term 9".to_owned(),
        ops: Vec::new(),
        secret: None,
        at_ns: Some(131 * SECOND),
    };
    stale.into_iter().chain(late).chain([split]).collect()
}

fn ended(op: &Op) -> u64 {
    op.completed.as_ref().map_or(u64::MAX, |(at, _)| at.ns)
}

fn reply_mut(op: &mut Op) -> Option<&mut Reply> {
    match &mut op.completed {
        Some((_, Outcome::Ok(reply))) => Some(reply),
        _ => None,
    }
}

fn plant_stale_read(ops: &mut [Op]) -> Option<Violation> {
    let late = |op: &Op| op.invoked.ns > 95 * SECOND;
    let is_read = |op: &Op| matches!(op.asked.call, Call::GetPayload(_)) && op.success().is_some();
    let (write, read) = ops.iter().filter(|op| late(op) && is_read(op)).find_map(|read| {
        let write = ops.iter().rev().find(|write| {
            matches!(write.asked.call, Call::AddVersion(_))
                && write.success().is_some()
                && write.secret() == read.secret()
                && write.asked.process != read.asked.process
                && ended(write) + 10 * MS < read.invoked.ns
                && ended(write) + 60 * MS > read.invoked.ns
        })?;
        Some((write.id, read.id))
    })?;
    let write_op = ops[write.0 as usize].clone();
    let secret = write_op.secret()?.clone();
    let written = write_op.reply()?;
    let number: u64 = match &written.answer {
        Answer::Version(version) => version.id.as_str().rsplit('-').next()?.parse().ok()?,
        _ => return None,
    };
    let read_op = &mut ops[read.0 as usize];
    let between = (read_op.invoked.ns - ended(&write_op)) as f64 / MS as f64;
    let reply = reply_mut(read_op)?;
    reply.answer = payload(&secret, number - 1);
    reply.index = written.index - 1;
    let sentence = format!(
        "read #{read} returned version {} at index {}, but write #{write} of version {number} had \
         completed {between:.1} ms before it began",
        number - 1,
        reply.index,
    );
    let law = "L5".to_owned();
    Some(Violation { law, sentence, ops: vec![write, read], secret: Some(secret), at_ns: None })
}

fn plant_late_payload(ops: &mut [Op]) -> Option<Violation> {
    let fence = ops
        .iter()
        .find(|op| {
            op.invoked.ns > 60 * SECOND
                && matches!(op.asked.call, Call::Deactivate(_))
                && op.success().is_some()
        })?
        .clone();
    let secret = fence.secret()?.clone();
    let read = ops.iter_mut().find(|op| {
        op.invoked.ns > 101 * SECOND
            && matches!(op.asked.call, Call::GetPayload(_))
            && op.success().is_some()
    })?;
    read.asked.call = Call::GetPayload(GetPayload { secret: secret.clone(), version: None });
    reply_mut(read)?.answer = payload(&secret, 7);
    let seconds = (read.invoked.ns - ended(&fence)) as f64 / SECOND as f64;
    let sentence = format!(
        "read #{} returned a payload, but deactivation #{} had been acknowledged {seconds:.1} s \
         before it began",
        read.id, fence.id
    );
    let (law, ops) = ("L6".to_owned(), vec![fence.id, read.id]);
    Some(Violation { law, sentence, ops, secret: Some(secret), at_ns: None })
}

/// Findings that tell of these breaches.
pub(crate) fn findings(ops: &[Op], faults: &[FaultEvent], violations: Vec<Violation>) -> Findings {
    let broken = |law: &str| violations.iter().find(|violation| violation.law == law);
    let laws = LAWS.iter().enumerate().map(|(place, &(law, demands, counted_what))| {
        let not_judged = ["L7", "L8", "L11"].contains(&law);
        let (state, sentence) = match broken(law) {
            Some(violation) => (LawState::Violated, violation.sentence.clone()),
            None if not_judged => (LawState::NotJudged, "nothing in this run".to_owned()),
            None => (LawState::Holds, String::new()),
        };
        LawFinding {
            law: law.to_owned(),
            demands: demands.to_owned(),
            state,
            counts: vec![
                (counted_what.to_owned(), if not_judged { 0 } else { ops.len() as u64 }),
                ("secrets".to_owned(), if not_judged { 0 } else { 1 + place as u64 * 7 }),
            ],
            seconds: (!not_judged).then_some(0.07 * (1 + place % 5) as f64),
            sentence,
        }
    });
    let installed = faults
        .iter()
        .filter(|f| f.edge == Edge::Begin && f.outcome == FaultOutcome::Installed)
        .count() as u64;
    let goal =
        |what: &str, required, reached| CoverageRow { what: what.to_owned(), required, reached };
    let judgement = if violations.is_empty() { Judgement::Valid } else { Judgement::Invalid };
    let reasons = violations.iter().map(|v| format!("{}: {}", v.law, v.sentence)).collect();
    Findings {
        judgement,
        reasons,
        laws: laws.collect(),
        violations,
        coverage: vec![
            goal("operations checked", 50_000, ops.len() as u64),
            goal("faults installed", 15, installed),
            goal("classes of faults", 6, 6),
            goal("leader changes", 5, 9),
        ],
        missing_faults: vec![MissingFault {
            class: FaultClass::DiskFreeze,
            why: "fsfreeze needs a block device".to_owned(),
        }],
        check_seconds: 2.31,
    }
}
