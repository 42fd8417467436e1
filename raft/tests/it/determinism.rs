//! The same log gives the same bytes everywhere: in another process, in other batches, across
//! restarts and losses of what was not flushed, and behind an installed snapshot.
//!
//! Compared are every outcome, entry by entry, and the hash of the whole state, which covers every
//! row of every column family in order ([`lockbox_raft::store::state_hash`]).

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use lockbox_raft::store::{Engines, MemoryEngines, RocksEngines, Store, StoreOptions};
use openraft::storage::RaftStateMachine;
use tempfile::TempDir;

use crate::harness::{INLINE, Random, apply, hash, open, threaded};
use crate::recording::{Digest, Recording, digest, next_index, outcomes};
use crate::snapshot::{build, transfer};

const DIRECTORY: &str = "LOCKBOX_DETERMINISM_TEST_DIRECTORY";
const LIFE: &str = "LOCKBOX_DETERMINISM_TEST_LIFE";
const SEED: u64 = 20_261_124;
/// Entries of the log; some are not commands, so a little more than 100,000.
const ENTRIES: u64 = 101_000;
const COMMANDS_MIN: u64 = 100_000;
/// Where the snapshot is taken.
const MIDDLE: u64 = ENTRIES / 2;
/// Entries that the first process applies at once.
const BATCH: u64 = 40;
/// Entries that the others apply at once, at most.
const BATCH_MAX: u64 = 120;
/// One of so many batches is followed by a flush, so that the tables are compacted as they are in
/// the long run, and what expired does not lie in the way of every later entry.
pub(crate) const FLUSH_EVERY: u64 = 12;
/// Lives that the second process may have; far more than it needs.
const LIVES_MAX: u64 = 100;

fn rocks() -> Arc<dyn Engines> {
    Arc::new(RocksEngines::new())
}

/// Applies the entries behind the state's own last one, up to `end`, in batches of random size.
/// Compares each outcome with the digest of the first process, and returns how many there were.
async fn replay(store: &mut Store, recording: &Recording, end: u64, random: &mut Random) -> u64 {
    let start = next_index(store).await;
    let mut next = start;
    while next < end {
        let entries = recording.entries(next..(next + 1 + random.below(BATCH_MAX)).min(end));
        for (index, outcome) in (next..).zip(outcomes(store, &entries)) {
            let same = digest(&outcome) == recording.digest(index);
            assert!(same, "outcome of entry {index}: {}", recording.describe(index));
        }
        next += entries.len() as u64;
        apply(store, entries).await.unwrap();
        if random.below(FLUSH_EVERY) == 0 {
            store.state.flush().unwrap();
        }
    }
    end - start
}

/// The second process: does nothing unless the test below started it.
///
/// It closes and opens its state again at random, and dies at random without closing it, which
/// takes it back to its last flush.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn child() {
    let Ok(directory) = std::env::var(DIRECTORY) else { return };
    let directory = Path::new(&directory);
    let life: u64 = std::env::var(LIFE).unwrap().parse().unwrap();
    let recording = Recording::load(directory);
    let digests = File::options().write(true).open(directory.join("child-digests")).unwrap();
    let mut random = Random(life);
    let mut store = open(&directory.join("child"), &rocks(), &threaded());
    loop {
        let next = next_index(&mut store).await;
        if next == recording.len() {
            break;
        }
        let end = (next + 1 + random.below(BATCH_MAX)).min(recording.len());
        let entries = recording.entries(next..end);
        for (index, outcome) in (next..).zip(outcomes(&store, &entries)) {
            digests.write_all_at(&digest(&outcome), index * size_of::<Digest>() as u64).unwrap();
        }
        apply(&mut store, entries).await.unwrap();
        match random.below(20 * FLUSH_EVERY) {
            0 => std::process::abort(),
            1..3 => {
                drop(store);
                store = open(&directory.join("child"), &rocks(), &threaded());
            }
            3..23 => store.state.flush().unwrap(),
            _ => {}
        }
    }
    std::fs::write(directory.join("child-hash"), hash(&store).unwrap()).unwrap();
}

/// Runs the second process until it is through. Returns how often it died.
fn run_child(directory: &Path) -> u64 {
    File::create(directory.join("child-digests")).unwrap();
    for life in 0..LIVES_MAX {
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["determinism::child", "--exact", "--nocapture", "--test-threads=1"])
            .env(DIRECTORY, directory)
            .env(LIFE, life.to_string())
            .stdout(std::process::Stdio::null())
            .status()
            .unwrap();
        let aborted = std::os::unix::process::ExitStatusExt::signal(&status).is_some();
        assert!(status.success() || aborted, "the second process failed: {status}");
        if status.success() {
            return life;
        }
    }
    panic!("the second process dies faster than it comes forward");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_commands_give_the_same_bytes_everywhere() {
    let directory = TempDir::new().unwrap();
    let mut recording = Recording::new(SEED);
    let mut first = open(&directory.path().join("first"), &rocks(), &threaded());
    let started = tokio::time::Instant::now();
    recording.extend(&mut first, MIDDLE, BATCH).await;
    let snapshot = build(&mut first).await;
    let hash_in_the_middle = hash(&first).unwrap();
    recording.extend(&mut first, ENTRIES, BATCH).await;
    let took = started.elapsed();
    let expected = hash(&first).unwrap();
    recording.save(directory.path());

    let path = directory.path().to_owned();
    let second = tokio::task::spawn_blocking(move || run_child(&path));

    let mut third = open(&directory.path().join("third"), &rocks(), &threaded());
    let received = transfer(&snapshot, &third.snapshots);
    let meta = received.meta().clone();
    third.state_machine.install_snapshot(&meta, received).await.unwrap();
    assert_eq!(hash(&third).unwrap(), hash_in_the_middle, "the snapshot");
    let replayed = replay(&mut third, &recording, ENTRIES, &mut Random(3)).await;
    assert_eq!(replayed, ENTRIES - MIDDLE);
    assert_eq!(hash(&third).unwrap(), expected, "behind the snapshot");

    let deaths = second.await.unwrap();
    assert!(deaths > 0, "the second process never died");
    let digests = std::fs::read(directory.path().join("child-digests")).unwrap();
    recording.compare_digests(&digests);
    let child_hash = std::fs::read(directory.path().join("child-hash")).unwrap();
    assert_eq!(child_hash, expected, "in the second process");

    let tally = recording.tally();
    let per_second = tally.commands() as f64 / took.as_secs_f64();
    println!("{tally}");
    println!("{per_second:.0} commands/s, each decided twice; second process died {deaths} times");
    assert!(tally.commands() >= COMMANDS_MIN);
    tally.assert_complete();
}

/// The hash of the state and the digests of the outcomes that a log gives.
async fn result_of(recording: &Recording) -> ([u8; 32], Vec<Digest>) {
    let directory = TempDir::new().unwrap();
    let engines: Arc<dyn Engines> = Arc::new(MemoryEngines::new());
    let mut store = open(directory.path(), &engines, &INLINE);
    let mut digests = Vec::new();
    for start in (0..recording.len()).step_by(50) {
        let entries = recording.entries(start..(start + 50).min(recording.len()));
        digests.extend(outcomes(&store, &entries).iter().map(digest));
        apply(&mut store, entries).await.unwrap();
    }
    (hash(&store).unwrap(), digests)
}

/// The comparison can fail: one command less, two in another order, or another seed show.
#[tokio::test]
async fn a_different_log_gives_different_bytes() {
    const ENTRIES: u64 = 600;
    let record = async |seed| {
        let directory = TempDir::new().unwrap();
        let engines: Arc<dyn Engines> = Arc::new(MemoryEngines::new());
        let options = StoreOptions { apply_entries_max: 1_000, ..INLINE };
        let mut store = open(directory.path(), &engines, &options);
        let mut recording = Recording::new(seed);
        recording.extend(&mut store, ENTRIES, 20).await;
        (recording, hash(&store).unwrap())
    };
    let (recording, expected) = record(1).await;
    let same = result_of(&recording).await;
    assert_eq!(same.0, expected);
    for (index, digest) in (0..).zip(&same.1) {
        assert!(*digest == recording.digest(index));
    }
    assert_ne!(record(2).await.1, expected, "another seed");
    let accepted = recording.accepted();
    let one = accepted[accepted.len() / 2];
    let without = result_of(&recording.without(one)).await;
    assert!(without.0 != expected && without.1 != same.1, "one command less");
    let swapped = result_of(&recording.swapped(one)).await;
    assert!(swapped.0 != expected && swapped.1 != same.1, "two commands in another order");
}
