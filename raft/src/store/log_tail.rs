//! What the log contains, as its readers must see it: ahead of what the engine has written.
//!
//! Appends, truncations and purges take effect here at once and reach the engine later, in the
//! same order. A reader that also needs the engine notes the revision first and reads again when
//! a truncation or purge came in between ([`Tail::revision`]).

use std::ops::Range;

use super::tail_cache::TailCache;
use crate::error::StorageError;
use crate::types::{LogEntry, LogId};

/// The logical log.
pub(super) struct Tail {
    pub(super) cache: TailCache,
    /// Indexes of the entries that exist.
    pub(super) present: Range<u64>,
    /// Id of the last entry, or of the last purged one when there is none.
    pub(super) last: Option<LogId>,
    /// Id of the last purged entry.
    pub(super) purged: Option<LogId>,
    /// The last saved committed id.
    pub(super) committed: Option<LogId>,
    /// Counts truncations and purges.
    pub(super) revision: u64,
}

impl Tail {
    /// Refuses entries that would leave a hole, before anything is changed.
    pub(super) fn check_consecutive(&self, entries: &[LogEntry]) -> Result<(), StorageError> {
        let Some(first) = entries.first() else { return Ok(()) };
        // An empty log that was never purged may begin anywhere: its start was a snapshot.
        let begins_anywhere = self.present.is_empty() && self.purged.is_none();
        let start = if begins_anywhere { first.log_id.index } else { self.present.end };
        for (entry, expected) in entries.iter().zip(start..) {
            let index = entry.log_id.index;
            if index != expected {
                let message = format!("entry {index} came where {expected} belongs");
                return Err(StorageError::corrupt("append to the log", message));
            }
        }
        Ok(())
    }

    /// Adds one entry that [`Self::check_consecutive`] has accepted.
    pub(super) fn push(&mut self, entry: LogEntry, bytes: usize, sequence: u64, durable: u64) {
        let index = entry.log_id.index;
        if self.present.is_empty() {
            self.present.start = index;
        }
        self.present.end = index + 1;
        self.last = Some(entry.log_id);
        self.cache.push(entry, bytes, sequence, durable);
    }

    /// Removes every entry behind `last`; says from which index on, if there is anything.
    pub(super) fn truncate_after(&mut self, last: Option<LogId>) -> Option<u64> {
        let from = last.map_or(0, |id| id.index + 1).max(self.present.start);
        if from >= self.present.end {
            return None;
        }
        self.last = if from == self.present.start { self.purged } else { last };
        self.present.end = from;
        self.cache.truncate_from(from);
        self.revision += 1;
        Some(from)
    }

    /// Removes every entry up to and including `upto`, which may lie behind the last one; says
    /// from which index on, if there is anything.
    pub(super) fn purge(&mut self, upto: LogId) -> Option<u64> {
        if self.purged.is_some_and(|purged| purged.index >= upto.index) {
            return None;
        }
        let from = self.present.start;
        self.present = upto.index + 1..self.present.end.max(upto.index + 1);
        self.purged = Some(upto);
        if self.present.is_empty() {
            self.last = Some(upto);
        }
        self.cache.purge_upto(upto.index);
        self.revision += 1;
        Some(from)
    }
}
