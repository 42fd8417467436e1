//! Opening a store for reading, also beside a process that writes to it.
//!
//! Promises: what is opened is one state of the store, and what was committed before is in it.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::Path;

use rocksdb::{Cache, DB};

use super::{Db, StoreError, open_error, options};
use crate::store::format;
use crate::store::tables::Table;

/// How often a store is opened for reading whose files change meanwhile, before that is given up.
const OPEN_ATTEMPTS: usize = 1_000;

impl Db {
    /// Opens the store for reading, also beside a process that writes to it. Sees the state at
    /// the time of opening.
    ///
    /// # Errors
    /// [`StoreError::Missing`], [`StoreError::Newer`], [`StoreError::Open`],
    /// [`StoreError::Unsettled`].
    pub fn open_read_only(directory: &Path) -> Result<Self, StoreError> {
        // RocksDB would make the directory, even to say that there is nothing in it.
        if !directory.is_dir() {
            return Err(StoreError::Missing { directory: directory.to_owned() });
        }
        // Whoever writes may take away a file between what names it and the look into it: a table
        // that is missed then is damage, but a log that is missed is a shorter history.
        let mut before = data_files(directory);
        for _ in 0..OPEN_ATTEMPTS {
            let opened = Self::read_only(directory);
            let after = data_files(directory);
            if after == before {
                return opened;
            }
            before = after;
        }
        Err(StoreError::Unsettled { directory: directory.to_owned() })
    }

    fn read_only(directory: &Path) -> Result<Self, StoreError> {
        let names = Table::ALL.map(Table::name);
        let rocks = DB::open_cf_for_read_only(&options(), directory, names, false)
            .map_err(|source| open_error(directory, source))?;
        // The tables have caches of their own, which go with them.
        let db = Self { rocks, synced: true, cache: Cache::new_lru_cache(0) };
        format::require_known(&db.view(), directory)?;
        Ok(db)
    }
}

/// The names of the tables, logs and lists of files in a directory; none when it cannot be read.
fn data_files(directory: &Path) -> BTreeSet<OsString> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let is_data = |name: &OsString| {
        let path = Path::new(name);
        path.extension().is_some_and(|extension| extension == "sst" || extension == "log")
            || path.to_string_lossy().starts_with("MANIFEST-")
    };
    entries.map(|entry| entry.file_name()).filter(is_data).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
    use std::time::Duration;

    use super::super::{Write, family};
    use super::*;

    /// Between two pauses of the writer.
    const COMMITS: u64 = 8;
    const OPENS: u32 = 40;

    /// Its files come and go all the time, and with them the logs that hold the last rows.
    #[test]
    fn a_reader_beside_a_busy_writer_opens_and_misses_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let db = Db::open(directory.path()).unwrap();
        let (written, opened) = (AtomicU64::new(0), AtomicU64::new(0));
        let done = AtomicBool::new(false);
        let commit = |number: u64| {
            let row = number.to_be_bytes().to_vec();
            db.commit(&[Write::put(Table::Ledger, row, vec![1])]).unwrap();
            written.store(number, Ordering::Release);
            db.flush().unwrap();
        };
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for burst in 0.. {
                    let before = opened.load(Ordering::Acquire);
                    (1..=COMMITS).for_each(|number| commit(burst * COMMITS + number));
                    // Tables are merged, and the old ones removed.
                    let ledger = family(&db.rocks, Table::Ledger);
                    db.rocks.compact_range_cf(ledger, None::<&[u8]>, None::<&[u8]>);
                    // Servers pause, too; this one for as long as an open store is waited for.
                    while opened.load(Ordering::Acquire) == before {
                        if done.load(Ordering::Acquire) {
                            return;
                        }
                        std::thread::sleep(Duration::from_millis(1));
                    }
                }
            });
            let mut wrong = None;
            for _ in 0..OPENS {
                let before = written.load(Ordering::Acquire);
                let reader = Db::open_read_only(directory.path());
                let seen = reader.map(|db| db.view().scan(Table::Ledger, b"", b"").count() as u64);
                opened.fetch_add(1, Ordering::AcqRel);
                if !seen.as_ref().is_ok_and(|seen| *seen >= before) {
                    wrong = Some(format!("{seen:?}, and {before} were there"));
                    break;
                }
            }
            done.store(true, Ordering::Release);
            assert_eq!(wrong, None);
        });
    }
}
