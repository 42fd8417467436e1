//! A state that is copied out while a cluster writes, and becomes another cluster.

use std::sync::Arc;
use std::time::Duration;

use lockbox_core::{ClusterId, SecretId, VersionId};
use tempfile::TempDir;
use tokio::time::Instant;

use super::commands::{create_secret, create_secret_with_version, schedule_destruction};
use super::harness::{TestRandom, soon};
use super::{initialised, operation, propose, unchanged};
use crate::domain::version::VersionStatus;
use crate::error::StorageError;
use crate::replica::Replica;
use crate::state::{Row, Space, tables};
use crate::store::{
    Engines, ExportPoint, ExportSink, Founder, MemoryEngines, NodeIdentity, RestoreError,
    Restoring, StoreOptions, open_store,
};

/// Keeps all that it is given.
#[derive(Default)]
struct Copied {
    point: Option<ExportPoint>,
    rows: Vec<(Space, Vec<Row>)>,
}

impl ExportSink for Copied {
    type Error = StorageError;

    fn begin(&mut self, point: &ExportPoint) -> Result<(), StorageError> {
        assert!(self.rows.is_empty());
        self.point = Some(point.clone());
        Ok(())
    }

    fn rows(&mut self, space: Space, rows: Vec<Row>) -> Result<(), StorageError> {
        self.rows.push((space, rows));
        Ok(())
    }
}

async fn copied(replica: &Replica) -> (ExportPoint, Vec<(Space, Vec<Row>)>) {
    let copied = replica.export(Copied::default(), false, soon()).await.unwrap().unwrap();
    (copied.point.unwrap(), copied.rows)
}

fn founder(node_id: u64) -> Founder {
    Founder {
        cluster_id: ClusterId::parse("lbcrestored").unwrap(),
        node_id,
        store_id: [7; 16],
        peer_address: "127.0.0.1:1".to_owned(),
        api_address: "node-7:8443".to_owned(),
    }
}

fn filled(restoring: &Restoring, rows: &[(Space, Vec<Row>)]) {
    for (space, rows) in rows {
        restoring.put(*space, rows.clone()).unwrap();
    }
}

/// The version's status, and whether its payload is there.
async fn look(replica: &Replica, secret: &SecretId, version: &VersionId) -> (VersionStatus, bool) {
    let reading = replica.read(soon(), |view, _now| {
        let status = tables::version(view, secret, version).unwrap().unwrap().status;
        (status, tables::payload(view, secret, version).unwrap().is_some())
    });
    reading.await.unwrap().value
}

async fn destroy(replica: &Replica, random: &TestRandom, ids: (&SecretId, &VersionId)) {
    operation(&propose(replica, schedule_destruction(random, ids, Duration::ZERO)).await);
    let until = soon();
    while look(replica, ids.0, ids.1).await.0 != VersionStatus::Destroyed {
        assert!(Instant::now() < until, "it is not destroyed");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_becomes_another_cluster_without_what_was_destroyed_since() {
    let (mut cluster, random) = initialised(3, unchanged).await;
    let leader = cluster.settle().await;
    let (create, kept, kept_version) = create_secret_with_version(&random);
    operation(&propose(cluster.replica(leader), create).await);
    let (create, gone, gone_version) = create_secret_with_version(&random);
    operation(&propose(cluster.replica(leader), create).await);
    // Any node gives it, and what was acknowledged before is in it.
    let (point, rows) = copied(cluster.replica(cluster.other_than(leader))).await;
    assert_eq!(point.members, [1, 2, 3]);
    operation(&propose(cluster.replica(leader), create_secret(&random, "too late")).await);
    destroy(cluster.replica(leader), &random, (&gone, &gone_version)).await;
    let since = cluster.replica(leader).destroyed_since(point.erasures, soon()).await.unwrap();
    let named: Vec<_> = since.destroyed.iter().map(|item| item.version_id.as_ref()).collect();
    assert_eq!(named, [Some(&gone_version)]);
    assert_eq!(since.point.count, point.erasures + 1);

    let (directory, engines) = (cluster.node_directory(7), cluster.engines());
    let restoring = Restoring::begin(&directory, engines).unwrap();
    filled(&restoring, &rows);
    assert_eq!(restoring.destroy_again(&since.destroyed).unwrap(), 1);
    assert_eq!(restoring.destroy_again(&since.destroyed).unwrap(), 0, "twice in a row");
    let founded = restoring.finish(founder(7)).unwrap();
    assert_eq!((founded.index, founded.term), (point.applied.index + 1, point.applied.term + 1));

    cluster.start_fresh(7).await;
    assert_eq!(cluster.settle_among(&[7]).await, 7);
    let restored = cluster.replica(7);
    assert_eq!(look(restored, &kept, &kept_version).await, (VersionStatus::Active, true));
    assert_eq!(look(restored, &gone, &gone_version).await, (VersionStatus::Destroyed, false));
    restored.wait_identity().await;
    assert_eq!(restored.status().cluster_id, "lbcrestored");
    let seen = restored.read(soon(), |view, _now| {
        let members = tables::members(view).unwrap();
        let cluster = tables::cluster(view).unwrap().unwrap();
        let live = members.iter().filter(|member| member.removed_at.is_none());
        let live: Vec<_> = live.map(|member| member.node_id).collect();
        (members.len(), live, cluster)
    });
    let (members, live, record) = seen.await.unwrap().value;
    assert_eq!((members, live), (4, vec![7]));
    assert_eq!(record.keyring_scope().as_str(), "lbctestcluster");
    // It goes on, and finds what it had once it is started again.
    operation(&propose(restored, create_secret(&random, "in the new cluster")).await);
    cluster.kill(7).await;
    cluster.restart(7).await;
    assert_eq!(cluster.settle_among(&[7]).await, 7);
    let found = super::names(cluster.replica(7), soon()).await.unwrap();
    assert!(found.contains(&"in the new cluster".to_owned()), "{found:?}");
    assert!(!found.contains(&"too late".to_owned()), "{found:?}");
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restoring_takes_an_empty_directory_a_new_id_and_all_of_a_state() {
    let (mut cluster, _random) = initialised(1, unchanged).await;
    let leader = cluster.settle().await;
    let (_, rows) = copied(cluster.replica(leader)).await;
    let engines: Arc<dyn Engines> = Arc::new(MemoryEngines::new());
    let place = TempDir::new().unwrap();
    let directory = place.path().join("node");
    let restoring = Restoring::begin(&directory, Arc::clone(&engines)).unwrap();
    filled(&restoring, &rows);
    let used = restoring.finish(founder(1)).unwrap_err();
    assert!(matches!(used, RestoreError::NodeIdUsed(1)), "{used}");

    // It ended half-way: no node takes the directory, but another try does.
    let node = NodeIdentity { node_id: 7, fresh_store_id: [9; 16] };
    let options = StoreOptions::default();
    let refused = open_store(&directory, Arc::clone(&engines), &node, &options).err().unwrap();
    assert!(refused.to_string().contains("restore it again"), "{refused}");
    let restoring = Restoring::begin(&directory, Arc::clone(&engines)).unwrap();
    let missing = restoring.finish(founder(7)).unwrap_err();
    assert!(matches!(missing, RestoreError::NotAState(_)), "{missing}");
    let restoring = Restoring::begin(&directory, Arc::clone(&engines)).unwrap();
    filled(&restoring, &rows);
    restoring.finish(founder(7)).unwrap();
    let taken = Restoring::begin(&directory, engines).err().unwrap();
    assert!(matches!(taken, RestoreError::NotEmpty(_)), "{taken}");
    cluster.end().await;
}
