//! A quorum that is lost for good: one survivor goes on, and the others never mix with it again.

use super::*;
use crate::error::StorageError;
use crate::replica::{ChangeError, ChangeRefusal};
use crate::store::{Engines, begin_epoch, survey};

/// Works on a directory whose node has just stopped: its last tasks may still hold it.
async fn on_directory<T>(work: impl Fn() -> Result<T, StorageError>) -> Result<T, StorageError> {
    let until = soon();
    loop {
        match work() {
            Err(held) if held.to_string().contains("in use") && Instant::now() < until => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            done => return done,
        }
    }
}

async fn started(engines: &Arc<dyn Engines>) -> (Cluster, TestRandom) {
    let mut cluster = Cluster::blank_on(Arc::clone(engines), 3, unchanged).await;
    cluster.initialize().await;
    let random = TestRandom::new(99);
    operation(&propose(cluster.replica(1), init_cluster(&random)).await);
    (cluster, random)
}

fn assert_left_out(failure: &ReplicaFailure) {
    assert_eq!(failure.exit_code(), ExitCode::StoreLost, "{failure}");
    let message = failure.to_string();
    assert!(message.contains("gone on in epoch 1 without this node"), "{message}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_survivor_goes_on_and_those_that_were_left_out_stop() {
    const SURVIVOR: NodeId = 2;
    let engines: Arc<dyn Engines> = Arc::new(MemoryEngines::new());
    let (mut cluster, random) = started(&engines).await;
    let mut written = Vec::new();
    for number in 0..5 {
        let name = format!("before-{number}");
        propose(cluster.replica(SURVIVOR), create_secret(&random, &name)).await;
        written.push(name);
    }
    cluster.replica(SURVIVOR).wait_identity().await;
    let last = cluster.replica(SURVIVOR).status().last_log;
    for id in 1..=3 {
        cluster.kill(id).await;
    }

    let directory = cluster.node_directory(SURVIVOR);
    let look = || survey(&directory, engines.as_ref(), SURVIVOR);
    let found = on_directory(look).await.unwrap();
    assert_eq!((found.node_id, found.epoch, found.members.len()), (SURVIVOR, 0, 3));
    assert!(found.members.iter().all(|known| known.voter && known.member.store_id.is_known()));
    assert_eq!(found.cluster_id, super::harness::cluster_id().to_string());
    assert!(found.last_index >= last && found.last_index >= found.committed_index, "{found:?}");
    let refused = begin_epoch(&directory, engines.as_ref(), SURVIVOR, found.last_index + 1);
    assert!(refused.unwrap_err().to_string().contains("look at it again"));
    let epoch = begin_epoch(&directory, engines.as_ref(), SURVIVOR, found.last_index).unwrap();
    assert_eq!(epoch, 1);

    cluster.restart(SURVIVOR).await;
    assert_eq!(cluster.settle_among(&[SURVIVOR]).await, SURVIVOR);
    propose(cluster.replica(SURVIVOR), create_secret(&random, "after")).await;
    written.push("after".to_owned());
    assert_eq!(names(cluster.replica(SURVIVOR), soon()).await.unwrap(), written);

    // The two that were given up are a majority of what was, and come back.
    cluster.restart(1).await;
    cluster.restart(3).await;
    let (one, three) = (cluster.replica(1).clone(), cluster.replica(3).clone());
    let until = soon();
    let first = tokio::time::timeout_at(until, async {
        tokio::select! {
            failure = one.fatal() => (1, failure),
            failure = three.fatal() => (3, failure),
        }
    });
    let (first, failure) = first.await.unwrap();
    assert_left_out(&failure);
    drop((one, three));
    // As its process would end. The other one then looks for a leader.
    cluster.kill(first).await;
    let second = 4 - first;
    let failure = tokio::time::timeout_at(soon(), cluster.replica(second).fatal()).await.unwrap();
    assert_left_out(&failure);
    cluster.kill(second).await;

    let replica = cluster.replica(SURVIVOR).clone();
    assert_eq!(names(&replica, soon()).await.unwrap(), written, "something came back with them");
    let used = cluster.members[&1].clone();
    let used = replica.add_member(1, used, None, soon()).await.unwrap_err();
    assert!(matches!(used, ChangeError::Refused(ChangeRefusal::IdUsed(1))), "{used}");
    let four = cluster.start_fresh(4).await;
    replica.add_member(4, four, None, soon()).await.unwrap();
    replica.promote_member(4, None, soon()).await.unwrap();
    assert_eq!(names(cluster.replica(4), soon()).await.unwrap(), written);
    assert_eq!(cluster.replica(4).status().cluster_epoch, 1);
    // The new one keeps the epoch through its own restart, before anybody has told it.
    cluster.kill(4).await;
    cluster.restart(4).await;
    assert_eq!(cluster.replica(4).status().cluster_epoch, 1);
    cluster.settle().await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_survivor_is_refused() {
    let engines: Arc<dyn Engines> = Arc::new(MemoryEngines::new());
    let (mut cluster, _random) = started(&engines).await;
    let directory = cluster.node_directory(1);
    let running = survey(&directory, engines.as_ref(), 1).unwrap_err();
    assert!(running.to_string().contains("in use by another process"), "{running}");
    cluster.kill(1).await;
    let other = on_directory(|| survey(&directory, engines.as_ref(), 7)).await.unwrap_err();
    assert!(other.to_string().contains("belongs to node 1, not to node 7"), "{other}");
    let nowhere = cluster.node_directory(9);
    let nothing = survey(&nowhere, engines.as_ref(), 9).unwrap_err();
    assert!(nothing.to_string().contains("nothing to go on from"), "{nothing}");
    assert!(!nowhere.exists(), "a directory was made");
    cluster.end().await;
}
