//! A leader that neither answers nor hangs up, as a frozen process does: nobody waits for it once
//! it was succeeded.

use lockbox_core::NodeId;

use super::commands::create_secret;
use super::harness::{PATIENCE, soon};
use super::{initialised, names, propose, unchanged};
use crate::replica::ReplicaConfig;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proposal_that_a_silent_leader_has_goes_to_the_next_one() {
    let (mut cluster, random) = initialised(3, unchanged).await;
    let old = cluster.settle().await;
    let rest: Vec<NodeId> = (1..=3).filter(|id| *id != old).collect();
    let follower = cluster.replica(rest[0]);
    let before = propose(follower, create_secret(&random, "before")).await;
    cluster.wires.silence(old, rest.clone());
    // The follower has noticed nothing yet, and hands it to the old leader.
    let after = propose(follower, create_secret(&random, "after")).await;
    assert!(after.term > before.term, "the silence was real");
    assert_eq!(names(follower, soon()).await.unwrap(), ["before", "after"]);
    cluster.wires.isolate(old, rest);
    cluster.wires.heal();
    cluster.end().await;
}

/// Waits for the leader's read point for longer than a test does.
const PATIENT_NODE: NodeId = 5;

fn one_waits_long_for_its_leader(config: &mut ReplicaConfig) {
    if config.node_id == PATIENT_NODE {
        config.timing.election_timeout_max_ms = 2 * PATIENCE.as_millis() as u64;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_that_a_silent_leader_has_goes_to_the_next_one() {
    let (mut cluster, random) = initialised(5, one_waits_long_for_its_leader).await;
    let old = cluster.settle().await;
    assert_ne!(old, PATIENT_NODE);
    propose(cluster.replica(old), create_secret(&random, "before")).await;
    let patient = cluster.replica(PATIENT_NODE);
    assert_eq!(names(patient, soon()).await.unwrap(), ["before"]);
    let term = patient.status().term;
    cluster.wires.silence(old, (1..=5).filter(|id| *id != old));
    let read = patient.read(soon(), |_view, _now| ()).await.unwrap();
    assert!(read.term > term, "the silence was real");
    cluster.wires.isolate(old, (1..=5).filter(|id| *id != old));
    cluster.wires.heal();
    cluster.end().await;
}
