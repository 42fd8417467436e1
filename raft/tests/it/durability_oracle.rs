//! A write oracle over storage that forgets what was not synced: after every simulated loss of
//! power, nothing acknowledged is missing and the state agrees with its own `last_applied`.
//!
//! Known bugs are switched on one at a time between the store and the disk; each has to turn the
//! oracle red, which shows that it can.

use std::sync::Arc;

use lockbox_raft::store::{Engines, MemoryEngines};
use lockbox_raft::types::Vote;
use openraft::storage::{RaftLogStorage, RaftStateMachine};
use tempfile::TempDir;

use crate::harness::{Ack, INLINE, Random, append, apply, entry, open};
use crate::oracle::{ENTRIES_MAX, Told, check};
use crate::seeded_bugs::{Bug, Buggy};

const SEEDS: u64 = 120;
const LIVES: u64 = 6;
const STEPS: u64 = 25;

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

async fn run(seed: u64, bug: Option<Bug>) -> Result<Told, String> {
    let directory = TempDir::new().unwrap();
    let machine = MemoryEngines::new();
    let engines: Arc<dyn Engines> = Arc::new(Buggy { inner: Arc::new(machine.clone()), bug });
    let mut random = Random(seed);
    let mut told = Told::default();
    for _ in 0..LIVES {
        let store = open(directory.path(), &engines, &INLINE);
        let (random, told) = (&mut random, &mut told);
        let mut life = Life { store, random, told, pending: Vec::new(), end: 0 };
        life.end = check(&mut life.store, life.told).await?;
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
