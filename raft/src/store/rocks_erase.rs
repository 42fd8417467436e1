//! Takes deleted rows out of the files of a RocksDB database.
//!
//! A deletion is one more record: what it hides stays in older tables until they are compacted,
//! and in the write-ahead log until all that this holds is in tables. A view that is older than
//! the deletion keeps the row, whatever is compacted.

use std::collections::BTreeSet;
use std::ffi::CStr;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use rocksdb::{BottommostLevelCompaction, CompactOptions, DB, FlushOptions, LiveFile};

use super::durable_files::names;
use super::rocks::{family, storage_error};
use crate::error::StorageError;

/// How RocksDB names its tables and write-ahead logs.
const TABLE: &str = ".sst";
const WRITE_AHEAD: &str = ".log";
/// Views of before are looked for so often, and so long apart; most end within milliseconds.
const VIEW_LOOKS: u32 = 100;
const VIEW_PAUSE: Duration = Duration::from_millis(10);
/// What RocksDB calls the last write that its oldest view contains, and 0 without one.
const OLDEST_VIEW: &CStr = c"rocksdb.oldest-snapshot-sequence";
/// What it calls the number of flushes and compactions that have failed.
const FAILURES: &CStr = c"rocksdb.background-errors";

/// One database, and which rows of it.
pub(super) struct Rewrite<'a> {
    pub(super) database: &'a DB,
    /// Every family that is written to: a write-ahead log holds what came for any of them.
    pub(super) families: &'a [&'a str],
    /// The one that had the rows.
    pub(super) family: &'a str,
    /// Where they were; anywhere when there is nothing here.
    pub(super) rows: Option<&'a [Range<Vec<u8>>]>,
}

impl Rewrite<'_> {
    /// Does it; see [`super::engine::StateEngine::erase_removed`] for what it returns.
    pub(super) fn run(&self) -> Result<Option<Vec<PathBuf>>, StorageError> {
        if !self.wait_for_views()? {
            return Ok(None);
        }
        let mut before = self.files()?;
        self.flush()?;
        let failures = self.number(FAILURES)?;
        self.compact()?;
        // Of the tables all that are there by now: one of a compaction that RocksDB has begun by
        // itself is among them. Not of the logs: families are flushed one after the other, and one
        // that began in between holds what the first wrote since, which may stay in memory for as
        // long as little is written.
        before.extend(self.files()?.into_iter().filter(|name| name.ends_with(TABLE)));
        if self.number(FAILURES)? != failures {
            // A compaction says nothing of it by itself.
            return Ok(None);
        }
        let live = self.database.live_files().map_err(|error| failed(&error))?;
        let live: BTreeSet<&str> = live.iter().map(name_of).collect();
        // Where nothing was to be flushed the newest is the one of before, and empty.
        let newest = self.files()?.iter().filter_map(|name| log_number(name)).max();
        let is_left = |name: &String| {
            let number = log_number(name);
            if number.is_some() { number < newest } else { !live.contains(name.as_str()) }
        };
        before.retain(is_left);
        let path = self.database.path();
        Ok(Some(before.into_iter().map(|name| path.join(name)).collect()))
    }

    /// The names of all tables and write-ahead logs, as RocksDB names them: what else is there is
    /// not RocksDB's and goes with nothing.
    fn files(&self) -> Result<BTreeSet<String>, StorageError> {
        let all = names(self.database.path())?.into_iter();
        Ok(all.filter(|name| number_of(name, TABLE).or(log_number(name)).is_some()).collect())
    }

    fn flush(&self) -> Result<(), StorageError> {
        let families = self.families.iter().map(|name| family(self.database, name));
        let families = families.collect::<Result<Vec<_>, _>>()?;
        let flushed = self.database.flush_cfs_opt(&families, &FlushOptions::default());
        flushed.map_err(|error| failed(&error))
    }

    /// Waits a while for the views that are open now; false when one of them stays.
    fn wait_for_views(&self) -> Result<bool, StorageError> {
        let now = self.database.latest_sequence_number();
        for _ in 0..VIEW_LOOKS {
            if self.oldest_view()?.is_none_or(|oldest| oldest >= now) {
                return Ok(true);
            }
            std::thread::sleep(VIEW_PAUSE);
        }
        Ok(false)
    }

    /// The number of the last write that the oldest view contains; nothing without a view.
    fn oldest_view(&self) -> Result<Option<u64>, StorageError> {
        Ok(self.number(OLDEST_VIEW)?.filter(|oldest| *oldest > 0))
    }

    fn number(&self, property: &CStr) -> Result<Option<u64>, StorageError> {
        self.database.property_int_value(property).map_err(|error| failed(&error))
    }

    fn compact(&self) -> Result<(), StorageError> {
        let family = family(self.database, self.family)?;
        let mut options = CompactOptions::default();
        // Else the lowest level stays as it is, deleted rows included.
        options.set_bottommost_level_compaction(BottommostLevelCompaction::Force);
        let Some(rows) = self.rows else {
            let all = None::<&[u8]>;
            self.database.compact_range_cf_opt(family, all, all, &options);
            return Ok(());
        };
        for rows in rows {
            let (from, to) = (Some(&rows.start), Some(&rows.end));
            self.database.compact_range_cf_opt(family, from, to, &options);
        }
        Ok(())
    }
}

/// Which of these tables and write-ahead logs are still left, once those are removed that no reader
/// holds any more. RocksDB does so at the end of a flush or a compaction; of a table that somebody
/// was reading just then nobody thinks again before the next one, which an idle database never sees.
/// To allow deletions, after they were forbidden for a moment, makes it look at all its files.
///
/// What is live by now is not left: it was being written when the files were listed, by a flush of
/// what came later.
pub(super) fn still_left(
    database: &DB,
    mut files: Vec<PathBuf>,
) -> Result<Vec<PathBuf>, StorageError> {
    let looked = database.disable_file_deletions().and_then(|()| database.enable_file_deletions());
    looked.map_err(|error| storage_error("remove unused files", &error))?;
    // ORDER: what is gone when it is looked for was not live before.
    let live = database.live_files().map_err(|error| failed(&error))?;
    let live: BTreeSet<PathBuf> =
        live.iter().map(|table| database.path().join(name_of(table))).collect();
    files.retain(|file| !live.contains(file) && file.exists());
    Ok(files)
}

fn name_of(table: &LiveFile) -> &str {
    table.name.trim_start_matches('/')
}

/// The number of a write-ahead log.
fn log_number(name: &str) -> Option<u64> {
    number_of(name, WRITE_AHEAD)
}

/// The number of a file of this kind.
fn number_of(name: &str, kind: &str) -> Option<u64> {
    name.strip_suffix(kind)?.parse().ok()
}

fn failed(error: &rocksdb::Error) -> StorageError {
    storage_error("erase deleted rows", error)
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::atomic::Ordering;

    use bytes::Bytes;
    use rocksdb::Cache;
    use sha2::{Digest, Sha256};

    use super::*;
    use crate::state::{Direction, Scan, Space, Write};
    use crate::store::codec::encode_log_id;
    use crate::store::engine::{LogEngine, LogOp, StateEngine};
    use crate::store::rocks_log::RocksLog;
    use crate::store::rocks_state::RocksState;
    use crate::types::LogId;

    const ROUNDS: u32 = 50;

    /// Bytes that are nowhere by chance.
    fn sealed(name: &str) -> Vec<u8> {
        Sha256::digest(name).to_vec()
    }

    /// The files that hold the bytes.
    fn holders(directory: &Path, bytes: &[u8]) -> Vec<PathBuf> {
        let files = names(directory).unwrap().into_iter().map(|name| directory.join(name));
        let holds = |path: &PathBuf| {
            // One that was compacted away meanwhile holds nothing.
            let content = std::fs::read(path).unwrap_or_default();
            content.windows(bytes.len()).any(|window| window == bytes)
        };
        files.filter(|path| path.is_file()).filter(holds).collect()
    }

    /// Waits until the files are gone.
    fn wait_gone(files: &[PathBuf]) {
        let gone = || files.iter().all(|file| !file.exists());
        for _ in 0..3000 {
            if gone() {
                return;
            }
            std::thread::sleep(VIEW_PAUSE);
        }
        panic!("{files:?} are still there");
    }

    /// Waits until none of these is left: a compaction may be removing some just now.
    fn wait_none_left(state: &RocksState, mut left: Vec<PathBuf>) {
        for _ in 0..3000 {
            left = state.still_left(left).unwrap();
            if left.is_empty() {
                return;
            }
            std::thread::sleep(VIEW_PAUSE);
        }
        panic!("{left:?} are still there");
    }

    fn put(name: &str) -> Write {
        let (space, key) = (Space::Payloads, name.as_bytes().to_vec());
        Write { space, key, value: Some(sealed(name)) }
    }

    fn delete(name: &str) -> Write {
        Write { value: None, ..put(name) }
    }

    fn rows(name: &str) -> Range<Vec<u8>> {
        name.as_bytes().to_vec()..[name.as_bytes(), &[0]].concat()
    }

    #[test]
    fn deleted_payloads_leave_every_table_and_the_others_stay() {
        let place = tempfile::tempdir().unwrap();
        let (directory, checkpoint) = (place.path().join("state"), place.path().join("copy"));
        let state = RocksState::open(&directory, &Cache::new_lru_cache(1 << 20)).unwrap();
        // In several tables: the lowest level, one above, and the memtable.
        state.commit(&[put("a"), put("b"), put("c")]).unwrap();
        assert!(state.erase_removed(&[rows("a")]).unwrap().is_some());
        state.commit(&[put("d"), put("e")]).unwrap();
        state.flush().unwrap();
        state.checkpoint(&checkpoint).unwrap();
        state.commit(&[delete("b"), put("f"), delete("d")]).unwrap();
        state.flush().unwrap();
        for name in ["b", "d"] {
            assert!(
                !holders(&directory, &sealed(name)).is_empty(),
                "a deletion alone leaves {name}"
            );
        }
        let left = state.erase_removed(&[rows("b"), rows("d")]).unwrap().unwrap();
        wait_gone(&left);
        for name in ["b", "d"] {
            assert_eq!(holders(&directory, &sealed(name)), Vec::<PathBuf>::new(), "{name}");
            assert!(!holders(&checkpoint, &sealed(name)).is_empty(), "a copy keeps its tables");
        }
        assert!(state.erase_removed(&[rows("b")]).unwrap().is_some(), "again, and to no effect");
        state.with_view(&mut |view| {
            for name in ["a", "c", "e", "f"] {
                let found = view.get(Space::Payloads, name.as_bytes()).unwrap();
                assert_eq!(found, Some(sealed(name)));
                assert!(!holders(&directory, &sealed(name)).is_empty(), "{name}");
            }
        });
    }

    #[test]
    fn nothing_is_claimed_while_an_old_view_is_open() {
        let place = tempfile::tempdir().unwrap();
        let state = RocksState::open(place.path(), &Cache::new_lru_cache(1 << 20)).unwrap();
        state.commit(&[put("a")]).unwrap();
        state.flush().unwrap();
        state.with_view(&mut |_old| {
            state.commit(&[delete("a")]).unwrap();
            assert_eq!(state.erase_removed(&[rows("a")]).unwrap(), None);
        });
        let left = state.erase_removed(&[rows("a")]).unwrap().unwrap();
        wait_gone(&left);
        assert_eq!(holders(place.path(), &sealed("a")), Vec::<PathBuf>::new());
    }

    /// Blocks of tables that are gone would stay in memory until others take their place.
    #[test]
    fn what_was_read_leaves_the_memory_with_the_tables() {
        let place = tempfile::tempdir().unwrap();
        let cache = Cache::new_lru_cache(16 << 20);
        let state = RocksState::open(place.path(), &cache).unwrap();
        let large = |number: u32| {
            let (space, key) = (Space::Payloads, number.to_be_bytes().to_vec());
            Write { space, key, value: Some(vec![7; 1 << 12]) }
        };
        state.commit(&(0..500).map(large).collect::<Vec<_>>()).unwrap();
        state.flush().unwrap();
        let all = Scan {
            space: Space::Payloads,
            from: vec![0],
            to: vec![u8::MAX],
            direction: Direction::Ascending,
            limit: usize::MAX,
        };
        state.with_view(&mut |view| assert_eq!(view.scan(&all).unwrap().len(), 500));
        let read = cache.get_usage();
        assert!(read > 1 << 20, "{read} bytes are kept of what was read");
        let gone = Write { value: None, ..large(0) };
        state.commit(std::slice::from_ref(&gone)).unwrap();
        let rows = gone.key.clone()..[gone.key.as_slice(), &[0]].concat();
        assert!(state.erase_removed(&[rows]).unwrap().is_some());
        let left = cache.get_usage();
        assert!(left < read / 8, "{left} of {read} bytes are left");
    }

    /// A reader that looks a row up just while the tables are written anew keeps the old ones, and
    /// does not remove them when it ends.
    #[test]
    fn what_a_reader_left_behind_is_removed_when_told_to() {
        let place = tempfile::tempdir().unwrap();
        let state = RocksState::open(place.path(), &Cache::new_lru_cache(1 << 20)).unwrap();
        let is_done = std::sync::atomic::AtomicBool::new(false);
        // It takes a while to read.
        let large = Write { value: Some(vec![7; 4 << 20]), ..put("b") };
        let mut left_behind = 0;
        for _ in 0..ROUNDS {
            state.commit(&[put("a"), large.clone()]).unwrap();
            state.flush().unwrap();
            state.commit(&[delete("a")]).unwrap();
            is_done.store(false, Ordering::Release);
            let left = std::thread::scope(|scope| {
                let _readers = [0, 1, 2].map(|_| {
                    scope.spawn(|| {
                        while !is_done.load(Ordering::Acquire) {
                            state.with_view(&mut |view| {
                                view.get(Space::Payloads, b"b").unwrap();
                            });
                        }
                    })
                });
                let left = loop {
                    if let Some(left) = state.erase_removed(&[rows("a")]).unwrap() {
                        break left;
                    }
                };
                is_done.store(true, Ordering::Release);
                left
            });
            left_behind += left.iter().filter(|file| file.exists()).count();
            wait_none_left(&state, left);
            assert_eq!(holders(place.path(), &sealed("a")), Vec::<PathBuf>::new());
        }
        println!("{left_behind} tables were left behind in {ROUNDS} rounds");
    }

    /// A table that another flush is writing is there and not live yet; it stays when it is.
    #[test]
    fn a_table_that_was_being_written_holds_nothing_up() {
        let place = tempfile::tempdir().unwrap();
        let state = RocksState::open(place.path(), &Cache::new_lru_cache(1 << 20)).unwrap();
        let is_done = std::sync::atomic::AtomicBool::new(false);
        let left: Vec<Vec<PathBuf>> = std::thread::scope(|scope| {
            scope.spawn(|| {
                let other = |number: u32| {
                    let (space, key) = (Space::Records, number.to_be_bytes().to_vec());
                    Write { space, key, value: Some(vec![7; 1 << 10]) }
                };
                for number in 0.. {
                    state.commit(&[other(number)]).unwrap();
                    state.flush().unwrap();
                    if is_done.load(Ordering::Acquire) {
                        break;
                    }
                }
            });
            let rounds = (0..ROUNDS).map(|_| {
                state.commit(&[put("a"), delete("a")]).unwrap();
                state.erase_removed(&[rows("a")]).unwrap().unwrap()
            });
            let rounds = rounds.collect();
            is_done.store(true, Ordering::Release);
            rounds
        });
        let left: Vec<PathBuf> = left.concat();
        println!("{} tables were listed in {ROUNDS} rounds", left.len());
        wait_none_left(&state, left);
    }

    #[test]
    fn a_table_that_is_not_live_and_still_there_is_told() {
        let place = tempfile::tempdir().unwrap();
        let state = RocksState::open(place.path(), &Cache::new_lru_cache(1 << 20)).unwrap();
        state.commit(&[put("a"), put("b")]).unwrap();
        state.flush().unwrap();
        let table = holders(place.path(), &sealed("a")).pop().unwrap();
        for name in ["999999.sst", "copy.sst"] {
            std::fs::hard_link(&table, place.path().join(name)).unwrap();
        }
        state.commit(&[delete("a")]).unwrap();
        let left = state.erase_removed(&[rows("a")]).unwrap().unwrap();
        assert!(left.iter().any(|file| file.ends_with("999999.sst")), "{left:?}");
        assert!(!left.iter().any(|file| file.ends_with("copy.sst")), "it goes with nothing");
    }

    #[test]
    fn what_was_purged_and_what_was_cut_off_leaves_the_log() {
        let place = tempfile::tempdir().unwrap();
        let log = RocksLog::open(place.path(), &Cache::new_lru_cache(1 << 20)).unwrap();
        let append =
            |index: u64, name: &str| LogOp::Append { index, encoded: Bytes::from(sealed(name)) };
        log.write(&[append(0, "purged"), append(1, "kept"), append(2, "cut")], true).unwrap();
        for name in ["purged", "kept", "cut"] {
            assert_eq!(holders(place.path(), &sealed(name)).len(), 1, "{name} is written ahead");
        }
        let log_id = encode_log_id(&LogId::new_term_index(1, 0));
        let purge = LogOp::Purge { from: 0, upto: 0, log_id };
        log.write(&[LogOp::TruncateFrom { index: 2 }, purge], false).unwrap();
        log.write(&[], true).unwrap();
        let left = log.erase_removed().unwrap().unwrap();
        wait_gone(&left);
        for name in ["purged", "cut"] {
            assert_eq!(holders(place.path(), &sealed(name)), Vec::<PathBuf>::new(), "{name}");
        }
        assert_eq!(holders(place.path(), &sealed("kept")).len(), 1);
        assert_eq!(log.read(1..2, usize::MAX).unwrap(), [Bytes::from(sealed("kept"))]);
        log.write(&[append(2, "next")], true).unwrap();
        drop(log);
        let log = RocksLog::open(place.path(), &Cache::new_lru_cache(1 << 20)).unwrap();
        assert_eq!(log.recover().unwrap().entries, 1..3);
    }

    /// Between the flushes of two families a log begins that stays for as long as the first of
    /// them has little to write: a round must not wait for it.
    #[test]
    fn what_is_written_meanwhile_holds_nothing_up() {
        let place = tempfile::tempdir().unwrap();
        let log = RocksLog::open(place.path(), &Cache::new_lru_cache(1 << 20)).unwrap();
        let append =
            |index: u64, name: &str| LogOp::Append { index, encoded: Bytes::from(sealed(name)) };
        let committed = |index: u64| {
            let log_id = encode_log_id(&LogId::new_term_index(1, index));
            LogOp::Purge { from: index, upto: index, log_id }
        };
        log.write(&[append(0, "purged"), committed(0)], true).unwrap();
        let stop = std::sync::atomic::AtomicBool::new(false);
        let stopped = || stop.load(std::sync::atomic::Ordering::Relaxed);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut index = 1;
                while !stopped() {
                    log.write(&[append(index, "later"), committed(index)], false).unwrap();
                    index += 1;
                }
            });
            let mut left = Vec::new();
            for _ in 0..20 {
                left.extend(log.erase_removed().unwrap().unwrap());
            }
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
            wait_gone(&left);
        });
        assert_eq!(holders(place.path(), &sealed("purged")), Vec::<PathBuf>::new());
    }
}
