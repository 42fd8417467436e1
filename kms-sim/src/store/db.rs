//! The RocksDB instance: opening, consistent views, and batches that are durable or refused.
//!
//! Owns the options. Promises: a batch is applied as a whole and, once [`Db::commit`] returns,
//! survives a power loss; a view never sees half a batch; damage anywhere but in the torn tail of
//! the log is an error, never a silently shorter history. Refuses to know what rows mean.

mod read_only;

use std::path::{Path, PathBuf};

use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamily, ColumnFamilyDescriptor, DB, DBCompressionType,
    DBRecoveryMode, Direction, FlushOptions, IteratorMode, Options, ReadOptions,
    SnapshotWithThreadMode, WriteBatch, WriteOptions,
};

use super::format;
use super::records::Head;
use super::tables::{HEAD, Table};
use lockbox_core::codec::{self, CodecError};

/// Memory that collects writes of one table before they go to a file, in bytes.
const WRITE_BUFFER_BYTES: usize = 8 << 20;
/// Size of the write-ahead logs at which the oldest tables are written out, in bytes.
const WAL_BYTES_MAX: u64 = 64 << 20;
/// Memory for blocks of all tables that were read, in bytes.
pub(super) const CACHE_BYTES: usize = 32 << 20;
/// Part of the message with which RocksDB reports ENOSPC.
const NO_SPACE: &str = "No space left on device";
/// Part of the message with which RocksDB reports that another process holds the directory.
const LOCKED: &str = "lock";

/// Why the store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has it open.
    #[error("the data directory {directory} is in use by another process")]
    InUse {
        /// The directory.
        directory: PathBuf,
    },
    /// Its files changed each time it was opened for reading.
    #[error("the store in {directory} changes faster than it can be opened")]
    Unsettled {
        /// The directory.
        directory: PathBuf,
    },
    /// It is not there.
    #[error("there is no store in {directory}")]
    Missing {
        /// The directory.
        directory: PathBuf,
    },
    /// A newer build has written what this one does not know.
    #[error("a newer build has written the store in {directory}: use that build again")]
    Newer {
        /// The directory.
        directory: PathBuf,
    },
    /// It does not open.
    #[error("cannot open the store in {directory}: {source}")]
    Open {
        /// The directory.
        directory: PathBuf,
        /// Why.
        source: rocksdb::Error,
    },
    /// A write or sync failed.
    #[error("cannot write to the store: {0}")]
    Write(rocksdb::Error),
    /// The disk is full.
    #[error("the disk is full: {0}")]
    DiskFull(rocksdb::Error),
    /// A read failed.
    #[error("cannot read from the store: {0}")]
    Read(rocksdb::Error),
    /// A row cannot be right.
    #[error("table {table} of the store is damaged: {problem}")]
    Damaged {
        /// The table.
        table: &'static str,
        /// What is wrong; never content.
        problem: String,
    },
}

impl StoreError {
    /// A row of a table does not decode.
    #[must_use]
    pub fn undecodable(table: Table, error: &CodecError) -> Self {
        Self::Damaged { table: table.name(), problem: error.to_string() }
    }

    /// A row of a table contradicts another.
    #[must_use]
    pub fn inconsistent(table: Table, problem: &str) -> Self {
        Self::Damaged { table: table.name(), problem: problem.to_owned() }
    }
}

/// One change of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// Where.
    pub table: Table,
    /// Which row.
    pub row: Vec<u8>,
    /// Its new value; none removes it.
    pub value: Option<Vec<u8>>,
}

impl Write {
    /// Stores a row.
    #[must_use]
    pub const fn put(table: Table, row: Vec<u8>, value: Vec<u8>) -> Self {
        Self { table, row, value: Some(value) }
    }

    /// Removes a row.
    #[must_use]
    pub const fn delete(table: Table, row: Vec<u8>) -> Self {
        Self { table, row, value: None }
    }
}

/// The store.
pub struct Db {
    pub(super) rocks: DB,
    /// Whether commits wait for the disk.
    synced: bool,
    /// Blocks of all tables.
    pub(super) cache: Cache,
}

impl Db {
    /// Opens or creates the store for writing.
    ///
    /// # Errors
    /// [`StoreError::InUse`], [`StoreError::Newer`] or [`StoreError::Open`].
    pub fn open(directory: &Path) -> Result<Self, StoreError> {
        let mut options = options();
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        let cache = Cache::new_lru_cache(CACHE_BYTES);
        let families = Table::ALL
            .map(|table| ColumnFamilyDescriptor::new(table.name(), table_options(table, &cache)));
        let rocks = DB::open_cf_descriptors(&options, directory, families)
            .map_err(|source| open_error(directory, source))?;
        let db = Self { rocks, synced: true, cache };
        format::require_known(&db.view(), directory)?;
        Ok(db)
    }

    /// The same store, whose commits do not wait for the disk and do not survive a power loss: for
    /// benchmarks alone, which show what the sync costs.
    #[must_use]
    pub fn without_sync(self) -> Self {
        Self { synced: false, ..self }
    }

    /// A consistent view of the present state.
    #[must_use]
    pub fn view(&self) -> View<'_> {
        View { snapshot: self.rocks.snapshot(), rocks: &self.rocks }
    }

    /// Writes all changes together and syncs them to disk before it returns.
    ///
    /// # Errors
    /// [`StoreError::Write`] or [`StoreError::DiskFull`]; whether the batch is on disk is then
    /// unknown and the store must not be written to again.
    pub fn commit(&self, writes: &[Write]) -> Result<(), StoreError> {
        let mut batch = WriteBatch::default();
        for Write { table, row, value } in writes {
            let family = family(&self.rocks, *table);
            match value {
                Some(value) => batch.put_cf(family, row, value),
                None => batch.delete_cf(family, row),
            }
        }
        let mut durable = WriteOptions::default();
        durable.set_sync(self.synced);
        self.rocks.write_opt(batch, &durable).map_err(|error| {
            let full = error.as_ref().contains(NO_SPACE);
            if full { StoreError::DiskFull(error) } else { StoreError::Write(error) }
        })
    }

    /// Writes all that the log holds into the tables' files. Every block of those has a checksum,
    /// while the end of a log cannot be told from a write that a power loss has torn.
    ///
    /// # Errors
    /// [`StoreError::Write`].
    pub fn flush(&self) -> Result<(), StoreError> {
        // Every table: a log goes once all that it holds is in files.
        let families = Table::ALL.map(|table| family(&self.rocks, table));
        let flushed = self.rocks.flush_cfs_opt(families.as_slice(), &FlushOptions::default());
        flushed.map_err(StoreError::Write)
    }
}

/// The state at one point of the commit sequence.
pub struct View<'a> {
    snapshot: SnapshotWithThreadMode<'a, DB>,
    rocks: &'a DB,
}

impl View<'_> {
    /// One row.
    ///
    /// # Errors
    /// [`StoreError::Read`].
    pub fn get(&self, table: Table, row: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.snapshot.get_cf(family(self.rocks, table), row).map_err(StoreError::Read)
    }

    /// One row, decoded.
    ///
    /// # Errors
    /// [`StoreError::Read`] or [`StoreError::Damaged`].
    pub fn record<T>(&self, table: Table, row: &[u8]) -> Result<Option<T>, StoreError>
    where
        T: for<'b> minicbor::Decode<'b, ()>,
    {
        let bytes = self.get(table, row)?;
        bytes
            .map(|bytes| codec::decode(&bytes).map_err(|e| StoreError::undecodable(table, &e)))
            .transpose()
    }

    /// The rows of a table that begin with `prefix`, in order, from `start` on.
    ///
    /// # Errors
    /// Each item can be [`StoreError::Read`].
    pub fn scan<'v>(
        &'v self,
        table: Table,
        prefix: &[u8],
        start: &[u8],
    ) -> impl Iterator<Item = Result<Row, StoreError>> + use<'v> {
        let mut bounds = ReadOptions::default();
        if let Some(end) = after_prefix(prefix) {
            bounds.set_iterate_upper_bound(end);
        }
        let from = if start > prefix { start } else { prefix };
        self.snapshot
            .iterator_cf_opt(
                family(self.rocks, table),
                bounds,
                IteratorMode::From(from, Direction::Forward),
            )
            .map(|item| item.map_err(StoreError::Read))
    }

    /// The head of the commit sequence; zeros before the first commit.
    ///
    /// # Errors
    /// [`StoreError::Read`] or [`StoreError::Damaged`].
    pub fn head(&self) -> Result<Head, StoreError> {
        Ok(self.record(Table::Meta, HEAD)?.unwrap_or_default())
    }
}

/// A row's storage key and value.
pub type Row = (Box<[u8]>, Box<[u8]>);

/// The first bytes behind everything that begins with `prefix`.
fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}

pub(super) fn family(rocks: &DB, table: Table) -> &ColumnFamily {
    // INVARIANT: both ways of opening name every table.
    rocks.cf_handle(table.name()).expect("every table is opened")
}

fn options() -> Options {
    let mut options = Options::default();
    // The default would drop everything behind a damaged record in the middle of the log.
    options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
    options.set_max_total_wal_size(WAL_BYTES_MAX);
    options.set_keep_log_file_num(4);
    options
}

fn table_options(table: Table, cache: &Cache) -> Options {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(cache);
    let mut options = Options::default();
    options.set_block_based_table_factory(&blocks);
    options.set_write_buffer_size(WRITE_BUFFER_BYTES);
    options.set_compression_type(if table == Table::Materials {
        // What is wrapped does not compress; and where it stands as it is, a search of the files
        // finds what should be gone.
        DBCompressionType::None
    } else {
        DBCompressionType::Lz4
    });
    options
}

fn open_error(directory: &Path, source: rocksdb::Error) -> StoreError {
    let directory = directory.to_owned();
    if source.kind() == rocksdb::ErrorKind::IOError && source.as_ref().contains(LOCKED) {
        return StoreError::InUse { directory };
    }
    if format::is_of_newer_build(&source) {
        return StoreError::Newer { directory };
    }
    StoreError::Open { directory, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_stays_where_it_was_and_scans_stop_at_their_prefix() {
        let directory = tempfile::tempdir().unwrap();
        let db = Db::open(directory.path()).unwrap();
        let put = |row: &[u8]| Write::put(Table::Keys, row.to_vec(), vec![1]);
        db.commit(&[put(b"a1"), put(b"a2"), put(b"b1")]).unwrap();
        let before = db.view();
        db.commit(&[put(b"a3"), Write::delete(Table::Keys, b"a1".to_vec())]).unwrap();
        let rows = |view: &View<'_>, start: &[u8]| -> Vec<Vec<u8>> {
            view.scan(Table::Keys, b"a", start).map(|row| row.unwrap().0.into_vec()).collect()
        };
        assert_eq!(rows(&before, b""), [b"a1", b"a2"]);
        assert_eq!(rows(&db.view(), b""), [b"a2", b"a3"]);
        assert_eq!(rows(&db.view(), b"a3"), [b"a3"]);
    }

    #[test]
    fn a_second_writer_is_refused_and_a_reader_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let db = Db::open(directory.path()).unwrap();
        db.commit(&[Write::put(Table::Meta, b"x".to_vec(), vec![7])]).unwrap();
        assert!(matches!(Db::open(directory.path()), Err(StoreError::InUse { .. })));
        let reader = Db::open_read_only(directory.path()).unwrap();
        assert_eq!(reader.view().get(Table::Meta, b"x").unwrap(), Some(vec![7]));
    }

    #[test]
    fn the_end_of_a_prefix_carries_over() {
        assert_eq!(after_prefix(b"a"), Some(b"b".to_vec()));
        assert_eq!(after_prefix(&[1, 255]), Some(vec![2]));
        assert_eq!(after_prefix(&[255, 255]), None);
        assert_eq!(after_prefix(b""), None);
    }
}
