//! Bindings of single versions, over the wire (`docs/access.md`).

use lockbox_proto::lockbox::iam::v1 as own;
use lockbox_proto::yandex::cloud::access::{self, AccessBindingAction};
use lockbox_proto::yandex::cloud::lockbox::v1 as wire;
use lockbox_proto::yandex::cloud::operation::GetOperationRequest;
use lockbox_proto::yandex::cloud::operation::operation_service_client::OperationServiceClient;
use prost_types::Duration;
use tokio::time::Instant;
use tonic::{Code, Response, Status};
use wire::get_ex_request::Identifier;

use crate::client::text;
use crate::conditions::{Robot, add, bound, current, delta};
use crate::fixture::{Node, WAIT, bearing};
use crate::messages::{binding, metadata, response};

const MAY: [Code; 3] = [Code::Ok; 3];
const MAY_NOT: [Code; 3] = [Code::PermissionDenied; 3];

fn code<T>(result: Result<Response<T>, Status>) -> Code {
    result.map_or_else(|status| status.code(), |_| Code::Ok)
}

fn reader(robot: &Robot) -> own::Binding {
    bound("lockbox.payloadViewer", &robot.id, None)
}

/// A secret of two versions, the second current: its id and theirs.
async fn of_two(node: &Node, kms_key_id: &str) -> (String, String, String) {
    let secret = node.create(vec![text("k", "v")], kms_key_id).await;
    let first = secret.current_version.unwrap().id;
    let second = node.add(&secret.id, vec![text("k", "w")]).await.id;
    (secret.id, first, second)
}

async fn point_at(node: &Node, secret: &str, version: &str) {
    let (secret_id, version_id) = (secret.to_owned(), version.to_owned());
    let set = wire::SetCurrentVersionRequest { secret_id, version_id };
    node.secrets().set_current_version(node.request(set)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_binding_of_a_version_opens_that_one_and_nothing_else() {
    let node = Node::start().await;
    let (secret, first, second) = of_two(&node, "").await;
    let (other, other_version, _) = of_two(&node, "").await;
    let robot = node.robot("robot").await;
    let reads = async |secret: &str, version: &str| node.reads(&robot.token, secret, version).await;
    assert_eq!(reads(&secret, &first).await, MAY_NOT);
    node.change(&first, add(reader(&robot))).await.unwrap();
    assert_eq!(node.bindings(&first).await, [reader(&robot)]);

    assert_eq!(reads(&secret, &first).await, MAY);
    for version in ["", second.as_str(), "e6qnowhere", other_version.as_str()] {
        assert_eq!(reads(&secret, version).await, MAY_NOT, "{version}");
    }
    // A version opens its own secret, and says nothing of another one's.
    for version in ["", first.as_str(), other_version.as_str()] {
        assert_eq!(reads(&other, version).await, MAY_NOT, "{version}");
    }
    // It is found by the secret's name as well, which here two have, and that is not told.
    let by_name = wire::GetExRequest {
        identifier: Some(Identifier::FolderAndName(wire::FolderAndName {
            folder_id: node.made.folder_id.to_string(),
            secret_name: "s".into(),
        })),
        version_id: first.clone(),
    };
    let ambiguous = node.payloads().get_ex(bearing(&robot.token, by_name.clone())).await;
    assert_eq!(code(ambiguous), Code::PermissionDenied);
    let delete = wire::DeleteSecretRequest { secret_id: other.clone() };
    node.secrets().delete(node.request(delete)).await.unwrap();
    let found = node.payloads().get_ex(bearing(&robot.token, by_name)).await.unwrap();
    assert_eq!(found.into_inner().version_id, first);

    // No metadata, of the version or of the secret, and nothing that changes it.
    let (token, secret_id) = (robot.token.as_str(), || secret.clone());
    let mut secrets = node.secrets();
    let get = wire::GetSecretRequest { secret_id: secret_id() };
    let list = wire::ListVersionsRequest { secret_id: secret_id(), ..Default::default() };
    let operations =
        wire::ListSecretOperationsRequest { secret_id: secret_id(), ..Default::default() };
    let bindings = own::ListBindingsRequest { resource_id: first.clone(), ..Default::default() };
    let add_version = wire::AddVersionRequest {
        secret_id: secret_id(),
        base_version_id: first.clone(),
        payload_entries: vec![text("k", "x")],
        ..Default::default()
    };
    let schedule = wire::ScheduleVersionDestructionRequest {
        secret_id: secret_id(),
        version_id: first.clone(),
        pending_period: None,
    };
    for code in [
        code(secrets.get(bearing(token, get)).await),
        code(secrets.list_versions(bearing(token, list)).await),
        code(secrets.list_operations(bearing(token, operations)).await),
        code(node.access().list_bindings(bearing(token, bindings)).await),
        code(secrets.add_version(bearing(token, add_version)).await),
        code(secrets.schedule_version_destruction(bearing(token, schedule)).await),
    ] {
        assert_eq!(code, Code::PermissionDenied);
    }

    // Nor does the audit hear what such a one would give to whom.
    let canary = own::UpdateBindingsRequest {
        resource_id: first.clone(),
        deltas: add(bound("planted-canary", &robot.id, None)),
    };
    let refused = node.access().update_bindings(bearing(token, canary)).await;
    assert_eq!(code(refused), Code::PermissionDenied);
    assert!(!node.audit().contains("planted-canary"));

    // Once it is current, a read that names none gets it.
    point_at(&node, &secret, &first).await;
    assert_eq!(reads(&secret, "").await, MAY);
    let off = wire::DeactivateSecretRequest { secret_id: secret_id() };
    node.secrets().deactivate(node.request(off)).await.unwrap();
    assert_eq!(reads(&secret, &first).await, [Code::FailedPrecondition; 3]);
    assert_eq!(reads(&secret, &second).await, MAY_NOT);
    let on = wire::ActivateSecretRequest { secret_id: secret_id() };
    node.secrets().activate(node.request(on)).await.unwrap();

    // Taken in one commit.
    node.change(&first, delta(AccessBindingAction::Remove, reader(&robot))).await.unwrap();
    assert_eq!(reads(&secret, &first).await, MAY_NOT);
    // Everybody, but only while it is current: both have to be met.
    let mut everybody = bound("lockbox.payloadViewer", &robot.id, current());
    everybody.subject = binding("", "system", "allAuthenticatedUsers").subject;
    node.change(&first, add(everybody)).await.unwrap();
    assert_eq!(reads(&secret, &first).await, MAY);
    point_at(&node, &secret, &second).await;
    assert_eq!(reads(&secret, &first).await, MAY_NOT);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bindings_of_a_version_end_with_it() {
    let node = Node::start().await;
    let (secret, first, second) = of_two(&node, "").await;
    let robot = node.robot("robot").await;
    for version in [&first, &second] {
        node.change(version, add(reader(&robot))).await.unwrap();
    }
    let schedule = wire::ScheduleVersionDestructionRequest {
        secret_id: secret.clone(),
        version_id: first.clone(),
        pending_period: Some(Duration { seconds: 1, nanos: 0 }),
    };
    node.secrets().schedule_version_destruction(node.request(schedule)).await.unwrap();
    // Until it is destroyed it is refused as to everybody who may read it.
    let until = Instant::now() + WAIT;
    while node.reads(&robot.token, &secret, &first).await != MAY_NOT {
        assert!(Instant::now() < until, "it is not destroyed");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert!(node.bindings(&first).await.is_empty());
    let gone = node.change(&first, add(reader(&robot))).await.unwrap_err();
    assert_eq!(gone.code(), Code::FailedPrecondition);
    assert_eq!(node.reads(&robot.token, &secret, &second).await, MAY);

    let delete = wire::DeleteSecretRequest { secret_id: secret.clone() };
    node.secrets().delete(node.request(delete)).await.unwrap();
    let gone = node.change(&second, add(reader(&robot))).await.unwrap_err();
    assert_eq!(gone.code(), Code::NotFound);
    let list = own::ListBindingsRequest { resource_id: second, ..Default::default() };
    let gone = node.access().list_bindings(node.request(list)).await;
    assert_eq!(code(gone), Code::NotFound);
    node.stop().await;
}

/// The version's binding is one of the two keys; the other is the KMS's to ask for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_two_key_rule_holds_for_a_version_too() {
    let node = Node::start().await;
    let (secret, first, _) = of_two(&node, "abjownkey").await;
    let robot = node.robot("robot").await;
    node.change(&first, add(reader(&robot))).await.unwrap();
    assert_eq!(node.reads(&robot.token, &secret, &first).await, MAY);
    let asked = node.kms.used().pop().unwrap();
    assert_eq!(asked.subject_name, "robot");
    assert!(asked.roles.is_empty(), "{:?}", asked.roles);
    node.kms.refuse("decrypt", Code::PermissionDenied);
    assert_eq!(node.reads(&robot.token, &secret, &first).await, MAY_NOT);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_grants_on_the_secret_grants_on_its_versions_and_it_is_on_record() {
    let node = Node::start().await;
    let (secret, first, _) = of_two(&node, "").await;
    let robot = node.robot("robot").await;
    let (editor, granter) = (node.robot("editor").await, node.robot("granter").await);
    node.change(&secret, add(bound("lockbox.editor", &editor.id, None))).await.unwrap();
    node.change(&secret, add(bound("lockbox.admin", &granter.id, None))).await.unwrap();
    let request = |binding: own::Binding| own::UpdateBindingsRequest {
        resource_id: first.clone(),
        deltas: add(binding),
    };
    let by = async |robot: &Robot, binding: own::Binding| {
        node.access().update_bindings(bearing(&robot.token, request(binding))).await
    };
    for refused in [by(&editor, reader(&robot)).await, by(&robot, reader(&robot)).await] {
        assert_eq!(code(refused), Code::PermissionDenied);
    }
    for role in ["lockbox.admin", "lockbox.viewer", "admin"] {
        let refused = by(&granter, bound(role, &robot.id, None)).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{role}");
        assert!(refused.message().contains("role_id"), "{refused:?}");
    }
    let operation = by(&granter, reader(&robot)).await.unwrap().into_inner();
    let about: access::UpdateAccessBindingsMetadata = metadata(&operation);
    assert_eq!(about.resource_id, first);
    let result: access::AccessBindingsOperationResult = response(&operation);
    let added = binding("lockbox.payloadViewer", "serviceAccount", &robot.id);
    assert_eq!(result.effective_deltas[0].access_binding, Some(added));
    // Who reads the secret's operations reads of it, as the editor does.
    let list =
        wire::ListSecretOperationsRequest { secret_id: secret.clone(), ..Default::default() };
    let listed = node.secrets().list_operations(bearing(&editor.token, list)).await.unwrap();
    assert_eq!(listed.into_inner().operations[0], operation);
    let look = GetOperationRequest { operation_id: operation.id.clone() };
    let mut operations = OperationServiceClient::new(node.channel.clone());
    assert_eq!(code(operations.get(bearing(&editor.token, look.clone())).await), Code::Ok);
    assert_eq!(code(operations.get(bearing(&robot.token, look)).await), Code::PermissionDenied);

    let audit = node.audit();
    let records = audit.lines().filter(|line| line.contains(".UpdateBindings"));
    let records: Vec<serde_json::Value> =
        records.map(|line| serde_json::from_str(line).unwrap()).collect();
    let done = records.last().unwrap();
    assert_eq!(done["event_type"], "yandex.cloud.audit.iam.UpdateBindings");
    assert_eq!(done["details"]["resource_id"], first.as_str());
    let path = done["resource_metadata"]["path"].as_array().unwrap();
    assert_eq!(path.last().unwrap()["resource_type"], "lockbox.secretVersion", "{done}");
    let denied = records.iter().filter(|record| record["authorization"]["authorized"] == false);
    assert_eq!(denied.count(), 2);
    // The cloud's own methods know no versions (`contract §4.1`).
    let set = access::SetAccessBindingsRequest { resource_id: first, access_bindings: vec![] };
    let unknown = node.secrets().set_access_bindings(node.request(set)).await;
    assert_eq!(code(unknown), Code::NotFound);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_explanation_names_the_version() {
    let node = Node::start().await;
    let (secret, first, second) = of_two(&node, "").await;
    let robot = node.robot("robot").await;
    node.change(&first, add(reader(&robot))).await.unwrap();
    let asked = async |token: &str, on: &str| {
        let request = own::ExplainRequest {
            subject: binding("", "serviceAccount", &robot.id).subject,
            permission: "payload.get".into(),
            resource_id: on.into(),
        };
        node.access().explain(bearing(token, request)).await.unwrap().into_inner()
    };
    let told = asked(node.token(), &first).await;
    assert!(told.allowed, "{told:?}");
    let leaf = told.path.last().unwrap();
    assert_eq!((leaf.r#type.as_str(), &leaf.id), ("lockbox.secretVersion", &first));
    assert_eq!(told.held[0].resource.as_ref(), Some(leaf));
    assert!(told.held[0].grants && told.remarks[0].contains("one version"), "{told:?}");
    for on in [&second, &secret] {
        let told = asked(node.token(), on).await;
        assert!(!told.allowed && told.held.is_empty(), "{told:?}");
    }
    // Of a secret the current version is meant.
    point_at(&node, &secret, &first).await;
    let told = asked(&robot.token, &secret).await;
    assert!(told.allowed && told.path.is_empty(), "{told:?}");
    assert_eq!(told.held[0].resource.clone().unwrap().id, first);
    let by_admin = asked(node.token(), &secret).await;
    assert_eq!(by_admin.path.last().unwrap().id, first);
    // What is for the current version is told of those that are not.
    let of_current = bound("lockbox.payloadViewer", &robot.id, current());
    node.change(&secret, add(of_current)).await.unwrap();
    let told = asked(&robot.token, &second).await;
    assert!(!told.allowed, "{told:?}");
    assert_eq!(told.held[0].unmet, "is for the current version alone");
    node.stop().await;
}
