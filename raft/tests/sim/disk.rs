//! One node's disk: the product's memory engines, with faults drawn from the seed, and a witness
//! that remembers what the disk has promised.
//!
//! The witness sits in front of everything: what the log writer was told is durable must be there
//! after any crash, a vote must not be given twice, and what is applied must be in the log.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use lockbox_core::NodeId;
use lockbox_raft::state::{Space, StateRead, Write, keys};
use lockbox_raft::store::engine::{LogOp, LogRecord, RecoveredLog};
use lockbox_raft::store::{
    Engines, LogEngine, MemoryEngines, MemoryFault, StateEngine, decode_log_id, decode_vote,
};
use lockbox_raft::types::Vote;
use lockbox_raft::{StorageError, StorageFailure};

use crate::harness::Random;
use crate::ledger::Ledger;
use crate::seeded_bugs::{Bug, Buggy};
use crate::trace::Trace;

/// What the disk has been told, and what it has promised.
#[derive(Default)]
struct Witness {
    /// Every entry written, purged ones included.
    written: BTreeMap<u64, Bytes>,
    /// Behind the last purged entry.
    begin: u64,
    /// Behind the last entry that is promised to be durable.
    durable_end: u64,
    vote: Option<Vote>,
}

struct Pace {
    random: Random,
    sync_ms: Range<u64>,
}

struct Shared {
    node: NodeId,
    machine: MemoryEngines,
    engines: Buggy,
    witness: Mutex<Witness>,
    pace: Mutex<Pace>,
    will_fail: AtomicBool,
    /// States opened: one for each start, and one for each snapshot that is installed.
    states_opened: AtomicU64,
    ledger: Ledger,
    trace: Trace,
}

/// A node's disk. Clones are the same disk.
#[derive(Clone)]
pub(crate) struct Disk(Arc<Shared>);

impl Disk {
    pub(crate) fn new(
        node: NodeId,
        bug: Option<Bug>,
        random: Random,
        ledger: Ledger,
        trace: Trace,
    ) -> Self {
        let machine = MemoryEngines::new();
        let engines = Buggy { inner: Arc::new(machine.clone()), bug };
        let pace = Mutex::new(Pace { random, sync_ms: 0..1 });
        let witness = Mutex::default();
        Self(Arc::new(Shared {
            node,
            machine,
            engines,
            witness,
            pace,
            will_fail: AtomicBool::new(false),
            states_opened: AtomicU64::new(0),
            ledger,
            trace,
        }))
    }

    /// Takes the power away; the seed decides how much of the unsynced tail survives.
    pub(crate) fn cut_power(&self, seed: u64) {
        self.0.machine.crash(seed);
    }

    /// Makes the next operation of a kind fail.
    pub(crate) fn fail_next(&self, fault: MemoryFault) {
        self.0.machine.fail_next(fault);
        self.0.will_fail.store(true, Ordering::Relaxed);
    }

    /// Whether a failure of this disk may have ended the process; it did so once.
    pub(crate) fn has_failed(&self) -> bool {
        self.0.will_fail.swap(false, Ordering::Relaxed)
    }

    /// How many states were opened on it.
    pub(crate) fn states_opened(&self) -> u64 {
        self.0.states_opened.load(Ordering::Relaxed)
    }

    /// How long it takes before and after a write.
    pub(crate) fn set_pace(&self, sync_ms: Range<u64>) {
        self.0.pace.lock().unwrap().sync_ms = sync_ms;
    }
}

impl Engines for Disk {
    fn open_log(&self, directory: &Path) -> Result<Arc<dyn LogEngine>, StorageError> {
        let inner = self.0.engines.open_log(directory)?;
        Ok(Arc::new(WitnessedLog { inner, disk: Arc::clone(&self.0) }))
    }

    fn open_state(&self, directory: &Path) -> Result<Arc<dyn StateEngine>, StorageError> {
        let inner = self.0.engines.open_state(directory)?;
        self.0.states_opened.fetch_add(1, Ordering::Relaxed);
        let mut next = 0;
        inner.with_view(&mut |view| {
            let stored = view.get(Space::System, keys::SYSTEM_LAST_APPLIED).ok().flatten();
            next = stored.map_or(0, |id| behind(&id));
        });
        let disk = Arc::clone(&self.0);
        Ok(Arc::new(WitnessedState { inner, disk, next: Mutex::new(next) }))
    }
}

/// The index behind an encoded log id.
fn behind(id: &[u8]) -> u64 {
    decode_log_id(id).unwrap().index + 1
}

fn end_of(entries: &BTreeMap<u64, Bytes>) -> u64 {
    entries.keys().next_back().map_or(0, |last| last + 1)
}

struct WitnessedLog {
    inner: Arc<dyn LogEngine>,
    disk: Arc<Shared>,
}

impl LogEngine for WitnessedLog {
    fn write(&self, ops: &[LogOp], sync: bool) -> Result<(), StorageError> {
        let written = self.inner.write(ops, sync);
        let mut witness = self.disk.witness.lock().unwrap();
        for op in ops {
            if let LogOp::TruncateFrom { index } = op {
                // Whether or not that failed: nothing is promised from here on.
                witness.durable_end = witness.durable_end.min(*index);
            }
        }
        written?;
        for op in ops {
            match op {
                LogOp::Append { index, encoded } => {
                    witness.written.insert(*index, encoded.clone());
                }
                LogOp::TruncateFrom { index } => drop(witness.written.split_off(index)),
                LogOp::Purge { upto, .. } => witness.begin = upto + 1,
                LogOp::Record { record: LogRecord::Vote, value } => {
                    let vote = decode_vote(value).unwrap();
                    self.disk.check_vote(witness.vote.as_ref(), &vote);
                    witness.vote = Some(vote);
                }
                LogOp::Record { .. } => {}
            }
        }
        let from = witness.durable_end;
        if sync {
            witness.durable_end = end_of(&witness.written).max(witness.begin);
        }
        self.disk.tell(from, &witness);
        Ok(())
    }

    fn read(&self, range: Range<u64>, bytes_max: usize) -> Result<Vec<Bytes>, StorageError> {
        self.inner.read(range, bytes_max)
    }

    fn recover(&self) -> Result<RecoveredLog, StorageError> {
        let recovered = self.inner.recover()?;
        let range = recovered.entries.clone();
        let found = self.inner.read(range.clone(), usize::MAX)?;
        let found: BTreeMap<u64, Bytes> = range.zip(found).collect();
        let mut witness = self.disk.witness.lock().unwrap();
        self.disk.check_promises(&witness, &recovered, &found);
        let purged = recovered.records.get(&LogRecord::Purged);
        witness.begin = purged.map_or(0, |id| behind(id));
        let begin = witness.begin;
        drop(witness.written.split_off(&begin));
        witness.written.extend(found);
        witness.durable_end = end_of(&witness.written).max(begin);
        self.disk.tell(0, &witness);
        let vote = recovered.records.get(&LogRecord::Vote);
        witness.vote = vote.map(|vote| decode_vote(vote).unwrap());
        Ok(recovered)
    }

    fn latency(&self) -> Duration {
        let mut pace = self.disk.pace.lock().unwrap();
        let range = pace.sync_ms.clone();
        Duration::from_millis(pace.random.within(&range))
    }
}

impl Shared {
    /// Tells the ledger what this disk has promised, from an index on.
    fn tell(&self, from: u64, witness: &Witness) {
        let promised = witness.written.range(from..witness.durable_end.max(from));
        self.ledger.keeps(self.node, from, promised, witness.begin);
    }

    fn check_vote(&self, before: Option<&Vote>, vote: &Vote) {
        let Some(before) = before else { return };
        let (old, new) = (&before.leader_id, &vote.leader_id);
        // Who stood for election in vain follows the leader that a quorum of others made.
        let follows = vote.committed && !before.committed && old.term == new.term;
        let same = (old.term, &old.voted_for) == (new.term, &new.voted_for);
        if !same && old.term >= new.term && !follows {
            let how = format_args!("node {} votes {vote} after {before}", self.node);
            self.trace.broken("one vote in each term", how);
        }
    }

    fn check_promises(
        &self,
        witness: &Witness,
        recovered: &RecoveredLog,
        found: &BTreeMap<u64, Bytes>,
    ) {
        let node = self.node;
        let purged = recovered.records.get(&LogRecord::Purged);
        for index in purged.map_or(0, |id| behind(id))..witness.durable_end {
            if found.get(&index) != witness.written.get(&index) {
                let how = format_args!("node {node} lost entry {index}, which was synced");
                return self.trace.broken("what is synced stays", how);
            }
        }
        let vote = recovered.records.get(&LogRecord::Vote).map(|vote| decode_vote(vote).unwrap());
        if vote.as_ref().map(|vote| vote.leader_id.term)
            < witness.vote.as_ref().map(|vote| vote.leader_id.term)
        {
            let how = format_args!("node {node} has vote {vote:?}, not {:?}", witness.vote);
            self.trace.broken("what is synced stays", how);
        }
    }
}

struct WitnessedState {
    inner: Arc<dyn StateEngine>,
    disk: Arc<Shared>,
    /// Behind the last applied entry.
    next: Mutex<u64>,
}

impl StateEngine for WitnessedState {
    fn with_view(&self, read: &mut dyn FnMut(&dyn StateRead)) {
        self.inner.with_view(read);
    }

    fn commit(&self, writes: &[Write]) -> Result<(), StorageError> {
        let mark = writes
            .iter()
            .find(|write| (write.space, &*write.key) == (Space::System, keys::SYSTEM_LAST_APPLIED));
        if let Some(id) = mark.and_then(|write| write.value.as_ref()) {
            let mut next = self.next.lock().unwrap();
            let witness = self.disk.witness.lock().unwrap();
            for index in *next..behind(id) {
                self.disk.ledger.applies(self.disk.node, index, witness.written.get(&index));
            }
            *next = behind(id);
        }
        self.inner.commit(writes)
    }

    fn flush(&self) -> Result<(), StorageError> {
        self.inner.flush()
    }

    fn checkpoint(&self, directory: &Path) -> Result<(), StorageError> {
        self.inner.checkpoint(directory)
    }
}

/// The failures that a disk can be given.
pub(crate) const FAULTS: [MemoryFault; 5] = [
    MemoryFault::LogWrite(StorageFailure::Io),
    MemoryFault::LogWrite(StorageFailure::DiskFull),
    MemoryFault::LogSync(StorageFailure::Io),
    MemoryFault::StateCommit(StorageFailure::Io),
    MemoryFault::StateCommit(StorageFailure::DiskFull),
];
