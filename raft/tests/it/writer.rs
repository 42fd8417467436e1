//! The log writer: one sync for all that waits, back-pressure, and no way back after a failure.

use std::sync::Arc;

use lockbox_core::ExitCode;
use lockbox_raft::StorageFailure;
use lockbox_raft::store::{Engines, MemoryEngines, MemoryFault, StoreOptions, WriterHost};
use lockbox_raft::types::Vote;
use openraft::storage::RaftLogStorage;
use tempfile::TempDir;

use crate::harness::{INLINE, append, append_durably, apply, entries, entry, open, threaded};

fn as_task() -> StoreOptions {
    StoreOptions { writer: WriterHost::Task, ..INLINE }
}

#[tokio::test]
async fn what_waits_for_the_disk_shares_one_sync() {
    let directory = TempDir::new().unwrap();
    let machine = MemoryEngines::new();
    let engines: Arc<dyn Engines> = Arc::new(machine.clone());
    let mut store = open(directory.path(), &engines, &threaded());
    let stats = store.writer.stats();
    machine.stall_syncs();
    let mut acks = vec![append(&mut store, vec![entry(1, 0)]).await.unwrap()];
    machine.wait_for_stalled_sync();
    for index in 1..5 {
        acks.push(append(&mut store, vec![entry(1, index)]).await.unwrap());
    }
    // Readable at once, durable later.
    assert_eq!(entries(&mut store).await.len(), 5);
    {
        let mut fifth = std::pin::pin!(append(&mut store, vec![entry(1, 5)]));
        assert!(futures::poll!(&mut fifth).is_pending(), "a fifth append must wait");
        machine.release_syncs();
        acks.push(fifth.await.unwrap());
    }
    for ack in acks {
        ack.await.unwrap().unwrap();
    }
    assert_eq!(stats.entries(), 6);
    assert!(stats.syncs() <= 3, "{} syncs", stats.syncs());
}

#[tokio::test]
async fn a_failed_sync_ends_everything() {
    let directory = TempDir::new().unwrap();
    let machine = MemoryEngines::new();
    let engines: Arc<dyn Engines> = Arc::new(machine.clone());
    let mut store = open(directory.path(), &engines, &threaded());
    append_durably(&mut store, vec![entry(1, 0)]).await;
    machine.fail_next(MemoryFault::LogSync(StorageFailure::DiskFull));
    let ack = append(&mut store, vec![entry(1, 1)]).await.unwrap();
    assert!(ack.await.unwrap().is_err());
    // The disk would work again; the writer must not try.
    assert!(append(&mut store, vec![entry(1, 2)]).await.is_err());
    assert!(store.log.save_vote(&Vote::new(3, 1)).await.is_err());
    assert!(store.log.save_committed(Some(entry(1, 0).log_id)).await.is_err());
    assert!(apply(&mut store, vec![entry(1, 0), entry(1, 1)]).await.is_err());
    assert_eq!(store.faults.current().unwrap().failure, StorageFailure::DiskFull);
    assert_eq!(store.faults.current().unwrap().exit_code(), ExitCode::DiskFull);
}

#[tokio::test]
async fn a_writer_that_is_a_task_writes_and_fails_as_the_thread_does() {
    let directory = TempDir::new().unwrap();
    let machine = MemoryEngines::new();
    let engines: Arc<dyn Engines> = Arc::new(machine.clone());
    let mut store = open(directory.path(), &engines, &as_task());
    for index in 0..9 {
        append_durably(&mut store, vec![entry(1, index)]).await;
    }
    apply(&mut store, (0..9).map(|index| entry(1, index)).collect()).await.unwrap();
    let ack = append(&mut store, vec![entry(1, 9)]).await.unwrap();
    store.writer.stop();
    ack.await.unwrap().unwrap();
    drop((store.log, store.state_machine, store.state));
    let mut store = open(directory.path(), &engines, &as_task());
    assert_eq!(entries(&mut store).await.len(), 10);
    machine.fail_next(MemoryFault::LogSync(StorageFailure::Io));
    assert!(append(&mut store, vec![entry(1, 10)]).await.unwrap().await.unwrap().is_err());
    assert!(append(&mut store, vec![entry(1, 11)]).await.is_err());
    assert_eq!(store.faults.current().unwrap().exit_code(), ExitCode::Storage);
}

#[tokio::test]
async fn a_failed_commit_is_a_fault() {
    let directory = TempDir::new().unwrap();
    let machine = MemoryEngines::new();
    let engines: Arc<dyn Engines> = Arc::new(machine.clone());
    let mut store = open(directory.path(), &engines, &threaded());
    append_durably(&mut store, vec![entry(1, 0)]).await;
    machine.fail_next(MemoryFault::StateCommit(StorageFailure::Io));
    assert!(apply(&mut store, vec![entry(1, 0)]).await.is_err());
    assert_eq!(store.faults.current().unwrap().exit_code(), ExitCode::Storage);
}

#[tokio::test]
async fn stopping_writes_what_is_queued() {
    let directory = TempDir::new().unwrap();
    let machine = MemoryEngines::new();
    let engines: Arc<dyn Engines> = Arc::new(machine.clone());
    let mut store = open(directory.path(), &engines, &threaded());
    machine.stall_syncs();
    let mut acks = Vec::new();
    for index in 0..4 {
        acks.push(append(&mut store, vec![entry(1, index)]).await.unwrap());
    }
    let releasing = machine.clone();
    let release = std::thread::spawn(move || {
        releasing.wait_for_stalled_sync();
        releasing.release_syncs();
    });
    store.writer.stop();
    release.join().unwrap();
    for ack in acks {
        ack.await.unwrap().unwrap();
    }
    drop((store.log, store.state_machine, store.state));
    let mut store = open(directory.path(), &engines, &threaded());
    assert_eq!(entries(&mut store).await.len(), 4);
}
