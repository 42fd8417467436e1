//! A data directory opens for its own node, whole, and once at a time.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use lockbox_raft::store::{Engines, NodeIdentity, RocksEngines, Store, open_store};
use lockbox_raft::{StorageError, StorageFailure};
use tempfile::TempDir;

use crate::harness::{NODE, append_durably, entries, entry, open, threaded};

fn engines() -> Arc<dyn Engines> {
    Arc::new(RocksEngines::new())
}

async fn used_directory() -> TempDir {
    let directory = TempDir::new().unwrap();
    let mut store = open(directory.path(), &engines(), &threaded());
    append_durably(&mut store, vec![entry(1, 0)]).await;
    directory
}

fn refused(directory: &Path, node: &NodeIdentity) -> StorageError {
    let opened: Result<Store, StorageError> = open_store(directory, engines(), node, &threaded());
    let error = opened.err().expect("it opened");
    let kinds = [StorageFailure::WrongIdentity, StorageFailure::StoreLost];
    assert!(kinds.contains(&error.failure), "{error}");
    error
}

#[tokio::test]
async fn it_opens_again_for_its_node_only() {
    let directory = used_directory().await;
    let other = NodeIdentity { node_id: 2, fresh_store_id: [1; 16] };
    let message = refused(directory.path(), &other).to_string();
    assert!(message.contains("belongs to node 1, not to node 2"), "{message}");
    let again = NodeIdentity { fresh_store_id: [3; 16], ..NODE };
    let mut store = open_store(directory.path(), engines(), &again, &threaded()).unwrap();
    assert_eq!(entries(&mut store).await.len(), 1);
}

#[tokio::test]
async fn it_does_not_open_twice() {
    let directory = used_directory().await;
    let store = open(directory.path(), &engines(), &threaded());
    let message = refused(directory.path(), &NODE).to_string();
    assert!(message.contains("in use by another process"), "{message}");
    drop(store);
    drop(open(directory.path(), &engines(), &threaded()));
}

#[tokio::test]
async fn what_was_wiped_does_not_come_back_under_its_id() {
    for wiped in ["raft", "state", "state/1", "CURRENT"] {
        let directory = used_directory().await;
        let path = directory.path().join(wiped);
        if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) }.unwrap();
        let error = refused(directory.path(), &NODE);
        assert_eq!(error.failure, StorageFailure::StoreLost);
        let message = error.to_string();
        assert!(message.contains("new id and an empty directory"), "{wiped}: {message}");
        assert!(!path.exists(), "{wiped} was made anew");
    }
}

#[tokio::test]
async fn a_log_from_another_directory_is_refused() {
    let (directory, other) = (used_directory().await, TempDir::new().unwrap());
    let theirs = NodeIdentity { node_id: 1, fresh_store_id: [5; 16] };
    drop(open_store(other.path(), engines(), &theirs, &threaded()).unwrap());
    fs::remove_dir_all(directory.path().join("raft")).unwrap();
    fs::rename(other.path().join("raft"), directory.path().join("raft")).unwrap();
    refused(directory.path(), &NODE);
}

#[tokio::test]
async fn a_creation_that_was_interrupted_is_completed() {
    let directory = TempDir::new().unwrap();
    drop(open(directory.path(), &engines(), &threaded()));
    fs::remove_file(directory.path().join("IDENTITY")).unwrap();
    drop(open(directory.path(), &engines(), &threaded()));
    assert!(directory.path().join("IDENTITY").exists());
}
