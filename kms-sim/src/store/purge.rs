//! Takes removed rows out of the files of the store, and out of memory.
//!
//! A removal is one more record: what it hides stays in older files until these are written anew, in
//! the write-ahead log until all that this holds is in files, and in blocks that were read.

use std::ffi::CStr;
use std::time::Duration;

use rocksdb::{BottommostLevelCompaction, CompactOptions};

use super::db::{CACHE_BYTES, Db, StoreError, family};
use super::tables::Table;

/// Views of before are looked for so often, and so long apart; most end within milliseconds.
const VIEW_LOOKS: u32 = 100;
const VIEW_PAUSE: Duration = Duration::from_millis(10);
/// What RocksDB calls the last write that its oldest view contains, and 0 without one.
const OLDEST_VIEW: &CStr = c"rocksdb.oldest-snapshot-sequence";
/// What it calls the number of flushes and compactions that have failed.
const FAILURES: &CStr = c"rocksdb.background-errors";

impl Db {
    /// Takes what was removed from a table so far out of its files and out of memory, too: until
    /// then a removed row is still in the write-ahead log, in older files and in cached blocks.
    /// False when it may still be there: a view that is older than the removal keeps the row, and a
    /// table may fail to be written anew. Blocks for as long as it takes to write the table.
    ///
    /// # Errors
    /// [`StoreError::Write`], [`StoreError::Read`].
    pub fn purge(&self, table: Table) -> Result<bool, StoreError> {
        if !self.wait_for_views()? {
            return Ok(false);
        }
        let failures = self.number(FAILURES)?;
        self.flush()?;
        let mut options = CompactOptions::default();
        options.set_bottommost_level_compaction(BottommostLevelCompaction::Force);
        let (family, all) = (family(&self.rocks, table), None::<&[u8]>);
        self.rocks.compact_range_cf_opt(family, all, all, &options);
        // Blocks of files that are gone would stay until others take their place.
        let mut cache = self.cache.clone();
        cache.set_capacity(0);
        cache.set_capacity(CACHE_BYTES);
        // A compaction says nothing of a failure by itself.
        Ok(self.number(FAILURES)? == failures)
    }

    /// Waits a while for the views that are open now; false when one of them stays.
    fn wait_for_views(&self) -> Result<bool, StoreError> {
        let now = self.rocks.latest_sequence_number();
        for _ in 0..VIEW_LOOKS {
            let oldest = self.number(OLDEST_VIEW)?.filter(|oldest| *oldest > 0);
            if oldest.is_none_or(|oldest| oldest >= now) {
                return Ok(true);
            }
            std::thread::sleep(VIEW_PAUSE);
        }
        Ok(false)
    }

    fn number(&self, property: &CStr) -> Result<Option<u64>, StoreError> {
        self.rocks.property_int_value(property).map_err(StoreError::Read)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::store::Write;

    #[test]
    fn a_purge_takes_removed_rows_out_of_every_file() {
        let directory = tempfile::tempdir().unwrap();
        let db = Db::open(directory.path()).unwrap();
        let (canary, kept) = ([0xc7; 48], [0xd1; 48]);
        let put =
            |row: &[u8], value: &[u8]| Write::put(Table::Materials, row.to_vec(), value.to_vec());
        db.commit(&[put(b"a", &canary), put(b"b", &kept)]).unwrap();
        // Something in another table that shares the log.
        db.commit(&[Write::put(Table::Ledger, b"1".to_vec(), vec![1])]).unwrap();
        db.commit(&[Write::delete(Table::Materials, b"a".to_vec())]).unwrap();
        let held_by = |bytes: &[u8]| {
            let files = std::fs::read_dir(directory.path()).unwrap();
            let holds = |path: &Path| {
                let content = std::fs::read(path).unwrap();
                content.windows(bytes.len()).any(|window| window == bytes)
            };
            files.map(|entry| entry.unwrap().path()).filter(|path| holds(path)).count()
        };
        assert!(held_by(&canary) > 0, "the search finds what is there");
        assert!(db.purge(Table::Materials).unwrap());
        // Files that nobody needs any more are removed at the latest now.
        drop(db);
        assert_eq!(held_by(&canary), 0);
        let db = Db::open(directory.path()).unwrap();
        assert_eq!(db.view().get(Table::Materials, b"b").unwrap(), Some(kept.to_vec()));
    }

    #[test]
    fn a_purge_is_not_done_while_somebody_sees_what_was_removed() {
        let directory = tempfile::tempdir().unwrap();
        let db = Db::open(directory.path()).unwrap();
        db.commit(&[Write::put(Table::Materials, b"a".to_vec(), vec![1])]).unwrap();
        let before = db.view();
        db.commit(&[Write::delete(Table::Materials, b"a".to_vec())]).unwrap();
        assert!(!db.purge(Table::Materials).unwrap());
        assert_eq!(before.get(Table::Materials, b"a").unwrap(), Some(vec![1]));
        drop(before);
        assert!(db.purge(Table::Materials).unwrap());
    }

    #[test]
    fn blocks_of_a_table_leave_the_memory_with_a_purge() {
        let directory = tempfile::tempdir().unwrap();
        let db = Db::open(directory.path()).unwrap();
        let put = |row: u32| Write::put(Table::Materials, row.to_be_bytes().into(), vec![7; 4096]);
        db.commit(&(0..500).map(put).collect::<Vec<_>>()).unwrap();
        assert!(db.purge(Table::Materials).unwrap());
        let read = db.view().scan(Table::Materials, b"", b"").count();
        let held = db.cache.get_usage();
        assert!(read == 500 && held > 1 << 20, "{held} bytes of {read} rows");
        db.commit(&[Write::delete(Table::Materials, vec![0; 4])]).unwrap();
        assert!(db.purge(Table::Materials).unwrap());
        assert!(db.cache.get_usage() < held / 8, "{} of {held}", db.cache.get_usage());
    }
}
