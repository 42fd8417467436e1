//! Members that come and go, leaders that hand over, ids that never return.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use lockbox_core::{ExitCode, FolderId, NodeId};
use openraft::async_runtime::watch::WatchReceiver;
use openraft::entry::RaftPayload;
use openraft::{EntryPayload, Membership};

use super::commands::{create_secret, create_secret_in};
use super::harness::{Cluster, PATIENCE, TestRandom, soon};
use super::{Replica, initialised, names, operation, propose, unchanged};
use crate::error::StorageFailure;
use crate::replica::{ChangeError, ChangeRefusal, Effect, LoggedPayload, ReplicaFailure};
use crate::store::RocksEngines;

pub(super) fn voters(replica: &Replica) -> Vec<NodeId> {
    let members = replica.status().members.into_iter();
    members.filter(|member| member.voter).map(|member| member.node_id).collect()
}

fn refusal<T: std::fmt::Debug>(result: Result<T, ChangeError>) -> ChangeRefusal {
    match result.unwrap_err() {
        ChangeError::Refused(refusal) => refusal,
        other => panic!("not refused: {other}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fresh_node_is_added_catches_up_and_is_promoted() {
    let (mut cluster, random) = initialised(3, unchanged).await;
    let leader = cluster.settle().await;
    propose(cluster.replica(leader), create_secret(&random, "before")).await;
    let member = cluster.start_fresh(4).await;
    let replica = cluster.replica(leader).clone();
    let seen = replica.membership_token();

    let added = replica.add_member(4, member.clone(), Some(seen), soon()).await.unwrap();
    assert!(added.changed && added.caught_up && added.token > seen, "{added:?}");
    assert_eq!(voters(&replica), [1, 2, 3]);
    assert_eq!(names(cluster.replica(4), soon()).await.unwrap(), ["before"]);
    let again = replica.add_member(4, member, None, soon()).await.unwrap();
    assert!(!again.changed && again.token == added.token, "{again:?}");

    let promoted = replica.promote_member(4, Some(added.token), soon()).await.unwrap();
    assert!(promoted.changed && promoted.warning.unwrap().starts_with("4 voters"));
    assert_eq!(voters(&replica), [1, 2, 3, 4]);
    let again = replica.promote_member(4, None, soon()).await.unwrap();
    assert!(!again.changed && again.token == promoted.token);
    let status = replica.status();
    assert!(!status.joint && status.membership == promoted.token, "{status:?}");
    let stores: BTreeSet<_> = status.members.iter().map(|m| m.member.store_id).collect();
    assert!(stores.len() == 4 && stores.iter().all(|store| store.is_known()), "{stores:?}");
    propose(cluster.replica(4), create_secret(&random, "after")).await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_that_would_lose_the_quorum_are_refused() {
    let (mut cluster, random) = initialised(3, unchanged).await;
    let leader = cluster.settle().await;
    let followers: Vec<NodeId> = (1..=3).filter(|id| *id != leader).collect();
    cluster.kill(followers[0]).await;
    let replica = cluster.replica(leader).clone();
    let lost = refusal(replica.remove_member(followers[1], None, soon()).await);
    assert_eq!(lost, ChangeRefusal::QuorumLost { voters: 2, reachable: 1, needed: 2 });
    assert_eq!(voters(&replica), [1, 2, 3]);

    let removed = replica.remove_member(followers[0], None, soon()).await.unwrap();
    assert!(removed.changed && removed.warning.unwrap().starts_with("2 voters bear the loss of 0"));
    let repeat = replica.remove_member(followers[0], None, soon()).await.unwrap();
    assert!(!repeat.changed);
    assert_eq!(refusal(replica.remove_member(9, None, soon()).await), ChangeRefusal::NotAMember(9));
    assert_eq!(
        refusal(replica.promote_member(9, None, soon()).await),
        ChangeRefusal::NotAMember(9)
    );
    propose(&replica, create_secret(&random, "two are left")).await;
    // The last but one goes too; the last one stays.
    replica.remove_member(followers[1], None, soon()).await.unwrap();
    let last = refusal(replica.remove_member(leader, None, soon()).await);
    assert_eq!(last, ChangeRefusal::LastVoter(leader));
    propose(&replica, create_secret(&random, "one is left")).await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_is_tied_to_the_membership_that_was_seen_and_is_alone() {
    let (mut cluster, _random) = initialised(3, unchanged).await;
    let leader = cluster.settle().await;
    let member = cluster.start_fresh(4).await;
    let replica = cluster.replica(leader).clone();
    let seen = replica.membership_token();
    let added = replica.add_member(4, member, Some(seen), soon()).await.unwrap();
    let late = replica.promote_member(4, Some(seen), soon()).await.unwrap_err();
    assert_eq!(late, ChangeError::Conflict { expected: seen, actual: added.token });
    assert_eq!(voters(&replica), [1, 2, 3]);

    let turn = replica.0.changing.try_lock().unwrap();
    let second = replica.promote_member(4, None, soon()).await.unwrap_err();
    assert_eq!(second, ChangeError::Busy);
    assert_eq!(replica.transfer_leader(None, soon()).await, Err(ChangeError::Busy));

    let follower = cluster.other_than(leader);
    let elsewhere = cluster.replica(follower).promote_member(4, None, soon()).await.unwrap_err();
    let ChangeError::NotLeader(Some((hint, _))) = elsewhere else { panic!("{elsewhere}") };
    assert_eq!(hint, leader);
    // One that is about to end is waited for. ORDER: released before it is asked for again.
    let ends = async move {
        tokio::time::sleep(Duration::from_millis(50)).await;
        drop(turn);
    };
    let promoted = replica.promote_member(4, Some(added.token), soon());
    let ((), promoted) = tokio::join!(ends, promoted);
    promoted.unwrap();
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_added_is_who_it_should_be_and_never_was_a_member() {
    let (mut cluster, _random) = initialised(3, unchanged).await;
    let leader = cluster.settle().await;
    let replica = cluster.replica(leader).clone();
    let (four, five) = (cluster.start_fresh(4).await, cluster.start_fresh(5).await);
    let add = async |id, member| replica.add_member(id, member, None, soon()).await;

    let other_node = add(4, five.clone()).await.unwrap_err();
    assert!(other_node.to_string().contains("node 4 was called, this is 5"), "{other_node}");
    let taken = cluster.members[&1].clone();
    let address = taken.peer_address.clone();
    assert_eq!(
        refusal(add(4, taken).await),
        ChangeRefusal::AddressTaken { node_id: 1, address: address.clone() }
    );
    let moved = refusal(add(1, five.clone()).await);
    assert_eq!(moved, ChangeRefusal::OtherMember { node_id: 1, address });
    // Five forms a cluster of its own, and is no candidate for this one any more.
    let alone = BTreeMap::from([(5, five.clone())]);
    let other = lockbox_core::ClusterId::parse("lbcother").unwrap();
    cluster.replica(5).initialize(other, alone).await.unwrap();
    let foreign = refusal(add(5, five).await);
    assert!(
        matches!(foreign, ChangeRefusal::OtherCluster { .. } | ChangeRefusal::NotFresh(5)),
        "{foreign}"
    );

    add(4, four.clone()).await.unwrap();
    replica.remove_member(4, None, soon()).await.unwrap();
    assert_eq!(refusal(add(4, four).await), ChangeRefusal::IdUsed(4));
    let two = (1..=3).find(|id| *id != leader).unwrap();
    replica.remove_member(two, None, soon()).await.unwrap();
    cluster.kill(two).await;
    let used = cluster.members[&two].clone();
    assert_eq!(refusal(add(two, used).await), ChangeRefusal::IdUsed(two));
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wiped_node_stops_and_is_replaced_by_a_new_one() {
    let mut cluster = Cluster::blank_on(Arc::new(RocksEngines::new()), 3, unchanged).await;
    cluster.initialize().await;
    let random = TestRandom::new(99);
    operation(&propose(cluster.replica(1), super::init_cluster(&random)).await);
    let leader = cluster.settle().await;
    let wiped = cluster.other_than(leader);
    propose(cluster.replica(leader), create_secret(&random, "kept")).await;
    cluster.kill(wiped).await;
    cluster.wipe(wiped);
    cluster.restart(wiped).await;

    let failure = tokio::time::timeout_at(soon(), cluster.replica(wiped).fatal()).await.unwrap();
    let ReplicaFailure::Storage(error) = &failure else { panic!("{failure}") };
    assert_eq!(error.failure, StorageFailure::StoreLost);
    assert_eq!(failure.exit_code(), ExitCode::StoreLost);
    assert!(error.to_string().contains("add it under a new id"), "{error}");
    let blank = cluster.replica(wiped).status();
    assert_eq!((blank.last_log, blank.term), (0, 0), "it took part: {blank:?}");
    cluster.kill(wiped).await;

    let member = cluster.start_fresh(4).await;
    let replica = cluster.replica(leader).clone();
    let replaced = replica.replace_member(wiped, 4, member, None, soon()).await.unwrap();
    assert!(replaced.changed && replaced.warning.is_none(), "{replaced:?}");
    assert!(voters(&replica).contains(&4) && !voters(&replica).contains(&wiped));
    assert_eq!(names(cluster.replica(4), soon()).await.unwrap(), ["kept"]);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_removed_hands_over_first() {
    let (mut cluster, random) = initialised(3, unchanged).await;
    let leader = cluster.settle().await;
    let handed = cluster.replica(leader).remove_member(leader, None, soon()).await.unwrap_err();
    let ChangeError::NotLeader(Some((next, _))) = handed else { panic!("{handed}") };
    assert_ne!(next, leader);
    let removed = cluster.replica(next).remove_member(leader, None, soon()).await.unwrap();
    assert!(removed.changed && !voters(cluster.replica(next)).contains(&leader));
    propose(cluster.replica(next), create_secret(&random, "without it")).await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_joint_configuration_that_was_left_over_is_finished() {
    let (mut cluster, random) = initialised(3, unchanged).await;
    let leader = cluster.settle().await;
    let member = cluster.start_fresh(4).await;
    let replica = cluster.replica(leader).clone();
    replica.add_member(4, member, None, soon()).await.unwrap();
    let stored = replica.0.raft.metrics().borrow_watched().membership_config.clone();
    let nodes: BTreeMap<_, _> =
        stored.membership().nodes().map(|(id, member)| (*id, member.clone())).collect();
    let sets = vec![BTreeSet::from([1, 2, 3]), BTreeSet::from([2, 3, 4])];
    // What a leader that died between its two steps leaves behind.
    let joint = Membership::new(sets, nodes).unwrap();
    let blank = EntryPayload::blank();
    replica.0.raft.append_membership(joint, blank, []).await.unwrap();

    let mut metrics = replica.0.raft.metrics();
    let finished = metrics.wait_until(|metrics| {
        let configs = metrics.committed_membership_config.membership().get_joint_config();
        configs.len() == 1 && configs[0] == BTreeSet::from([2, 3, 4])
    });
    tokio::time::timeout(PATIENCE, finished).await.unwrap().unwrap();
    let survivor = cluster.settle_among(&[2, 3, 4]).await;
    propose(cluster.replica(survivor), create_secret(&random, "goes on")).await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_tells_what_was_done_and_by_which_entry() {
    let (mut cluster, random) = initialised(3, unchanged).await;
    let leader = cluster.settle().await;
    let replica = cluster.replica(leader).clone();
    let envelope = create_secret(&random, "once");
    let first = propose(&replica, envelope.clone()).await;
    let second = propose(&replica, envelope).await;
    let nowhere = create_secret_in(&random, "lost", FolderId::parse("b1gnowhere").unwrap());
    let refused = propose(&replica, nowhere).await;

    let whole = replica.read_log(0, u64::MAX).await.unwrap();
    assert!(whole.begins_at <= 1 && whole.next.is_none() && whole.applied.index >= refused.index);
    let effect =
        |index: u64| match &whole.entries.iter().find(|e| e.index == index).unwrap().payload {
            LoggedPayload::Command { effect, .. } => *effect,
            other => panic!("no command: {other:?}"),
        };
    assert_eq!(effect(first.index), Some(Effect::Applied));
    assert_eq!(effect(second.index), Some(Effect::Repeated));
    assert_eq!(effect(refused.index), Some(Effect::Refused));
    let memberships = whole.entries.iter().filter_map(|entry| match &entry.payload {
        LoggedPayload::Membership { voter_sets, .. } => Some(voter_sets.clone()),
        LoggedPayload::Blank | LoggedPayload::Command { .. } => None,
    });
    assert_eq!(memberships.collect::<Vec<_>>(), [vec![vec![1, 2, 3]]]);

    let mut pieces = Vec::new();
    let mut from = Some(0);
    while let Some(next) = from {
        let piece = replica.read_log(next, 2).await.unwrap();
        pieces.extend(piece.entries.into_iter().filter(|e| e.index <= refused.index));
        from = piece.next.filter(|next| *next <= refused.index);
    }
    let upto = whole.entries.iter().filter(|entry| entry.index <= refused.index);
    assert_eq!(pieces, upto.cloned().collect::<Vec<_>>());

    let taken = replica.take_snapshot(true, soon()).await.unwrap();
    assert!(taken.index >= refused.index);
    let until = soon();
    while replica.read_log(0, 1).await.unwrap().begins_at <= taken.index {
        assert!(tokio::time::Instant::now() < until, "the log was not cut");
        tokio::task::yield_now().await;
    }
    cluster.end().await;
}
