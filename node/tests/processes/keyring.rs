//! The keyring of a cluster of processes: rotated while clients write and leaders change, and
//! forgotten by one node.

use serde_json::Value;
use tonic::Code;

use crate::cluster::{Cluster, NODES, Part, success};
use crate::load::Load;
use crate::membership::json;
use crate::messages::{pairs, text};
use crate::waiting::until;

impl Cluster {
    /// The keyring as the leader tells it, whichever node is asked.
    fn keyring(&self, at: u16) -> Value {
        json(&self.operator(at, &["admin", "keyring", "status", "--format", "json"]))
    }

    /// Waits until a key is at this stage.
    async fn keyring_key_is(&self, at: u16, id: u64, stage: &str) -> Value {
        until(&format!("keyring key {id} that is {stage}"), async || {
            let keyring = self.keyring(at);
            let mut keys = keyring["keys"].as_array().unwrap().iter();
            keys.any(|key| key["key_id"] == id && key["stage"] == stage).then_some(keyring)
        })
        .await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_goes_on_through_changes_of_the_leader_while_clients_write() {
    let at_once = ("LOCKBOX_CONFIG_KEYRING__CLOSE_AFTER_SECONDS", "1".to_owned());
    let slowly = ("LOCKBOX_CONFIG_KEYRING__REWRAPS_PER_SECOND", "200".to_owned());
    let cluster = Cluster::start(vec![at_once, slowly]).await;
    let clients = NODES.map(|node| cluster.admin(Part::Node(node)));
    let own_key = cluster.admin(Part::Kms).create_kms_key().await;
    let own = clients[0].create(&own_key, vec![text("k", "own")]).await;
    let load = Load::start(clients.clone().into());
    load.goes_on(60).await;

    let leader = cluster.leader().await;
    let follower = NODES.into_iter().find(|node| *node != leader).unwrap();
    // Any node may be named: the command finds the leader.
    let begun =
        json(&cluster.operator(follower, &["admin", "keyring", "rotate", "--format", "json"]));
    assert_eq!((&begun["key_id"], &begun["begun"]), (&Value::from(4), &Value::from(true)));
    cluster.keyring_key_is(follower, 4, "activated").await;
    success(&cluster.operator(leader, &["cluster", "transfer-leader", &follower.to_string()]));
    load.goes_on(20).await;
    let written = load.end().await;
    let keyring = cluster.keyring_key_is(leader, 1, "retired").await;
    assert_eq!(keyring["active_key_id"], 4);

    for client in &clients {
        for (secret, value) in &written {
            let found = client.read(secret).await.unwrap();
            assert_eq!(found, pairs(&[("value", value.as_bytes())]));
        }
        assert_eq!(client.read(&own).await.unwrap(), pairs(&[("k", b"own")]));
    }
    cluster.agree(&NODES).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_node_forgets_the_keys_and_gets_them_back() {
    let mut cluster = Cluster::start(Vec::new()).await;
    let clients = NODES.map(|node| cluster.admin(Part::Node(node)));
    let secret = clients[0].create("", vec![text("k", "v")]).await;
    let sealed = json(&cluster.operator(1, &["admin", "seal", "2", "--format", "json"]));
    assert_eq!((&sealed["node_id"], &sealed["sealed"]), (&Value::from(2), &Value::from(true)));
    assert_eq!(clients[1].read(&secret).await.unwrap_err().code(), Code::Unavailable);
    for client in [&clients[0], &clients[2]] {
        assert_eq!(client.read(&secret).await.unwrap(), pairs(&[("k", b"v")]));
    }
    // It goes on replicating, and a restart does not open it.
    cluster.stop_part(Part::Node(2)).await;
    cluster.launch(Part::Node(2));
    until("node that is up again and sealed", async || {
        let status = cluster.status(2).await?;
        status.sealed_reason.contains("an operator has sealed the node").then_some(())
    })
    .await;
    clients[0].add(&secret, vec![text("k", "w")]).await.unwrap();
    let refused = cluster.operator(1, &["admin", "unseal", "9"]);
    assert_eq!(refused.status.code(), Some(1));
    let opened = json(&cluster.operator(3, &["admin", "unseal", "2", "--format", "json"]));
    assert_eq!(opened["sealed"], Value::Null, "{opened}");
    cluster.wait_ready(Part::Node(2)).await;
    let client = cluster.admin(Part::Node(2));
    assert_eq!(client.read(&secret).await.unwrap(), pairs(&[("k", b"w")]));
}
