//! The seeded bugs of the store bite: each test runs healthy and as the mutant (`crate::trial`).

use std::path::Path;
use std::sync::Arc;

use lockbox_core::Mutant;
use lockbox_raft::domain::decode;
use lockbox_raft::domain::version::{VersionRecord, VersionStatus};
use lockbox_raft::state::{Direction, Scan, Space, StateRead, keys, tables};
use lockbox_raft::store::{Engines, MemoryEngines, RocksEngines, Store};
use lockbox_raft::types::LogEntry;
use openraft::EntryPayload;
use openraft::storage::RaftStateMachine;
use tempfile::TempDir;

use crate::harness::{
    INLINE, append, append_durably, apply, entries, entry, hash, log_id, open, threaded,
};
use crate::recording::{Recording, membership};
use crate::snapshot::{build, transfer};
use crate::trial::Trial;

const SEED: u64 = 7;
const ENTRIES: u64 = 400;

fn rocks() -> Arc<dyn Engines> {
    Arc::new(RocksEngines::new())
}

fn memory() -> Arc<dyn Engines> {
    Arc::new(MemoryEngines::new())
}

#[tokio::test]
async fn ack_before_fsync() {
    let trial = Trial::of(Mutant::AckBeforeFsync);
    let machine = MemoryEngines::new();
    let engines: Arc<dyn Engines> = Arc::new(machine.clone());
    let mut lost = false;
    for seed in 0..20 {
        let directory = TempDir::new().unwrap();
        let mut store = open(directory.path(), &engines, &INLINE);
        for index in 0..5 {
            let acknowledged = append(&mut store, vec![entry(1, index)]).await.unwrap();
            while store.writer.drain_once() {}
            acknowledged.await.unwrap().unwrap();
        }
        machine.crash(seed);
        drop(store);
        lost |= entries(&mut open(directory.path(), &engines, &INLINE)).await.len() < 5;
    }
    trial.end(lost);
}

#[tokio::test]
async fn lost_tail() {
    let trial = Trial::of(Mutant::LostTail);
    let directory = TempDir::new().unwrap();
    let engines = rocks();
    let mut store = open(directory.path(), &engines, &threaded());
    append_durably(&mut store, (0..20).map(|index| entry(1, index)).collect()).await;
    drop(store);
    let mut store = open(directory.path(), &engines, &threaded());
    let found = entries(&mut store).await.len();
    assert!(found == 20 || found == 12, "{found}");
    trial.end(found < 20);
}

/// A directory as a process leaves it that is killed now.
fn killed(directory: &Path) -> TempDir {
    fn copy(from: &Path, to: &Path) {
        std::fs::create_dir_all(to).unwrap();
        for file in std::fs::read_dir(from).unwrap() {
            let (path, name) = (file.as_ref().unwrap().path(), file.as_ref().unwrap().file_name());
            if path.is_dir() {
                copy(&path, &to.join(name));
            } else {
                std::fs::copy(&path, to.join(name)).unwrap();
            }
        }
    }
    let left = TempDir::new().unwrap();
    copy(directory, left.path());
    left
}

/// What openraft would apply at a start, applied; and what the state is then.
async fn caught_up(store: &mut Store, run: &[LogEntry]) -> [u8; 32] {
    let (applied, _) = store.state_machine.applied_state().await.unwrap();
    let rest = run.iter().filter(|entry| Some(entry.log_id) > applied).cloned().collect();
    apply(store, rest).await.unwrap();
    hash(store).unwrap()
}

/// Whether a node that is killed comes to another state than one that is not.
async fn differs_after_kill() -> bool {
    let here = TempDir::new().unwrap();
    let mut recording = Recording::new(SEED);
    let mut recorder = open(here.path(), &memory(), &INLINE);
    recording.extend(&mut recorder, ENTRIES, 40).await;
    let run = recording.entries(0..ENTRIES);

    let there = TempDir::new().unwrap();
    let mut store = open(there.path(), &rocks(), &threaded());
    append_durably(&mut store, run.clone()).await;
    apply(&mut store, run.clone()).await.unwrap();
    let expected = hash(&recorder).unwrap();
    assert_eq!(hash(&store).unwrap(), expected);
    let left = killed(there.path());
    let mut after = open(left.path(), &rocks(), &threaded());
    caught_up(&mut after, &run).await != expected
}

#[tokio::test]
async fn apply_not_atomic() {
    let trial = Trial::of(Mutant::ApplyNotAtomic);
    trial.end(differs_after_kill().await);
}

#[tokio::test]
async fn reapplied_after_crash() {
    let trial = Trial::of(Mutant::ReappliedAfterCrash);
    let here = TempDir::new().unwrap();
    let mut recording = Recording::new(SEED);
    let engines = rocks();
    let mut store = open(here.path(), &engines, &threaded());
    recording.extend(&mut store, ENTRIES, 40).await;
    let run = recording.entries(0..ENTRIES);
    append_durably(&mut store, run.clone()).await;
    let expected = hash(&store).unwrap();
    store.state.flush().unwrap();
    let left = killed(here.path());
    let mut after = open(left.path(), &engines, &threaded());
    trial.end(caught_up(&mut after, &run).await != expected);
}

/// A leader, and a follower that has installed its snapshot.
struct Installed {
    leader: Store,
    follower: Store,
    _directories: [TempDir; 2],
}

async fn installed() -> Installed {
    let directories = [TempDir::new().unwrap(), TempDir::new().unwrap()];
    let mut leader = open(directories[0].path(), &rocks(), &threaded());
    let mut recording = Recording::new(SEED);
    recording.extend(&mut leader, ENTRIES, 40).await;
    let payload = EntryPayload::Membership(membership());
    apply(&mut leader, vec![LogEntry { log_id: log_id(9, ENTRIES), payload }]).await.unwrap();
    let snapshot = build(&mut leader).await;
    let mut follower = open(directories[1].path(), &rocks(), &threaded());
    let received = transfer(&snapshot, &follower.snapshots);
    let meta = received.meta().clone();
    follower.state_machine.install_snapshot(&meta, received).await.unwrap();
    Installed { leader, follower, _directories: directories }
}

impl Installed {
    /// Whether a table has rows at the leader and none at the follower.
    fn lacks(&self, space: Space, prefix: &[u8]) -> bool {
        let scan = Scan {
            space,
            from: prefix.to_vec(),
            to: keys::prefix_end(prefix),
            direction: Direction::Ascending,
            limit: usize::MAX,
        };
        let rows = |store: &Store| store.state.read(|view| view.scan(&scan)).unwrap().unwrap();
        let (leader, follower) = (rows(&self.leader), rows(&self.follower));
        assert!(!leader.is_empty());
        assert!(follower.is_empty() || follower == leader);
        follower.is_empty()
    }
}

#[tokio::test]
async fn snapshot_omits_operations() {
    let trial = Trial::of(Mutant::SnapshotOmitsOperations);
    let installed = installed().await;
    let gone = keys::operation_tables().map(|table| installed.lacks(Space::Records, &table));
    assert!(gone == [true; 4] || gone == [false; 4]);
    trial.end(gone[0]);
}

#[tokio::test]
async fn snapshot_omits_bindings() {
    let trial = Trial::of(Mutant::SnapshotOmitsBindings);
    let installed = installed().await;
    let gone = keys::binding_tables().map(|table| installed.lacks(Space::Records, &table));
    assert!(gone == [true; 2] || gone == [false; 2]);
    trial.end(gone[0]);
}

#[tokio::test]
async fn snapshot_omits_clock() {
    let trial = Trial::of(Mutant::SnapshotOmitsClock);
    let installed = installed().await;
    let of = |store: &Store| store.state.applied().borrow().log_time;
    let stored = installed.follower.state.read(|view| tables::log_time(view)).unwrap().unwrap();
    assert_eq!(stored, of(&installed.follower));
    trial.end(stored != of(&installed.leader));
}

#[tokio::test]
async fn destroyed_comes_back() {
    let trial = Trial::of(Mutant::DestroyedComesBack);
    let installed = installed().await;
    let destroyed = |store: &Store| {
        let prefix = keys::versions();
        let scan = Scan {
            space: Space::Records,
            to: keys::prefix_end(&prefix),
            from: prefix,
            direction: Direction::Ascending,
            limit: usize::MAX,
        };
        let rows = store.state.read(|view| view.scan(&scan)).unwrap().unwrap();
        let versions = rows.iter().map(|(_, row)| decode::<VersionRecord>(row).unwrap());
        versions.filter(|version| version.status == VersionStatus::Destroyed).count()
    };
    let (there, here) = (destroyed(&installed.leader), destroyed(&installed.follower));
    assert!(there > 0 && (here == 0 || here == there));
    trial.end(here == 0);
}

#[tokio::test]
async fn snapshot_omits_membership() {
    let trial = Trial::of(Mutant::SnapshotOmitsMembership);
    let mut installed = installed().await;
    let (_, known) = installed.follower.state_machine.applied_state().await.unwrap();
    let unknown = known.membership().get_joint_config().is_empty();
    assert_eq!(unknown, installed.lacks(Space::System, keys::SYSTEM_MEMBERSHIP));
    trial.end(unknown);
}
