//! Counters per hour, key, key version, operation and subject: derived from ledger records.
//!
//! Promises: the same records give the same counters, whether they are added one by one as they
//! are committed or recomputed later. Refuses to know prices.

use std::collections::BTreeMap;

use lockbox_core::{KmsKeyId, KmsKeyVersionId, LogTime, Subject, SubjectKind};
use minicbor::{Decode, Encode};

use super::record::{CryptoOperation, LedgerRecord};

/// Milliseconds in an hour.
pub const HOUR_MS: u64 = 3_600_000;

/// What is counted apart.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct CounterKey {
    /// Hours since 1970-01-01T00:00:00Z.
    pub hour: u64,
    /// The key; for a re-encryption the target.
    pub key_id: KmsKeyId,
    /// Its version.
    pub version_id: KmsKeyVersionId,
    /// What was done.
    pub operation: CryptoOperation,
    /// Who asked.
    pub subject: Subject,
}

/// What was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
pub struct Counts {
    /// Units charged.
    #[n(0)]
    pub billed: u64,
    /// Operations done and not charged: repeats, and the system's own.
    #[n(1)]
    pub unbilled: u64,
}

/// Counters by what they count.
pub type Counters = BTreeMap<CounterKey, Counts>;
/// Encryptions by key version.
pub type Usage = BTreeMap<KmsKeyVersionId, u64>;

impl CounterKey {
    /// The counter that a record belongs to.
    #[must_use]
    pub fn of(record: &LedgerRecord) -> Self {
        Self {
            hour: hour_of(record.time),
            key_id: record.entry.target.key_id.clone(),
            version_id: record.entry.target.version_id.clone(),
            operation: record.entry.operation,
            subject: record.entry.subject.clone(),
        }
    }

    /// The storage key: the hour first, so that a span of time is one scan.
    #[must_use]
    pub fn row(&self) -> Vec<u8> {
        let mut row = self.hour.to_be_bytes().to_vec();
        for id in [self.key_id.as_str(), self.version_id.as_str()] {
            row.extend_from_slice(id.as_bytes());
            row.push(0);
        }
        row.push(self.operation as u8);
        row.extend_from_slice(self.subject.to_string().as_bytes());
        row
    }

    /// Reads a storage key.
    #[must_use]
    pub fn parse(row: &[u8]) -> Option<Self> {
        let (hour, rest) = row.split_first_chunk()?;
        let (key_id, rest) = split_id(rest)?;
        let (version_id, rest) = split_id(rest)?;
        let (operation, subject) = rest.split_first()?;
        let (kind, id) = std::str::from_utf8(subject).ok()?.split_once(':')?;
        Some(Self {
            hour: u64::from_be_bytes(*hour),
            key_id: KmsKeyId::parse(key_id).ok()?,
            version_id: KmsKeyVersionId::parse(version_id).ok()?,
            operation: CryptoOperation::ALL.into_iter().find(|o| *o as u8 == *operation)?,
            subject: Subject { kind: SubjectKind::parse(kind)?, id: id.to_owned() },
        })
    }
}

impl Counts {
    /// Adds one record.
    pub fn add(&mut self, record: &LedgerRecord) {
        if record.billable {
            self.billed += u64::from(record.units);
        } else {
            self.unbilled += 1;
        }
    }
}

/// The hour that a time is in.
#[must_use]
pub const fn hour_of(time: LogTime) -> u64 {
    time.as_ms() / HOUR_MS
}

fn split_id(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let end = bytes.iter().position(|byte| *byte == 0)?;
    Some((std::str::from_utf8(&bytes[..end]).ok()?, &bytes[end + 1..]))
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::entry;
    use super::*;

    #[test]
    fn storage_keys_read_back_and_sort_by_hour() {
        let record = |ms| LedgerRecord {
            sequence: 1,
            time: LogTime::from_ms(ms),
            entry: entry(CryptoOperation::GenerateDataKey, "k", "v"),
            billable: true,
            units: 1,
        };
        let early = CounterKey::of(&record(HOUR_MS - 1));
        let late = CounterKey::of(&record(256 * HOUR_MS));
        assert_eq!((early.hour, late.hour), (0, 256));
        assert!(early.row() < late.row());
        assert_eq!(CounterKey::parse(&late.row()), Some(late.clone()));
        assert_eq!(CounterKey::parse(&late.row()[..12]), None);
    }
}
