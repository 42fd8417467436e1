//! Disks with little room: what makes the data grow is refused, what frees or withdraws is not, and
//! leadership goes where there is room.

use super::commands::{create_secret_with_version, delete_secret, schedule_destruction};
use super::*;
use crate::replica::{ChangeError, ChangeRefusal};

async fn refused(replica: &Replica, envelope: Envelope) {
    let error = replica.propose(envelope, soon()).await.unwrap_err();
    assert!(matches!(error, ProposeError::NotProposed(NotProposedReason::NoRoom)), "{error}");
    assert_eq!(error.outcome(), ProposalOutcome::NotProposed);
}

/// Waits until a leader refuses growth, or takes it again.
async fn until_refuses(replica: &Replica, refuses: bool) {
    let until = soon();
    while replica.refuses_growth() != refuses {
        assert!(Instant::now() < until, "it never came to {refuses}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn growth_is_refused_deletion_is_not_and_leadership_goes_where_there_is_room() {
    let (mut cluster, random) = initialised(3, unchanged).await;
    let leader = cluster.settle().await;
    let follower = cluster.other_than(leader);
    let (envelope, secret, version) = create_secret_with_version(&random);
    propose(cluster.replica(leader), envelope).await;
    let (other, gone, _) = create_secret_with_version(&random);
    propose(cluster.replica(leader), other).await;

    let low = cluster.replica(leader).clone();
    low.set_disk_is_low(true);
    refused(&low, create_secret(&random, "too much")).await;
    refused(cluster.replica(follower), create_secret(&random, "forwarded")).await;
    propose(&low, delete_secret(&random, &gone)).await;
    let destruction = schedule_destruction(&random, (&secret, &version), Duration::ZERO);
    operation(&propose(&low, destruction).await);
    // The destruction itself is the reaper's, and goes on, too.
    let until = soon();
    loop {
        let found = low.read(soon(), |view, _| tables::payload(view, &secret, &version)).await;
        if found.unwrap().value.unwrap().is_none() {
            break;
        }
        assert!(Instant::now() < until, "it is not destroyed");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    let successor = low.leave_low_disk(soon()).await.unwrap();
    assert_ne!(successor, leader);
    assert_eq!(cluster.settle().await, successor);
    // One voter without room is no reason to refuse, whoever is asked.
    operation(&propose(&low, create_secret(&random, "elsewhere")).await);

    let third = (1..=3).find(|id| *id != leader && *id != successor).unwrap();
    let leads = cluster.replica(successor).clone();
    cluster.replica(third).set_disk_is_low(true);
    until_refuses(&leads, true).await;
    refused(&leads, create_secret(&random, "no majority")).await;
    let nowhere = leads.leave_low_disk(soon()).await.unwrap_err();
    assert!(
        matches!(nowhere, ChangeError::Refused(ChangeRefusal::LastVoter(_))),
        "leadership went to a full disk: {nowhere}"
    );
    cluster.replica(third).set_disk_is_low(false);
    until_refuses(&leads, false).await;
    operation(&propose(&leads, create_secret(&random, "room again")).await);
    cluster.end().await;
}
