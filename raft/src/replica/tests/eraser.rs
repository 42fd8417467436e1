//! Destroyed payloads are out of every file of every node, also of one that was away.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use lockbox_core::{NodeId, Randomness, SecretId, VersionId};
use tokio::time::Instant;

use super::commands::{
    create_secret_with_version, init_cluster, rewrap_data_key, schedule_destruction,
};
use super::harness::{Cluster, TestRandom, soon};
use super::{operation, propose};
use crate::domain::command::Command;
use crate::domain::payload_mark::PayloadMarks;
use crate::domain::version::{VersionRecord, VersionStatus, WrappedDataKey};
use crate::replica::{Replica, ReplicaConfig};
use crate::state::tables;
use crate::store::{FileSearch, Finding, MemoryEngines, RocksEngines};

/// Longer than the eraser waits for more to come.
pub(super) const LATER: Duration = Duration::from_secs(3600);

/// Nothing goes from the log but by the eraser.
pub(super) fn keep_the_log(config: &mut ReplicaConfig) {
    config.snapshots.logs_kept = 1_000_000;
}

/// A version, and the bytes of it that are on disk.
pub(super) struct Stored {
    secret: SecretId,
    version: VersionId,
    pub(super) ciphertext: Vec<u8>,
    pub(super) marks: PayloadMarks,
}

impl Stored {
    pub(super) async fn create(replica: &Replica, random: &TestRandom) -> Self {
        let (mut envelope, secret, version) = create_secret_with_version(random);
        let Command::CreateSecret(create) = &mut envelope.command else { panic!("no creation") };
        let payload = &mut create.version.as_mut().unwrap().payload;
        payload.ciphertext = vec![0; 64];
        random.fill(&mut payload.ciphertext);
        let mut wrapped = vec![0; 48];
        random.fill(&mut wrapped);
        let salt = [4; 32];
        payload.wrapped_key =
            WrappedDataKey::Keyring { keyring_key_id: 1, salt, ciphertext: wrapped };
        let (ciphertext, mut marks) = (payload.ciphertext.clone(), PayloadMarks::default());
        marks.note(payload);
        operation(&propose(replica, envelope).await);
        Self { secret, version, ciphertext, marks }
    }

    /// Has it destroyed; the index of the entry that did it.
    pub(super) async fn destroy(&self, replica: &Replica, random: &TestRandom) -> u64 {
        let ids = (&self.secret, &self.version);
        let schedule = schedule_destruction(random, ids, Duration::ZERO);
        operation(&propose(replica, schedule).await);
        let until = soon();
        loop {
            let (version, erased) = self.look(replica).await;
            if version.status == VersionStatus::Destroyed {
                assert_eq!(version.payload_marks.as_ref(), Some(&self.marks));
                return erased;
            }
            assert!(Instant::now() < until, "it is still {:?}", version.status);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Deletes its secret, which destroys it at once; the index of the entry.
    pub(super) async fn delete(&self, replica: &Replica, random: &TestRandom) -> u64 {
        let (mut delete, _, _) = create_secret_with_version(random);
        delete.command = Command::DeleteSecret { secret_id: self.secret.clone() };
        propose(replica, delete).await.index
    }

    /// Proposes another wrapping of its data key, and from here on looks for that alone; the index
    /// of the entry.
    async fn rewrap(&mut self, replica: &Replica, random: &TestRandom) -> u64 {
        let mut ciphertext = vec![0; 48];
        random.fill(&mut ciphertext);
        let new = WrappedDataKey::Keyring { keyring_key_id: 1, salt: [6; 32], ciphertext };
        self.marks = PayloadMarks::default();
        self.marks.note_wrapping(&new);
        let rewrap = rewrap_data_key(random, (&self.secret, &self.version), new);
        propose(replica, rewrap).await.index
    }

    /// The version, and the index of the last entry that has destroyed anything.
    async fn look(&self, replica: &Replica) -> (VersionRecord, u64) {
        let looked = replica.read(soon(), |view, _now| {
            let version = tables::version(view, &self.secret, &self.version).unwrap().unwrap();
            (version, tables::erasures(view).unwrap().index)
        });
        looked.await.unwrap().value
    }

    /// The files of a node that hold the payload or its wrapped key.
    pub(super) fn holders(&self, directory: &Path) -> Vec<String> {
        let reports = FileSearch::new(directory, &self.marks).run(&|| true).unwrap();
        assert!(reports.len() > 5, "there is not so much to look at: {reports:?}");
        let unread = |finding: &Finding| matches!(finding, Finding::Unreadable(_));
        assert!(!reports.iter().any(|report| unread(&report.finding)), "{reports:?}");
        let holders = reports.into_iter().filter(|report| report.finding == Finding::Holds);
        holders.map(|report| report.path).collect()
    }

    /// By nothing of ours: whether the payload itself is in any file.
    fn is_anywhere(&self, directory: &Path) -> bool {
        std::fs::read_dir(directory).unwrap().any(|entry| {
            let path = entry.unwrap().path();
            if path.is_dir() {
                return self.is_anywhere(&path);
            }
            // A part that no cut of a log record goes through twice.
            let content = std::fs::read(&path).unwrap_or_default();
            let parts = [&self.ciphertext[..16], &self.ciphertext[48..]];
            parts.iter().any(|part| content.windows(part.len()).any(|window| window == *part))
        })
    }
}

pub(super) async fn on_disk(size: NodeId) -> (Cluster, TestRandom, NodeId) {
    let mut cluster = Cluster::blank_on(Arc::new(RocksEngines::new()), size, keep_the_log).await;
    cluster.initialize().await;
    let random = TestRandom::new(7);
    operation(&propose(cluster.replica(1), init_cluster(&random)).await);
    let leader = cluster.settle().await;
    (cluster, random, leader)
}

/// Waits until a node has erased all that it knows of.
pub(super) async fn wait_erased(replica: &Replica) {
    let until = soon();
    loop {
        let erasure = replica.erasure();
        if erasure.pending == 0 && erasure.last_done_ms > 0 {
            assert!(!erasure.is_overdue && erasure.pending_for.is_zero());
            return;
        }
        assert!(Instant::now() < until, "{erasure:?}, {:?}", replica.status());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn security_s14_a_destroyed_payload_is_in_no_file_of_any_node() {
    let (cluster, random, leader) = on_disk(3).await;
    let replica = cluster.replica(leader).clone();
    let gone = Stored::create(&replica, &random).await;
    let kept = Stored::create(&replica, &random).await;
    let written = replica.status().applied;
    for id in 1..=3 {
        cluster.replica(id).wait_applied(written, soon()).await.unwrap();
        // It shares the tables of this moment.
        cluster.replica(id).take_snapshot(false, soon()).await.unwrap();
    }
    let destroyed = gone.destroy(&replica, &random).await;
    for id in 1..=3 {
        cluster.replica(id).wait_applied(destroyed, soon()).await.unwrap();
        let holders = gone.holders(&cluster.node_directory(id));
        for part in ["raft/", "state/", "snapshots/"] {
            assert!(holders.iter().any(|path| path.starts_with(part)), "{holders:?}");
        }
        assert!(gone.is_anywhere(&cluster.node_directory(id)));
        // Whether or not the eraser has looked since: a node that is asked has applied it.
        assert_eq!(cluster.replica(id).erasure().pending, 1);
    }

    cluster.pass(LATER);
    for id in 1..=3 {
        wait_erased(cluster.replica(id)).await;
        let directory = cluster.node_directory(id);
        assert_eq!(gone.holders(&directory), Vec::<String>::new(), "node {id}");
        assert!(!gone.is_anywhere(&directory), "node {id}");
        assert!(cluster.replica(id).status().purged >= destroyed, "whatever is to be kept");
        let found = kept.holders(&directory);
        assert!(!found.is_empty() && kept.is_anywhere(&directory), "the search sees nothing");
        let found = cluster.replica(id).find_payload(gone.marks.clone(), soon()).await.unwrap();
        assert!(found.iter().all(|report| report.finding == Finding::Clean), "{found:?}");
    }
    let read = replica.read(soon(), |view, _now| {
        [&gone, &kept]
            .map(|stored| tables::payload(view, &stored.secret, &stored.version).unwrap().is_some())
    });
    assert_eq!(read.await.unwrap().value, [false, true]);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_away_is_clean_soon_after_it_is_back() {
    let (mut cluster, random, leader) = on_disk(3).await;
    let replica = cluster.replica(leader).clone();
    let gone = Stored::create(&replica, &random).await;
    let away = cluster.other_than(leader);
    let written = replica.status().applied;
    cluster.replica(away).wait_applied(written, soon()).await.unwrap();
    cluster.kill(away).await;
    let destroyed = gone.destroy(&replica, &random).await;
    cluster.pass(LATER);
    for id in (1..=3).filter(|id| *id != away) {
        wait_erased(cluster.replica(id)).await;
        assert_eq!(gone.holders(&cluster.node_directory(id)), Vec::<String>::new());
    }
    assert!(!gone.holders(&cluster.node_directory(away)).is_empty(), "it could not know");

    cluster.restart(away).await;
    cluster.replica(away).wait_applied(destroyed, soon()).await.unwrap();
    wait_erased(cluster.replica(away)).await;
    assert_eq!(gone.holders(&cluster.node_directory(away)), Vec::<String>::new());
    assert!(!gone.is_anywhere(&cluster.node_directory(away)));

    // Its next life will know, unless it is sent a snapshot again.
    let record = std::fs::read_to_string(cluster.node_directory(away).join("ERASED")).unwrap();
    let generation = cluster.replica(away).status().state_generation;
    assert!(generation > 1, "it came back by the log");
    assert!(record.contains(&format!("\"generation\": {generation},\n")), "{record}");
    assert!(record.contains("\"count\": 1,\n"), "{record}");
    cluster.end().await;
}

/// Its entry comes behind that of the destruction, and holds the key in the log alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_key_of_a_rewrap_that_comes_late_leaves_all_nodes_too() {
    let (mut cluster, random, leader) = on_disk(3).await;
    let replica = cluster.replica(leader).clone();
    let mut gone = Stored::create(&replica, &random).await;
    gone.destroy(&replica, &random).await;
    cluster.pass(LATER);
    for id in 1..=3 {
        wait_erased(cluster.replica(id)).await;
    }
    let late = gone.rewrap(&replica, &random).await;
    for id in 1..=3 {
        cluster.replica(id).wait_applied(late, soon()).await.unwrap();
        let holders = gone.holders(&cluster.node_directory(id));
        assert!(holders.iter().any(|path| path.starts_with("raft/")), "{holders:?}");
    }
    let away = cluster.other_than(leader);
    cluster.kill(away).await;
    cluster.pass(LATER);
    for id in (1..=3).filter(|id| *id != away) {
        let (replica, until) = (cluster.replica(id), soon());
        // Nothing but the eraser purges, and it is pending until all is done.
        while replica.status().purged < late || replica.erasure().pending > 0 {
            assert!(Instant::now() < until, "{:?}, {:?}", replica.erasure(), replica.status());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(gone.holders(&cluster.node_directory(id)), Vec::<String>::new(), "node {id}");
    }
    assert!(!gone.holders(&cluster.node_directory(away)).is_empty(), "it was away");
    cluster.restart(away).await;
    cluster.replica(away).wait_applied(late, soon()).await.unwrap();
    wait_erased(cluster.replica(away)).await;
    assert_eq!(gone.holders(&cluster.node_directory(away)), Vec::<String>::new());
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_secret_is_erased_with_its_versions_and_nothing_is_overdue_before_its_time() {
    let mut cluster = Cluster::blank_on(Arc::new(MemoryEngines::new()), 1, keep_the_log).await;
    cluster.initialize().await;
    let random = TestRandom::new(8);
    operation(&propose(cluster.replica(1), init_cluster(&random)).await);
    let replica = cluster.replica(1).clone();
    let gone = Stored::create(&replica, &random).await;
    let deleted = gone.delete(&replica, &random).await;
    let until = soon();
    while replica.erasure().pending == 0 {
        assert!(Instant::now() < until, "nobody knows of it");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(!replica.erasure().is_overdue);
    assert!(replica.status().purged < deleted, "it waits for more to come");
    cluster.pass(LATER);
    wait_erased(&replica).await;
    assert!(replica.status().purged >= deleted);
    cluster.end().await;
}
