//! The feature level of a running cluster: nothing is proposed that a member does not understand.

use super::commands::init_cluster_at;
use super::harness::{Cluster, TestRandom, soon};
use super::{initialised, unchanged};
use crate::domain::command::Command;
use crate::domain::feature_level::FEATURE_LEVEL_MAX;
use crate::domain::outcome::Outcome;
use crate::replica::{ChangeError, ChangeRefusal, Replica};
use crate::state::tables;

async fn level_at(replica: &Replica) -> u32 {
    let level = replica.read(soon(), |view, _now| tables::feature_level(view).unwrap());
    level.await.unwrap().value
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_level_rises_when_all_members_answer_that_they_understand_it() {
    let mut cluster = Cluster::start(3, unchanged).await;
    let random = TestRandom::new(99);
    let leader = cluster.settle().await;
    let follower = cluster.other_than(leader);
    let replica = cluster.replica(leader).clone();
    // As a build that knew of no levels would have formed it.
    assert_eq!(replica.common_feature_level(soon()).await.unwrap(), FEATURE_LEVEL_MAX);
    let applied = replica.propose(init_cluster_at(&random, 0), soon()).await.unwrap();
    assert!(matches!(applied.outcome, Outcome::Done(_)), "{:?}", applied.outcome);
    assert_eq!(level_at(&replica).await, 0);

    let looked = replica.feature_levels(soon()).await.unwrap();
    assert_eq!((looked.level, looked.raised, looked.members.len()), (0, false, 3));
    assert!(looked.members.iter().all(|member| member.feature_level == FEATURE_LEVEL_MAX));
    let elsewhere = cluster.replica(follower).raise_feature_level(None, soon()).await;
    assert!(matches!(elsewhere, Err(ChangeError::NotLeader(_))), "{elsewhere:?}");
    let beyond = replica.raise_feature_level(Some(FEATURE_LEVEL_MAX + 1), soon()).await;
    let refused = ChangeError::Refused(ChangeRefusal::FeatureLevel {
        node_id: 1,
        level: FEATURE_LEVEL_MAX,
        wanted: FEATURE_LEVEL_MAX + 1,
    });
    assert_eq!(beyond, Err(refused));

    let raised = replica.raise_feature_level(None, soon()).await.unwrap();
    assert_eq!((raised.level, raised.raised), (FEATURE_LEVEL_MAX, true));
    let again = replica.raise_feature_level(None, soon()).await.unwrap();
    assert_eq!((again.level, again.raised), (FEATURE_LEVEL_MAX, false));
    assert_eq!(level_at(cluster.replica(follower)).await, FEATURE_LEVEL_MAX);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_does_not_answer_keeps_the_level_down() {
    let (mut cluster, _random) = initialised(3, unchanged).await;
    let leader = cluster.settle().await;
    let away = cluster.other_than(leader);
    let replica = cluster.replica(leader).clone();
    assert_eq!(level_at(&replica).await, FEATURE_LEVEL_MAX);
    cluster.kill(away).await;
    let silent = replica.raise_feature_level(None, soon()).await;
    match silent {
        Err(ChangeError::Unreachable(error)) => assert_eq!(error.node_id, away),
        other => panic!("{other:?}"),
    }
    // What is at the level already can be proposed all the same.
    let command = Command::RaiseFeatureLevel { level: FEATURE_LEVEL_MAX };
    let applied = replica.propose_as_leader(command, soon()).await.unwrap();
    assert_eq!(applied.outcome, Outcome::Nothing);
    cluster.end().await;
}
