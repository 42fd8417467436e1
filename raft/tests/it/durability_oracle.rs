//! A write oracle over storage that forgets what was not synced: after every simulated loss of
//! power, nothing acknowledged is missing and the state agrees with its own `last_applied`.
//!
//! Known bugs are switched on one at a time between the store and the disk; each has to turn the
//! oracle red, which shows that it can.

use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use lockbox_raft::StorageError;
use lockbox_raft::state::{Space, StateRead, Write, keys};
use lockbox_raft::store::engine::{LogOp, LogRecord, RecoveredLog};
use lockbox_raft::store::{Engines, LogEngine, MemoryEngines, StateEngine};
use lockbox_raft::types::Vote;
use openraft::storage::{RaftLogReader, RaftLogStorage, RaftStateMachine};
use tempfile::TempDir;

use crate::harness::{Ack, INLINE, Random, append, apply, entries, entry, hash, open};

const SEEDS: u64 = 120;
const LIVES: u64 = 6;
const STEPS: u64 = 25;
const ENTRIES_MAX: u64 = 400;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Bug {
    CallbackBeforeSync,
    VoteNotSynced,
    LastAppliedOutsideTheBatch,
}

struct Buggy {
    inner: Arc<dyn Engines>,
    bug: Option<Bug>,
}

impl Engines for Buggy {
    fn open_log(&self, directory: &Path) -> Result<Arc<dyn LogEngine>, StorageError> {
        Ok(Arc::new(BuggyLog { inner: self.inner.open_log(directory)?, bug: self.bug }))
    }

    fn open_state(&self, directory: &Path) -> Result<Arc<dyn StateEngine>, StorageError> {
        Ok(Arc::new(BuggyState { inner: self.inner.open_state(directory)?, bug: self.bug }))
    }
}

struct BuggyLog {
    inner: Arc<dyn LogEngine>,
    bug: Option<Bug>,
}

impl LogEngine for BuggyLog {
    fn write(&self, ops: &[LogOp], sync: bool) -> Result<(), StorageError> {
        let is_vote = |op: &LogOp| matches!(op, LogOp::Record { record: LogRecord::Vote, .. });
        let is_append = |op: &LogOp| matches!(op, LogOp::Append { .. });
        match self.bug {
            // The writer answers when this returns.
            Some(Bug::CallbackBeforeSync) if ops.iter().any(is_append) => {
                self.inner.write(ops, false)
            }
            Some(Bug::VoteNotSynced) if ops.iter().any(is_vote) => self.inner.write(ops, false),
            _ => self.inner.write(ops, sync),
        }
    }

    fn read(&self, range: Range<u64>, bytes_max: usize) -> Result<Vec<Bytes>, StorageError> {
        self.inner.read(range, bytes_max)
    }

    fn recover(&self) -> Result<RecoveredLog, StorageError> {
        self.inner.recover()
    }
}

struct BuggyState {
    inner: Arc<dyn StateEngine>,
    bug: Option<Bug>,
}

impl StateEngine for BuggyState {
    fn with_view(&self, read: &mut dyn FnMut(&dyn StateRead)) {
        self.inner.with_view(read);
    }

    fn commit(&self, writes: &[Write]) -> Result<(), StorageError> {
        if self.bug != Some(Bug::LastAppliedOutsideTheBatch) {
            return self.inner.commit(writes);
        }
        let is_last_applied = |write: &&Write| {
            (write.space, &*write.key) == (Space::System, keys::SYSTEM_LAST_APPLIED)
        };
        let (mark, data): (Vec<&Write>, Vec<&Write>) = writes.iter().partition(is_last_applied);
        self.inner.commit(&data.into_iter().cloned().collect::<Vec<_>>())?;
        self.inner.commit(&mark.into_iter().cloned().collect::<Vec<_>>())
    }

    fn flush(&self) -> Result<(), StorageError> {
        self.inner.flush()
    }

    fn checkpoint(&self, directory: &Path) -> Result<(), StorageError> {
        self.inner.checkpoint(directory)
    }
}

/// What the clients were told.
#[derive(Default)]
struct Told {
    /// Entries acknowledged as durable, from index 0 on.
    acked: u64,
    /// Highest term voted in.
    voted: u64,
}

/// Everything is in term 1, so an entry follows from its index; this is the hash of the state
/// after each one.
async fn expected_hashes() -> &'static Vec<[u8; 32]> {
    static HASHES: OnceLock<Vec<[u8; 32]>> = OnceLock::new();
    if let Some(hashes) = HASHES.get() {
        return hashes;
    }
    let directory = TempDir::new().unwrap();
    let engines: Arc<dyn Engines> = Arc::new(MemoryEngines::new());
    let mut store = open(directory.path(), &engines, &INLINE);
    let mut hashes = Vec::new();
    for index in 0..ENTRIES_MAX {
        apply(&mut store, vec![entry(1, index)]).await.unwrap();
        hashes.push(hash(&store).unwrap());
    }
    HASHES.get_or_init(|| hashes)
}

/// One life between two losses of power.
struct Life<'a> {
    store: lockbox_raft::store::Store,
    random: &'a mut Random,
    told: &'a mut Told,
    /// Appends that nobody has been told about yet, with the index behind each.
    pending: Vec<(u64, Ack)>,
    end: u64,
}

impl Life<'_> {
    /// Compares what survived with what was told.
    async fn check(&mut self, expected: &[[u8; 32]]) -> Result<(), String> {
        let found = entries(&mut self.store).await;
        self.end = found.len() as u64;
        if self.end < self.told.acked {
            return Err(format!("{} entries acknowledged, {} left", self.told.acked, self.end));
        }
        for (index, found) in found.iter().enumerate() {
            let wrote = entry(1, index as u64);
            if found.log_id != wrote.log_id || found.payload != wrote.payload {
                return Err(format!("entry {index} is not what was written"));
            }
        }
        let vote = self.store.log.get_log_reader().await.read_vote().await.unwrap();
        let term = vote.map_or(0, |vote| vote.leader_id.term);
        if term < self.told.voted {
            return Err(format!("voted in term {}, remembers {term}", self.told.voted));
        }
        let (applied, _) = self.store.state_machine.applied_state().await.unwrap();
        let Some(applied) = applied else {
            let fresh = hash(&self.store).unwrap();
            let empty = "the state has data and no last_applied".to_owned();
            return if fresh == empty_hash() { Ok(()) } else { Err(empty) };
        };
        if applied.index >= self.end {
            return Err(format!("applied {}, the log ends at {}", applied.index, self.end));
        }
        if hash(&self.store).unwrap() != expected[usize::try_from(applied.index).unwrap()] {
            return Err(format!("the state is not what entry {} left", applied.index));
        }
        Ok(())
    }

    async fn step(&mut self) {
        match self.random.below(10) {
            0..4 => {
                let count = (1 + self.random.below(4)).min(ENTRIES_MAX - self.end);
                let run: Vec<_> = (self.end..self.end + count).map(|i| entry(1, i)).collect();
                if self.pending.len() == 3 {
                    self.drain();
                }
                self.end += count;
                let ack = append(&mut self.store, run).await.unwrap();
                self.pending.push((self.end, ack));
            }
            4 => {
                let term = self.told.voted + 1;
                let (log, writer) = (&mut self.store.log, &self.store.writer);
                let vote = Vote::new(term, 1);
                let drain = async { while writer.drain_once() {} };
                let (saved, ()) = futures::join!(log.save_vote(&vote), drain);
                saved.unwrap();
                self.told.voted = term;
                self.collect();
            }
            5..7 => self.drain(),
            7 => self.store.state.flush().unwrap(),
            _ => {
                let (applied, _) = self.store.state_machine.applied_state().await.unwrap();
                let next = applied.map_or(0, |id| id.index + 1);
                let run: Vec<_> = (next..self.told.acked).map(|i| entry(1, i)).collect();
                apply(&mut self.store, run).await.unwrap();
            }
        }
    }

    fn drain(&mut self) {
        self.store.writer.drain_once();
        self.collect();
    }

    /// Notes the acknowledgements that have arrived.
    fn collect(&mut self) {
        self.pending.retain_mut(|(end, ack)| match futures::FutureExt::now_or_never(ack) {
            Some(result) => {
                result.unwrap().unwrap();
                self.told.acked = *end;
                false
            }
            None => true,
        });
    }
}

fn empty_hash() -> [u8; 32] {
    let directory = TempDir::new().unwrap();
    let engines: Arc<dyn Engines> = Arc::new(MemoryEngines::new());
    hash(&open(directory.path(), &engines, &INLINE)).unwrap()
}

async fn run(seed: u64, bug: Option<Bug>) -> Result<Told, String> {
    let expected = expected_hashes().await;
    let directory = TempDir::new().unwrap();
    let machine = MemoryEngines::new();
    let engines: Arc<dyn Engines> = Arc::new(Buggy { inner: Arc::new(machine.clone()), bug });
    let mut random = Random(seed);
    let mut told = Told::default();
    for _ in 0..LIVES {
        let store = open(directory.path(), &engines, &INLINE);
        let (random, told) = (&mut random, &mut told);
        let mut life = Life { store, random, told, pending: Vec::new(), end: 0 };
        life.check(expected).await?;
        for _ in 0..life.random.below(STEPS) {
            life.step().await;
        }
        machine.crash(life.random.next());
    }
    Ok(told)
}

#[tokio::test]
async fn nothing_acknowledged_is_lost() {
    let (mut acked, mut voted) = (0, 0);
    for seed in 0..SEEDS {
        let told = run(seed, None).await.unwrap_or_else(|lost| panic!("seed {seed}: {lost}"));
        acked += told.acked;
        voted += told.voted;
    }
    assert!(acked > SEEDS && voted > SEEDS, "the oracle did nothing");
}

async fn is_caught(bug: Bug) {
    for seed in 0..SEEDS {
        if run(seed, Some(bug)).await.is_err() {
            return;
        }
    }
    panic!("the oracle does not see {bug:?}");
}

#[tokio::test]
async fn it_sees_a_callback_before_the_sync() {
    is_caught(Bug::CallbackBeforeSync).await;
}

#[tokio::test]
async fn it_sees_a_vote_that_is_not_synced() {
    is_caught(Bug::VoteNotSynced).await;
}

#[tokio::test]
async fn it_sees_last_applied_outside_the_batch() {
    is_caught(Bug::LastAppliedOutsideTheBatch).await;
}
