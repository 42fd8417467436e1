//! What both RocksDB engines share: the block cache, common options, and what errors mean.

use std::path::Path;
use std::sync::Arc;

use rocksdb::{BlockBasedIndexType, BlockBasedOptions, Cache, ErrorKind, LogLevel, Options};

use super::engine::{Engines, LogEngine, StateEngine};
use super::engine_stats::EngineStats;
use super::rocks_log::RocksLog;
use super::rocks_state::RocksState;
use crate::error::{StorageError, StorageFailure};

/// One block cache for the log and the state together.
const BLOCK_CACHE_BYTES: usize = 64 << 20;
/// One memtable. The log fills one, the state one, and one more is being flushed: the node's
/// budget of three.
pub(super) const MEMTABLE_BYTES: usize = 16 << 20;
/// RocksDB's own text logs that are kept.
const INFO_LOGS_KEPT: usize = 2;
/// How much of a new table is given to the disk at a time. All at once it would keep the next
/// sync of the log waiting for as long as the disk needs for a whole table.
const SYNC_STEP_BYTES: u64 = 512 << 10;
/// Files held open by one database.
const OPEN_FILES_MAX: i32 = 512;

/// Opens RocksDB engines that share one block cache.
pub struct RocksEngines {
    cache: Cache,
}

impl RocksEngines {
    /// Engines with their own block cache of 64 MiB.
    #[must_use]
    pub fn new() -> Self {
        Self { cache: Cache::new_lru_cache(BLOCK_CACHE_BYTES) }
    }
}

impl Default for RocksEngines {
    fn default() -> Self {
        Self::new()
    }
}

impl Engines for RocksEngines {
    fn cache_bytes(&self) -> u64 {
        self.cache.get_usage() as u64
    }

    fn open_log(&self, directory: &Path) -> Result<Arc<dyn LogEngine>, StorageError> {
        Ok(Arc::new(RocksLog::open(directory, &self.cache)?))
    }

    fn open_state(&self, directory: &Path) -> Result<Arc<dyn StateEngine>, StorageError> {
        Ok(Arc::new(RocksState::open(directory, &self.cache)?))
    }
}

/// Options of the database as a whole, and of the default column family.
pub(super) fn database_options() -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.set_paranoid_checks(true);
    options.set_max_open_files(OPEN_FILES_MAX);
    options.set_keep_log_file_num(INFO_LOGS_KEPT);
    options.set_log_level(LogLevel::Warn);
    options.set_stats_dump_period_sec(0);
    options.set_bytes_per_sync(SYNC_STEP_BYTES);
    options
}

/// Options of a column family with blocks in the shared cache.
pub(super) fn family_options(cache: &Cache, bloom_bits_per_key: Option<f64>) -> Options {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(cache);
    // Index and filter blocks count against the same budget.
    blocks.set_cache_index_and_filter_blocks(true);
    if let Some(bits) = bloom_bits_per_key {
        blocks.set_bloom_filter(bits, false);
        // In small blocks below a pinned one. Whole, the filter of a large table is megabytes: more
        // than one shard of the cache holds, so that each look-up would read all of it again.
        blocks.set_partition_filters(true);
        blocks.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
        blocks.set_pin_top_level_index_and_filter(true);
    }
    let mut options = Options::default();
    options.set_block_based_table_factory(&blocks);
    options.set_write_buffer_size(MEMTABLE_BYTES);
    options
}

/// Drops every block that nobody reads at this moment: those of files that are gone would stay
/// until others take their place.
pub(super) fn forget_blocks(cache: &Cache) {
    let mut cache = cache.clone();
    cache.set_capacity(0);
    cache.set_capacity(BLOCK_CACHE_BYTES);
}

/// What a database says of these families of it. What it does not tell counts as nothing: this is
/// for people who look, and fails no call.
pub(super) fn stats_of(database: &rocksdb::DB, families: &[&str]) -> EngineStats {
    let of_database =
        |name: &str| database.property_int_value(name).ok().flatten().unwrap_or_default();
    let sum = |name: &str| -> u64 {
        let of_family = |family: &&str| {
            let family = database.cf_handle(family)?;
            database.property_int_value_cf(family, name).ok().flatten()
        };
        families.iter().filter_map(of_family).sum()
    };
    EngineStats {
        tables_bytes: sum("rocksdb.total-sst-files-size"),
        live_bytes: sum("rocksdb.estimate-live-data-size"),
        memtable_bytes: sum("rocksdb.cur-size-all-mem-tables"),
        pending_compaction_bytes: sum("rocksdb.estimate-pending-compaction-bytes"),
        level0_files: sum("rocksdb.num-files-at-level0"),
        running_jobs: of_database("rocksdb.num-running-compactions")
            + of_database("rocksdb.num-running-flushes"),
        background_errors: of_database("rocksdb.background-errors"),
        writes_stopped: of_database("rocksdb.is-write-stopped") > 0,
    }
}

/// What a RocksDB error means for the node.
pub(super) fn storage_error(context: &str, error: &rocksdb::Error) -> StorageError {
    let text: &str = error.as_ref();
    let failure = match error.kind() {
        ErrorKind::Corruption => StorageFailure::Corrupt,
        // The kind "no space" is only in the text: a sub-code of an I/O error.
        _ if text.contains("No space left on device") => StorageFailure::DiskFull,
        _ => StorageFailure::Io,
    };
    StorageError { failure, context: context.to_owned(), message: text.to_owned() }
}

/// A column family that was opened with the database.
pub(super) fn family<'db>(
    database: &'db rocksdb::DB,
    name: &str,
) -> Result<&'db rocksdb::ColumnFamily, StorageError> {
    database.cf_handle(name).ok_or_else(|| {
        StorageError::corrupt("open a column family", format!("{name} does not exist"))
    })
}
