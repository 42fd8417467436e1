//! Checks the ledger: recomputes every counter from its records and compares (`billing verify`).
//!
//! Owns the walk along the chain. Promises that a record changed, lost, inserted or moved is
//! reported, and so are a charge and a counter that the records do not give. Records lost at the end
//! show in the audit alone ([`super::audited`]).

use std::fmt;

use super::charges::{ByHour, Charges, Share};
use super::counters::{CounterKey, Counters, Counts, Usage, hour_of};
use super::record::{self, CHAIN_BYTES, Chain, LedgerRecord};
use crate::store::tables::Table;
use crate::store::{StoreError, View};
use lockbox_core::codec;

/// What is wrong with the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// A record does not decode.
    Undecodable {
        /// Its place.
        sequence: u64,
    },
    /// A record is not the one that followed its predecessor, or stands in another's place.
    BrokenChain {
        /// Its place.
        sequence: u64,
    },
    /// A record is charged as its predecessors do not have it: twice, not at all, or in units that
    /// there are not.
    WrongCharge {
        /// Its place.
        sequence: u64,
    },
    /// The last record is not the one that the head names.
    WrongEnd {
        /// Number of records found.
        found: u64,
        /// Number of records that the head names.
        expected: u64,
    },
    /// A counter is not what the records give.
    WrongCounter {
        /// What it counts.
        counter: String,
        /// What is stored.
        stored: Counts,
        /// What the records give.
        recomputed: Counts,
    },
    /// A call that the audit has as done is not in the ledger, or another one is in its place.
    Missing {
        /// Its place.
        sequence: u64,
        /// The record of the audit.
        audit: u64,
    },
    /// More of the same.
    MoreMissing {
        /// How many.
        more: u64,
    },
    /// A record of the audit is not the one that followed: lines are missing, or a number is changed.
    AuditJump {
        /// The number of the one before it.
        from: u64,
        /// Its own.
        to: u64,
    },
    /// A whole line of the audit is no record.
    AuditUnreadable {
        /// The number of the record before it.
        after: u64,
    },
    /// More lines of the audit that are not as they were written.
    MoreWrongLines {
        /// How many.
        more: u64,
    },
    /// A file of the audit cannot be read, as it is.
    AuditFile {
        /// Which one.
        path: String,
        /// Why.
        error: String,
    },
    /// A version's number of encryptions is not what the records give.
    WrongUsage {
        /// The version.
        version: String,
        /// What is stored.
        stored: u64,
        /// What the records give.
        recomputed: u64,
    },
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Undecodable { sequence } => write!(f, "record {sequence} does not decode"),
            Self::BrokenChain { sequence } => {
                write!(f, "record {sequence} does not follow from the one before it")
            }
            Self::WrongCharge { sequence } => {
                write!(f, "record {sequence} is not charged as the ones before it give")
            }
            Self::WrongEnd { found, expected } => {
                write!(f, "the ledger ends after {found} records, its head names {expected}")
            }
            Self::WrongCounter { counter, stored, recomputed } => write!(
                f,
                "counter {counter} is {} billed and {} not billed, the ledger gives {} and {}",
                stored.billed, stored.unbilled, recomputed.billed, recomputed.unbilled
            ),
            Self::Missing { sequence, audit } => write!(
                f,
                "record {audit} of the audit was record {sequence} of the ledger, which is not there"
            ),
            Self::MoreMissing { more } => {
                write!(f, "{more} more calls of the audit are not in the ledger")
            }
            Self::AuditJump { from, to } => {
                write!(f, "record {from} of the audit is followed by {to}")
            }
            Self::AuditUnreadable { after } => {
                write!(f, "what follows record {after} of the audit cannot be read")
            }
            Self::MoreWrongLines { more } => {
                write!(f, "{more} more lines of the audit are not as they were written")
            }
            Self::AuditFile { path, error } => {
                write!(f, "{path} of the audit cannot be read: {error}")
            }
            Self::WrongUsage { version, stored, recomputed } => write!(
                f,
                "key version {version} counts {stored} encryptions, the ledger gives {recomputed}"
            ),
        }
    }
}

/// Everything that the ledger's records give.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Recomputed {
    /// Records found.
    pub records: u64,
    /// Counters by hour, key, version, operation and subject.
    pub counters: Counters,
    /// Encryptions by key version.
    pub usage: Usage,
    /// Damage met on the way.
    pub problems: Vec<Problem>,
    /// Records by hour.
    by_hour: ByHour,
}

/// Recomputes all counters from the ledger alone.
///
/// # Errors
/// [`StoreError`] when the store cannot be read; damage is reported in the result.
pub fn rebuild_counters(view: &View<'_>) -> Result<Recomputed, StoreError> {
    let mut result = Recomputed::default();
    let mut chain: Chain = [0; CHAIN_BYTES];
    for row in view.scan(Table::Ledger, b"", b"") {
        let (row, value) = row?;
        let place = row.as_ref().try_into().map_or(0, u64::from_be_bytes);
        result.records += 1;
        match record::decode(&value, &chain) {
            Err(_) => result.problems.push(Problem::Undecodable { sequence: place }),
            Ok((record, found, follows)) => {
                if !follows || record.sequence != place {
                    result.problems.push(Problem::BrokenChain { sequence: place });
                }
                chain = found;
                result.add(&record);
            }
        }
    }
    let head = view.head()?;
    if head.chain != chain || head.ledger_records != result.records {
        let (found, expected) = (result.records, head.ledger_records);
        result.problems.push(Problem::WrongEnd { found, expected });
    }
    Ok(result)
}

/// Recomputes all counters and compares them with the stored ones.
///
/// # Errors
/// [`StoreError`] when the store cannot be read; differences are reported in the result.
pub fn verify(view: &View<'_>) -> Result<Recomputed, StoreError> {
    let mut result = rebuild_counters(view)?;
    for share in Share::all(&result.by_hour) {
        check_charges(view, share, &mut result.problems)?;
    }
    let stored = read_counters(view, 0, u64::MAX)?;
    compare_counters(&result.counters, stored, &mut result.problems);
    let mut stored = read_usage(view)?;
    for (version, recomputed) in &result.usage {
        let stored = stored.remove(version.as_str()).unwrap_or_default();
        if stored != *recomputed {
            let (version, recomputed) = (version.to_string(), *recomputed);
            result.problems.push(Problem::WrongUsage { version, stored, recomputed });
        }
    }
    for (version, stored) in stored {
        result.problems.push(Problem::WrongUsage { version, stored, recomputed: 0 });
    }
    Ok(result)
}

/// Reads every row of the store, and with it every block of its tables: what is damaged there is an
/// error, whether anything above reads it or not.
///
/// # Errors
/// [`StoreError`].
pub fn read_all(view: &View<'_>) -> Result<(), StoreError> {
    for table in Table::ALL {
        view.scan(table, b"", b"").try_for_each(|row| row.map(drop))?;
    }
    Ok(())
}

/// Compares what the records give with what is stored.
pub(super) fn compare_counters(
    recomputed: &Counters,
    mut stored: Counters,
    problems: &mut Vec<Problem>,
) {
    for (key, recomputed) in recomputed {
        let stored = stored.remove(key).unwrap_or_default();
        if stored != *recomputed {
            problems.push(wrong_counter(key, stored, *recomputed));
        }
    }
    for (key, stored) in stored {
        problems.push(wrong_counter(&key, stored, Counts::default()));
    }
}

/// Walks along the ledger once more, for one share of its requests.
fn check_charges(
    view: &View<'_>,
    share: Share,
    problems: &mut Vec<Problem>,
) -> Result<(), StoreError> {
    let mut charges = Charges::of(share);
    for row in view.scan(Table::Ledger, b"", b"") {
        let (_, value) = row?;
        // What does not decode or follow is a problem already.
        if let Ok((record, ..)) = record::decode(&value, &[0; CHAIN_BYTES])
            && !charges.are_right(&record)
        {
            problems.push(Problem::WrongCharge { sequence: record.sequence });
        }
    }
    Ok(())
}

/// The stored counters of the hours from `from` up to, but not including, `to`.
///
/// # Errors
/// [`StoreError`].
pub fn read_counters(view: &View<'_>, from: u64, to: u64) -> Result<Counters, StoreError> {
    let mut counters = Counters::new();
    for row in view.scan(Table::Counters, b"", &from.to_be_bytes()) {
        let (row, value) = row?;
        let key = CounterKey::parse(&row)
            .ok_or_else(|| StoreError::inconsistent(Table::Counters, "a row has no such key"))?;
        if key.hour >= to {
            break;
        }
        let counts =
            codec::decode(&value).map_err(|e| StoreError::undecodable(Table::Counters, &e))?;
        counters.insert(key, counts);
    }
    Ok(counters)
}

fn read_usage(view: &View<'_>) -> Result<std::collections::BTreeMap<String, u64>, StoreError> {
    view.scan(Table::Usage, b"", b"")
        .map(|row| {
            let (row, value) = row?;
            let uses =
                codec::decode(&value).map_err(|e| StoreError::undecodable(Table::Usage, &e))?;
            Ok((String::from_utf8_lossy(&row).into_owned(), uses))
        })
        .collect()
}

fn wrong_counter(key: &CounterKey, stored: Counts, recomputed: Counts) -> Problem {
    let counter = format!(
        "{}/{}/{}/{}/hour {}",
        key.key_id,
        key.version_id,
        key.operation.as_str(),
        key.subject,
        key.hour
    );
    Problem::WrongCounter { counter, stored, recomputed }
}

impl Recomputed {
    fn add(&mut self, record: &LedgerRecord) {
        self.counters.entry(CounterKey::of(record)).or_default().add(record);
        *self.by_hour.entry(hour_of(record.time)).or_default() += 1;
        if record.entry.operation.encrypts() {
            *self.usage.entry(record.entry.target.version_id.clone()).or_default() += 1;
        }
    }
}
