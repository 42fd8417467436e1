//! What the store says of itself, for `/metrics`.

use super::Db;
use super::tables::Table;

/// The insides of the store at this moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StoreStats {
    /// Bytes of all tables on disk.
    pub tables_bytes: u64,
    /// Bytes of them that are neither overwritten nor deleted, as it estimates.
    pub live_bytes: u64,
    /// Bytes that are in memory and in the log alone.
    pub memtable_bytes: u64,
    /// Bytes that compaction has yet to rewrite, as it estimates.
    pub pending_compaction_bytes: u64,
    /// Errors in the background since it was opened.
    pub background_errors: u64,
    /// Whether writes wait for compaction.
    pub writes_stopped: bool,
    /// Bytes of blocks in memory.
    pub cache_bytes: u64,
}

impl Db {
    /// What the store says of itself. What it does not tell counts as nothing.
    #[must_use]
    pub fn stats(&self) -> StoreStats {
        let of_store =
            |name: &str| self.rocks.property_int_value(name).ok().flatten().unwrap_or_default();
        let sum = |name: &str| -> u64 {
            let of_table = |table: Table| {
                let family = self.rocks.cf_handle(table.name())?;
                self.rocks.property_int_value_cf(family, name).ok().flatten()
            };
            Table::ALL.into_iter().filter_map(of_table).sum()
        };
        StoreStats {
            tables_bytes: sum("rocksdb.total-sst-files-size"),
            live_bytes: sum("rocksdb.estimate-live-data-size"),
            memtable_bytes: sum("rocksdb.cur-size-all-mem-tables"),
            pending_compaction_bytes: sum("rocksdb.estimate-pending-compaction-bytes"),
            background_errors: of_store("rocksdb.background-errors"),
            writes_stopped: of_store("rocksdb.is-write-stopped") > 0,
            cache_bytes: self.cache.get_usage() as u64,
        }
    }
}
