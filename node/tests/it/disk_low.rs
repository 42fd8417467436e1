//! A node whose disk is low: clients are told why, what frees room goes on, and the KMS is not
//! asked for what is refused.

use lockbox_proto::google::rpc;
use lockbox_proto::yandex::cloud::lockbox::v1 as wire;
use prost::Message;
use tonic::{Code, Status};

use crate::client::text;
use crate::fixture::Node;

fn assert_no_room(refused: &Status) {
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused:?}");
    assert!(refused.message().contains("too little room left"), "{refused:?}");
    let outcome = refused.metadata().get("lockbox-outcome").unwrap().to_str().unwrap();
    assert_eq!(outcome, "not-proposed");
    let details = rpc::Status::decode(refused.details()).unwrap().details;
    let quota = details.iter().find_map(|any| any.to_msg::<rpc::QuotaFailure>().ok()).unwrap();
    assert_eq!(quota.violations[0].subject, "disk");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_grows_is_refused_with_a_reason_and_what_frees_is_not() {
    let node = Node::start().await;
    let secret = node.create(vec![text("k", "v")], "").await.id;
    node.app.replica.set_disk_is_low(true);

    let create = wire::CreateSecretRequest {
        folder_id: node.made.folder_id.to_string(),
        name: "more".to_owned(),
        version_payload_entries: vec![text("k", "v")],
        ..Default::default()
    };
    let refused = node.secrets().create(node.request(create.clone())).await.unwrap_err();
    assert_no_room(&refused);
    let add = wire::AddVersionRequest {
        secret_id: secret.clone(),
        payload_entries: vec![text("k", "w")],
        ..Default::default()
    };
    assert_no_room(&node.secrets().add_version(node.request(add)).await.unwrap_err());
    let update = wire::UpdateSecretRequest {
        secret_id: secret.clone(),
        update_mask: Some(prost_types::FieldMask { paths: vec!["description".to_owned()] }),
        description: "longer".to_owned(),
        ..Default::default()
    };
    assert_no_room(&node.secrets().update(node.request(update)).await.unwrap_err());

    let get = wire::GetPayloadRequest { secret_id: secret.clone(), ..Default::default() };
    node.payloads().get(node.request(get)).await.unwrap();
    let deactivate = wire::DeactivateSecretRequest { secret_id: secret.clone() };
    node.secrets().deactivate(node.request(deactivate)).await.unwrap();
    let delete = wire::DeleteSecretRequest { secret_id: secret };
    node.secrets().delete(node.request(delete)).await.unwrap();

    node.app.replica.set_disk_is_low(false);
    node.secrets().create(node.request(create)).await.unwrap();
    node.stop().await;
}
