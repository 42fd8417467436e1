//! Much is written and deleted again: what stays on the disk is bounded by settings and by what is
//! alive, not by what was written.

use std::path::Path;

use super::commands::{create_secret_with_version, delete_secret};
use super::*;

/// One payload, and how many of them come and go.
const PAYLOAD_BYTES: usize = 256 << 10;
const ROUNDS: usize = 40;
const AT_ONCE: usize = 32;
/// Write-ahead logs of the log, and eight tables of one memtable each: four of the log and four of
/// the state are there before they are compacted.
const DISK_BYTES_MAX: u64 = (64 + 8 * 16) << 20;

fn often(config: &mut ReplicaConfig) {
    config.snapshots.logs_since_last = 100;
    config.snapshots.logs_kept = 20;
    config.snapshots.purge_batch = 20;
}

/// What the files of a directory take; one that has several names counts once.
fn disk_bytes(directory: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let mut directories = vec![directory.to_owned()];
    let mut files = std::collections::BTreeMap::new();
    while let Some(next) = directories.pop() {
        // What goes meanwhile takes nothing any more.
        for entry in std::fs::read_dir(next).into_iter().flatten().flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() {
                directories.push(entry.path());
            } else {
                files.insert(metadata.ino(), metadata.blocks() * 512);
            }
        }
    }
    files.values().sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_came_and_went_does_not_stay_on_the_disk() {
    let mut cluster = Cluster::blank_on(Arc::new(RocksEngines::new()), 1, often).await;
    cluster.initialize().await;
    let random = TestRandom::new(99);
    let replica = cluster.replica(1).clone();
    operation(&propose(&replica, init_cluster(&random)).await);
    for _ in 0..ROUNDS {
        let made = (0..AT_ONCE).map(|_| {
            let (mut envelope, secret, _) = create_secret_with_version(&random);
            let crate::domain::Command::CreateSecret(create) = &mut envelope.command else {
                panic!("not a creation")
            };
            create.version.as_mut().unwrap().payload.ciphertext = vec![7; PAYLOAD_BYTES];
            (envelope, secret)
        });
        let (envelopes, secrets): (Vec<_>, Vec<_>) = made.unzip();
        let created = envelopes.into_iter().map(|envelope| propose(&replica, envelope));
        futures::future::join_all(created).await;
        let deletions: Vec<_> =
            secrets.iter().map(|secret| delete_secret(&random, secret)).collect();
        let deleted = deletions.into_iter().map(|envelope| propose(&replica, envelope));
        for applied in futures::future::join_all(deleted).await {
            operation(&applied);
        }
    }
    let written = (ROUNDS * AT_ONCE * PAYLOAD_BYTES) as u64;
    assert!(written > DISK_BYTES_MAX, "too little was written to show anything");
    let until = soon();
    let directory = cluster.node_directory(1);
    loop {
        let status = replica.status();
        let (in_log, on_disk) = (status.last_log - status.purged, disk_bytes(&directory));
        if in_log <= 200 && on_disk <= DISK_BYTES_MAX {
            break;
        }
        assert!(
            Instant::now() < until,
            "{in_log} entries are in the log, {on_disk} bytes on the disk, of {written} written"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(names(&replica, soon()).await.unwrap().is_empty());
    cluster.end().await;
}
