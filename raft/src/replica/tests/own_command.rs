//! What the cluster does by itself: by the leader or not at all, and how the log is cut for it.

use tokio::time::Instant;

use super::commands::create_secret;
use super::harness::soon;
use super::{initialised, propose, unchanged};
use crate::domain::command::Command;
use crate::domain::keyring::{KeyPurpose, KeyStage, KeyringKeyRecord};
use crate::domain::outcome::Outcome;
use crate::replica::{NotProposedReason, ProposeError, ReplicaConfig};
use crate::state::tables;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_does_not_hand_on_what_only_leaders_decide() {
    let (mut cluster, _random) = initialised(3, unchanged).await;
    let leader = cluster.settle().await;
    let follower = cluster.other_than(leader);
    let add = || {
        let (purpose, stage) = (KeyPurpose::WrapDataKeys, KeyStage::Added);
        let key = KeyringKeyRecord::new(1, purpose, stage, vec![1], Vec::new());
        Command::AddKeyringKey(Box::new(key))
    };
    let refused = cluster.replica(follower).propose_as_leader(add(), soon()).await.unwrap_err();
    let not_proposed = matches!(refused, ProposeError::NotProposed(NotProposedReason::NoLeader));
    assert!(not_proposed, "{refused:?}");
    let applied = cluster.replica(leader).propose_as_leader(add(), soon()).await.unwrap();
    assert!(matches!(applied.outcome, Outcome::Done(_)), "{:?}", applied.outcome);
    let look = cluster.replica(follower).read(soon(), |view, _now| tables::keyring(view).unwrap());
    let keys = look.await.unwrap().value;
    assert_eq!(
        keys.iter().map(|key| (key.id, key.added_at)).collect::<Vec<_>>(),
        [(1, applied.index)]
    );
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_is_cut_behind_one_entry_and_no_further() {
    fn by_hand(config: &mut ReplicaConfig) {
        // Nothing goes that nobody asks for.
        config.snapshots.logs_kept = 1_000_000;
    }
    let (mut cluster, random) = initialised(3, by_hand).await;
    let leader = cluster.settle().await;
    let replica = cluster.replica(leader);
    let write = async |from: u32| {
        for number in from..from + 10 {
            propose(replica, create_secret(&random, &format!("secret-{number}"))).await;
        }
        replica.status().applied
    };
    let upto = write(0).await;
    let last = write(10).await;
    replica.cut_log(upto, soon()).await.unwrap();
    let until = soon();
    while replica.status().purged < upto {
        assert!(Instant::now() < until, "{} of {upto} entries are purged", replica.status().purged);
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let status = replica.status();
    assert_eq!(status.purged, upto);
    assert!(status.snapshot >= last, "the snapshot is of all that was applied");
    cluster.end().await;
}
