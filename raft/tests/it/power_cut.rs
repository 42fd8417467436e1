//! The write oracle on a real file system that forgets what was not synced: a child process works
//! on RocksDB over the preload library, is killed at any moment, and its directory is built anew
//! from what was durable. Nothing acknowledged may be missing, and each seeded bug must show.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use lockbox_raft::StorageError;
use lockbox_raft::state::{StateRead, Write};
use lockbox_raft::store::{Engines, LogEngine, RocksEngines, StateEngine, Store};
use lockbox_raft::types::Vote;
use openraft::storage::{RaftLogReader, RaftLogStorage, RaftStateMachine};

use crate::forgetful_disk::{ForgetfulDisk, Survives};
use crate::harness::{Ack, Random, append, apply, entry, log_id, open, threaded};
use crate::oracle::{ENTRIES_MAX, Told, check};
use crate::seeded_bugs::{Bug, Buggy};
use crate::snapshot::build;

const DIRECTORY: &str = "LOCKBOX_POWER_TEST_DIRECTORY";
const SEED: &str = "LOCKBOX_POWER_TEST_SEED";
const STEPS: &str = "LOCKBOX_POWER_TEST_STEPS";
const BUG: &str = "LOCKBOX_POWER_TEST_BUG";

const CUTS: u64 = 40;
/// Cuts within which a bug has to show; it mostly needs a few.
const BUGGY_CUTS_MAX: u64 = 200;
const IN_FLIGHT: usize = 4;
/// Turns of an empty loop in which the child starts up, about.
const START_TURNS: u64 = 20_000_000;
/// A state that is committed may be flushed at any moment: one in so many commits is.
const FLUSH_EVERY: u64 = 6;

/// RocksDB whose memtables happen to be flushed between any two commits.
struct Flushing {
    inner: RocksEngines,
    seed: u64,
}

struct FlushingState {
    inner: Arc<dyn StateEngine>,
    random: Mutex<Random>,
}

impl Engines for Flushing {
    fn open_log(&self, directory: &Path) -> Result<Arc<dyn LogEngine>, StorageError> {
        self.inner.open_log(directory)
    }

    fn open_state(&self, directory: &Path) -> Result<Arc<dyn StateEngine>, StorageError> {
        let inner = self.inner.open_state(directory)?;
        Ok(Arc::new(FlushingState { inner, random: Mutex::new(Random(self.seed)) }))
    }
}

impl StateEngine for FlushingState {
    fn with_view(&self, read: &mut dyn FnMut(&dyn StateRead)) {
        self.inner.with_view(read);
    }

    fn commit(&self, writes: &[Write]) -> Result<(), StorageError> {
        self.inner.commit(writes)?;
        if self.random.lock().unwrap().below(FLUSH_EVERY) == 0 { self.flush() } else { Ok(()) }
    }

    fn flush(&self) -> Result<(), StorageError> {
        self.inner.flush()
    }

    fn checkpoint(&self, directory: &Path) -> Result<(), StorageError> {
        self.inner.checkpoint(directory)
    }
}

/// The child's part: does nothing unless a test below started it.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn child() {
    let Ok(directory) = std::env::var(DIRECTORY) else { return };
    let number = |name: &str| std::env::var(name).unwrap().parse::<u64>().unwrap();
    let inner = Arc::new(Flushing { inner: RocksEngines::new(), seed: number(SEED) });
    let bug = std::env::var(BUG).ok().map(|name| Bug::parse(&name).unwrap());
    let engines: Arc<dyn Engines> = Arc::new(Buggy { inner, bug });
    let store = open(directory.as_ref(), &engines, &threaded());
    let mut life = Life::new(store, Random(number(SEED))).await;
    // Consensus counts as synced what it finds, also what an earlier process only wrote.
    println!("acked {}", life.end);
    if life.term > 0 {
        println!("voted {}", life.term);
    }
    for _ in 0..number(STEPS) {
        life.step().await;
    }
    // Whatever is not durable now never will be: this is what the oracle looks for.
    println!("still");
    loop {
        std::thread::park();
    }
}

/// One life between two losses of power.
struct Life {
    store: Store,
    random: Random,
    end: u64,
    acked: u64,
    term: u64,
    in_flight: VecDeque<(u64, Ack)>,
}

impl Life {
    async fn new(mut store: Store, random: Random) -> Self {
        let last = store.log.get_log_state().await.unwrap().last_log_id;
        let end = last.map_or(0, |id| id.index + 1);
        let vote = store.log.get_log_reader().await.read_vote().await.unwrap();
        let term = vote.map_or(0, |vote| vote.leader_id.term);
        Self { store, random, end, acked: end, term, in_flight: VecDeque::new() }
    }

    async fn step(&mut self) {
        match self.random.below(12) {
            0..5 => {
                if self.in_flight.len() == IN_FLIGHT {
                    self.take_ack().await;
                }
                let run = self.end..(self.end + 1 + self.random.below(8)).min(ENTRIES_MAX);
                self.end = run.end;
                let run = run.map(|index| entry(1, index)).collect();
                let ack = append(&mut self.store, run).await.unwrap();
                self.in_flight.push_back((self.end, ack));
            }
            5..8 => {
                self.term += 1;
                self.store.log.save_vote(&Vote::new(self.term, 1)).await.unwrap();
                println!("voted {}", self.term);
            }
            8 => {
                while !self.in_flight.is_empty() {
                    self.take_ack().await;
                }
            }
            9..11 => self.apply_some().await,
            _ => self.snapshot_and_purge().await,
        }
    }

    async fn take_ack(&mut self) {
        let (end, ack) = self.in_flight.pop_front().unwrap();
        ack.await.unwrap().unwrap();
        self.acked = end;
        println!("acked {end}");
    }

    async fn applied(&mut self) -> u64 {
        let (applied, _) = self.store.state_machine.applied_state().await.unwrap();
        applied.map_or(0, |id| id.index + 1)
    }

    async fn apply_some(&mut self) {
        let next = self.applied().await;
        let end = self.acked.min(next + 1 + self.random.below(20));
        let run: Vec<_> = (next..end).map(|index| entry(1, index)).collect();
        apply(&mut self.store, run).await.unwrap();
    }

    /// As openraft does it: the log goes up to a snapshot, a few entries short of it.
    async fn snapshot_and_purge(&mut self) {
        let applied = self.applied().await;
        if applied == 0 || self.random.below(3) > 0 {
            return;
        }
        drop(build(&mut self.store).await);
        if let Some(upto) = applied.checked_sub(1 + self.random.below(10)) {
            self.store.log.purge(log_id(1, upto)).await.unwrap();
        }
    }
}

/// When the power goes.
enum Moment {
    /// While the child starts.
    Start { turns: u64 },
    /// In the middle of its work, behind an acknowledgement.
    Work { acks: u64, turns: u64 },
    /// Behind its last step, when nothing moves any more.
    Still,
}

fn moment(random: &mut Random) -> Moment {
    match random.below(8) {
        0 => Moment::Start { turns: random.below(START_TURNS) },
        1..4 => Moment::Work { acks: 1 + random.below(8), turns: random.below(200_000) },
        _ => Moment::Still,
    }
}

fn pass(turns: u64) {
    assert_eq!((0..turns).map(std::hint::black_box).count() as u64, turns);
}

/// Runs the child until the power goes, and takes note of what it told.
fn live(disk: &ForgetfulDisk, bug: Option<Bug>, random: &mut Random, told: &mut Told) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    disk.mount_under(&mut command);
    let moment = moment(random);
    let steps = if matches!(moment, Moment::Still) { random.below(40) } else { 100_000 };
    command
        .args(["power_cut::child", "--exact", "--nocapture", "--test-threads=1"])
        .env(DIRECTORY, disk.data())
        .env(SEED, random.next().to_string())
        .env(STEPS, steps.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit());
    if let Some(bug) = bug {
        command.env(BUG, format!("{bug:?}"));
    }
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = || lines.next().expect("the child ended by itself").unwrap();
    match moment {
        Moment::Start { turns } => pass(turns),
        Moment::Work { mut acks, turns } => {
            while acks > 0 {
                let line = next();
                acks -= u64::from(told.note(&line));
                if line.contains("still") || told.acked == ENTRIES_MAX {
                    break;
                }
            }
            pass(turns);
        }
        Moment::Still => loop {
            let line = next();
            told.note(&line);
            if line.contains("still") {
                break;
            }
        },
    }
    child.kill().unwrap();
    for line in lines {
        told.note(&line.unwrap());
    }
    child.wait().unwrap();
}

/// Cuts the power again and again. Returns how much was told, or what was lost at which cut.
async fn run(cuts: u64, bug: Option<Bug>, seed: u64) -> Result<Told, String> {
    let mut random = Random(seed);
    let mut disk = ForgetfulDisk::new();
    let (mut told, mut sum) = (Told::default(), Told::default());
    for cut in 0..cuts {
        if told.acked > ENTRIES_MAX * 3 / 4 {
            disk = ForgetfulDisk::new();
            told = Told::default();
        }
        let before = (told.acked, told.voted);
        live(&disk, bug, &mut random, &mut told);
        while random.below(3) == 0 {
            // The process alone has died: the next one finds what was not synced, too.
            live(&disk, bug, &mut random, &mut told);
        }
        sum.acked += told.acked - before.0;
        sum.voted += told.voted - before.1;
        let survives =
            if random.below(2) == 0 { Survives::OnlySynced } else { Survives::SomeOfTheRest };
        disk.lose_power(survives, &mut random);
        let engines: Arc<dyn Engines> = Arc::new(RocksEngines::new());
        let mut store = open(&disk.data(), &engines, &threaded());
        let lost = |lost| format!("seed {seed}, cut {cut}, {survives:?}: {lost}");
        check(&mut store, &told).await.map_err(lost)?;
    }
    Ok(sum)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn nothing_acknowledged_is_lost_when_the_power_goes() {
    let told = run(CUTS, None, 1).await.unwrap_or_else(|lost| panic!("{lost}"));
    println!("{CUTS} power cuts, {} entries and {} votes told", told.acked, told.voted);
    assert!(told.acked > CUTS && told.voted > CUTS, "the oracle did nothing");
}

async fn is_caught(bug: Bug) {
    match run(BUGGY_CUTS_MAX, Some(bug), 2).await {
        Ok(_) => panic!("the oracle does not see {bug:?}"),
        Err(lost) => println!("{bug:?}: {lost}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn it_sees_a_callback_before_the_sync() {
    is_caught(Bug::CallbackBeforeSync).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn it_sees_a_vote_that_is_not_synced() {
    is_caught(Bug::VoteNotSynced).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn it_sees_last_applied_outside_the_batch() {
    is_caught(Bug::LastAppliedOutsideTheBatch).await;
}
