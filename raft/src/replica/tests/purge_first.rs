//! A node that was away serves no payload before it has purged, and no node waits for nothing.

use std::time::Duration;

use lockbox_core::NodeId;
use tokio::time::Instant;

use super::eraser::{LATER, Stored, on_disk, wait_erased};
use super::eraser_waits::send_snapshot;
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

/// Until its next life takes all that it has for known: it serves, and has written that down.
async fn wait_known(cluster: &Cluster, id: NodeId) {
    assert_eq!(standing(cluster.replica(id)).await, PayloadStanding::Serves);
    let (record, until) = (cluster.node_directory(id).join("ERASED"), soon());
    let serves = || std::fs::read_to_string(&record).is_ok_and(|it| it.contains("\"known\": null"));
    while !serves() {
        assert!(Instant::now() < until, "{:?}", cluster.replica(id).erasure());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
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
    // By the log: nobody has purged yet, and nothing is late. Whoever is sent a snapshot holds the
    // purge up, and a restart makes nothing of it known, whether or not anybody had asked.
    for asks in [false, true, true] {
        cluster.restart(away).await;
        cluster.replica(away).wait_applied(destroyed, soon()).await.unwrap();
        let held = send_snapshot(cluster.replica(away)).await;
        if asks {
            assert_eq!(standing(cluster.replica(away)).await, PayloadStanding::PurgesFirst);
        }
        cluster.shut_down(away).await;
        drop(held);
    }
    cluster.restart(away).await;
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
    wait_known(&cluster, 1).await;
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
        wait_known(&cluster, 1).await;
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

/// What is late goes before anybody has passed a barrier. That nobody could ask yet whether the node
/// serves, and that a file which is not the node's keeps the record of it back, changes nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_purged_before_anybody_can_ask_is_not_waited_for() {
    let (mut cluster, random, leader) = on_disk(3).await;
    let replica = cluster.replica(leader).clone();
    let gone = Stored::create(&replica, &random).await;
    let destroyed = gone.destroy(&replica, &random).await;
    drop(replica);
    let early = cluster.other_than(leader);
    cluster.replica(early).wait_applied(destroyed, soon()).await.unwrap();
    for id in 1..=3 {
        cluster.shut_down(id).await;
    }
    let directory = cluster.node_directory(early);
    let copy = "raft/copy.sst";
    std::fs::write(directory.join(copy), &gone.ciphertext).unwrap();
    cluster.pass(LATER);

    for id in 1..=3 {
        cluster.restart(id).await;
    }
    let until = soon();
    let mut clean_ups = cluster.replica(early).clean_ups();
    tokio::time::timeout_at(until, clean_ups.wait_for(|times| *times > 0)).await.unwrap().unwrap();
    assert_eq!(gone.holders(&directory), [copy]);
    assert_eq!(cluster.replica(early).payload_standing(), PayloadStanding::Unknown);
    assert_eq!(standing(cluster.replica(early)).await, PayloadStanding::Serves, "it has purged");
    assert_eq!(cluster.replica(early).erasure().pending, 1, "the copy is still there");
    cluster.end().await;
}
