//! Leaders and members that change while clients write and read.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::commands::create_secret;
use super::harness::{Cluster, TestRandom, soon};
use super::membership::voters;
use super::{Replica, folder_id, initialised, operation, unchanged};
use crate::replica::{ChangeError, ChangeRefusal, ProposalOutcome, ReadError};
use crate::state::tables;

/// Writes from several clients and reads between them, until it is told to stop.
async fn load(
    replicas: Vec<Replica>,
    progress: watch::Sender<usize>,
    stop: CancellationToken,
) -> Vec<String> {
    let random = Arc::new(TestRandom::new(4_242));
    let mut writers = tokio::task::JoinSet::new();
    for (writer, replica) in replicas.into_iter().enumerate() {
        let (random, stop) = (Arc::clone(&random), stop.clone());
        let progress = progress.clone();
        writers.spawn(async move {
            let mut acknowledged = Vec::new();
            while !stop.is_cancelled() {
                let name = format!("{writer}-{}", acknowledged.len());
                match replica.propose(create_secret(&random, &name), soon()).await {
                    Ok(applied) => {
                        operation(&applied);
                        acknowledged.push(name);
                        progress.send_modify(|done| *done += 1);
                    }
                    Err(error) => {
                        assert_eq!(error.outcome(), ProposalOutcome::Unknown, "{error}");
                        acknowledged.push(String::new());
                    }
                }
                let read = replica.read(soon(), |_, _| ()).await;
                assert!(!matches!(read, Err(ReadError::Deadline)), "reads stand still");
            }
            acknowledged
        });
    }
    let all = writers.join_all().await.into_iter().flatten();
    all.filter(|name| !name.is_empty()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leadership_goes_round_under_load_and_nothing_is_lost() {
    let (mut cluster, _random) = initialised(3, unchanged).await;
    let stop = CancellationToken::new();
    let replicas: Vec<Replica> = (1..=3).map(|id| cluster.replica(id).clone()).collect();
    let (progress, mut seen) = watch::channel(0);
    let loaded = tokio::task::spawn(load(replicas, progress, stop.clone()));
    for round in 0..6 {
        goes_on(&mut seen).await;
        let leader = cluster.settle().await;
        let before = cluster.replica(leader).status();
        let to = if round % 2 == 0 { Some(leader % 3 + 1) } else { None };
        let next = cluster.replica(leader).transfer_leader(to, soon()).await;
        let next = match next {
            Ok(next) => next,
            // Another election came between.
            Err(ChangeError::NotLeader(_) | ChangeError::Refused(ChangeRefusal::Lags { .. })) => {
                continue;
            }
            Err(error) => panic!("{error}"),
        };
        assert!(to.is_none_or(|to| to == next), "{next} leads, not {to:?}");
        // It serves: everything acknowledged before is applied there.
        cluster.replica(next).wait_applied(before.committed, soon()).await.unwrap();
    }
    goes_on(&mut seen).await;
    stop.cancel();
    let acknowledged = loaded.await.unwrap();
    for id in 1..=3 {
        let stored: BTreeSet<_> = all_names(cluster.replica(id)).await.into_iter().collect();
        assert!(acknowledged.iter().all(|name| stored.contains(name)), "node {id} lost one");
    }
    cluster.end().await;
}

/// Waits until more writes are acknowledged.
async fn goes_on(progress: &mut watch::Receiver<usize>) {
    let wanted = *progress.borrow() + 10;
    let reached = progress.wait_for(|done| *done >= wanted);
    tokio::time::timeout_at(soon(), reached).await.unwrap().unwrap();
}

/// The names of all secrets, however many.
async fn all_names(replica: &Replica) -> Vec<String> {
    let all = |view: &crate::store::View<'_>, _now| {
        let (mut names, mut after) = (Vec::new(), 0);
        loop {
            let (page, next) = tables::secrets_page(view, &folder_id(), after, 1_000).unwrap();
            names.extend(page.into_iter().map(|secret| secret.name));
            match next {
                Some(next) => after = next,
                None => return names,
            }
        }
    };
    replica.read(soon(), all).await.unwrap().value
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_become_five_and_three_others_again_under_load() {
    let (mut cluster, _random) = initialised(3, unchanged).await;
    let stop = CancellationToken::new();
    let replicas: Vec<Replica> = (1..=3).map(|id| cluster.replica(id).clone()).collect();
    let (progress, mut written) = watch::channel(0);
    let loaded = tokio::task::spawn(load(replicas[2..].to_vec(), progress, stop.clone()));
    for id in [4, 5] {
        let member = cluster.start_fresh(id).await;
        at_leader(&cluster, async |r: Replica| {
            r.add_member(id, member.clone(), None, soon()).await
        })
        .await;
        at_leader(&cluster, async |r: Replica| r.promote_member(id, None, soon()).await).await;
        goes_on(&mut written).await;
    }
    assert_eq!(voters(cluster.replica(3)).len(), 5);
    for id in [1, 2] {
        at_leader(&cluster, async |r: Replica| r.remove_member(id, None, soon()).await).await;
        goes_on(&mut written).await;
    }
    stop.cancel();
    let acknowledged = loaded.await.unwrap();
    let leader = cluster.settle_among(&[3, 4, 5]).await;
    assert_eq!(voters(cluster.replica(leader)), [3, 4, 5]);
    let mut hashes = BTreeMap::new();
    let last = cluster.replica(leader).status().last_log;
    for id in 3..=5 {
        let stored: BTreeSet<_> = all_names(cluster.replica(id)).await.into_iter().collect();
        assert!(acknowledged.iter().all(|name| stored.contains(name)), "node {id} lost one");
        let hashed = cluster.replica(id).state_hash(last, soon()).await.unwrap();
        hashes.entry(hashed.at.index).or_insert_with(Vec::new).push(hashed.hashes);
    }
    for (index, at_one_index) in hashes {
        assert!(at_one_index.windows(2).all(|two| two[0] == two[1]), "they differ at {index}");
    }
    cluster.end().await;
}

/// Makes a change wherever the leader is; again when it moved meanwhile.
async fn at_leader<T>(
    cluster: &Cluster,
    change: impl AsyncFn(Replica) -> Result<T, ChangeError>,
) -> T {
    let until = soon();
    loop {
        let leader = cluster.replica(3).leader().map(|(id, _)| id);
        let known = leader.filter(|id| cluster.nodes.contains_key(id));
        if let Some(leader) = known {
            match change(cluster.replica(leader).clone()).await {
                Ok(done) => return done,
                Err(ChangeError::NotLeader(_) | ChangeError::Busy | ChangeError::Unknown(_)) => {}
                Err(ChangeError::Refused(ChangeRefusal::Lags { .. })) => {}
                Err(error) => panic!("{error}"),
            }
        }
        assert!(tokio::time::Instant::now() < until, "no leader made the change");
        tokio::task::yield_now().await;
    }
}
