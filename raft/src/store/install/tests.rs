//! An installation is interrupted at each step; after the crash the node has the old state or the
//! new one, and can always install again.

use std::path::Path;
use std::sync::Arc;

use openraft::EntryPayload;
use openraft::storage::{RaftSnapshotBuilder, RaftStateMachine};
use tempfile::TempDir;

use super::super::install_step::{InstallStep, interrupt_at};
use super::super::{
    Blocking, Engines, Manifest, MemoryEngines, NodeIdentity, RocksEngines, SnapshotHandle, Store,
    StoreOptions, WriterHost, open_store, state_hash,
};
use crate::types::{LogEntry, LogId};

const STEPS: [InstallStep; 4] = [
    InstallStep::SnapshotPublished,
    InstallStep::FilesPlaced,
    InstallStep::EngineOpened,
    InstallStep::CurrentReplaced,
];

fn open(directory: &Path, engines: &Arc<dyn Engines>) -> Store {
    let options = StoreOptions {
        writer: WriterHost::Caller,
        blocking: Blocking::Inline,
        ..StoreOptions::default()
    };
    let identity = NodeIdentity { node_id: 1, fresh_store_id: [1; 16] };
    open_store(directory, Arc::clone(engines), &identity, &options).unwrap()
}

async fn apply(store: &mut Store, end: u64) {
    let entries = (0..end).map(|index| {
        let entry =
            LogEntry { log_id: LogId::new_term_index(1, index), payload: EntryPayload::Blank };
        Ok((entry, None))
    });
    store.state_machine.apply(futures::stream::iter(entries)).await.unwrap();
}

fn hash(store: &Store) -> [u8; 32] {
    store.state.read(|view| state_hash(view)).unwrap().unwrap()
}

fn receive(snapshot: &SnapshotHandle, store: &Store) -> SnapshotHandle {
    let manifest = Manifest::from_json(&snapshot.manifest().to_json()).unwrap();
    let mut receiver = store.snapshots.receive(manifest).unwrap();
    for file in snapshot.manifest().files() {
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut snapshot.open_file(file).unwrap(), &mut bytes).unwrap();
        receiver.append(&bytes).unwrap();
    }
    receiver.finish().unwrap()
}

/// What openraft does at a start: it installs a snapshot that is ahead of the state.
async fn start_as_openraft(store: &mut Store) {
    let applied = store.state_machine.applied_state().await.unwrap().0;
    let snapshot = store.state_machine.get_current_snapshot().await.unwrap();
    if let Some(snapshot) = snapshot
        && snapshot.meta.last_log_id > applied
    {
        store.state_machine.install_snapshot(&snapshot.meta, snapshot.snapshot).await.unwrap();
    }
}

async fn leaves_old_or_new(engines: impl Fn() -> Arc<dyn Engines>) {
    let origin = TempDir::new().unwrap();
    let mut leader = open(origin.path(), &engines());
    apply(&mut leader, 40).await;
    let builder = leader.state_machine.try_create_snapshot_builder(true).await;
    let snapshot = builder.unwrap().build_snapshot().await.unwrap().snapshot;
    let new = hash(&leader);
    for step in STEPS {
        let directory = TempDir::new().unwrap();
        let machine = engines();
        let mut store = open(directory.path(), &machine);
        apply(&mut store, 3).await;
        store.state.flush().unwrap();
        let old = hash(&store);
        let received = receive(&snapshot, &store);
        interrupt_at(Some(step));
        let meta = received.meta().clone();
        let interrupted = store.state_machine.install_snapshot(&meta, received).await;
        interrupt_at(None);
        assert!(interrupted.is_err(), "{step:?} was not reached");
        assert_eq!(hash(&store), old, "{step:?}: readers see a half-installed state");
        drop(store);
        let mut store = open(directory.path(), &machine);
        let found = hash(&store);
        let expected = if step == InstallStep::CurrentReplaced { new } else { old };
        assert_eq!(found, expected, "{step:?}");
        start_as_openraft(&mut store).await;
        assert_eq!(hash(&store), new, "{step:?}: after the start");
        assert_eq!(store.state_machine.applied_state().await.unwrap().0, meta.last_log_id);
        let states = std::fs::read_dir(directory.path().join("state")).unwrap().count();
        assert_eq!(states, 1, "{step:?}: a generation was left over");
    }
}

#[tokio::test]
async fn rocksdb_has_the_old_or_the_new_state() {
    leaves_old_or_new(|| Arc::new(RocksEngines::new())).await;
}

#[tokio::test]
async fn memory_has_the_old_or_the_new_state() {
    leaves_old_or_new(|| Arc::new(MemoryEngines::new())).await;
}

#[tokio::test]
async fn a_snapshot_of_another_state_is_refused() {
    let directory = TempDir::new().unwrap();
    let engines: Arc<dyn Engines> = Arc::new(MemoryEngines::new());
    let mut store = open(directory.path(), &engines);
    apply(&mut store, 3).await;
    let builder = store.state_machine.try_create_snapshot_builder(true).await;
    let snapshot = builder.unwrap().build_snapshot().await.unwrap();
    let mut meta = snapshot.meta.clone();
    meta.last_log_id = Some(LogId::new_term_index(1, 9));
    assert!(store.state_machine.install_snapshot(&meta, snapshot.snapshot).await.is_err());
    assert_eq!(store.state.applied().borrow().at.index, 2);
}
