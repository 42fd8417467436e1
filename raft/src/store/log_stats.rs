//! Counters of the log writer, for `/metrics` and the benches.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Upper bounds of the sync histogram's buckets, in microseconds; one more bucket has no bound.
pub const SYNC_BUCKETS_US: [u64; 12] =
    [250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 64_000, 128_000, 512_000, 2_000_000];

/// What the log writer has done since it was opened. Counters only grow.
#[derive(Debug, Default)]
pub struct LogWriterStats {
    writes: AtomicU64,
    syncs: AtomicU64,
    entries: AtomicU64,
    bytes: AtomicU64,
    sync_nanos: AtomicU64,
    buckets: [AtomicU64; SYNC_BUCKETS_US.len() + 1],
}

impl LogWriterStats {
    /// Batches written, synced or not.
    #[must_use]
    pub fn writes(&self) -> u64 {
        self.writes.load(Relaxed)
    }

    /// Batches written and synced.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        self.syncs.load(Relaxed)
    }

    /// Entries appended; divided by [`Self::syncs`] it tells how well writes group.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.entries.load(Relaxed)
    }

    /// Encoded bytes appended.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    /// Nanoseconds spent in synced writes.
    #[must_use]
    pub fn sync_nanos(&self) -> u64 {
        self.sync_nanos.load(Relaxed)
    }

    /// Synced writes in each bucket of [`SYNC_BUCKETS_US`], the last one unbounded.
    #[must_use]
    pub fn sync_buckets(&self) -> [u64; SYNC_BUCKETS_US.len() + 1] {
        self.buckets.each_ref().map(|bucket| bucket.load(Relaxed))
    }

    pub(super) fn record_append(&self, entries: usize, bytes: usize) {
        self.entries.fetch_add(entries as u64, Relaxed);
        self.bytes.fetch_add(bytes as u64, Relaxed);
    }

    pub(super) fn record_write(&self, synced: bool, took: Duration) {
        self.writes.fetch_add(1, Relaxed);
        if !synced {
            return;
        }
        self.syncs.fetch_add(1, Relaxed);
        self.sync_nanos.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Relaxed);
        let bucket = SYNC_BUCKETS_US.iter().position(|us| took <= Duration::from_micros(*us));
        self.buckets[bucket.unwrap_or(SYNC_BUCKETS_US.len())].fetch_add(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn syncs_fall_into_their_buckets() {
        let stats = LogWriterStats::default();
        stats.record_write(false, Duration::from_secs(1));
        for us in [250, 251, 5_000_000] {
            stats.record_write(true, Duration::from_micros(us));
        }
        let buckets = stats.sync_buckets();
        assert_eq!((buckets[0], buckets[1], buckets[12]), (1, 1, 1));
        assert_eq!((stats.writes(), stats.syncs()), (4, 3));
    }
}
