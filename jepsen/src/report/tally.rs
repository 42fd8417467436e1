//! Counts for the tables: operations by call and outcome, faults by class.

use std::collections::BTreeMap;

use crate::history::fault::{FaultClass, FaultEvent, FaultOutcome};
use crate::history::op::Op;

use super::fault_spans::{spans, words_of};
use super::input::MissingFault;
use super::outcome::{Came, latency_ns};

/// How the operations of one call went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct CallTally {
    /// Done.
    pub(super) done: u64,
    /// Refused by the state, which is an answer too.
    pub(super) refused: u64,
    /// Certainly not done.
    pub(super) fail: u64,
    /// Perhaps done.
    pub(super) info: u64,
    /// Out of contract.
    pub(super) unexpected: u64,
    /// Latencies of those that were decided, in nanoseconds, ascending.
    pub(super) latencies_ns: Vec<u64>,
}

/// Counts operations by call.
pub(super) fn calls(ops: &[Op], end_ns: u64) -> BTreeMap<&'static str, CallTally> {
    let mut calls: BTreeMap<&'static str, CallTally> = BTreeMap::new();
    for op in ops {
        let tally = calls.entry(op.asked.call.name()).or_default();
        let count = match Came::of(op) {
            Came::Ok => {
                tally.latencies_ns.push(latency_ns(op, end_ns));
                if op.success().is_some() { &mut tally.done } else { &mut tally.refused }
            }
            Came::Fail => &mut tally.fail,
            Came::Info => &mut tally.info,
            Came::Unexpected => &mut tally.unexpected,
        };
        *count += 1;
    }
    for tally in calls.values_mut() {
        tally.latencies_ns.sort_unstable();
    }
    calls
}

/// How the faults of one class went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct FaultTally {
    /// Verified to have taken effect.
    pub(super) installed: u64,
    /// Not tried.
    pub(super) skipped: u64,
    /// Nobody knows whether they took effect.
    pub(super) indeterminate: u64,
    /// Sorts of those that were tried, with their numbers.
    pub(super) variants: BTreeMap<String, u64>,
    /// Why they were skipped, or why their beginnings or ends are uncertain, with their numbers.
    pub(super) reasons: BTreeMap<String, u64>,
    /// Why this machine can't do the class at all.
    pub(super) missing: Option<String>,
}

/// Counts faults by class.
pub(super) fn faults(
    events: &[FaultEvent],
    missing: &[MissingFault],
) -> BTreeMap<FaultClass, FaultTally> {
    let mut classes: BTreeMap<FaultClass, FaultTally> = BTreeMap::new();
    for event in events {
        let tally = classes.entry(event.class).or_default();
        if let FaultOutcome::Skipped { why } = &event.outcome {
            tally.skipped += 1;
            *tally.reasons.entry(why.clone()).or_default() += 1;
        }
    }
    // Only their ends tell whether somebody saw them in force.
    for span in spans(events, u64::MAX) {
        let tally = classes.entry(span.class).or_default();
        let doubt = span.doubt.or((!span.ended).then(|| "its end was not recorded".to_owned()));
        match doubt {
            None => tally.installed += 1,
            Some(why) => {
                tally.indeterminate += 1;
                *tally.reasons.entry(format!("uncertain: {why}")).or_default() += 1;
            }
        }
        if !span.variant.is_empty() {
            *tally.variants.entry(words_of(&span.variant)).or_default() += 1;
        }
    }
    for fault in missing {
        classes.entry(fault.class).or_default().missing = Some(fault.why.clone());
    }
    classes
}

#[cfg(test)]
mod tests {
    use crate::history::fault::Edge;
    use crate::history::ids::FaultId;
    use crate::history::op::Stamp;

    use super::*;

    fn event(id: u64, edge: Edge, outcome: FaultOutcome) -> FaultEvent {
        FaultEvent {
            id: FaultId(id),
            at: Stamp { order: id, ns: id },
            edge,
            class: FaultClass::Kill,
            variant: String::new(),
            target: Vec::new(),
            outcome,
            leader: None,
            majority_reachable: true,
        }
    }

    #[test]
    fn a_fault_that_nobody_saw_in_force_is_not_counted_as_one() {
        let unseen = FaultOutcome::Indeterminate { why: "it runs".to_owned() };
        let skipped = FaultOutcome::Skipped { why: "it is taken".to_owned() };
        let events = [
            event(1, Edge::Begin, FaultOutcome::Installed),
            event(1, Edge::End, FaultOutcome::Installed),
            event(2, Edge::Begin, FaultOutcome::Installed),
            event(2, Edge::End, unseen),
            event(3, Edge::Begin, skipped),
            event(4, Edge::Begin, FaultOutcome::Installed),
        ];
        let tally = &faults(&events, &[])[&FaultClass::Kill];
        assert_eq!((tally.installed, tally.indeterminate, tally.skipped), (1, 2, 1));
        let reasons: Vec<_> = tally.reasons.keys().map(String::as_str).collect();
        let expected = ["it is taken", "uncertain: it runs", "uncertain: its end was not recorded"];
        assert_eq!(reasons, expected);
    }
}
