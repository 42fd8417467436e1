//! A node that was away serves no payload before it has purged, and no node waits for nothing.

use std::time::Duration;

use tokio::time::Instant;

use super::eraser::{LATER, Stored, on_disk, wait_erased};
use super::harness::{Cluster, soon};
use crate::replica::{PayloadStanding, Replica};

/// What a node says of payloads that it has read, as soon as it can say it: nobody knows when a
/// snapshot was installed during the read.
async fn standing(replica: &Replica) -> PayloadStanding {
    let until = soon();
    loop {
        replica.read(soon(), |_view, _now| ()).await.unwrap();
        let standing = replica.payload_standing();
        if standing != PayloadStanding::Unknown {
            return standing;
        }
        assert!(Instant::now() < until, "{:?}", replica.status());
    }
}

/// Reads at a node that was away until it serves; the payload is out of its files by then.
async fn serves_when_clean(cluster: &Cluster, away: u64, gone: &Stored) {
    let (replica, directory) = (cluster.replica(away), cluster.node_directory(away));
    let until = soon();
    while standing(replica).await != PayloadStanding::Serves {
        assert!(Instant::now() < until, "{:?}, {:?}", replica.erasure(), replica.status());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(gone.holders(&directory), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_destroyed_while_a_node_was_away_is_purged_before_it_serves_payloads() {
    let (mut cluster, random, leader) = on_disk(3).await;
    let replica = cluster.replica(leader).clone();
    for id in 1..=3 {
        assert_eq!(
            standing(cluster.replica(id)).await,
            PayloadStanding::Serves,
            "nothing to purge"
        );
    }
    let gone = Stored::create(&replica, &random).await;
    let away = cluster.other_than(leader);
    cluster.replica(away).wait_applied(replica.status().applied, soon()).await.unwrap();
    cluster.kill(away).await;
    let destroyed = gone.destroy(&replica, &random).await;
    for id in (1..=3).filter(|id| *id != away) {
        cluster.replica(id).wait_applied(destroyed, soon()).await.unwrap();
        let standing = standing(cluster.replica(id)).await;
        assert_eq!(standing, PayloadStanding::Serves, "node {id} was there: it has its time");
    }
    // By the log: nobody has purged yet, and nothing is late.
    cluster.restart(away).await;
    assert_eq!(standing(cluster.replica(away)).await, PayloadStanding::PurgesFirst);
    serves_when_clean(&cluster, away, &gone).await;
    assert!(!gone.holders(&cluster.node_directory(leader)).is_empty(), "it waits for more to come");

    // By a snapshot; it is late, and may be purged before anybody asks.
    let second = Stored::create(&replica, &random).await;
    cluster.replica(away).wait_applied(replica.status().applied, soon()).await.unwrap();
    cluster.kill(away).await;
    second.destroy(&replica, &random).await;
    cluster.pass(LATER);
    for id in (1..=3).filter(|id| *id != away) {
        wait_erased(cluster.replica(id)).await;
    }
    cluster.restart(away).await;
    serves_when_clean(&cluster, away, &second).await;
    assert!(cluster.replica(away).status().state_generation > 1, "it came back by the log");
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_node_knew_before_its_start_goes_in_its_own_time_unless_it_is_late() {
    let (mut cluster, random, leader) = on_disk(1).await;
    let gone = Stored::create(&cluster.replica(leader).clone(), &random).await;
    gone.destroy(&cluster.replica(leader).clone(), &random).await;
    cluster.shut_down(1).await;
    cluster.restart(1).await;
    assert_eq!(standing(cluster.replica(1)).await, PayloadStanding::Serves, "it missed nothing");
    assert_eq!(cluster.replica(1).erasure().pending, 1);
    assert!(!gone.holders(&cluster.node_directory(1)).is_empty());

    cluster.shut_down(1).await;
    cluster.pass(LATER);
    cluster.restart(1).await;
    serves_when_clean(&cluster, 1, &gone).await;
    cluster.end().await;
}

/// Whoever has passed a barrier was there when it was destroyed, even if nobody has asked yet.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_destroyed_on_a_node_that_is_back_goes_in_its_own_time() {
    let (mut cluster, random, leader) = on_disk(1).await;
    let gone = Stored::create(&cluster.replica(leader).clone(), &random).await;
    for is_new in [false, true] {
        cluster.shut_down(1).await;
        cluster.restart(1).await;
        let replica = cluster.replica(1).clone();
        replica.read(soon(), |_view, _now| ()).await.unwrap();
        if is_new {
            Stored::create(&replica, &random).await.delete(&replica, &random).await;
        } else {
            gone.delete(&replica, &random).await;
        }
        assert!(replica.erasure().pending > 0, "nothing was destroyed");
        let standing = replica.payload_standing();
        assert_eq!(standing, PayloadStanding::Serves, "it has missed nothing");
    }
    cluster.end().await;
}
