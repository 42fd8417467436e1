//! Snapshots: built beside apply, transferred as files, installed as a whole.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use lockbox_raft::StorageFailure;
use lockbox_raft::store::{
    Engines, Manifest, MemoryEngines, RocksEngines, SnapshotHandle, SnapshotInbox,
    SnapshotReceiver, Store,
};
use openraft::storage::{RaftSnapshotBuilder, RaftStateMachine};
use tempfile::TempDir;

use crate::harness::{append_durably, apply, entry, hash, open, threaded};

async fn leader(directory: &Path, engines: &Arc<dyn Engines>, end: u64) -> Store {
    let mut store = open(directory, engines, &threaded());
    let run: Vec<_> = (0..end).map(|index| entry(1, index)).collect();
    append_durably(&mut store, run.clone()).await;
    apply(&mut store, run).await.unwrap();
    store
}

pub(crate) async fn build(store: &mut Store) -> SnapshotHandle {
    let builder = store.state_machine.try_create_snapshot_builder(true).await;
    builder.unwrap().build_snapshot().await.unwrap().snapshot
}

fn bytes_of(snapshot: &SnapshotHandle) -> Vec<u8> {
    let mut bytes = Vec::new();
    for file in snapshot.manifest().files() {
        snapshot.open_file(file).unwrap().read_to_end(&mut bytes).unwrap();
    }
    bytes
}

fn begin(snapshot: &SnapshotHandle, inbox: &SnapshotInbox) -> SnapshotReceiver {
    let manifest = Manifest::from_json(&snapshot.manifest().to_json()).unwrap();
    inbox.receive(manifest).unwrap()
}

pub(crate) fn transfer(snapshot: &SnapshotHandle, inbox: &SnapshotInbox) -> SnapshotHandle {
    let mut receiver = begin(snapshot, inbox);
    for chunk in bytes_of(snapshot).chunks(1_000) {
        receiver.append(chunk).unwrap();
    }
    assert_eq!(receiver.expected_bytes_left(), 0);
    receiver.finish().unwrap()
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

async fn travels_whole(leader_engines: Arc<dyn Engines>, follower_engines: Arc<dyn Engines>) {
    let (here, there) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let mut leader = leader(here.path(), &leader_engines, 50).await;
    let snapshot = build(&mut leader).await;
    let mut follower = open(there.path(), &follower_engines, &threaded());
    let before = follower.state.clone();
    let received = transfer(&snapshot, &follower.snapshots);
    let meta = received.meta().clone();
    follower.state_machine.install_snapshot(&meta, received).await.unwrap();
    assert_eq!(hash(&follower).unwrap(), hash(&leader).unwrap());
    assert_eq!(follower.state.applied().borrow().at.index, 49);
    assert_eq!(before.read(|view| view.applied().index).unwrap(), 49, "an old handle sees it too");
    assert_eq!(names(&there.path().join("state")), ["2"]);
    assert_eq!(names(&there.path().join("snapshots")), ["0000000000000031-1"]);
    let current = follower.state_machine.get_current_snapshot().await.unwrap().unwrap();
    assert_eq!(current.meta, meta);
    // It goes on from there, and is still there after a restart.
    apply(&mut follower, vec![entry(1, 50)]).await.unwrap();
    follower.state.flush().unwrap();
    let expected = hash(&follower).unwrap();
    drop((follower, before, current));
    let follower = open(there.path(), &follower_engines, &threaded());
    assert_eq!(hash(&follower).unwrap(), expected);
    // The state ends behind the empty log: openraft will purge up to it, so a snapshot covers it.
    assert_eq!(names(&there.path().join("snapshots")), ["0000000000000032-1"]);
}

#[tokio::test]
async fn rocksdb_snapshots_travel_whole() {
    travels_whole(Arc::new(RocksEngines::new()), Arc::new(RocksEngines::new())).await;
}

#[tokio::test]
async fn memory_snapshots_travel_whole() {
    travels_whole(Arc::new(MemoryEngines::new()), Arc::new(MemoryEngines::new())).await;
}

#[tokio::test]
async fn a_replaced_snapshot_stays_while_it_is_held() {
    let directory = TempDir::new().unwrap();
    let engines: Arc<dyn Engines> = Arc::new(RocksEngines::new());
    let mut store = leader(directory.path(), &engines, 10).await;
    let first = build(&mut store).await;
    assert_eq!(build(&mut store).await.meta(), first.meta(), "nothing new: the same snapshot");
    append_durably(&mut store, vec![entry(1, 10)]).await;
    apply(&mut store, vec![entry(1, 10)]).await.unwrap();
    let second = build(&mut store).await;
    let kept = directory.path().join("snapshots");
    assert_eq!(names(&kept).len(), 2);
    assert!(!bytes_of(&first).is_empty());
    drop(first);
    assert_eq!(names(&kept), ["000000000000000a-1"]);
    drop(second);
    assert_eq!(names(&kept).len(), 1, "the current one stays");
}

#[tokio::test]
async fn a_transfer_that_goes_wrong_leaves_nothing() {
    let directory = TempDir::new().unwrap();
    let engines: Arc<dyn Engines> = Arc::new(MemoryEngines::new());
    let mut store = leader(directory.path(), &engines, 10).await;
    let snapshot = build(&mut store).await;
    let bytes = bytes_of(&snapshot);
    let mut damaged = bytes.clone();
    damaged[bytes.len() / 2] ^= 1;
    let corrupt = |result: Result<(), lockbox_raft::StorageError>| {
        assert_eq!(result.unwrap_err().failure, StorageFailure::Corrupt);
    };
    corrupt(begin(&snapshot, &store.snapshots).append(&damaged));
    let mut longer = bytes.clone();
    longer.push(0);
    corrupt(begin(&snapshot, &store.snapshots).append(&longer));
    let mut shorter = begin(&snapshot, &store.snapshots);
    shorter.append(&bytes[1..]).unwrap();
    corrupt(shorter.finish().map(drop));
    assert_eq!(names(&directory.path().join("snapshots")), ["0000000000000009-1"]);
    assert!(store.faults.current().is_none(), "a peer's fault is not this node's");
}

#[tokio::test]
async fn security_s24_a_damaged_snapshot_is_refused_at_the_start() {
    let directory = TempDir::new().unwrap();
    let engines: Arc<dyn Engines> = Arc::new(MemoryEngines::new());
    let mut store = leader(directory.path(), &engines, 10).await;
    drop(build(&mut store).await);
    drop(store);
    let file = directory.path().join("snapshots/0000000000000009-1/state.bin");
    std::fs::write(&file, b"short").unwrap();
    let opened = lockbox_raft::store::open_store(
        directory.path(),
        engines,
        &crate::harness::NODE,
        &threaded(),
    );
    assert_eq!(opened.err().unwrap().failure, StorageFailure::Corrupt);
}
