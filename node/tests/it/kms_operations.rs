//! The endpoint of operations polls those of all services (`contract §0.1`): also the KMS's.

use lockbox_proto::yandex::cloud::operation::GetOperationRequest;
use lockbox_proto::yandex::cloud::operation::operation_service_client::OperationServiceClient;
use tonic::Code;

use crate::fake_kms::OPERATION;
use crate::fixture::{Node, bearing};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operation_of_the_kms_is_found_here_too() {
    let node = Node::start().await;
    let mut operations = OperationServiceClient::new(node.channel.clone());
    let get = |id: &str| GetOperationRequest { operation_id: id.to_owned() };
    let found = operations.get(node.request(get(OPERATION))).await.unwrap();
    assert!(found.metadata().contains_key("kms-index"));
    let found = found.into_inner();
    assert!(found.done && found.id == OPERATION);
    // It was asked for in the caller's name, with what the caller holds.
    let used = node.kms.used().pop().unwrap();
    assert_eq!(
        (used.operation, used.subject_id.as_str()),
        ("get_operation", node.made.admin_id.as_str())
    );
    assert!(used.roles.contains(&"resource-manager.clouds.owner".to_owned()), "{used:?}");

    let unknown = operations.get(node.request(get("abjunknown"))).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
    node.kms.refuse("get_operation", Code::PermissionDenied);
    let denied = operations.get(node.request(get(OPERATION))).await.unwrap_err();
    assert_eq!(denied.code(), Code::PermissionDenied);
    // A KMS without operations knows none, and one that does not answer may know it.
    node.kms.refuse("get_operation", Code::Unimplemented);
    let without = operations.get(node.request(get(OPERATION))).await.unwrap_err();
    assert_eq!(without.code(), Code::NotFound);
    node.kms.set_down(true);
    let down = operations.get(node.request(get(OPERATION))).await.unwrap_err();
    assert_eq!(down.code(), Code::Unavailable);
    node.kms.set_down(false);

    let asked = node.kms.used().len();
    let nobody = operations.get(bearing("nobody", get(OPERATION))).await.unwrap_err();
    assert_eq!(nobody.code(), Code::Unauthenticated);
    assert_eq!(node.kms.used().len(), asked, "who is not known here asks nobody");
    node.stop().await;
}
