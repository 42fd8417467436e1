//! Counts for the tables: operations by call and outcome, faults by class.

use std::collections::BTreeMap;

use crate::history::fault::{Edge, FaultClass, FaultEvent, FaultOutcome};
use crate::history::op::Op;

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
        match (&event.outcome, event.edge) {
            (FaultOutcome::Installed, Edge::Begin) => tally.installed += 1,
            (FaultOutcome::Installed, Edge::End) => {}
            (FaultOutcome::Skipped { why }, _) => {
                tally.skipped += u64::from(event.edge == Edge::Begin);
                *tally.reasons.entry(why.clone()).or_default() += 1;
            }
            (FaultOutcome::Indeterminate { why }, edge) => {
                tally.indeterminate += u64::from(edge == Edge::Begin);
                let when = if edge == Edge::Begin { "beginning" } else { "end" };
                *tally.reasons.entry(format!("{when} uncertain: {why}")).or_default() += 1;
            }
        }
        let tried = !matches!(event.outcome, FaultOutcome::Skipped { .. });
        if tried && event.edge == Edge::Begin && !event.variant.is_empty() {
            *tally.variants.entry(event.variant.clone()).or_default() += 1;
        }
    }
    for fault in missing {
        classes.entry(fault.class).or_default().missing = Some(fault.why.clone());
    }
    classes
}
