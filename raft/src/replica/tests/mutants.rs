//! The seeded bugs of the replica bite: each test runs healthy and as the mutant
//! (`crate::trial`).

use lockbox_core::Mutant;

use super::*;
use crate::trial::Trial;

fn soon_enough() -> Instant {
    Instant::now() + Duration::from_millis(1500)
}

/// A cluster in which one node was cut off and the others wrote "after"; what that node reads.
async fn reads_behind_a_cut(of_leader: bool) -> Result<Vec<String>, ReadError> {
    let (mut cluster, random) = initialised(3, unchanged).await;
    let leader = cluster.settle().await;
    let cut_off = if of_leader { leader } else { cluster.other_than(leader) };
    let before = propose(cluster.replica(leader), create_secret(&random, "before")).await;
    cluster.replica(cut_off).wait_applied(before.index, soon()).await.unwrap();
    assert_eq!(names(cluster.replica(cut_off), soon()).await.unwrap(), ["before"]);
    let rest: Vec<NodeId> = (1..=3).filter(|id| *id != cut_off).collect();
    cluster.wires.isolate(cut_off, rest.clone());
    let new = cluster.settle_among(&rest).await;
    propose(cluster.replica(new), create_secret(&random, "after")).await;
    let read = names(cluster.replica(cut_off), soon_enough()).await;
    cluster.end().await;
    read
}

fn is_stale(read: Result<Vec<String>, ReadError>) -> bool {
    read.is_ok_and(|names| names == ["before"])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn follower_reads_locally() {
    let trial = Trial::of(Mutant::FollowerReadsLocally);
    trial.end(is_stale(reads_behind_a_cut(false).await));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leader_skips_read_index() {
    let trial = Trial::of(Mutant::LeaderSkipsReadIndex);
    trial.end(is_stale(reads_behind_a_cut(true).await));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn read_ignores_transfer() {
    let trial = Trial::of(Mutant::ReadIgnoresTransfer);
    let (mut cluster, random) = initialised(3, unchanged).await;
    let old = cluster.settle().await;
    let before = propose(cluster.replica(old), create_secret(&random, "before")).await;
    let new = cluster.other_than(old);
    cluster.replica(new).wait_applied(before.index, soon()).await.unwrap();
    assert_eq!(names(cluster.replica(old), soon()).await.unwrap(), ["before"]);
    cluster.replica(old).0.raft.trigger().transfer_leader(new).await.unwrap();
    while cluster.settle().await != new {
        tokio::task::yield_now().await;
    }
    cluster.wires.isolate(old, (1..=3).filter(|id| *id != old));
    propose(cluster.replica(new), create_secret(&random, "after")).await;
    let read = names(cluster.replica(old), soon_enough()).await;
    cluster.end().await;
    trial.end(is_stale(read));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stale_read_point() {
    let trial = Trial::of(Mutant::StaleReadPoint);
    let (mut cluster, random) = initialised(3, unchanged).await;
    let leader = cluster.settle().await;
    let written = propose(cluster.replica(leader), create_secret(&random, "one")).await;
    let point = cluster.replica(leader).0.read_points.give(soon()).await.unwrap();
    cluster.end().await;
    trial.end(point.index < written.index);
}

/// A leader that is cut off is given a proposal; what it says, and whether the others, who have
/// elected another one, know of it.
async fn proposed_behind_a_cut() -> (Result<Applied, ProposeError>, bool) {
    let (mut cluster, random) = initialised(3, unchanged).await;
    let old = cluster.settle().await;
    let rest: Vec<NodeId> = (1..=3).filter(|id| *id != old).collect();
    // A mutant may have said so too early.
    cluster.replica(old).wait_identity().await;
    cluster.wires.isolate(old, rest.clone());
    let proposal = create_secret(&random, "lost");
    let answer = cluster.replica(old).propose(proposal, soon_enough()).await;
    let new = cluster.settle_among(&rest).await;
    let known = names(cluster.replica(new), soon()).await.unwrap();
    cluster.end().await;
    (answer, known == ["lost"])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ack_before_commit() {
    let trial = Trial::of(Mutant::AckBeforeCommit);
    let (answer, known) = proposed_behind_a_cut().await;
    trial.end(answer.is_ok() && !known);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn timeout_not_proposed() {
    let trial = Trial::of(Mutant::TimeoutNotProposed);
    let (answer, _) = proposed_behind_a_cut().await;
    trial.end(answer.is_err_and(|error| error.outcome() == ProposalOutcome::NotProposed));
}
