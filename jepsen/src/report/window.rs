//! The failing window: the operations on the offending secret around a violation.
//!
//! Owns the choice of what is shown: which moments, which workers, which operations. What it
//! leaves out it counts, so that the picture can say so.

use std::collections::{BTreeMap, BTreeSet};

use crate::history::ids::{OpId, ProcessId, SecretId};
use crate::history::op::Op;

use super::input::{Input, Violation};
use super::outcome::{ended_ns, latency_ns};
use super::quantity::{MS, SECOND};

/// Bars of a panel at most, as Jepsen does (`verification §3.7`).
pub(super) const BARS_MAX: usize = 10_000;
/// Workers of a panel at most.
const ROWS_MAX: usize = 48;
/// How much is shown before and after the contradicting operations.
const AROUND_NS: u64 = 2 * SECOND;
/// A part without contradicting operations that is longer than this is cut out of the close view.
const CUT_NS: u64 = SECOND;
/// More of an operation than this isn't shown in the close view: a second says it all.
const CLOSE_OP_MAX_NS: u64 = SECOND;

/// A violation and the operations that show it.
#[derive(Debug)]
pub(super) struct Window<'a> {
    /// The violation.
    pub(super) violation: &'a Violation,
    /// The operations that contradict each other, the earlier one first.
    pub(super) culprits: Vec<&'a Op>,
    /// The secret whose operations are shown; absent when all are.
    pub(super) secret: Option<SecretId>,
    /// The contradiction alone.
    pub(super) close: Panel<'a>,
    /// Two seconds around it.
    pub(super) wide: Panel<'a>,
}

/// Some moments, and the operations in them.
#[derive(Debug)]
pub(super) struct Panel<'a> {
    /// The moments, in order, with gaps between them.
    pub(super) spans: Vec<(u64, u64)>,
    /// The operations of each worker in the order of their beginnings.
    pub(super) rows: BTreeMap<ProcessId, Vec<&'a Op>>,
    /// Operations that lie in these moments and are not in the rows.
    pub(super) left_out: usize,
}

/// The window of a violation; none if it names no operation of the history.
pub(super) fn window<'a>(input: &Input<'a>, violation: &'a Violation) -> Option<Window<'a>> {
    let end_ns = input.end_ns();
    let mut culprits: Vec<&Op> = violation.ops.iter().filter_map(|&id| input.op(id)).collect();
    // Laws name the offending one last, and a picture goes from left to right.
    culprits.sort_by_key(|op| op.invoked);
    let secret = culprits.iter().find_map(|op| op.secret());
    let secret = violation.secret.as_ref().or(secret).cloned();
    culprits.first()?;
    let candidates: Vec<&Op> = input
        .history
        .ops
        .iter()
        .filter(|op| {
            secret.is_none() || op.secret() == secret.as_ref() || violation.ops.contains(&op.id)
        })
        .collect();
    let close = close_spans(&culprits, end_ns);
    let wide = wide_spans(&culprits, end_ns);
    let panel = |spans| panel(spans, &candidates, &culprits, end_ns);
    Some(Window { violation, secret, close: panel(close), wide: panel(wide), culprits })
}

/// The span of an operation as far as the close view shows it.
fn shown_span(op: &Op, end_ns: u64) -> (u64, u64) {
    let from = op.invoked.ns;
    (from, from + latency_ns(op, end_ns).min(CLOSE_OP_MAX_NS))
}

fn close_spans(culprits: &[&Op], end_ns: u64) -> Vec<(u64, u64)> {
    let spans = culprits.iter().map(|op| shown_span(op, end_ns)).collect();
    let met = merge(spans, CUT_NS);
    let total: u64 = met.iter().map(|(from, to)| to - from).sum();
    let around = (total / 5).max(2 * MS);
    merge(met.into_iter().map(|(from, to)| widen(from, to, around)).collect(), 0)
}

fn wide_spans(culprits: &[&Op], end_ns: u64) -> Vec<(u64, u64)> {
    let spans = culprits.iter().map(|op| {
        let (from, to) = (op.invoked.ns, ended_ns(op).unwrap_or(end_ns));
        // Of an operation that hung for long, its beginning and its end matter.
        if to - from > 4 * AROUND_NS { [(from, from), (to, to)] } else { [(from, to), (from, to)] }
    });
    let wide = spans.flatten().map(|(from, to)| widen(from, to, AROUND_NS)).collect();
    let end = |(from, to): (u64, u64)| (from, to.min(end_ns.max(from + 1)));
    merge(wide, SECOND).into_iter().map(end).collect()
}

const fn widen(from: u64, to: u64, around: u64) -> (u64, u64) {
    (from.saturating_sub(around), to + around)
}

/// Joins spans that lie no further apart than that.
fn merge(mut spans: Vec<(u64, u64)>, apart: u64) -> Vec<(u64, u64)> {
    spans.sort_unstable();
    let mut merged: Vec<(u64, u64)> = Vec::new();
    for (from, to) in spans {
        match merged.last_mut() {
            Some((_, last)) if from <= *last + apart => *last = to.max(*last),
            Some(_) | None => merged.push((from, to)),
        }
    }
    merged
}

fn panel<'a>(
    spans: Vec<(u64, u64)>,
    candidates: &[&'a Op],
    culprits: &[&Op],
    end_ns: u64,
) -> Panel<'a> {
    let culprit_ids: BTreeSet<OpId> = culprits.iter().map(|op| op.id).collect();
    let mut inside: Vec<&Op> = candidates
        .iter()
        .filter(|op| {
            let (from, to) = (op.invoked.ns, ended_ns(op).unwrap_or(end_ns));
            culprit_ids.contains(&op.id) || spans.iter().any(|&(a, b)| from <= b && to >= a)
        })
        .copied()
        .collect();
    let found = inside.len();
    let distance = |op: &Op| {
        let far = culprits.iter().map(|other| other.invoked.ns.abs_diff(op.invoked.ns)).min();
        (!culprit_ids.contains(&op.id), far, op.id)
    };
    if found > BARS_MAX {
        inside.sort_unstable_by_key(|op| distance(op));
        inside.truncate(BARS_MAX);
    }
    let mut nearest: BTreeMap<ProcessId, _> = BTreeMap::new();
    for op in &inside {
        let least = nearest.entry(op.asked.process).or_insert_with(|| distance(op));
        *least = distance(op).min(*least);
    }
    let mut order: Vec<_> = nearest.into_iter().map(|(process, near)| (near, process)).collect();
    order.sort_unstable();
    let kept: BTreeSet<ProcessId> =
        order.into_iter().take(ROWS_MAX).map(|(_, process)| process).collect();
    inside.retain(|op| kept.contains(&op.asked.process));
    inside.sort_unstable_by_key(|op| (op.invoked, op.id));
    let left_out = found - inside.len();
    let mut rows: BTreeMap<ProcessId, Vec<&Op>> = BTreeMap::new();
    for op in inside {
        rows.entry(op.asked.process).or_default().push(op);
    }
    Panel { spans, rows, left_out }
}

#[cfg(test)]
mod tests {
    use super::{SECOND, merge, widen};

    #[test]
    fn spans_that_are_near_are_one() {
        let spans = vec![(50, 60), (0, 10), (12, 20), (5, 7)];
        assert_eq!(merge(spans.clone(), 2), [(0, 20), (50, 60)]);
        assert_eq!(merge(spans, 0), [(0, 10), (12, 20), (50, 60)]);
        assert_eq!(widen(SECOND, 2 * SECOND, 2 * SECOND), (0, 4 * SECOND));
    }
}
