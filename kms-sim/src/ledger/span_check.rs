//! Checks the counters of a span of hours against the ledger: what a bill rests on (`design §9`).
//!
//! Promises that a counter of the span that the records do not give is reported. Refuses to know
//! who should have been charged, and what is outside of the span: `billing verify` does.

use lockbox_core::LogTime;
use lockbox_platform::billing::Span;

use super::counters::{CounterKey, Counters};
use super::record::{self, CHAIN_BYTES, Chain};
use super::verify::{Problem, compare_counters, read_counters};
use crate::store::tables::{self, Table};
use crate::store::{StoreError, View};

/// Recomputes the counters of a span and compares them with the stored ones.
///
/// # Errors
/// [`StoreError`] when the store cannot be read; differences are reported in the result.
pub fn verify_span(view: &View<'_>, span: Span) -> Result<Vec<Problem>, StoreError> {
    let mut problems = Vec::new();
    let mut counters = Counters::new();
    let mut chain: Option<Chain> = None;
    let (from, to) = span.ends();
    let first = tables::ledger(first_at(view, from)?);
    for row in view.scan(Table::Ledger, b"", &first) {
        let (row, value) = row?;
        let place = row.as_ref().try_into().map_or(0, u64::from_be_bytes);
        // The record before the first one is not at hand: that one is believed.
        let previous = chain.unwrap_or([0; CHAIN_BYTES]);
        let Ok((record, found, follows)) = record::decode(&value, &previous) else {
            problems.push(Problem::Undecodable { sequence: place });
            continue;
        };
        if record.sequence != place || (chain.is_some() && !follows) {
            problems.push(Problem::BrokenChain { sequence: place });
        }
        chain = Some(found);
        if record.time >= to {
            break;
        }
        if record.time >= from {
            counters.entry(CounterKey::of(&record)).or_default().add(&record);
        }
    }
    let stored = read_counters(view, span.from_hour, span.to_hour)?;
    compare_counters(&counters, stored, &mut problems);
    Ok(problems)
}

/// The sequence from which on records are of this time or later: time never decreases.
fn first_at(view: &View<'_>, time: LogTime) -> Result<u64, StoreError> {
    let (mut before, mut from) = (0, view.head()?.sequence.saturating_add(1));
    while before + 1 < from {
        let middle = before + (from - before) / 2;
        match record_from(view, middle)? {
            Looked::Record(at) if at < time => before = middle,
            Looked::Record(_) | Looked::End => from = middle,
            // It cannot say on which side it is.
            Looked::Damaged => return Ok(0),
        }
    }
    Ok(from)
}

enum Looked {
    Record(LogTime),
    Damaged,
    End,
}

/// The first record from a place in the commit sequence on; mutations take places too.
fn record_from(view: &View<'_>, sequence: u64) -> Result<Looked, StoreError> {
    let start = tables::ledger(sequence);
    let Some(row) = view.scan(Table::Ledger, b"", &start).next() else { return Ok(Looked::End) };
    let (_, value) = row?;
    let decoded = record::decode(&value, &[0; CHAIN_BYTES]);
    Ok(decoded.map_or(Looked::Damaged, |(record, ..)| Looked::Record(record.time)))
}
