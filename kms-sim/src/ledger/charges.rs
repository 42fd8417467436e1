//! Whether records are charged as they should be: `billable` and `units`, from the records before.
//!
//! Promises to need no more memory for a longer ledger: the requests of one window of recognition
//! are remembered, and where those are too many only a share of them, in as many walks as there are
//! shares.

use std::collections::{BTreeMap, VecDeque};

use lockbox_core::LogTime;
use sha2::{Digest, Sha256};

use super::counters::HOUR_MS;
use super::record::{LedgerRecord, UNITS_PER_OPERATION};
use crate::commit::staged::BILLED_REQUEST_RETENTION;
use crate::store::records::KeyScope;

/// Requests that one walk remembers at most; each takes about a hundred bytes.
const REQUESTS_MAX: u64 = 1 << 22;

/// Number of records by hour.
pub(super) type ByHour = BTreeMap<u64, u64>;

/// A request of a node, by a hash of its id: nobody can choose which share it falls into.
type RequestHash = [u8; 16];

/// Which part of the requests a walk looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Share {
    number: u64,
    of: u64,
}

impl Share {
    /// The shares that cover all requests of a ledger with so many records in each hour.
    pub(super) fn all(by_hour: &ByHour) -> Vec<Self> {
        Self::so_that(by_hour, REQUESTS_MAX)
    }

    fn so_that(by_hour: &ByHour, requests_max: u64) -> Vec<Self> {
        let of = within_window(by_hour).div_ceil(requests_max).max(1);
        (0..of).map(|number| Self { number, of }).collect()
    }

    fn holds(self, request: &RequestHash) -> bool {
        let (head, _) = request.split_at(size_of::<u64>());
        let number = head.iter().fold(0, |number, byte| (number << 8) | u64::from(*byte));
        number % self.of == self.number
    }

    /// Whether it looks at the records that name no request: one walk is enough for those.
    const fn is_first(self) -> bool {
        self.number == 0
    }
}

/// The most records of any window: no more requests than that are recognised at one time.
fn within_window(by_hour: &ByHour) -> u64 {
    let hours = BILLED_REQUEST_RETENTION.as_secs().div_ceil(HOUR_MS / 1000) + 1;
    let of_window = |first: u64| by_hour.range(first..first.saturating_add(hours)).map(|(_, n)| n);
    by_hour.keys().map(|first| of_window(*first).sum()).max().unwrap_or(0)
}

/// Recomputes what is charged, record by record in their order.
pub(super) struct Charges {
    share: Share,
    /// When a request was first recorded, within the window.
    first: BTreeMap<RequestHash, LogTime>,
    /// The same in the order of time.
    recent: VecDeque<(LogTime, RequestHash)>,
}

impl Charges {
    pub(super) const fn of(share: Share) -> Self {
        Self { share, first: BTreeMap::new(), recent: VecDeque::new() }
    }

    /// Whether the next record is charged as it should be; true of what another share looks at.
    pub(super) fn are_right(&mut self, record: &LedgerRecord) -> bool {
        let id = &record.entry.kms_request_id;
        let is_repeat = if id.is_empty() {
            if !self.share.is_first() {
                return true;
            }
            false
        } else {
            let request = hash(id);
            if !self.share.holds(&request) {
                return true;
            }
            self.is_repeat(request, record.time)
        };
        let billable = record.entry.scope == KeyScope::Customer && !is_repeat;
        record.billable == billable && record.units == UNITS_PER_OPERATION
    }

    /// As the commit decides it: a repeat does not make the window longer.
    fn is_repeat(&mut self, request: RequestHash, time: LogTime) -> bool {
        while let Some((since, oldest)) = self.recent.front()
            && since.plus(BILLED_REQUEST_RETENTION) <= time
        {
            self.first.remove(oldest);
            self.recent.pop_front();
        }
        if self.first.contains_key(&request) {
            return true;
        }
        self.first.insert(request, time);
        self.recent.push_back((time, request));
        false
    }
}

fn hash(id: &[u8]) -> RequestHash {
    let hash: [u8; 32] = Sha256::digest(id).into();
    let mut request = RequestHash::default();
    request.copy_from_slice(&hash[..size_of::<RequestHash>()]);
    request
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::ledger::record::CryptoOperation;
    use crate::ledger::record::tests::entry;

    const ALONE: Share = Share { number: 0, of: 1 };

    fn record(id: u8, time: LogTime, billable: bool) -> LedgerRecord {
        let mut entry = entry(CryptoOperation::Decrypt, "k", "v");
        entry.kms_request_id = if id == 0 { Vec::new() } else { vec![id; 16] };
        LedgerRecord { sequence: 1, time, entry, billable, units: UNITS_PER_OPERATION }
    }

    #[test]
    fn a_request_is_charged_once_in_its_window() {
        let start = LogTime::from_ms(1_000);
        let last = start.plus(BILLED_REQUEST_RETENTION - Duration::from_millis(1));
        let behind = start.plus(BILLED_REQUEST_RETENTION);
        let mut charges = Charges::of(ALONE);
        for (record, right) in [
            (record(1, start, true), true),
            (record(1, start, true), false),
            (record(1, start, false), true),
            (record(2, start, false), false),
            (record(0, start, true), true),
            (record(0, start, false), false),
            (record(1, last, true), false),
            (record(1, last, false), true),
            (record(1, behind, true), true),
            (record(1, behind, false), true),
        ] {
            assert_eq!(charges.are_right(&record), right, "{record:?}");
        }
        let units = LedgerRecord { units: 2, ..record(0, behind, true) };
        assert!(!charges.are_right(&units));
        let mut system = record(0, behind, true);
        system.entry.scope = KeyScope::System;
        assert!(!charges.are_right(&system));
    }

    #[test]
    fn every_record_is_looked_at_by_one_share() {
        let by_hour: ByHour = (0..40).map(|hour| (hour, 1)).collect();
        assert_eq!(within_window(&by_hour), 27);
        assert_eq!(Share::all(&by_hour), [ALONE]);
        let shares = Share::so_that(&by_hour, 10);
        assert_eq!(shares.len(), 3);
        for id in 0..50 {
            let wrong = LedgerRecord { units: 9, ..record(id, LogTime::default(), true) };
            let finds = |share: &&Share| !Charges::of(**share).are_right(&wrong);
            assert_eq!(shares.iter().filter(finds).count(), 1, "{id}");
        }
    }
}
