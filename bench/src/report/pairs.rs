//! Pairs of one round, and their median.

use std::collections::BTreeMap;

use super::figures::Figure;
use crate::record::Record;

/// Processors that other processes may keep busy during a pair that counts.
pub(super) const OTHER_CORES_MAX: f64 = 0.35;

/// One row of the table: a figure with so many clients and values of such a length.
#[derive(Debug)]
pub(super) struct Row<'a> {
    /// Clients.
    pub(super) clients: usize,
    /// Length of a value.
    pub(super) value_bytes: usize,
    /// Ours and theirs of the rounds that count.
    pub(super) kept: Vec<(&'a Record, &'a Record)>,
    /// Rounds that were left out because other processes were busy.
    pub(super) dropped: usize,
}

impl Row<'_> {
    /// The median of the pairs' ratios of operations per second.
    pub(super) fn ratio(&self) -> Option<f64> {
        let ratio = |(ours, theirs): &(&Record, &Record)| {
            ours.operations_per_second / theirs.operations_per_second
        };
        median(self.kept.iter().map(ratio))
    }
}

/// Every row of a figure, by length of the value and clients.
pub(super) fn rows<'a>(figure: &Figure, records: &'a [Record]) -> Vec<Row<'a>> {
    let side = |label: &str| -> BTreeMap<(usize, usize, u32), &'a Record> {
        records
            .iter()
            .filter(|record| record.label == label && record.operation == figure.operation)
            .map(|record| ((record.value_bytes, record.clients, record.round), record))
            .collect()
    };
    let (ours, theirs) = (side(figure.ours), side(figure.theirs));
    let mut rows: BTreeMap<(usize, usize), Row<'a>> = BTreeMap::new();
    for (at, ours) in ours {
        let Some(theirs) = theirs.get(&at) else { continue };
        let (value_bytes, clients, _round) = at;
        let row = rows.entry((value_bytes, clients)).or_insert_with(|| Row {
            clients,
            value_bytes,
            kept: Vec::new(),
            dropped: 0,
        });
        if ours.other_cores.max(theirs.other_cores) > OTHER_CORES_MAX {
            row.dropped += 1;
        } else {
            row.kept.push((ours, theirs));
        }
    }
    rows.into_values().collect()
}

/// The median; the mean of the middle two when their number is even.
pub(super) fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    if values.len() % 2 == 1 {
        return Some(upper);
    }
    Some((values[values.len() / 2 - 1] + upper) / 2.0)
}
