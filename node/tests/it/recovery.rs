//! The administrator whose key is lost, and the operator who has the cluster's certificate.

use lockbox_platform::authorized_key::{GeneratedKeyPair, KeyAlgorithm, generate_key_pair};
use lockbox_proto::google::rpc;
use lockbox_proto::lockbox::cluster::v1 as wire;
use prost::Message;
use tonic::{Code, Status};

use crate::client::text;
use crate::fixture::{Fresh, Node};
use crate::peers::Peers;

fn pair() -> GeneratedKeyPair {
    generate_key_pair(KeyAlgorithm::Rsa2048).unwrap()
}

fn request(pair: &GeneratedKeyPair, keep_other_keys: bool) -> wire::RecoverAdminRequest {
    wire::RecoverAdminRequest { admin_public_key: pair.public_key_pem.clone(), keep_other_keys }
}

async fn recover(
    peers: &Peers,
    pair: &GeneratedKeyPair,
    keep_other_keys: bool,
) -> Result<wire::RecoverAdminResponse, Status> {
    let request = request(pair, keep_other_keys);
    Ok(peers.cluster("admin").recover_admin(request).await?.into_inner())
}

/// Whether the administrator can log in with a key.
async fn logs_in(
    node: &Node,
    made: &wire::RecoverAdminResponse,
    pair: &GeneratedKeyPair,
) -> Result<String, Code> {
    let (account, key) = (&made.admin_service_account_id, &made.admin_key_id);
    let token = node.log_in(account, key, pair.private_key_pem.clone()).await;
    token.map_err(|status| status.code())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_key_ends_the_lost_one_and_what_was_made_with_it() {
    let mut node = Node::start().await;
    let peers = Peers::start(&node.app, &node.tasks, &node.metrics).await;
    let secret = node.create(vec![text("k", "v")], "").await;
    let (old_token, new) = (node.token().to_owned(), pair());

    let made = recover(&peers, &new, false).await.unwrap();
    assert_eq!(made.admin_service_account_id, node.made.admin_id.as_str());
    assert_eq!(made.folder_id, node.made.folder_id.as_str());
    assert_eq!(made.deleted_key_ids, [node.made.admin_key_id.to_string()]);
    assert_eq!(node.read(&secret.id, "").await.unwrap_err().code(), Code::Unauthenticated);
    let old = wire::RecoverAdminResponse {
        admin_key_id: node.made.admin_key_id.to_string(),
        ..made.clone()
    };
    assert_eq!(logs_in(&node, &old, &node.pair).await, Err(Code::Unauthenticated));

    // The answer was lost: the same key finds what there is.
    let again = recover(&peers, &new, false).await.unwrap();
    assert_eq!(again, wire::RecoverAdminResponse { deleted_key_ids: Vec::new(), ..made.clone() });
    let token = logs_in(&node, &made, &new).await.unwrap();
    assert_ne!(token, old_token);
    node.use_token(token);
    assert_eq!(node.read(&secret.id, "").await.unwrap().len(), 1);
    node.create_account("made-by-the-recovered").await;

    // Rotation: another one beside it.
    let next = pair();
    let beside = recover(&peers, &next, true).await.unwrap();
    assert!(beside.deleted_key_ids.is_empty());
    assert!(logs_in(&node, &made, &new).await.is_ok());
    assert!(logs_in(&node, &beside, &next).await.is_ok());

    let audit = node.audit();
    let records: Vec<serde_json::Value> = audit
        .lines()
        .filter(|line| line.contains("RecoverAdministrator"))
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(records.len(), 3);
    assert_eq!(records[0]["authentication"]["subject_id"], "admin.lockbox.internal");
    assert_eq!(records[0]["details"]["deleted_key_ids"], node.made.admin_key_id.as_str());
    assert_eq!(records[0]["details"]["key_id"], made.admin_key_id.as_str());
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_certificate_decides_and_a_wrong_key_changes_nothing() {
    let node = Node::start().await;
    let peers = Peers::start(&node.app, &node.tasks, &node.metrics).await;
    for stem in ["operator", "node", "other-node", "kms", "stranger"] {
        let refused = peers.cluster(stem).recover_admin(request(&pair(), false)).await;
        assert_eq!(refused.unwrap_err().code(), Code::PermissionDenied, "{stem}");
    }
    let long = "k".repeat(4_097);
    for wrong in ["", "-----BEGIN PUBLIC KEY-----\nAA==\n-----END PUBLIC KEY-----\n", &long] {
        let request =
            wire::RecoverAdminRequest { admin_public_key: wrong.into(), keep_other_keys: false };
        let refused = peers.cluster("admin").recover_admin(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        let details = rpc::Status::decode(refused.details()).unwrap().details;
        let named = details.iter().filter_map(|any| any.to_msg::<rpc::BadRequest>().ok());
        let fields: Vec<_> = named.flat_map(|bad| bad.field_violations).map(|v| v.field).collect();
        assert_eq!(fields, ["admin_public_key"]);
    }
    // The administrator is who it was.
    node.create(vec![text("k", "v")], "").await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sealed_node_recovers_too_and_one_without_a_cluster_says_so() {
    let fresh = Fresh::start().await;
    let peers = Peers::start(&fresh.app, &fresh.tasks, &fresh.metrics).await;
    let refused = recover(&peers, &pair(), false).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused:?}");
    fresh.stop().await;

    let node = Node::start().await;
    node.kms.set_down(true);
    let first_key = node.made.admin_key_id.to_string();
    let sealed = node.restart().await;
    assert!(sealed.app.keyring.is_sealed());
    let peers = Peers::start(&sealed.app, &sealed.tasks, &sealed.metrics).await;
    let made = recover(&peers, &pair(), false).await.unwrap();
    assert_eq!(made.deleted_key_ids, [first_key]);
    sealed.stop().await;
}
