//! Destructions happen on log time: after a change of the leader too, and not because one node's
//! clock is fast.

use std::sync::Arc;
use std::time::Duration;

use lockbox_core::{SecretId, VersionId};
use tokio::time::Instant;

use super::commands::{create_secret_with_version, schedule_destruction};
use super::harness::soon;
use super::{initialised, operation, propose, unchanged};
use crate::domain::version::VersionStatus;
use crate::replica::Replica;
use crate::replica::reaper::Reaper;
use crate::state::tables;

const HOUR: Duration = Duration::from_secs(3600);
const HOUR_MS: i64 = 3_600_000;

/// The version's status, and whether its payload is there.
async fn look(replica: &Replica, secret: &SecretId, version: &VersionId) -> (VersionStatus, bool) {
    let reading = replica.read(soon(), |view, _now| {
        let status = tables::version(view, secret, version).unwrap().unwrap().status;
        (status, tables::payload(view, secret, version).unwrap().is_some())
    });
    reading.await.unwrap().value
}

fn reaper(replica: &Replica) -> Reaper {
    let inner = &replica.0;
    Reaper {
        proposer: Arc::clone(&inner.proposer),
        leadership: inner.leadership.clone(),
        clock: Arc::clone(&inner.clock),
        state: inner.state.clone(),
        faults: inner.faults.clone(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_leader_destroys_what_the_last_one_was_asked_to() {
    let (mut cluster, random) = initialised(3, unchanged).await;
    let leader = cluster.settle().await;
    let (create, secret, version) = create_secret_with_version(&random);
    operation(&propose(cluster.replica(leader), create).await);
    let schedule = schedule_destruction(&random, (&secret, &version), HOUR);
    operation(&propose(cluster.replica(leader), schedule).await);

    // A leader with a fast clock stamps no such time.
    cluster.nodes[&leader].clock.shift(2 * HOUR_MS);
    let stamp = cluster.replica(leader).0.proposer.propose_time(soon()).await;
    assert!(matches!(stamp, crate::replica::attempt::Attempt::Applied(_)));
    assert!(!reaper(cluster.replica(leader)).destroy_due().await);
    let scheduled = (VersionStatus::ScheduledForDestruction, true);
    assert_eq!(look(cluster.replica(leader), &secret, &version).await, scheduled);

    cluster.kill(leader).await;
    let next = cluster.settle().await;
    assert_eq!(look(cluster.replica(next), &secret, &version).await, scheduled);
    cluster.pass(HOUR);
    cluster.restart(leader).await;
    let destroyed = (VersionStatus::Destroyed, false);
    let until = soon();
    while look(cluster.replica(next), &secret, &version).await != destroyed {
        assert!(Instant::now() < until, "it is still there");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for id in [1, 2, 3] {
        assert_eq!(look(cluster.replica(id), &secret, &version).await, destroyed, "on node {id}");
    }
    cluster.end().await;
}
