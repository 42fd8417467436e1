//! The log in RocksDB: write-ahead log on, one writer, short because it is purged.
//!
//! Entries lie under their big-endian index; the log's own records in a family beside them. Only
//! a torn tail of the write-ahead log is forgiven at opening; RocksDB's default would silently
//! drop everything behind the first bad record, which can un-acknowledge data
//! (`openraft.md §3.1`).

use std::ops::Range;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use rocksdb::{
    Cache, ColumnFamilyDescriptor, DB, DBCompressionType, DBRecoveryMode, Direction, IteratorMode,
    ReadOptions, WriteBatch, WriteOptions,
};

use super::codec::{decode_entry, decode_log_id};
use super::engine::{LogEngine, LogOp, LogRecord, RecoveredLog};
use super::engine_stats::EngineStats;
use super::pace::Pace;
use super::rocks::{
    database_options, family, family_options, forget_blocks, stats_of, storage_error,
};
use super::rocks_erase::{self, Rewrite};
use crate::error::StorageError;

const ENTRIES: &str = "entries";
const RECORDS: &str = "records";
/// Write-ahead logs beyond this are freed by a flush.
const WAL_BYTES_MAX: u64 = 64 << 20;

/// The RocksDB log engine.
pub(super) struct RocksLog {
    database: DB,
    cache: Cache,
}

impl RocksLog {
    pub(super) fn open(directory: &Path, cache: &Cache) -> Result<Self, StorageError> {
        let mut options = database_options();
        options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
        options.set_track_and_verify_wals_in_manifest(true);
        options.set_max_total_wal_size(WAL_BYTES_MAX);
        let families = [ENTRIES, RECORDS].map(|name| {
            let mut options = family_options(cache, None);
            // What is sealed does not compress; and where it stands as it is, a search of the files
            // finds what should be gone.
            options.set_compression_type(DBCompressionType::None);
            ColumnFamilyDescriptor::new(name, options)
        });
        let database = DB::open_cf_descriptors(&options, directory, families)
            .map_err(|error| storage_error("open the log", &error))?;
        Ok(Self { database, cache: cache.clone() })
    }

    fn add(
        &self,
        batch: &mut WriteBatch,
        end: &mut Option<u64>,
        op: &LogOp,
    ) -> Result<(), StorageError> {
        let entries = family(&self.database, ENTRIES)?;
        let records = family(&self.database, RECORDS)?;
        match op {
            LogOp::Append { index, encoded } => {
                batch.put_cf(entries, index.to_be_bytes(), encoded);
                *end = (*end).max(Some(index + 1));
            }
            LogOp::TruncateFrom { index } => {
                // Bounded by the last entry: an open-ended tombstone would lie over every later
                // one until it is compacted.
                let end = self.stored_end()?.max(*end).unwrap_or(0);
                if *index < end {
                    batch.delete_range_cf(entries, index.to_be_bytes(), end.to_be_bytes());
                }
            }
            LogOp::Purge { from, upto, log_id } => {
                let end = upto.saturating_add(1);
                if *from < end {
                    batch.delete_range_cf(entries, from.to_be_bytes(), end.to_be_bytes());
                }
                batch.put_cf(records, record_key(LogRecord::Purged), log_id);
            }
            LogOp::Record { record, value } => batch.put_cf(records, record_key(*record), value),
        }
        Ok(())
    }

    /// One past the last stored entry.
    fn stored_end(&self) -> Result<Option<u64>, StorageError> {
        let entries = family(&self.database, ENTRIES)?;
        match self.database.iterator_cf(entries, IteratorMode::End).next() {
            Some(row) => Ok(Some(index_of(&row.map_err(read_error)?.0)? + 1)),
            None => Ok(None),
        }
    }

    fn records(&self) -> Result<RecoveredLog, StorageError> {
        let family = family(&self.database, RECORDS)?;
        let mut recovered = RecoveredLog::default();
        for record in
            [LogRecord::Vote, LogRecord::Committed, LogRecord::Purged, LogRecord::Identity]
        {
            let value = self.database.get_cf(family, record_key(record)).map_err(read_error)?;
            recovered.records.extend(value.map(|value| (record, value)));
        }
        Ok(recovered)
    }
}

impl LogEngine for RocksLog {
    fn stats(&self) -> EngineStats {
        stats_of(&self.database, &[ENTRIES, RECORDS])
    }

    fn write(&self, ops: &[LogOp], sync: bool) -> Result<(), StorageError> {
        if ops.is_empty() {
            // Whoever waits for what was written before.
            let synced = if sync { self.database.flush_wal(true) } else { Ok(()) };
            return synced.map_err(|error| storage_error("write to the log", &error));
        }
        let mut batch = WriteBatch::default();
        let mut end = None;
        for op in ops {
            self.add(&mut batch, &mut end, op)?;
        }
        let mut options = WriteOptions::default();
        options.set_sync(sync);
        self.database
            .write_opt(batch, &options)
            .map_err(|error| storage_error("write to the log", &error))
    }

    fn read(&self, range: Range<u64>, bytes_max: usize) -> Result<Vec<Bytes>, StorageError> {
        let mut options = ReadOptions::default();
        options.set_iterate_upper_bound(range.end.to_be_bytes().to_vec());
        let start = range.start.to_be_bytes();
        let mode = IteratorMode::From(&start, Direction::Forward);
        let family = family(&self.database, ENTRIES)?;
        let mut found = Vec::new();
        let mut bytes = 0;
        let mut expected = range.start;
        for row in self.database.iterator_cf_opt(family, options, mode) {
            let (key, value) = row.map_err(read_error)?;
            if index_of(&key)? != expected {
                return Err(hole(expected));
            }
            expected += 1;
            bytes += value.len();
            found.push(Bytes::from(value));
            if bytes > bytes_max {
                return Ok(found);
            }
        }
        if expected < range.end { Err(hole(expected)) } else { Ok(found) }
    }

    fn recover(&self) -> Result<RecoveredLog, StorageError> {
        let mut recovered = self.records()?;
        // Seeking behind the purged part: the range deletions before it are slow to pass.
        let purged = recovered.records.get(&LogRecord::Purged);
        let start = match purged {
            Some(encoded) => decode_log_id(encoded)?.index.saturating_add(1),
            None => 0,
        };
        let mut options = ReadOptions::default();
        options.fill_cache(false);
        let start_key = start.to_be_bytes();
        let mode = IteratorMode::From(&start_key, Direction::Forward);
        let family = family(&self.database, ENTRIES)?;
        let mut entries: Option<Range<u64>> = None;
        for row in self.database.iterator_cf_opt(family, options, mode) {
            let index = index_of(&row.map_err(read_error)?.0)?;
            match &mut entries {
                None => entries = Some(index..index + 1),
                Some(entries) if entries.end == index => entries.end += 1,
                Some(entries) => return Err(hole(entries.end)),
            }
        }
        recovered.entries = entries.unwrap_or_default();
        Ok(recovered)
    }

    fn erase_removed(&self) -> Result<Option<Vec<PathBuf>>, StorageError> {
        // All of it, for entries were removed at its end as well; after a purge it is not long.
        let families = &[ENTRIES, RECORDS];
        let rewrite = Rewrite { database: &self.database, families, family: ENTRIES, rows: None };
        let left = rewrite.run()?;
        forget_blocks(&self.cache);
        Ok(left)
    }

    fn still_left(&self, files: Vec<PathBuf>) -> Result<Vec<PathBuf>, StorageError> {
        rocks_erase::still_left(&self.database, files)
    }

    fn scrub(&self, pace: &mut Pace) -> Result<bool, StorageError> {
        // Through the instance that serves: a second one would read all of the write-ahead log into
        // its memory. Each entry has a checksum of its own besides.
        let mut options = ReadOptions::default();
        options.fill_cache(false);
        let family = family(&self.database, ENTRIES)?;
        for row in self.database.iterator_cf_opt(family, options, IteratorMode::Start) {
            let (_, value) = row.map_err(read_error)?;
            let entry = Bytes::from(value);
            decode_entry(&entry)?;
            if !pace.spend(entry.len() as u64) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

const fn record_key(record: LogRecord) -> &'static [u8] {
    match record {
        LogRecord::Vote => b"vote",
        LogRecord::Committed => b"committed",
        LogRecord::Purged => b"purged",
        LogRecord::Identity => b"identity",
    }
}

fn index_of(key: &[u8]) -> Result<u64, StorageError> {
    let bytes = key.try_into().map_err(|_| {
        StorageError::corrupt("read the log", "a key is not an index of eight bytes")
    })?;
    Ok(u64::from_be_bytes(bytes))
}

#[expect(clippy::needless_pass_by_value, reason = "the signature that map_err wants")]
fn read_error(error: rocksdb::Error) -> StorageError {
    storage_error("read the log", &error)
}

fn hole(index: u64) -> StorageError {
    StorageError::corrupt("read the log", format!("entry {index} is missing"))
}
