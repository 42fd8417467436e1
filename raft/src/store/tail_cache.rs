//! The newest log entries in memory, bounded by bytes.
//!
//! Serves replication and apply. An entry that is not durable yet is never evicted, so whatever
//! is missing here is in the engine. Each entry keeps the sequence number of the write that
//! stores it; that is what the apply barrier waits for.

use std::collections::VecDeque;

use crate::types::LogEntry;

struct Cached {
    entry: LogEntry,
    bytes: usize,
    sequence: u64,
}

/// A run of consecutive entries that ends at the log's end.
pub(super) struct TailCache {
    entries: VecDeque<Cached>,
    bytes: usize,
    bytes_max: usize,
}

impl TailCache {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { entries: VecDeque::new(), bytes: 0, bytes_max }
    }

    /// The first index held, if any.
    pub(super) fn first_index(&self) -> Option<u64> {
        self.entries.front().map(|cached| cached.entry.log_id.index)
    }

    /// Adds the entry behind the last one, then evicts durable ones beyond the bound.
    pub(super) fn push(&mut self, entry: LogEntry, bytes: usize, sequence: u64, durable: u64) {
        self.bytes += bytes;
        self.entries.push_back(Cached { entry, bytes, sequence });
        while self.bytes > self.bytes_max
            && self.entries.front().is_some_and(|oldest| oldest.sequence <= durable)
        {
            self.drop_front();
        }
    }

    fn drop_front(&mut self) {
        if let Some(oldest) = self.entries.pop_front() {
            self.bytes -= oldest.bytes;
        }
    }

    /// Forgets every entry from this index on.
    pub(super) fn truncate_from(&mut self, index: u64) {
        while self.entries.back().is_some_and(|newest| newest.entry.log_id.index >= index) {
            if let Some(newest) = self.entries.pop_back() {
                self.bytes -= newest.bytes;
            }
        }
    }

    /// Forgets every entry up to and including this index.
    pub(super) fn purge_upto(&mut self, index: u64) {
        while self.first_index().is_some_and(|first| first <= index) {
            self.drop_front();
        }
    }

    /// The entries of `[from, to)` that are held, ended once `bytes_max` is exceeded.
    pub(super) fn range(&self, from: u64, to: u64, bytes_max: usize) -> Vec<LogEntry> {
        let Some(first) = self.first_index() else { return Vec::new() };
        let skip = usize::try_from(from.saturating_sub(first)).unwrap_or(usize::MAX);
        let mut bytes = 0;
        let mut found = Vec::new();
        for cached in self.entries.iter().skip(skip) {
            if cached.entry.log_id.index >= to || bytes > bytes_max {
                break;
            }
            bytes += cached.bytes;
            found.push(cached.entry.clone());
        }
        found
    }

    /// The write that stores this entry; absent when the entry is not held, hence durable.
    pub(super) fn sequence_of(&self, index: u64) -> Option<u64> {
        let offset = usize::try_from(index.checked_sub(self.first_index()?)?).ok()?;
        self.entries.get(offset).map(|cached| cached.sequence)
    }
}

#[cfg(test)]
mod tests {
    use openraft::EntryPayload;

    use super::*;
    use crate::types::LogId;

    fn entry(index: u64) -> LogEntry {
        LogEntry { log_id: LogId::new_term_index(1, index), payload: EntryPayload::Blank }
    }

    fn indexes(entries: &[LogEntry]) -> Vec<u64> {
        entries.iter().map(|entry| entry.log_id.index).collect()
    }

    #[test]
    fn only_durable_entries_are_evicted() {
        let mut cache = TailCache::new(100);
        for index in 0..10 {
            cache.push(entry(index), 50, index + 1, 3);
        }
        assert_eq!(cache.first_index(), Some(3), "sequence 4 is not durable");
        cache.push(entry(10), 50, 11, 10);
        assert_eq!(cache.first_index(), Some(9));
        assert_eq!(cache.sequence_of(10), Some(11));
        assert_eq!(cache.sequence_of(8), None);
        assert_eq!(cache.sequence_of(11), None);
    }

    #[test]
    fn ranges_stop_behind_the_byte_limit() {
        let mut cache = TailCache::new(1_000);
        for index in 5..15 {
            cache.push(entry(index), 10, 1, 0);
        }
        assert_eq!(indexes(&cache.range(7, 10, usize::MAX)), [7, 8, 9]);
        assert_eq!(indexes(&cache.range(7, 15, 25)), [7, 8, 9]);
        assert_eq!(indexes(&cache.range(7, 15, 0)), [7]);
        cache.truncate_from(8);
        cache.purge_upto(5);
        assert_eq!(indexes(&cache.range(0, 99, usize::MAX)), [6, 7]);
        assert_eq!(cache.bytes, 20);
    }
}
