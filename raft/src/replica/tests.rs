//! Replicas as their callers see them: three of them over loopback gRPC, with wires that are cut,
//! nodes that die and clocks that jump.

mod backup;
mod churn;
pub(crate) mod commands;
mod disk_room;
mod eraser;
mod eraser_strays;
mod eraser_waits;
mod feature_level;
pub(crate) mod harness;
mod integrity;
mod membership;
mod membership_load;
mod metering;
#[cfg(feature = "mutants")]
mod mutants;
mod own_command;
mod purge;
mod purge_first;
mod quorum_loss;
mod reaper;
mod silent_leader;
mod time;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use lockbox_core::{ExitCode, NodeId};
use tokio::time::Instant;

use super::{
    Applied, NotProposedReason, ProposalOutcome, ProposeError, ReadError, Replica, ReplicaConfig,
    ReplicaFailure,
};
use crate::domain::command::Envelope;
use crate::domain::operation::{OperationRecord, OperationResult};
use crate::domain::outcome::Outcome;
use crate::domain::secret::SecretRecord;
use crate::error::StorageFailure;
use crate::state::tables;
use crate::store::{MemoryEngines, MemoryFault, RocksEngines};
use commands::{create_secret, folder_id, init_cluster};
use harness::{Cluster, TestRandom, soon};

const SECRETS_MAX: usize = 1000;

fn unchanged(_config: &mut ReplicaConfig) {}

async fn propose(replica: &Replica, envelope: Envelope) -> Applied {
    replica.propose(envelope, soon()).await.unwrap()
}

fn operation(applied: &Applied) -> &OperationRecord {
    match &applied.outcome {
        Outcome::Done(operation) => operation,
        other => panic!("not done: {other:?}"),
    }
}

/// The names of all secrets, by a linearizable read.
async fn names(replica: &Replica, deadline: Instant) -> Result<Vec<String>, ReadError> {
    let reading = replica
        .read(deadline, |view, _now| tables::secrets_page(view, &folder_id(), 0, SECRETS_MAX))
        .await?;
    let (secrets, _) = reading.value?;
    Ok(secrets.into_iter().map(|secret: SecretRecord| secret.name).collect())
}

/// A cluster with its record and one folder.
async fn initialised(size: NodeId, configure: fn(&mut ReplicaConfig)) -> (Cluster, TestRandom) {
    let cluster = Cluster::start(size, configure).await;
    let random = TestRandom::new(99);
    let applied = propose(cluster.replica(1), init_cluster(&random)).await;
    operation(&applied);
    (cluster, random)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_node_proposes_and_reads_what_was_acknowledged_before() {
    let (cluster, random) = initialised(3, unchanged).await;
    let mut expected = Vec::new();
    for round in 0..4 {
        for id in 1..=3 {
            let name = format!("secret-{round}-{id}");
            let applied = propose(cluster.replica(id), create_secret(&random, &name)).await;
            assert_eq!(operation(&applied).index, applied.index);
            expected.push(name);
            for reader in 1..=3 {
                assert_eq!(names(cluster.replica(reader), soon()).await.unwrap(), expected);
            }
        }
    }
    let status = cluster.replica(2).status();
    assert_eq!(status.cluster_id, harness::cluster_id().as_str());
    assert_eq!(status.members.len(), 3);
    assert!(status.applied >= 12);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_node_alone_is_a_cluster_and_comes_back() {
    let (mut cluster, random) = initialised(1, unchanged).await;
    propose(cluster.replica(1), create_secret(&random, "kept")).await;
    cluster.shut_down(1).await;
    cluster.restart(1).await;
    cluster.replica(1).wait_ready(soon()).await.unwrap();
    assert_eq!(names(cluster.replica(1), soon()).await.unwrap(), ["kept"]);
    assert_eq!(cluster.replica(1).status().cluster_id, harness::cluster_id().as_str());
    let again = cluster.replica(1).initialize(harness::cluster_id(), cluster.members.clone());
    assert_eq!(again.await, Err(super::InitializeError::AlreadyInitialised));
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_shuts_down_hands_over_without_an_election_timeout() {
    let (mut cluster, random) = initialised(3, unchanged).await;
    let leader = cluster.settle().await;
    propose(cluster.replica(leader), create_secret(&random, "before")).await;
    let observer = cluster.other_than(leader);
    let mut leadership = cluster.replica(observer).watch_leadership();
    let begun = Instant::now();
    cluster.shut_down(leader).await;
    while leadership.current().leader.is_none_or(|id| id == leader) {
        let changed = tokio::time::timeout_at(soon(), leadership.changed()).await;
        assert!(changed.is_ok(), "nobody took over");
    }
    // The shortest way without a hand-over is a lease (900 ms) and an election timeout (500 ms).
    assert!(begun.elapsed() < Duration::from_millis(1400), "{:?}", begun.elapsed());
    propose(cluster.replica(observer), create_secret(&random, "after")).await;
    assert_eq!(names(cluster.replica(observer), soon()).await.unwrap(), ["before", "after"]);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_dead_catches_up_by_a_snapshot_once_the_log_is_purged() {
    fn often(config: &mut ReplicaConfig) {
        config.snapshots.logs_since_last = 10;
        config.snapshots.logs_kept = 2;
        config.snapshots.purge_batch = 4;
    }
    // On real files: what is sent are checkpoints of RocksDB.
    let mut cluster = Cluster::blank_on(Arc::new(RocksEngines::new()), 3, often).await;
    cluster.initialize().await;
    let random = TestRandom::new(99);
    operation(&propose(cluster.replica(1), init_cluster(&random)).await);
    let leader = cluster.settle().await;
    let dead = cluster.other_than(leader);
    cluster.kill(dead).await;
    let generation = cluster.state_generation(dead);
    let last_seen = cluster.replica(leader).status().last_log;
    let mut expected = Vec::new();
    let until = soon();
    while cluster.replica(leader).status().purged <= last_seen {
        assert!(Instant::now() < until, "the log was not purged");
        let name = format!("secret-{}", expected.len());
        propose(cluster.replica(leader), create_secret(&random, &name)).await;
        expected.push(name);
    }
    cluster.restart(dead).await;
    assert_eq!(names(cluster.replica(dead), soon()).await.unwrap(), expected);
    // Only an installed snapshot begins another one; the status tells of it a moment later.
    assert_ne!(cluster.state_generation(dead), generation);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_id_takes_effect_once_whatever_node_proposes_it() {
    let (mut cluster, random) = initialised(3, unchanged).await;
    let leader = cluster.settle().await;
    let follower = cluster.other_than(leader);
    let envelope = create_secret(&random, "once");
    let first = propose(cluster.replica(leader), envelope.clone()).await;
    let second = propose(cluster.replica(follower), envelope).await;
    assert!(second.index > first.index);
    assert_eq!(operation(&second), operation(&first));
    assert_eq!(names(cluster.replica(follower), soon()).await.unwrap(), ["once"]);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deposed_leader_serves_no_stale_read_and_acknowledges_nothing() {
    let (mut cluster, random) = initialised(3, unchanged).await;
    let old = cluster.settle().await;
    propose(cluster.replica(old), create_secret(&random, "before")).await;
    let rest: Vec<NodeId> = (1..=3).filter(|id| *id != old).collect();
    cluster.wires.isolate(old, rest.clone());
    let new = cluster.settle_among(&rest).await;
    propose(cluster.replica(new), create_secret(&random, "after")).await;

    let brief = Instant::now() + Duration::from_millis(1500);
    let read = names(cluster.replica(old), brief);
    let lost = cluster.replica(old).propose(create_secret(&random, "lost"), brief);
    let (read, lost) = tokio::join!(read, lost);
    assert!(matches!(read, Err(ReadError::NoLeader | ReadError::Deadline)), "{read:?}");
    lost.unwrap_err();
    let (stale, _) = cluster
        .replica(old)
        .read_stale(|view, _now| tables::secrets_page(view, &folder_id(), 0, SECRETS_MAX))
        .unwrap()
        .value
        .unwrap();
    assert_eq!(stale.len(), 1, "the cut was real: the old leader never saw the second secret");

    cluster.wires.heal();
    assert_eq!(names(cluster.replica(old), soon()).await.unwrap(), ["before", "after"]);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stamps_never_go_back_when_the_leaders_clock_does() {
    let (mut cluster, random) = initialised(3, unchanged).await;
    let leader = cluster.settle().await;
    let created = |applied: &Applied| match &operation(applied).result {
        OperationResult::Secret(snapshot) => snapshot.secret.created_at,
        other => panic!("not a secret: {other:?}"),
    };
    let propose_named = |name| propose(cluster.replica(leader), create_secret(&random, name));
    let first = created(&propose_named("first").await);
    cluster.nodes[&leader].clock.shift(-3_600_000);
    let second = created(&propose_named("second").await);
    assert!(second >= first);
    assert!(second.since(first) < Duration::from_secs(60));
    // An hour fast: held to the others' clocks and half a second.
    cluster.nodes[&leader].clock.shift(2 * 3_600_000);
    let third = created(&propose_named("third").await);
    assert!(third >= second);
    assert!(third.since(second) < Duration::from_secs(60), "{third} after {second}");
    assert!(cluster.replica(leader).status().clock_skew_ms > 3_000_000);
    let now = cluster.replica(leader).read(soon(), |_, now| now).await.unwrap().value;
    assert!(now >= third && now.since(third) < Duration::from_secs(60));
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_quorum_calls_end_at_their_deadline_and_say_what_they_know() {
    let cluster = Cluster::blank(3, unchanged).await;
    let random = TestRandom::new(7);
    let brief = || Instant::now() + Duration::from_millis(300);
    let refused = cluster.replica(1).propose(init_cluster(&random), brief()).await.unwrap_err();
    assert!(matches!(refused, ProposeError::NotProposed(NotProposedReason::NoLeader)));
    assert_eq!(refused.outcome(), ProposalOutcome::NotProposed);
    let unread = names(cluster.replica(2), brief()).await;
    assert!(matches!(unread, Err(ReadError::NoLeader)), "{unread:?}");
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_is_too_late_hears_of_its_deadline_and_not_of_a_leader() {
    let (mut cluster, random) = initialised(3, unchanged).await;
    let leader = cluster.settle().await;
    for node in [leader, cluster.other_than(leader)] {
        let late = cluster.replica(node).propose(create_secret(&random, "late"), Instant::now());
        let refused = late.await.unwrap_err();
        let expected = NotProposedReason::Deadline;
        assert!(
            matches!(&refused, ProposeError::NotProposed(why) if *why == expected),
            "{refused}"
        );
    }
    assert!(names(cluster.replica(leader), soon()).await.unwrap().is_empty());
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_refuses_at_once_and_a_draining_node_takes_nothing() {
    fn narrow(config: &mut ReplicaConfig) {
        config.limits.proposals_in_flight_max = 1;
    }
    let cluster = Cluster::blank(1, narrow).await;
    let random = TestRandom::new(7);
    let replica = cluster.replica(1).clone();
    let waiting = {
        let (replica, envelope) = (replica.clone(), init_cluster(&random));
        tokio::task::spawn(async move { replica.propose(envelope, soon()).await })
    };
    let until = soon();
    while replica.0.proposer.in_flight.available_permits() > 0 {
        assert!(Instant::now() < until, "the proposal was not taken");
        tokio::task::yield_now().await;
    }
    let full = replica.propose(init_cluster(&random), soon()).await.unwrap_err();
    assert!(matches!(full, ProposeError::NotProposed(NotProposedReason::QueueFull)));
    // The one that waits is served as soon as there is a leader.
    replica.initialize(harness::cluster_id(), cluster.members.clone()).await.unwrap();
    operation(&waiting.await.unwrap().unwrap());
    replica.shutdown().await;
    let late = replica.propose(init_cluster(&random), soon()).await.unwrap_err();
    assert!(matches!(late, ProposeError::NotProposed(NotProposedReason::Draining)));
    assert!(matches!(names(&replica, soon()).await, Err(ReadError::Draining)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_reads_share_few_rounds() {
    let (mut cluster, random) = initialised(3, unchanged).await;
    let leader = cluster.settle().await;
    let follower = cluster.other_than(leader);
    propose(cluster.replica(leader), create_secret(&random, "one")).await;
    let reads = (0..500).map(|_| names(cluster.replica(follower), soon()));
    let before = cluster.replica(follower).status();
    for read in futures::future::join_all(reads).await {
        assert_eq!(read.unwrap(), ["one"]);
    }
    let after = cluster.replica(follower).status();
    assert!(after.reads_confirmed - before.reads_confirmed >= 500);
    let rounds = after.read_rounds - before.read_rounds;
    assert!(rounds <= 50, "{rounds} rounds for 500 reads");
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_when_the_leader_dies_under_load() {
    const WRITERS: usize = 8;
    const WRITES: usize = 40;
    let (mut cluster, random) = initialised(3, unchanged).await;
    let leader = cluster.settle().await;
    let survivors: Vec<NodeId> = (1..=3).filter(|id| *id != leader).collect();
    let random = Arc::new(random);
    let mut writers = tokio::task::JoinSet::new();
    let (progress, mut seen) = tokio::sync::watch::channel(0_usize);
    for writer in 0..WRITERS {
        let replica = cluster.replica(survivors[writer % survivors.len()]).clone();
        let (random, progress) = (Arc::clone(&random), progress.clone());
        writers.spawn(async move {
            let mut acknowledged = Vec::new();
            for write in 0..WRITES {
                let name = format!("{writer}-{write}");
                match replica.propose(create_secret(&random, &name), soon()).await {
                    Ok(applied) => {
                        operation(&applied);
                        acknowledged.push(name);
                    }
                    Err(error) => assert_eq!(error.outcome(), ProposalOutcome::Unknown, "{error}"),
                }
                progress.send_modify(|done| *done += 1);
            }
            acknowledged
        });
    }
    seen.wait_for(|done| *done >= WRITERS * WRITES / 4).await.unwrap();
    cluster.kill(leader).await;
    let acknowledged: Vec<String> = writers.join_all().await.into_iter().flatten().collect();
    assert!(acknowledged.len() > WRITERS * WRITES / 2, "{} survived", acknowledged.len());
    cluster.restart(leader).await;
    for id in 1..=3 {
        let stored = names(cluster.replica(id), soon()).await.unwrap();
        let once: BTreeSet<&String> = stored.iter().collect();
        assert_eq!(once.len(), stored.len(), "a proposal took effect twice");
        for name in &acknowledged {
            assert!(once.contains(name), "{name} was acknowledged and is gone");
        }
    }
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_sync_ends_the_replica_with_its_exit_code() {
    let engines = MemoryEngines::new();
    let mut cluster = Cluster::blank_on(Arc::new(engines.clone()), 1, unchanged).await;
    cluster.initialize().await;
    let random = TestRandom::new(3);
    operation(&propose(cluster.replica(1), init_cluster(&random)).await);
    engines.fail_next(MemoryFault::LogSync(StorageFailure::DiskFull));
    let lost = cluster.replica(1).propose(create_secret(&random, "lost"), soon()).await;
    let lost = lost.unwrap_err();
    assert_eq!(lost.outcome(), ProposalOutcome::Unknown, "{lost}");
    let failure = tokio::time::timeout_at(soon(), cluster.replica(1).fatal()).await.unwrap();
    assert!(matches!(failure, ReplicaFailure::Storage(_)), "{failure}");
    assert_eq!(failure.exit_code(), ExitCode::DiskFull);
    let unread = names(cluster.replica(1), soon()).await;
    assert!(matches!(unread, Err(ReadError::Storage(_))), "{unread:?}");
}
