//! A model of the log beside the real one: random operations, reopened after every one.

use std::sync::Arc;

use lockbox_raft::store::{AppliedIndex, Engines, MemoryEngines, RocksEngines, StoreOptions};
use lockbox_raft::types::{LogId, Vote};
use openraft::storage::{RaftLogReader, RaftLogStorage, RaftStateMachine};
use tempfile::TempDir;

use crate::harness::{Random, append_durably, apply, entries, entry, log_id, open, threaded};

/// What the store must say.
#[derive(Default, Debug)]
struct Model {
    /// Ids of the entries, the first at `purged + 1`.
    ids: Vec<LogId>,
    purged: Option<LogId>,
    vote: Option<Vote>,
    committed: Option<LogId>,
    applied: Option<LogId>,
    term: u64,
}

impl Model {
    fn start(&self) -> u64 {
        self.purged.map_or(0, |id| id.index + 1)
    }

    fn end(&self) -> u64 {
        self.start() + self.ids.len() as u64
    }

    fn last(&self) -> Option<LogId> {
        self.ids.last().copied().or(self.purged)
    }

    fn id_at(&self, index: u64) -> LogId {
        self.ids[usize::try_from(index - self.start()).unwrap()]
    }

    fn next_to_apply(&self) -> u64 {
        self.applied.map_or(0, |id| id.index + 1)
    }

    async fn check(&self, store: &mut lockbox_raft::store::Store) {
        let found = entries(store).await;
        assert_eq!(found.iter().map(|e| e.log_id).collect::<Vec<_>>(), self.ids);
        for entry_found in &found {
            let wrote = entry(entry_found.log_id.leader_id.term, entry_found.log_id.index);
            assert!(entry_found.payload == wrote.payload);
        }
        let state = store.log.get_log_state().await.unwrap();
        assert_eq!((state.last_purged_log_id, state.last_log_id), (self.purged, self.last()));
        let mut reader = store.log.get_log_reader().await;
        assert_eq!(reader.read_vote().await.unwrap(), self.vote);
        assert_eq!(store.log.read_committed().await.unwrap(), self.committed);
        assert_eq!(store.state_machine.applied_state().await.unwrap().0, self.applied);
        if !self.ids.is_empty() {
            let limited = reader.limited_get_log_entries(self.start(), self.end()).await.unwrap();
            assert_eq!(limited[0].log_id, self.ids[0]);
        }
        // Whatever is purged is in a snapshot.
        let snapshot = store.state_machine.get_current_snapshot().await.unwrap();
        assert!(snapshot.and_then(|snapshot| snapshot.meta.last_log_id) >= self.purged);
    }

    async fn step(&mut self, store: &mut lockbox_raft::store::Store, random: &mut Random) {
        match random.below(7) {
            0..2 => {
                let run = self.end()..self.end() + 1 + random.below(30);
                let entries: Vec<_> = run.map(|index| entry(self.term, index)).collect();
                self.ids.extend(entries.iter().map(|entry| entry.log_id));
                append_durably(store, entries).await;
            }
            2 => {
                self.term += 1;
                let vote = Vote::new(self.term, 1);
                store.log.save_vote(&vote).await.unwrap();
                self.vote = Some(vote);
            }
            3 if self.end() > self.next_to_apply() => {
                let keep = self.next_to_apply() + random.below(self.end() - self.next_to_apply());
                let last = keep.checked_sub(1).map(|index| {
                    if index < self.start() { self.purged.unwrap() } else { self.id_at(index) }
                });
                store.log.truncate_after(last).await.unwrap();
                self.ids.truncate(usize::try_from(keep - self.start()).unwrap());
            }
            4 if self.end() > self.next_to_apply() => {
                let first = self.next_to_apply();
                let end = first + 1 + random.below(self.end() - first);
                let run = (first..end).map(|index| {
                    let id = self.id_at(index);
                    entry(id.leader_id.term, id.index)
                });
                apply(store, run.collect()).await.unwrap();
                self.applied = Some(self.id_at(end - 1));
                self.committed = self.applied;
                store.log.save_committed(self.committed).await.unwrap();
            }
            5 if self.applied > self.purged => {
                let newest = self.applied.unwrap().index;
                let upto = self.start() + random.below(newest + 1 - self.start());
                let id = self.id_at(upto);
                store.log.purge(id).await.unwrap();
                self.ids.drain(..=usize::try_from(upto - self.start()).unwrap());
                self.purged = Some(id);
            }
            _ => {}
        }
    }
}

async fn reopened_after_every_operation(engines: Arc<dyn Engines>, seed: u64, steps: u64) {
    let directory = TempDir::new().unwrap();
    let options: StoreOptions = threaded();
    let mut model = Model { term: 1, ..Model::default() };
    let mut random = Random(seed);
    for step in 0..steps {
        let mut store = open(directory.path(), &engines, &options);
        model.check(&mut store).await;
        model.step(&mut store, &mut random).await;
        let state = store.log.get_log_state().await.unwrap();
        assert_eq!(state.last_log_id, model.last(), "seed {seed}, step {step}");
        assert_eq!(entries(&mut store).await.len(), model.ids.len(), "seed {seed}, step {step}");
        store.writer.stop();
    }
}

#[tokio::test]
async fn memory_is_the_same_after_every_reopening() {
    for seed in 0..20 {
        reopened_after_every_operation(Arc::new(MemoryEngines::new()), seed, 60).await;
    }
}

#[tokio::test]
async fn rocksdb_is_the_same_after_every_reopening() {
    for seed in 100..103 {
        reopened_after_every_operation(Arc::new(RocksEngines::new()), seed, 40).await;
    }
}

#[tokio::test]
async fn a_hole_is_refused() {
    let directory = TempDir::new().unwrap();
    let engines: Arc<dyn Engines> = Arc::new(MemoryEngines::new());
    let mut store = open(directory.path(), &engines, &threaded());
    append_durably(&mut store, vec![entry(1, 0)]).await;
    assert!(crate::harness::append(&mut store, vec![entry(1, 2)]).await.is_err());
    store.log.truncate_after(Some(log_id(1, 5))).await.unwrap();
    assert_eq!(entries(&mut store).await.len(), 1);
}

/// A leader reads for its followers, and may be succeeded meanwhile: no reason to end the process.
#[tokio::test]
async fn what_was_cut_off_or_purged_is_not_there_for_replication() {
    let directory = TempDir::new().unwrap();
    let engines: Arc<dyn Engines> = Arc::new(MemoryEngines::new());
    let mut store = open(directory.path(), &engines, &threaded());
    append_durably(&mut store, (0..6).map(|index| entry(1, index)).collect()).await;
    let mut reader = store.log.get_log_reader().await;
    store.log.truncate_after(Some(log_id(1, 3))).await.unwrap();
    assert_eq!(reader.limited_get_log_entries(4, 6).await.unwrap(), []);
    assert_eq!(reader.limited_get_log_entries(2, 6).await.unwrap().len(), 2);
    apply(&mut store, (0..3).map(|index| entry(1, index)).collect()).await.unwrap();
    store.log.purge(log_id(1, 1)).await.unwrap();
    // After a snapshot of another history, an entry of the same index may still be there.
    let has = |index, term| reader.has(AppliedIndex { index, term }).unwrap();
    assert!(has(2, 1) && !has(2, 2) && !has(1, 1) && !has(4, 1));
    assert_eq!(reader.limited_get_log_entries(1, 4).await.unwrap(), [], "not what comes later");
    assert_eq!(reader.limited_get_log_entries(2, 4).await.unwrap().len(), 2);
}
