//! A damaged write-ahead log: a torn tail is forgiven, everything else is refused, and nothing in
//! between is ever skipped.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lockbox_raft::StorageError;
use lockbox_raft::store::{Engines, RocksEngines, decode_entry};
use tempfile::TempDir;

use crate::harness::{Random, append_durably, entry, open, threaded};

const ENTRIES: u64 = 1_000;
const CUTS: u64 = 200;
const FLIPS: u64 = 60;

async fn written() -> TempDir {
    let directory = TempDir::new().unwrap();
    let engines: Arc<dyn Engines> = Arc::new(RocksEngines::new());
    let mut store = open(directory.path(), &engines, &threaded());
    for first in (0..ENTRIES).step_by(5) {
        let run = (first..first + 5).map(|index| entry(1, index));
        append_durably(&mut store, run.collect()).await;
    }
    directory
}

/// Copies the log's directory; returns the newest write-ahead log in the copy.
fn copy(from: &Path, to: &Path) -> PathBuf {
    for file in fs::read_dir(from).unwrap() {
        let path = file.unwrap().path();
        fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
    let logs = fs::read_dir(to).unwrap().map(|file| file.unwrap().path());
    let logs = logs.filter(|path| path.extension().is_some_and(|kind| kind == "log"));
    logs.max().expect("a write-ahead log")
}

/// The entries that can still be read, if the log opens at all.
fn recover(engines: &RocksEngines, directory: &Path) -> Result<u64, StorageError> {
    let log = engines.open_log(directory)?;
    let entries = log.recover()?.entries;
    assert!(entries.is_empty() || entries.start == 0, "the beginning was skipped");
    for (index, encoded) in log.read(entries.clone(), usize::MAX)?.iter().enumerate() {
        let wrote = entry(1, index as u64);
        let found = decode_entry(encoded)?;
        assert!(found.log_id == wrote.log_id && found.payload == wrote.payload);
    }
    Ok(entries.end)
}

#[tokio::test]
async fn a_cut_log_opens_as_a_prefix() {
    let directory = written().await;
    let engines = RocksEngines::new();
    let mut random = Random(1);
    let mut lengths = Vec::new();
    for _ in 0..CUTS {
        let damaged = TempDir::new().unwrap();
        let wal = copy(&directory.path().join("raft"), damaged.path());
        let length = fs::metadata(&wal).unwrap().len();
        let cut = random.below(length);
        fs::File::options().write(true).open(&wal).unwrap().set_len(cut).unwrap();
        lengths.push((cut, recover(&engines, damaged.path()).unwrap()));
    }
    lengths.sort_unstable();
    assert!(lengths.is_sorted_by_key(|(_, entries)| *entries), "a longer log has fewer entries");
    assert!(lengths.last().unwrap().1 > ENTRIES * 9 / 10);
    assert!(lengths.first().unwrap().1 < ENTRIES / 10);
}

#[tokio::test]
async fn a_flipped_byte_in_the_middle_is_refused() {
    let directory = written().await;
    let engines = RocksEngines::new();
    let mut random = Random(2);
    for flip in 0..FLIPS {
        let damaged = TempDir::new().unwrap();
        let wal = copy(&directory.path().join("raft"), damaged.path());
        let mut content = fs::read(&wal).unwrap();
        // Not in the last block: a wrong length there looks like a torn tail to RocksDB.
        let at = usize::try_from(random.below(content.len() as u64 / 2)).unwrap();
        content[at] ^= 1 + u8::try_from(random.below(255)).unwrap();
        fs::write(&wal, content).unwrap();
        let recovered = recover(&engines, damaged.path());
        assert!(recovered.is_err(), "flip {flip} at {at} gave {recovered:?}");
    }
}
