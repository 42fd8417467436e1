//! What lies among the files of a node and is none of them.

use std::fs;
use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

use super::eraser::{LATER, Stored, on_disk, wait_erased};
use super::harness::soon;
use crate::replica::Replica;
use crate::store::Finding;

/// Several looks at what is pending: what does not happen has no end to wait for.
const A_WHILE: Duration = Duration::from_secs(2);

/// The strays of a node, and what a search for the payload says of them.
async fn strays(replica: &Replica, of: &Stored) -> Vec<(String, Finding)> {
    let reports = replica.find_payload(of.marks.clone(), soon()).await.unwrap();
    let strays = reports.into_iter().filter(|report| report.is_stray());
    strays.map(|report| (report.path, report.finding)).collect()
}

fn put(directory: &Path, path: &str, content: &[u8]) {
    let path = directory.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

async fn wait_purged(replica: &Replica, index: u64) {
    let until = soon();
    while replica.status().purged < index {
        assert!(Instant::now() < until, "{:?}, {:?}", replica.erasure(), replica.status());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until all that is the node's is done.
async fn wait_held_by_alone(gone: &Stored, directory: &Path, copy: &str) {
    let until = soon();
    loop {
        let holders = gone.holders(directory);
        if holders == [copy] {
            return;
        }
        assert!(Instant::now() < until, "{holders:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_not_the_nodes_holds_an_erasure_up_only_if_it_holds_the_payload() {
    let (mut cluster, random, _) = on_disk(1).await;
    let directory = cluster.node_directory(1);
    let clean = ["raft/copy.sst", "snapshots/notes", "snapshots/old/000001.sst", "state/notes"];
    for path in clean {
        put(&directory, path, b"nothing of that");
    }
    let replica = cluster.replica(1).clone();
    let first = Stored::create(&replica, &random).await;
    first.destroy(&replica, &random).await;
    cluster.pass(LATER);
    wait_erased(&replica).await;
    let expected = clean.map(|path| (path.to_owned(), Finding::Clean));
    assert_eq!(strays(&replica, &first).await, expected);

    let second = Stored::create(&replica, &random).await;
    let copy = "snapshots/old/000002.sst";
    put(&directory, copy, &second.ciphertext);
    let destroyed = second.destroy(&replica, &random).await;
    cluster.pass(LATER);
    wait_purged(&replica, destroyed).await;
    wait_held_by_alone(&second, &directory, copy).await;
    assert_eq!(replica.erasure().pending, 1);
    assert!(strays(&replica, &second).await.contains(&(copy.to_owned(), Finding::Holds)));
    // Nothing of it is in the record: the next life looks again.
    drop(replica);
    cluster.shut_down(1).await;
    cluster.restart(1).await;
    cluster.settle().await;
    let replica = cluster.replica(1).clone();
    // Of a round in this life; the search for strays is what comes next.
    let mut clean_ups = replica.clean_ups();
    tokio::time::timeout_at(soon(), clean_ups.wait_for(|times| *times > 0)).await.unwrap().unwrap();
    tokio::time::sleep(A_WHILE).await;
    assert_eq!(replica.erasure().pending, 1);
    fs::remove_file(directory.join(copy)).unwrap();
    wait_erased(&replica).await;
    assert_eq!(second.holders(&directory), Vec::<String>::new());
    cluster.end().await;
}
