//! All certificates, and the authority that they come from, are replaced under a running cluster.

use lockbox_proto::yandex::cloud::kms::v1::ListSymmetricKeysRequest;
use lockbox_proto::yandex::cloud::kms::v1::symmetric_key_service_client::SymmetricKeyServiceClient;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::cluster::{Cluster, NODES, PARTS, Part, success};
use crate::messages::{pairs, text};
use crate::waiting::until;

impl Cluster {
    /// Another authority issues everything anew; returns when every listener shows it.
    async fn replace_certificates(&self) {
        std::fs::remove_file(self.ca()).unwrap();
        success(&self.local(&["prepare", "--nodes", &NODES.len().to_string()]));
        for part in PARTS {
            until(&format!("new certificate of {part}"), async || {
                let request = HealthCheckRequest { service: String::new() };
                HealthClient::new(self.channel(part)).check(request).await.ok()
            })
            .await;
        }
        for node in NODES {
            let what = format!("new certificate of node {node} for its peers");
            until(&what, async || self.status(node).await).await;
        }
    }

    async fn restart(&mut self, part: Part) {
        self.kill(part);
        self.launch(part);
        self.wait_ready(part).await;
    }
}

/// Each time the processes that go on have to connect to one that trusts the new authority alone:
/// the nodes to the KMS, then the KMS and the other nodes to each node.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn security_s01_all_certificates_are_replaced_without_a_restart() {
    let mut cluster = Cluster::start(Vec::new()).await;
    let own_key = cluster.admin(Part::Kms).create_kms_key().await;
    let own = cluster.admin(Part::Node(1)).create(&own_key, vec![text("k", "own")]).await;
    let nodes = NODES.map(|node| cluster.pid(Part::Node(node)));

    cluster.replace_certificates().await;
    cluster.restart(Part::Kms).await;
    for node in NODES {
        let client = cluster.admin(Part::Node(node));
        // A node whose KMS client has just lost its connection may need a moment.
        let read = until("answer under the own key", async || client.read(&own).await.ok());
        assert_eq!(read.await, pairs(&[("k", b"own")]));
    }
    assert_eq!(NODES.map(|node| cluster.pid(Part::Node(node))), nodes);

    let kms = cluster.pid(Part::Kms);
    cluster.replace_certificates().await;
    for node in NODES {
        cluster.restart(Part::Node(node)).await;
    }
    let admin = cluster.admin(Part::Kms);
    // It asks the nodes who that is.
    let keys = until("answer of the KMS", async || {
        let folder_id = admin.folder.clone();
        let request = ListSymmetricKeysRequest { folder_id, ..Default::default() };
        let mut client = SymmetricKeyServiceClient::new(admin.channel.clone());
        client.list(admin.request(request)).await.ok()
    });
    assert_eq!(keys.await.into_inner().keys.len(), 1);
    assert_eq!(cluster.pid(Part::Kms), kms);
}
