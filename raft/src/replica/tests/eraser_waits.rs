//! What a round of the eraser waits for, for how long, and what it does not do again. In a time
//! that passes by itself: hours of it take a moment.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::commands::init_cluster;
use super::eraser::{LATER, Stored, keep_the_log};
use super::harness::{Cluster, TestRandom};
use super::{operation, propose};
use crate::error::StorageError;
use crate::replica::eraser::WAIT_MAX;
use crate::replica::{Replica, ReplicaConfig};
use crate::state::{StateRead, Write};
use crate::store::engine::{LogOp, RecoveredLog};
use crate::store::{Blocking, Engines, LogEngine, MemoryEngines, StateEngine, WriterHost};

/// What the eraser asks its engines for. Clones count together.
#[derive(Clone, Default)]
struct Counts(Arc<Counters>);

#[derive(Default)]
struct Counters {
    /// Requests to rewrite the state that are still to be put off.
    put_off: AtomicU32,
    state: AtomicU32,
    log: AtomicU32,
    checkpoints: AtomicU32,
}

impl Counts {
    /// How often the state and the log were written anew, and snapshots taken.
    fn so_far(&self) -> [u32; 3] {
        let counters = &self.0;
        [&counters.state, &counters.log, &counters.checkpoints]
            .map(|count| count.load(Ordering::Relaxed))
    }

    fn put_off(&self, times: u32) {
        self.0.put_off.store(times, Ordering::Relaxed);
    }
}

/// Engines in memory that count.
struct Counting {
    engines: MemoryEngines,
    counts: Counts,
}

struct CountingLog(Arc<dyn LogEngine>, Counts);

struct CountingState(Arc<dyn StateEngine>, Counts);

impl Engines for Counting {
    fn open_log(&self, directory: &Path) -> Result<Arc<dyn LogEngine>, StorageError> {
        Ok(Arc::new(CountingLog(self.engines.open_log(directory)?, self.counts.clone())))
    }

    fn open_state(&self, directory: &Path) -> Result<Arc<dyn StateEngine>, StorageError> {
        Ok(Arc::new(CountingState(self.engines.open_state(directory)?, self.counts.clone())))
    }
}

impl LogEngine for CountingLog {
    fn write(&self, ops: &[LogOp], sync: bool) -> Result<(), StorageError> {
        self.0.write(ops, sync)
    }

    fn read(
        &self,
        range: std::ops::Range<u64>,
        bytes_max: usize,
    ) -> Result<Vec<Bytes>, StorageError> {
        self.0.read(range, bytes_max)
    }

    fn recover(&self) -> Result<RecoveredLog, StorageError> {
        self.0.recover()
    }

    fn erase_removed(&self) -> Result<Option<Vec<PathBuf>>, StorageError> {
        self.1.0.log.fetch_add(1, Ordering::Relaxed);
        self.0.erase_removed()
    }

    fn latency(&self) -> Duration {
        self.0.latency()
    }
}

impl StateEngine for CountingState {
    fn with_view(&self, read: &mut dyn FnMut(&dyn StateRead)) {
        self.0.with_view(read);
    }

    fn commit(&self, writes: &[Write]) -> Result<(), StorageError> {
        self.0.commit(writes)
    }

    fn flush(&self) -> Result<(), StorageError> {
        self.0.flush()
    }

    fn checkpoint(&self, directory: &Path) -> Result<(), StorageError> {
        self.1.0.checkpoints.fetch_add(1, Ordering::Relaxed);
        self.0.checkpoint(directory)
    }

    fn erase_removed(
        &self,
        payloads: &[std::ops::Range<Vec<u8>>],
    ) -> Result<Option<Vec<PathBuf>>, StorageError> {
        let put_off = &self.1.0.put_off;
        let less = |times: u32| times.checked_sub(1);
        if put_off.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok() {
            return Ok(None);
        }
        self.1.0.state.fetch_add(1, Ordering::Relaxed);
        self.0.erase_removed(payloads)
    }
}

/// Nothing that a clock which passes by itself would not wait for.
fn without_threads(config: &mut ReplicaConfig) {
    keep_the_log(config);
    config.store.writer = WriterHost::Task;
    config.store.blocking = Blocking::Inline;
}

async fn alone() -> (Cluster, TestRandom, Counts) {
    let counts = Counts::default();
    let engines = Counting { engines: MemoryEngines::new(), counts: counts.clone() };
    let mut cluster = Cluster::blank_on(Arc::new(engines), 1, without_threads).await;
    cluster.initialize().await;
    let random = TestRandom::new(11);
    operation(&propose(cluster.replica(1), init_cluster(&random)).await);
    (cluster, random, counts)
}

/// Waits for as long as it takes, at most so long; how long it took.
async fn within(longest: Duration, mut done: impl FnMut() -> bool) -> Duration {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < longest, "it did not come to that in {longest:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    begun.elapsed()
}

/// How many erasures are done, by what a next life would find.
fn recorded(cluster: &Cluster) -> u64 {
    let record = std::fs::read(cluster.node_directory(1).join("ERASED"));
    let record = record.map(|json| serde_json::from_slice::<serde_json::Value>(&json).unwrap());
    record.map_or(0, |record| record["count"].as_u64().unwrap())
}

/// Somebody is sent a snapshot for as long as the value lives.
pub(super) async fn send_snapshot(replica: &Replica) -> impl Sized + use<> {
    replica.take_snapshot(false, Instant::now() + WAIT_MAX).await.unwrap();
    replica.0.raft.get_snapshot().await.unwrap().expect("it was taken")
}

#[tokio::test(start_paused = true)]
async fn a_round_waits_for_others_within_bounds_and_goes_on_where_it_was() {
    let (cluster, random, counts) = alone().await;
    let replica = cluster.replica(1).clone();
    let first = Stored::create(&replica, &random).await;
    let sent = send_snapshot(&replica).await;
    let destroyed = first.destroy(&replica, &random).await;
    let before = counts.so_far();
    cluster.pass(LATER);
    let purged_first = || replica.status().purged >= destroyed && counts.so_far()[1] > before[1];
    within(WAIT_MAX / 4, purged_first).await;
    // What is destroyed now is a part of the next round, which begins when this one has waited
    // long enough.
    let second = Stored::create(&replica, &random).await;
    let later = second.destroy(&replica, &random).await;
    cluster.pass(LATER);
    // The files of the log come behind its purge.
    let purged = || replica.status().purged >= later && counts.so_far()[1] > before[1] + 1;
    let took = within(WAIT_MAX + WAIT_MAX / 4, purged).await;
    assert!(took > WAIT_MAX / 2, "{took:?}: it waits, for most who are waited for are soon done");
    assert_eq!(recorded(&cluster), 0);

    // Two more rounds have nothing to do but to look whether it is there.
    let after_two = counts.so_far();
    assert_eq!(after_two, before.map(|count| count + 2), "each destruction once");
    tokio::time::sleep(WAIT_MAX * 2 + WAIT_MAX / 4).await;
    assert_eq!(counts.so_far(), after_two);
    assert_eq!((replica.erasure().pending, recorded(&cluster)), (2, 0));
    drop(sent);
    within(WAIT_MAX / 4, || replica.erasure().pending == 0).await;
    assert_eq!((counts.so_far(), recorded(&cluster)), (after_two, 2));
    cluster.end().await;
}

#[tokio::test(start_paused = true)]
async fn what_the_node_does_itself_takes_as_long_as_it_takes() {
    let (cluster, random, counts) = alone().await;
    let replica = cluster.replica(1).clone();
    let first = Stored::create(&replica, &random).await;
    // Four times a second, so that it takes twice as long as others are waited for.
    let times = u32::try_from(WAIT_MAX.as_secs()).unwrap() * 8;
    counts.put_off(times);
    first.destroy(&replica, &random).await;
    cluster.pass(LATER);
    within(WAIT_MAX / 4, || counts.0.put_off.load(Ordering::Relaxed) < times).await;
    let second = Stored::create(&replica, &random).await;
    second.destroy(&replica, &random).await;
    let took = within(WAIT_MAX * 3, || recorded(&cluster) > 0).await;
    assert!(took > WAIT_MAX + WAIT_MAX / 2, "{took:?}");
    assert_eq!(recorded(&cluster), 1, "it was begun anew, with what came meanwhile");
    cluster.end().await;
}
