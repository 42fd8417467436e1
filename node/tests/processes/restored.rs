//! What an older copy of the nodes' data opens once everything in it was destroyed (`design §6`).
//!
//! A copy of the directories of nodes that were stopped, and no backup ([`crate::backup`]): nothing
//! is destroyed again. The KMS is not set back with them, as it is somebody else's.

use std::path::Path;

use lockbox_core::KmsKeyId;
use lockbox_kms_sim::engine::db_directory;
use lockbox_kms_sim::store::Db;
use lockbox_kms_sim::store::tables::{self, Table};
use lockbox_proto::yandex::cloud::kms::v1::DeleteSymmetricKeyRequest;
use lockbox_proto::yandex::cloud::kms::v1::symmetric_key_service_client::SymmetricKeyServiceClient;
use lockbox_proto::yandex::cloud::lockbox::v1 as wire;
use tempfile::TempDir;
use tonic::Code;
use wire::version::Status as VersionStatus;

use crate::client::Client;
use crate::cluster::{Cluster, NODES, Part};
use crate::messages::{pairs, text};
use crate::waiting::until;

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let (path, name) = (entry.as_ref().unwrap().path(), entry.as_ref().unwrap().file_name());
        if path.is_dir() {
            copy(&path, &to.join(name));
        } else {
            std::fs::copy(&path, to.join(name)).unwrap();
        }
    }
}

impl Cluster {
    async fn stop_nodes(&mut self) {
        for node in NODES {
            self.stop_part(Part::Node(node)).await;
        }
    }

    async fn start_nodes(&mut self) {
        for node in NODES {
            self.launch(Part::Node(node));
        }
        self.wait_all_ready().await;
    }

    /// Copies the data of the nodes, which do not run.
    fn copied(&self) -> TempDir {
        let copies = tempfile::tempdir().unwrap();
        for part in NODES.map(Part::Node) {
            copy(&self.data(part), &copies.path().join(part.to_string()));
        }
        copies
    }

    /// Puts a copy in the place of their data.
    fn restore(&self, copies: &Path) {
        for part in NODES.map(Part::Node) {
            std::fs::remove_dir_all(self.data(part)).unwrap();
            copy(&copies.join(part.to_string()), &self.data(part));
        }
    }

    /// Deletes a key of the KMS, and waits until it has no material any more.
    pub(crate) async fn destroy_key(&self, id: &str) {
        let admin = self.admin(Part::Kms);
        let mut keys = SymmetricKeyServiceClient::new(admin.channel.clone());
        let delete = DeleteSymmetricKeyRequest { key_id: id.to_owned() };
        keys.delete(admin.request(delete)).await.unwrap();
        let store = db_directory(&self.data(Part::Kms));
        let versions = tables::versions_prefix(&KmsKeyId::parse(id).unwrap());
        until("end of the key", async || {
            // A file that goes while the store is opened beside the KMS is no reason to end.
            let db = Db::open_read_only(&store).ok()?;
            let left = db.view().scan(Table::Materials, &versions, b"").count();
            (left == 0).then_some(())
        })
        .await;
    }
}

/// Destroys the current version of a secret, and waits until that is done.
pub(crate) async fn destroy_version(admin: &Client, secret: &str) {
    let listed = async || {
        let request =
            wire::ListVersionsRequest { secret_id: secret.to_owned(), ..Default::default() };
        let listed = admin.secrets().list_versions(admin.request(request)).await.unwrap();
        listed.into_inner().versions.remove(0)
    };
    let schedule = wire::ScheduleVersionDestructionRequest {
        secret_id: secret.to_owned(),
        version_id: listed().await.id,
        pending_period: Some(prost_types::Duration { seconds: 1, nanos: 0 }),
    };
    admin.secrets().schedule_version_destruction(admin.request(schedule)).await.unwrap();
    until("destruction", async || {
        (listed().await.status() == VersionStatus::Destroyed).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_copy_opens_what_the_common_key_wraps_and_nothing_of_a_destroyed_own_key() {
    let retention = ("KMS_CONFIG_LIMITS__DELETED_KEY_RETENTION_S", "1".to_owned());
    let mut cluster = Cluster::start(vec![retention]).await;
    let own_key = cluster.admin(Part::Kms).create_kms_key().await;
    let admin = cluster.admin(Part::Node(1));
    let own = admin.create(&own_key, vec![text("k", "own")]).await;
    let common = admin.create("", vec![text("k", "common")]).await;
    assert_eq!(admin.read(&own).await.unwrap(), pairs(&[("k", b"own")]));
    cluster.stop_nodes().await;
    let copies = cluster.copied();
    cluster.start_nodes().await;

    let admin = cluster.admin(Part::Node(1));
    destroy_version(&admin, &common).await;
    cluster.destroy_key(&own_key).await;
    for secret in [&own, &common] {
        let refused = admin.read(secret).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
    }
    cluster.stop_nodes().await;
    cluster.restore(copies.path());
    cluster.start_nodes().await;

    // The state is as it was; but what unwraps the one is gone, wherever its copies are.
    for node in NODES {
        let admin = cluster.admin(Part::Node(node));
        let request = wire::GetSecretRequest { secret_id: own.clone() };
        let shown = admin.secrets().get(admin.request(request)).await.unwrap().into_inner();
        assert_eq!(shown.kms_key_id, own_key);
        let refused = admin.read(&own).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
        // The other is wrapped by the keyring, which the copy has, too: it has to be destroyed
        // again, as docs/destruction.md says.
        assert_eq!(admin.read(&common).await.unwrap(), pairs(&[("k", b"common")]));
    }
    destroy_version(&cluster.admin(Part::Node(1)), &common).await;
    let refused = cluster.admin(Part::Node(2)).read(&common).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
}
