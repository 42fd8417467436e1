//! The disk of the KMS is destroyed, and a backup that is older than the destruction of a key takes
//! its place: the cluster remembers what the backup does not (docs/kms-backup.md).

use std::process::Command;

use tonic::Code;

use crate::cluster::{Cluster, NODES, Part, success};
use crate::messages::{pairs, text};
use crate::programs;
use crate::waiting::until;

impl Cluster {
    /// Waits until the cluster bears witness for the KMS.
    async fn wait_witnessed(&self) {
        until("witness", async || {
            let metrics = self.health(Part::Kms, "/metrics").await?.text();
            let mut lines = metrics.lines();
            let line = lines.find(|line| line.starts_with("kms_commits_reserved "))?;
            (!line.ends_with(" 0")).then_some(())
        })
        .await;
    }

    /// Backs the running KMS up, as an operator does; the file.
    fn back_up_kms(&self) -> String {
        let file = |name: &str| self.directory().join(name).to_str().unwrap().to_owned();
        let to = file("kms.backup");
        let endpoint = format!("localhost:{}", self.ports().kms());
        let (ca, certificate) = (file("certificates/ca.pem"), file("certificates/operator.pem"));
        let key = file("certificates/operator-key.pem");
        let connection = [
            ["--endpoint", &endpoint],
            ["--ca", &ca],
            ["--certificate", &certificate],
            ["--key", &key],
        ];
        let mut program = Command::new(programs::kms_sim());
        program.args(["admin", "backup", "--to", &to]).args(connection.concat()).env_clear();
        success(&program.output().unwrap());
        to
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_kms_comes_back_from_an_older_backup_and_revives_nothing() {
    let retention = ("KMS_CONFIG_LIMITS__DELETED_KEY_RETENTION_S", "1".to_owned());
    let mut cluster = Cluster::start(vec![retention]).await;
    cluster.wait_witnessed().await;
    let kms = cluster.admin(Part::Kms);
    let (doomed, kept) = (kms.create_kms_key().await, kms.create_kms_key().await);
    let admin = cluster.admin(Part::Node(1));
    let gone = admin.create(&doomed, vec![text("k", "gone")]).await;
    let own = admin.create(&kept, vec![text("k", "own")]).await;
    let common = admin.create("", vec![text("k", "common")]).await;
    let backup = cluster.back_up_kms();
    success(&cluster.kms_sim(&["backup", "verify", &backup]));
    assert_eq!(admin.read(&gone).await.unwrap(), pairs(&[("k", b"gone")]));
    cluster.destroy_key(&doomed).await;

    cluster.kill(Part::Kms);
    std::fs::remove_dir_all(cluster.data(Part::Kms)).unwrap();
    success(&cluster.kms_sim(&["restore", &backup]));
    cluster.launch(Part::Kms);
    cluster.wait_ready(Part::Kms).await;
    let held = async |cluster: &Cluster| {
        for node in NODES {
            let admin = cluster.admin(Part::Node(node));
            // The first calls may still find the connection of before.
            until("values", async || admin.read(&own).await.ok()).await;
            assert_eq!(admin.read(&own).await.unwrap(), pairs(&[("k", b"own")]));
            assert_eq!(admin.read(&common).await.unwrap(), pairs(&[("k", b"common")]));
            let refused = admin.read(&gone).await.unwrap_err();
            assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
        }
    };
    held(&cluster).await;
    // What unwraps the keyring is back, too: nodes that know nothing open again.
    for node in NODES {
        cluster.stop_part(Part::Node(node)).await;
    }
    for node in NODES {
        cluster.launch(Part::Node(node));
    }
    cluster.wait_all_ready().await;
    held(&cluster).await;

    let verified = cluster.kms_sim(&["billing", "verify"]);
    let said = String::from_utf8(success(&verified).to_vec()).unwrap();
    assert!(said.contains(" 0 problems\n"), "{said}");
    let restored = said.lines().find(|line| line.starts_with("restored from")).unwrap();
    let commits: Vec<u64> = restored.split(' ').filter_map(|word| word.parse().ok()).collect();
    let [from, to] = commits[..] else { panic!("{restored}") };
    assert!(from > 0 && to > from, "{restored}");
    // And it serves on as before.
    let another = cluster.admin(Part::Kms).create_kms_key().await;
    cluster.admin(Part::Node(2)).create(&another, vec![text("k", "new")]).await;
}

/// A restored KMS serves nobody while no majority of the nodes can say what happened since.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_kms_waits_for_a_majority() {
    let mut cluster = Cluster::start(Vec::new()).await;
    cluster.wait_witnessed().await;
    let backup = cluster.back_up_kms();
    cluster.stop().await;
    std::fs::remove_dir_all(cluster.data(Part::Kms)).unwrap();
    success(&cluster.kms_sim(&["restore", &backup]));
    cluster.launch(Part::Kms);
    cluster.launch(Part::Node(1));
    until("a KMS that waits", async || {
        let answer = cluster.health(Part::Kms, "/readyz").await?;
        (answer.status == 503 && answer.text().contains("waits for the cluster")).then_some(())
    })
    .await;
    until("the log of it", async || {
        cluster.log(Part::Kms).contains("the restored store waits for the cluster").then_some(())
    })
    .await;
    // It may be told to end meanwhile.
    cluster.stop_part(Part::Kms).await;
    cluster.launch(Part::Kms);
    cluster.launch(Part::Node(2));
    // One node is away for good: two are a majority.
    for part in [Part::Kms, Part::Node(1), Part::Node(2)] {
        cluster.wait_ready(part).await;
    }
    cluster.launch(Part::Node(3));
    cluster.wait_all_ready().await;
}
