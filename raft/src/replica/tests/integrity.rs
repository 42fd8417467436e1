//! Damage: a state that is not that of the others, and files that are not what was written. The
//! node stops, says why, and does not start again; the others go on.

use super::*;
use crate::state::{Space, Write};
use crate::store::{Engines, survey};

fn compared(config: &mut ReplicaConfig) {
    config.integrity.state_check_interval = Some(Duration::from_secs(1));
}

fn scrubbed(config: &mut ReplicaConfig) {
    config.integrity.scrub_interval = Some(Duration::from_millis(50));
}

async fn started(
    engines: &Arc<dyn Engines>,
    size: NodeId,
    configure: fn(&mut ReplicaConfig),
) -> (Cluster, TestRandom) {
    let mut cluster = Cluster::blank_on(Arc::clone(engines), size, configure).await;
    cluster.initialize().await;
    let random = TestRandom::new(99);
    operation(&propose(cluster.replica(1), init_cluster(&random)).await);
    (cluster, random)
}

/// Waits until a comparison behind this entry has found this node's state to be that of most.
async fn until_agreed(replica: &Replica, behind: u64) {
    let until = soon();
    while replica.integrity().agreed_index <= behind {
        assert!(Instant::now() < until, "{:?}", replica.integrity());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn equal_states_agree_again_and_again() {
    let engines: Arc<dyn Engines> = Arc::new(RocksEngines::new());
    let (mut cluster, random) = started(&engines, 3, compared).await;
    let leader = cluster.settle().await;
    for round in 0..2 {
        let name = format!("round {round}");
        let applied = propose(cluster.replica(leader), create_secret(&random, &name)).await;
        let index = applied.index;
        for id in 1..=3 {
            until_agreed(cluster.replica(id), index).await;
        }
    }
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_that_differs_stops_its_node_alone_and_for_good() {
    let engines: Arc<dyn Engines> = Arc::new(MemoryEngines::new());
    let (mut cluster, random) = started(&engines, 3, compared).await;
    let leader = cluster.settle().await;
    let wrong = cluster.other_than(leader);
    cluster.kill(wrong).await;
    let state = engines.open_state(&cluster.node_directory(wrong).join("state/1")).unwrap();
    // A row that no entry has written.
    let row = Write { space: Space::Records, key: b"ghost".to_vec(), value: Some(vec![1]) };
    state.commit(&[row]).unwrap();
    state.flush().unwrap();
    drop(state);
    cluster.restart(wrong).await;

    let failure = tokio::time::timeout_at(soon(), cluster.replica(wrong).fatal()).await.unwrap();
    assert_eq!(failure.exit_code(), ExitCode::StateDiverged, "{failure}");
    cluster.kill(wrong).await;
    let refused = loop {
        match survey(&cluster.node_directory(wrong), engines.as_ref(), wrong) {
            Err(held) if held.to_string().contains("in use") => tokio::task::yield_now().await,
            found => break found.unwrap_err(),
        }
    };
    assert_eq!(refused.failure, StorageFailure::Diverged, "it would start again: {refused}");

    let index = propose(cluster.replica(leader), create_secret(&random, "on")).await.index;
    for id in (1..=3).filter(|id| *id != wrong) {
        until_agreed(cluster.replica(id), index).await;
        assert!(cluster.replica(id).0.faults.current().is_none(), "node {id} stops, too");
    }
    let member = cluster.start_fresh(4).await;
    let replica = cluster.replica(leader).clone();
    replica.replace_member(wrong, 4, member, None, soon()).await.unwrap();
    assert_eq!(names(cluster.replica(4), soon()).await.unwrap(), ["on"]);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_file_stops_its_node_for_good() {
    let memory = MemoryEngines::new();
    let engines: Arc<dyn Engines> = Arc::new(memory.clone());
    let (cluster, _random) = started(&engines, 1, scrubbed).await;
    let until = soon();
    while cluster.replica(1).integrity().scrubbed_at_ms == 0 {
        assert!(Instant::now() < until, "nothing was read");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    memory.fail_next(MemoryFault::StateScrub(StorageFailure::Corrupt));
    let failure = tokio::time::timeout_at(soon(), cluster.replica(1).fatal()).await.unwrap();
    assert_eq!(failure.exit_code(), ExitCode::CorruptLog, "{failure}");
    assert!(cluster.node_directory(1).join("DAMAGED").exists());
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whole_files_are_read_while_they_are_written() {
    let engines: Arc<dyn Engines> = Arc::new(RocksEngines::new());
    let (cluster, random) = started(&engines, 1, scrubbed).await;
    let replica = cluster.replica(1);
    for round in 0..3_u64 {
        for number in 0..20 {
            propose(replica, create_secret(&random, &format!("secret {round} {number}"))).await;
        }
        // So that all three of log, state and snapshot have files.
        replica.take_snapshot(false, soon()).await.unwrap();
        let before = replica.integrity().scrubbed_bytes;
        let until = soon();
        while replica.integrity().scrubbed_bytes <= before {
            assert!(Instant::now() < until, "{:?}", replica.integrity());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    assert!(replica.0.faults.current().is_none());
    cluster.end().await;
}
