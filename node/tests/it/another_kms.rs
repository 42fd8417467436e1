//! Beside a KMS of another maker that speaks the same API: it knows the node by a token, and none
//! of its callers.

use lockbox_proto::yandex::cloud::lockbox::v1 as wire;
use lockbox_proto::yandex::cloud::operation::GetOperationRequest;
use lockbox_proto::yandex::cloud::operation::operation_service_client::OperationServiceClient;
use tonic::{Code, Status};

use crate::client::{pairs, text};
use crate::fake_kms::OPERATION;
use crate::fixture::{Node, bearing};
use crate::messages::binding;

impl Node {
    async fn read_as(&self, token: &str, secret: &str) -> Result<wire::Payload, Status> {
        let message = wire::GetPayloadRequest { secret_id: secret.into(), ..Default::default() };
        Ok(self.payloads().get(bearing(token, message)).await?.into_inner())
    }

    async fn add_as(&self, token: &str, secret: &str) -> Result<(), Status> {
        let message = wire::AddVersionRequest {
            secret_id: secret.into(),
            payload_entries: vec![text("k", "newer")],
            ..Default::default()
        };
        self.secrets().add_version(bearing(token, message)).await.map(drop)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_shown_the_token_and_rights_on_its_keys_are_judged_here() {
    let node = Node::beside_another_kms("t0ken\n").await;
    let own = node.create(vec![text("k", "own")], "abjownkey").await.id;
    let common = node.create(vec![text("k", "common")], "").await.id;
    assert_eq!(node.read(&own, "").await.unwrap(), pairs(&[("k", b"own")]));
    assert_eq!(node.read(&common, "").await.unwrap(), pairs(&[("k", b"common")]));

    // A right on the secret is none on its key.
    let robot = node.robot("reader").await;
    let bind = async |role: &str| {
        node.bind(binding(role, "serviceAccount", &robot.id)).await;
    };
    bind("lockbox.payloadViewer").await;
    bind("lockbox.editor").await;
    let before = node.kms.tokens().len();
    let read = async || node.read_as(&robot.token, &own).await.map(|_| ());
    let code = |answer: Result<(), Status>| answer.err().map_or(Code::Ok, |status| status.code());
    assert_eq!(code(read().await), Code::PermissionDenied);
    assert_eq!(code(node.add_as(&robot.token, &own).await), Code::PermissionDenied);
    let message = wire::CreateSecretRequest {
        folder_id: node.made.folder_id.to_string(),
        kms_key_id: "abjownkey".into(),
        ..Default::default()
    };
    let mut secrets = node.secrets();
    let empty = secrets.create(bearing(&robot.token, message.clone())).await.map(drop);
    assert_eq!(code(empty), Code::PermissionDenied);
    assert_eq!(node.kms.tokens().len(), before, "the KMS was asked");
    assert!(node.read_as(&robot.token, &common).await.is_ok());

    // Each half of the right lets through what it is for.
    bind("kms.keys.decrypter").await;
    assert_eq!(code(read().await), Code::Ok);
    assert_eq!(code(node.add_as(&robot.token, &own).await), Code::PermissionDenied);
    bind("kms.keys.encrypter").await;
    assert_eq!(code(node.add_as(&robot.token, &own).await), Code::Ok);
    assert!(secrets.create(bearing(&robot.token, message)).await.is_ok());

    // What the KMS did for others is not told: it would not know to whom.
    let mut operations = OperationServiceClient::new(node.channel.clone());
    let message = GetOperationRequest { operation_id: OPERATION.into() };
    let refused = operations.get(node.request(message)).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);

    assert!(node.kms.used().is_empty(), "it was told of callers");
    let shown = node.kms.tokens();
    assert!(shown.len() > 6 && shown.iter().all(|token| token == "Bearer t0ken"), "{shown:?}");
    node.stop().await;
}
