//! What is billed of the service itself survives the nodes: their restarts, a change of the leader,
//! and a way back by a snapshot.

use std::sync::Arc;
use std::time::Duration;

use lockbox_core::NodeId;
use tokio::time::Instant;

use super::commands::{
    cloud_id, create_secret, create_secret_with_version, init_cluster, report_reads,
};
use super::harness::{Cluster, TestRandom, soon};
use super::{operation, propose};
use crate::domain::metering::{HOUR_MS, hour_of};
use crate::domain::outcome::Outcome;
use crate::replica::ReplicaConfig;
use crate::state::tables::{self, Used};
use crate::store::RocksEngines;

fn often(config: &mut ReplicaConfig) {
    config.snapshots.logs_since_last = 10;
    config.snapshots.logs_kept = 2;
    config.snapshots.purge_batch = 4;
}

/// What the cloud used in the hours before this one, as a node tells.
async fn used_before(cluster: &Cluster, node: NodeId, hour: u64) -> Used {
    let read = cluster.replica(node).read(soon(), |view, now| {
        tables::usage_between(view, &cloud_id(), (0, hour), now).unwrap()
    });
    read.await.unwrap().value
}

async fn report(cluster: &Cluster, node: NodeId, random: &TestRandom, sequence: u64, reads: u64) {
    let applied = propose(cluster.replica(node), report_reads(random, sequence, reads)).await;
    assert_eq!(applied.outcome, Outcome::Nothing);
}

/// Waits until the leader stamps this hour: it has to hear of it from the others first.
async fn wait_hour(cluster: &Cluster, leader: NodeId, hour: u64) {
    let until = soon();
    loop {
        let replica = cluster.replica(leader);
        let _stamp = replica.0.proposer.propose_time(soon()).await;
        let read = replica.read(soon(), |view, _now| tables::log_time(view).unwrap());
        if hour_of(read.await.unwrap().value) >= hour {
            return;
        }
        assert!(Instant::now() < until, "the hour did not come");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Writes until the log no longer holds what a dead node lacks.
async fn purge_past(cluster: &Cluster, leader: NodeId, random: &TestRandom, index: u64) {
    let until = soon();
    for number in 0.. {
        if cluster.replica(leader).status().purged > index {
            return;
        }
        assert!(Instant::now() < until, "the log was not purged");
        let name = format!("secret-{number}");
        propose(cluster.replica(leader), create_secret(random, &name)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn meters_go_on_over_restarts_changes_of_the_leader_and_snapshots() {
    let mut cluster = Cluster::blank_on(Arc::new(RocksEngines::new()), 3, often).await;
    cluster.initialize().await;
    let random = TestRandom::new(99);
    operation(&propose(cluster.replica(1), init_cluster(&random)).await);
    let leader = cluster.settle().await;
    let created = propose(cluster.replica(leader), create_secret_with_version(&random).0).await;
    let first_hour = hour_of(operation(&created).created_at);
    report(&cluster, leader, &random, 1, 1_000).await;
    cluster.pass(Duration::from_millis(3 * HOUR_MS));
    wait_hour(&cluster, leader, first_hour + 3).await;
    report(&cluster, leader, &random, 2, 20).await;
    // Hours that have ended: what is told of them does not change any more.
    let hours = [first_hour + 1, first_hour + 2, first_hour + 3];
    let mut told = Vec::new();
    for hour in hours {
        told.push(used_before(&cluster, leader, hour).await);
    }
    assert_eq!(told.iter().map(|used| used.reads).collect::<Vec<_>>(), [1_000; 3]);
    assert_eq!(told[1].version_ms - told[0].version_ms, HOUR_MS, "one version in an hour");
    assert_eq!(told[2].version_ms - told[1].version_ms, HOUR_MS);

    // A node that comes back by a snapshot, and leads then or not.
    let dead = cluster.other_than(leader);
    cluster.kill(dead).await;
    let (generation, last) =
        (cluster.state_generation(dead), cluster.replica(leader).status().last_log);
    purge_past(&cluster, leader, &random, last).await;
    cluster.restart(dead).await;
    for (hour, told) in hours.into_iter().zip(&told) {
        assert_eq!(used_before(&cluster, dead, hour).await, *told);
    }
    assert_ne!(cluster.state_generation(dead), generation, "no snapshot was installed");

    // The leader is gone; who told it does not know whether it counted, and tells the next one.
    cluster.kill(leader).await;
    let next = cluster.settle().await;
    report(&cluster, next, &random, 2, 20).await;
    report(&cluster, next, &random, 3, 5).await;
    cluster.restart(leader).await;
    for node in 1..=3 {
        for (hour, told) in hours.into_iter().zip(&told) {
            assert_eq!(used_before(&cluster, node, hour).await, *told, "on node {node}");
        }
        assert_eq!(used_before(&cluster, node, first_hour + 9).await.reads, 1_025);
    }

    // All of them end and begin again.
    for node in 1..=3 {
        cluster.kill(node).await;
    }
    for node in 1..=3 {
        cluster.restart(node).await;
    }
    let leader = cluster.settle().await;
    report(&cluster, leader, &random, 3, 5).await;
    for (hour, told) in hours.into_iter().zip(&told) {
        assert_eq!(used_before(&cluster, leader, hour).await, *told);
    }
    assert_eq!(used_before(&cluster, leader, first_hour + 9).await.reads, 1_025);
    cluster.end().await;
}
