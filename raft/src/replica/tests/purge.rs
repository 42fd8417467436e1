//! What the log keeps for a peer that is on its way back by a snapshot, and for how long.

use std::sync::Arc;

use lockbox_core::NodeId;
use tokio::time::Instant;

use super::commands::create_secret;
use super::harness::{Cluster, TestRandom, soon};
use super::{initialised, names, propose};
use crate::replica::ReplicaConfig;

/// Enough for several snapshots with [`often`].
const MANY: u64 = 60;

fn often(config: &mut ReplicaConfig) {
    config.snapshots.logs_since_last = 10;
    config.snapshots.logs_kept = 2;
    config.snapshots.purge_batch = 4;
}

/// A cluster whose leader has purged what a dead follower lacks.
struct Behind {
    cluster: Cluster,
    random: TestRandom,
    leader: NodeId,
    dead: NodeId,
    written: u64,
}

impl Behind {
    async fn new(configure: fn(&mut ReplicaConfig)) -> Self {
        let (mut cluster, random) = initialised(3, configure).await;
        let leader = cluster.settle().await;
        let dead = cluster.other_than(leader);
        cluster.kill(dead).await;
        let last_seen = cluster.replica(leader).status().last_log;
        let mut behind = Self { cluster, random, leader, dead, written: 0 };
        behind.write_until(|behind| behind.purged() > last_seen).await;
        behind
    }

    fn purged(&self) -> u64 {
        self.cluster.replica(self.leader).status().purged
    }

    fn snapshot(&self) -> u64 {
        self.cluster.replica(self.leader).status().snapshot
    }

    async fn write_until(&mut self, done: impl Fn(&Self) -> bool) {
        let until = soon();
        while !done(self) {
            assert!(Instant::now() < until, "it did not come to that");
            let name = format!("secret-{}", self.written);
            propose(self.cluster.replica(self.leader), create_secret(&self.random, &name)).await;
            self.written += 1;
        }
    }

    /// Waits until the leader has purged as much, with nothing else being written.
    async fn purged_upto(&self, index: u64) {
        let until = soon();
        while self.purged() < index {
            let purged = self.purged();
            assert!(Instant::now() < until, "{purged} of {index} entries are purged");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }

    /// The snapshot that the leader is sending to the one that is back.
    async fn sent(&self) -> u64 {
        let until = soon();
        loop {
            let sends = Arc::clone(&self.cluster.replica(self.leader).0.purger.sends);
            if let Some(index) = sends.lowest(|_, sent| Some(sent.index)) {
                return index;
            }
            assert!(Instant::now() < until, "no snapshot is sent");
            tokio::task::yield_now().await;
        }
    }

    fn generation(&self) -> u64 {
        let text = self.cluster.state_generation(self.dead);
        let digits = |c: char| !c.is_ascii_digit();
        text.split(digits).find(|part| !part.is_empty()).unwrap().parse().unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_snapshot_is_followed_by_the_log_and_not_by_another_snapshot() {
    let mut behind = Behind::new(often).await;
    let generation = behind.generation();
    let sends = Arc::clone(&behind.cluster.replica(behind.leader).0.purger.sends);
    // The transfer takes as long as somebody else has the turn.
    let turn = sends.turn().await.unwrap();
    behind.cluster.restart(behind.dead).await;
    let sent = behind.sent().await;
    behind.write_until(|behind| behind.snapshot() > sent + MANY).await;
    // The turn of the purge comes more than once while the transfer waits.
    let replica = behind.cluster.replica(behind.leader).clone();
    let taken = replica.take_snapshot(true, soon()).await.unwrap();
    assert!(taken.index > sent + MANY);
    assert!(behind.purged() <= sent, "{} is gone, {sent} is sent", behind.purged());
    drop(turn);
    // Clients go on writing while it is installed and catches up.
    let dead = behind.dead;
    behind
        .write_until(|behind| {
            behind.cluster.replica(dead).status().applied > taken.index
                && behind.purged() > sent + MANY
        })
        .await;
    let stored = names(behind.cluster.replica(dead), soon()).await.unwrap();
    assert_eq!(stored.len() as u64, behind.written);
    assert_eq!(behind.generation(), generation + 1, "it was sent more than one snapshot");
    let told = behind.cluster.replica(dead).status().state_generation;
    assert_eq!(told, behind.generation(), "what a status says of it");
    behind.cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_operator_purges_goes_once_the_held_peer_is_back() {
    fn by_hand(config: &mut ReplicaConfig) {
        // Nothing goes that nobody asks for.
        config.snapshots.logs_kept = 1_000_000;
    }
    let (mut cluster, random) = initialised(3, by_hand).await;
    let leader = cluster.settle().await;
    let dead = cluster.other_than(leader);
    cluster.kill(dead).await;
    let mut behind = Behind { cluster, random, leader, dead, written: 0 };
    behind.write_until(|behind| behind.written == 20).await;
    let replica = behind.cluster.replica(leader).clone();
    let first = replica.take_snapshot(true, soon()).await.unwrap();
    behind.purged_upto(first.index).await;

    let turn = replica.0.purger.sends.turn().await.unwrap();
    behind.cluster.restart(dead).await;
    let sent = behind.sent().await;
    behind.write_until(|behind| behind.written == 40).await;
    let taken = replica.take_snapshot(true, soon()).await.unwrap();
    assert!(behind.purged() <= sent && sent < taken.index);
    drop(turn);
    behind.purged_upto(taken.index).await;
    behind.cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_kept_for_a_peer_that_died_while_it_was_sent_a_snapshot() {
    let mut behind = Behind::new(often).await;
    let sends = Arc::clone(&behind.cluster.replica(behind.leader).0.purger.sends);
    let turn = sends.turn().await.unwrap();
    behind.cluster.restart(behind.dead).await;
    let sent = behind.sent().await;
    behind.cluster.kill(behind.dead).await;
    drop(turn);
    behind.write_until(|behind| behind.purged() > sent + MANY).await;
    behind.cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_takes_too_long_does_not_make_the_log_grow_without_end() {
    fn little(config: &mut ReplicaConfig) {
        often(config);
        config.snapshots.logs_held_max = 20;
    }
    let mut behind = Behind::new(little).await;
    let sends = Arc::clone(&behind.cluster.replica(behind.leader).0.purger.sends);
    let turn = sends.turn().await.unwrap();
    behind.cluster.restart(behind.dead).await;
    let sent = behind.sent().await;
    behind.write_until(|behind| behind.purged() > sent).await;
    assert!(behind.snapshot() - sent > 20);
    drop(turn);
    let stored = names(behind.cluster.replica(behind.dead), soon()).await.unwrap();
    assert_eq!(stored.len() as u64, behind.written);
    behind.cluster.end().await;
}
