//! The bill of a span of time: lines from the counters, meters from the lines (`contract §7`).
//!
//! Promises that a meter is the sum of what the lines say. Refuses to know how it is printed, and to
//! doubt the counters: [`super::span_check`] does.

use std::collections::BTreeMap;

use lockbox_core::LogTime;
use lockbox_platform::billing::{Meter, Prices, Reading, Span};

use super::counters::{Counts, hour_of};
use super::record::{self, CHAIN_BYTES};
use super::verify::read_counters;
use crate::keys::apply::{read_keys, read_versions};
use crate::store::records::{KeyScope, VersionRecord};
use crate::store::tables::Table;
use crate::store::{StoreError, View};

/// What one subject did with one key version.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LineKey {
    /// The key.
    pub key_id: String,
    /// The version.
    pub version_id: String,
    /// The operation's name.
    pub operation: &'static str,
    /// Who, as `type:id`.
    pub subject: String,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// What was done, with what, by whom.
    pub key: LineKey,
    /// How often.
    pub counts: Counts,
}

/// The bill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Of which hours.
    pub span: Span,
    /// By key version, operation and subject.
    pub lines: Vec<Line>,
    /// The sums.
    pub meters: Vec<Reading>,
    /// Of the amounts; none without a price list.
    pub currency: Option<String>,
}

/// Makes the bill of a span; storage is counted up to `now`.
///
/// # Errors
/// [`StoreError`].
pub fn report(
    view: &View<'_>,
    span: Span,
    now: LogTime,
    prices: Option<&Prices>,
) -> Result<Report, StoreError> {
    let mut lines = BTreeMap::<LineKey, Counts>::new();
    for (key, counts) in read_counters(view, span.from_hour, span.to_hour)? {
        let line = lines
            .entry(LineKey {
                key_id: key.key_id.into(),
                version_id: key.version_id.into(),
                operation: key.operation.as_str(),
                subject: key.subject.to_string(),
            })
            .or_default();
        line.billed += counts.billed;
        line.unbilled += counts.unbilled;
    }
    let operations = lines.values().map(|counts| u128::from(counts.billed)).sum();
    let storage = stored_ms(view, span, now)?;
    let meters = [(Meter::Operations, operations), (Meter::Storage, storage)]
        .map(|(meter, counted)| Reading::of(meter, counted, prices))
        .to_vec();
    Ok(Report {
        span,
        lines: lines.into_iter().map(|(key, counts)| Line { key, counts }).collect(),
        meters,
        currency: prices.map(|prices| prices.currency.clone()),
    })
}

/// The first hour that a bill can have anything of; none when nothing was ever used or stored.
///
/// # Errors
/// [`StoreError`].
pub fn first_hour(view: &View<'_>) -> Result<Option<u64>, StoreError> {
    let mut hours: Vec<u64> = read_counters(view, 0, u64::MAX)?
        .first_key_value()
        .map(|(key, _)| key.hour)
        .into_iter()
        .collect();
    // A counter may be lost: the ledger counts.
    if let Some(row) = view.scan(Table::Ledger, b"", b"").next() {
        let (record, ..) = record::decode(&row?.1, &[0; CHAIN_BYTES])
            .map_err(|error| StoreError::undecodable(Table::Ledger, &error))?;
        hours.push(hour_of(record.time));
    }
    for key in read_keys(view)? {
        hours.push(hour_of(key.created_at));
    }
    Ok(hours.into_iter().min())
}

/// Milliseconds that the customers' key versions were stored within the span.
fn stored_ms(view: &View<'_>, span: Span, now: LogTime) -> Result<u128, StoreError> {
    let mut total = 0;
    for key in read_keys(view)?.iter().filter(|key| key.scope == KeyScope::Customer) {
        for version in read_versions(view, key)? {
            total += u128::from(stored_ms_of(&version, span, now));
        }
    }
    Ok(total)
}

fn stored_ms_of(version: &VersionRecord, span: Span, now: LogTime) -> u64 {
    let (from, to) = span.ends();
    let end = version.destroyed_at.unwrap_or(now).min(to);
    let start = version.created_at.max(from);
    end.as_ms().saturating_sub(start.as_ms())
}

#[cfg(test)]
mod tests {
    use lockbox_core::{KmsKeyId, KmsKeyVersionId};

    use super::*;
    use crate::algorithm::Algorithm;
    use crate::ledger::counters::HOUR_MS;
    use crate::store::records::VersionStatus;

    #[test]
    fn storage_is_counted_from_creation_to_destruction_within_the_span() {
        let at = |hours: u64| LogTime::from_ms(hours * HOUR_MS);
        let mut version = VersionRecord {
            id: KmsKeyVersionId::parse("v").unwrap(),
            key_id: KmsKeyId::parse("k").unwrap(),
            status: VersionStatus::Active,
            algorithm: Algorithm::Aes256,
            created_at: at(10),
            destroy_at: None,
            destroyed_at: None,
        };
        let span = Span { from_hour: 8, to_hour: 20 };
        let hours = |version: &VersionRecord, now| stored_ms_of(version, span, now) / HOUR_MS;
        assert_eq!(hours(&version, at(13)), 3);
        assert_eq!(hours(&version, at(30)), 10);
        version.destroyed_at = Some(at(12));
        assert_eq!(hours(&version, at(30)), 2);
        version.created_at = at(25);
        assert_eq!(hours(&version, at(30)), 0);
    }
}
