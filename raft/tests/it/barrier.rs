//! Nothing is applied before it is durable in the node's own log (`openraft.md §3.3`).

use std::sync::Arc;

use lockbox_raft::StorageFailure;
use lockbox_raft::store::{Engines, MemoryEngines, MemoryFault};
use openraft::storage::RaftLogStorage;
use tempfile::TempDir;

use crate::harness::{append, append_durably, apply, entry, log_id, open, threaded};

#[tokio::test]
async fn apply_waits_for_the_local_sync_of_its_entries_only() {
    let directory = TempDir::new().unwrap();
    let machine = MemoryEngines::new();
    let engines: Arc<dyn Engines> = Arc::new(machine.clone());
    let mut store = open(directory.path(), &engines, &threaded());
    append_durably(&mut store, vec![entry(1, 0), entry(1, 1)]).await;
    machine.stall_syncs();
    let ack = append(&mut store, vec![entry(1, 2)]).await.unwrap();
    machine.wait_for_stalled_sync();
    apply(&mut store, vec![entry(1, 0), entry(1, 1)]).await.unwrap();
    let mut applied = store.state.applied();
    assert_eq!(applied.borrow_and_update().at.index, 1);
    {
        let mut last = std::pin::pin!(apply(&mut store, vec![entry(1, 2)]));
        assert!(futures::poll!(&mut last).is_pending(), "entry 2 is not durable");
        assert!(!applied.has_changed().unwrap());
        machine.release_syncs();
        last.await.unwrap();
    }
    ack.await.unwrap().unwrap();
    assert_eq!(applied.borrow_and_update().at.index, 2);
}

#[tokio::test]
async fn an_index_written_again_after_a_truncation_is_waited_for_again() {
    let directory = TempDir::new().unwrap();
    let machine = MemoryEngines::new();
    let engines: Arc<dyn Engines> = Arc::new(machine.clone());
    let mut store = open(directory.path(), &engines, &threaded());
    append_durably(&mut store, vec![entry(1, 0), entry(1, 1), entry(1, 2)]).await;
    machine.stall_syncs();
    store.log.truncate_after(Some(log_id(1, 0))).await.unwrap();
    let ack = append(&mut store, vec![entry(2, 1)]).await.unwrap();
    {
        let run = vec![entry(1, 0), entry(2, 1)];
        let mut last = std::pin::pin!(apply(&mut store, run));
        assert!(futures::poll!(&mut last).is_pending(), "the new entry 1 is not durable");
        machine.release_syncs();
        last.await.unwrap();
    }
    ack.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_wait_for_a_sync_that_fails_ends_with_the_error() {
    let directory = TempDir::new().unwrap();
    let machine = MemoryEngines::new();
    let engines: Arc<dyn Engines> = Arc::new(machine.clone());
    let mut store = open(directory.path(), &engines, &threaded());
    machine.stall_syncs();
    let ack = append(&mut store, vec![entry(1, 0)]).await.unwrap();
    machine.wait_for_stalled_sync();
    machine.fail_next(MemoryFault::LogSync(StorageFailure::Io));
    {
        let mut waiting = std::pin::pin!(apply(&mut store, vec![entry(1, 0)]));
        assert!(futures::poll!(&mut waiting).is_pending());
        machine.release_syncs();
        assert!(waiting.await.is_err());
    }
    assert!(ack.await.unwrap().is_err());
}
