//! The state in RocksDB: no write-ahead log, all column families flushed together.
//!
//! After a crash it is some earlier committed batch, whole in every family; the log brings it
//! forward again (`openraft.md §3.3`).

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use lockbox_core::{Mutant, mutant};
use rocksdb::checkpoint::Checkpoint;
use rocksdb::{
    Cache, ColumnFamilyDescriptor, DB, DBCompressionType, FlushOptions, IteratorMode, ReadOptions,
    Snapshot, WriteBatch, WriteOptions,
};

use super::durable_files::sync_tree;
use super::engine::StateEngine;
use super::engine_stats::EngineStats;
use super::pace::Pace;
use super::rocks::{
    MEMTABLE_BYTES, database_options, family, family_options, forget_blocks, stats_of,
    storage_error,
};
use super::rocks_erase::{self, Rewrite};
use super::rocks_scrub::scrub;
use super::row_cache::{Cached, Moment, RowCache};
use crate::error::StorageError;
use crate::state::{Direction, Row, Scan, Space, StateRead, Write};

/// Point look-ups of what does not exist mostly need no disk.
const BLOOM_BITS_PER_KEY: f64 = 10.0;
/// Part of a memtable that its filter takes.
const MEMTABLE_BLOOM_RATIO: f64 = 0.05;
/// Rows kept ready beside RocksDB's own caches.
const ROW_CACHE_BYTES: usize = 16 << 20;

/// The RocksDB state engine.
pub(super) struct RocksState {
    database: DB,
    rows: RowCache,
    /// One commit at a time.
    committing: Mutex<()>,
    cache: Cache,
}

impl RocksState {
    pub(super) fn open(directory: &Path, cache: &Cache) -> Result<Self, StorageError> {
        let mut options = database_options();
        options.set_atomic_flush(true);
        // One memtable's worth over all families, since they are flushed together.
        options.set_db_write_buffer_size(MEMTABLE_BYTES);
        let families = Space::ALL.map(|space| {
            let mut options = family_options(cache, Some(BLOOM_BITS_PER_KEY));
            // Each entry asks for keys that are new: the memtable's own filter says so sooner.
            options.set_memtable_whole_key_filtering(true);
            options.set_memtable_prefix_bloom_ratio(MEMTABLE_BLOOM_RATIO);
            options.set_compression_type(match space {
                // Sealed bytes do not compress.
                Space::Payloads => DBCompressionType::None,
                Space::Records | Space::System => DBCompressionType::Lz4,
            });
            ColumnFamilyDescriptor::new(space.name(), options)
        });
        let database = DB::open_cf_descriptors(&options, directory, families)
            .map_err(|error| storage_error("open the state", &error))?;
        let rows = RowCache::new(ROW_CACHE_BYTES);
        Ok(Self { database, rows, committing: Mutex::new(()), cache: cache.clone() })
    }
}

impl StateEngine for RocksState {
    fn with_view(&self, read: &mut dyn FnMut(&dyn StateRead)) {
        // ORDER: the moment before the snapshot, which then contains all that is finished by it.
        let moment = self.rows.moment();
        let snapshot = self.database.snapshot();
        let view =
            RocksView { database: &self.database, snapshot: &snapshot, rows: &self.rows, moment };
        read(&view);
    }

    fn commit(&self, writes: &[Write]) -> Result<(), StorageError> {
        if mutant(Mutant::ApplyNotAtomic) {
            self.survive_system_rows(writes)?;
        }
        let mut batch = WriteBatch::default();
        for Write { space, key, value } in writes {
            let family = family(&self.database, space.name())?;
            match value {
                Some(value) => batch.put_cf(family, key, value),
                None => batch.delete_cf(family, key),
            }
        }
        let mut options = WriteOptions::default();
        options.disable_wal(true);
        let _one = self.committing.lock().unwrap_or_else(PoisonError::into_inner);
        self.rows.commit(writes, || {
            self.database
                .write_opt(batch, &options)
                .map_err(|error| storage_error("commit to the state", &error))
        })
    }

    fn flush(&self) -> Result<(), StorageError> {
        let families = Space::ALL.map(|space| family(&self.database, space.name()));
        let families = families.into_iter().collect::<Result<Vec<_>, _>>()?;
        self.database
            .flush_cfs_opt(&families, &FlushOptions::default())
            .map_err(|error| storage_error("flush the state", &error))
    }

    fn stats(&self) -> EngineStats {
        stats_of(&self.database, &Space::ALL.map(Space::name))
    }

    fn checkpoint(&self, directory: &Path) -> Result<(), StorageError> {
        // It flushes the memtables first, without which a database without a write-ahead log
        // would be copied without its newest writes.
        Checkpoint::new(&self.database)
            .and_then(|checkpoint| checkpoint.create_checkpoint(directory))
            .map_err(|error| storage_error("take a checkpoint of the state", &error))?;
        sync_tree(directory)
    }

    fn erase_removed(
        &self,
        payloads: &[Range<Vec<u8>>],
    ) -> Result<Option<Vec<PathBuf>>, StorageError> {
        let rewrite = Rewrite {
            database: &self.database,
            families: &Space::ALL.map(Space::name),
            family: Space::Payloads.name(),
            rows: Some(payloads),
        };
        let left = rewrite.run()?;
        forget_blocks(&self.cache);
        Ok(left)
    }

    fn still_left(&self, files: Vec<PathBuf>) -> Result<Vec<PathBuf>, StorageError> {
        rocks_erase::still_left(&self.database, files)
    }

    fn scrub(&self, pace: &mut Pace) -> Result<bool, StorageError> {
        scrub(self.database.path(), &Space::ALL.map(Space::name), pace)
    }
}

impl RocksState {
    /// Writes the rows of [`Space::System`], `last_applied` among them, so that they outlive the
    /// process and the data beside them does not ([`Mutant::ApplyNotAtomic`]).
    fn survive_system_rows(&self, writes: &[Write]) -> Result<(), StorageError> {
        let mut batch = WriteBatch::default();
        let family = family(&self.database, Space::System.name())?;
        for Write { key, value, .. } in writes.iter().filter(|w| w.space == Space::System) {
            match value {
                Some(value) => batch.put_cf(family, key, value),
                None => batch.delete_cf(family, key),
            }
        }
        // With a write-ahead log, unlike everything else here.
        let written = self.database.write(batch);
        written.map_err(|error| storage_error("commit to the state", &error))
    }
}

struct RocksView<'a> {
    database: &'a DB,
    snapshot: &'a Snapshot<'a>,
    rows: &'a RowCache,
    moment: Moment,
}

impl StateRead for RocksView<'_> {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        if let Cached::Known(value) = self.rows.get(space, key, self.moment) {
            return Ok(value);
        }
        let family = family(self.database, space.name())?;
        let value = self.snapshot.get_cf(family, key).map_err(read_error)?;
        self.rows.offer(space, key, value.as_deref(), self.moment);
        Ok(value)
    }

    fn scan(&self, scan: &Scan) -> Result<Vec<Row>, StorageError> {
        if scan.from >= scan.to {
            return Ok(Vec::new());
        }
        let family = family(self.database, scan.space.name())?;
        let mut options = ReadOptions::default();
        options.set_iterate_lower_bound(scan.from.clone());
        options.set_iterate_upper_bound(scan.to.clone());
        let mode = match scan.direction {
            Direction::Ascending => IteratorMode::Start,
            Direction::Descending => IteratorMode::End,
        };
        let rows = self.snapshot.iterator_cf_opt(family, options, mode).take(scan.limit);
        rows.map(|row| row.map(|(key, value)| (key.into_vec(), value.into_vec())))
            .collect::<Result<_, _>>()
            .map_err(read_error)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the signature that map_err wants")]
fn read_error(error: rocksdb::Error) -> StorageError {
    storage_error("read the state", &error)
}

#[cfg(test)]
mod tests {
    use rocksdb::perf::{PerfContext, PerfMetric, PerfStatsLevel, set_perf_stats};

    use super::*;

    /// One table with more keys than their filter, whole, would fit into a shard of the cache for.
    #[test]
    fn a_look_up_in_a_large_table_reads_nothing_twice() {
        const KEYS: u64 = 600_000;
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::new_lru_cache(1 << 20);
        let state = RocksState::open(directory.path(), &cache).unwrap();
        let key = |number: u64| number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes().to_vec();
        for chunk in (0..KEYS).collect::<Vec<_>>().chunks(10_000) {
            let writes: Vec<_> = chunk
                .iter()
                .map(|n| Write { space: Space::Records, key: key(*n), value: Some(Vec::new()) })
                .collect();
            state.commit(&writes).unwrap();
        }
        state.flush().unwrap();
        let records = family(&state.database, Space::Records.name()).unwrap();
        state.database.compact_range_cf(records, None::<&[u8]>, None::<&[u8]>);

        let absent: Vec<_> = (KEYS..KEYS + 20).map(key).collect();
        let look_all_up = || {
            state.with_view(&mut |view| {
                for key in &absent {
                    assert_eq!(view.get(Space::Records, key).unwrap(), None);
                }
            });
        };
        look_all_up();
        set_perf_stats(PerfStatsLevel::EnableCount);
        let mut counts = PerfContext::default();
        counts.reset();
        look_all_up();
        assert_eq!(counts.metric(PerfMetric::BlockReadCount), 0);
    }
}
