//! The life of keys on the wire: types, ids, repeats, edges of periods and pages.

use std::collections::BTreeSet;

use lockbox_proto::yandex::cloud::access::{
    ListAccessBindingsRequest, UpdateAccessBindingsRequest,
};
use lockbox_proto::yandex::cloud::kms::v1::{
    CreateSymmetricKeyRequest, DeleteSymmetricKeyMetadata, ListSymmetricKeyOperationsRequest,
    ListSymmetricKeyVersionsRequest, ListSymmetricKeysRequest, RotateSymmetricKeyMetadata,
    RotateSymmetricKeyRequest, ScheduleSymmetricKeyVersionDestructionMetadata,
    SetPrimarySymmetricKeyVersionMetadata, SymmetricKey, SymmetricKeyVersion,
    UpdateSymmetricKeyRequest, symmetric_key_version,
};
use lockbox_proto::yandex::cloud::operation::{
    CancelOperationRequest, GetOperationRequest, Operation, operation,
};
use tonic::Code;

use crate::requests::{
    binding, by, code, create, keyed, metadata, response, rotate, seconds, to_add, to_cancel,
    to_create, to_delete, to_schedule, to_set_bindings, to_set_primary,
};
use crate::server_support::ServerFixture;

/// `contract §14` no. 4, for every mutation of a key: the types that its options declare; and
/// no. 16: a repeat is the first operation, another request under the same key is refused.
#[tokio::test(flavor = "multi_thread")]
async fn every_mutation_has_its_types_and_is_done_once_for_an_idempotency_key() {
    let server = ServerFixture::start(|_| {}).await;
    let mut keys = server.keys(None).await;
    let mut done: Vec<(&str, Operation)> = Vec::new();
    macro_rules! mutation {
        ($method:ident, $path:literal, $message:expr, $other:expr) => {{
            let first = keys.$method(keyed($message, $path)).await.unwrap().into_inner();
            let again = keys.$method(keyed($message, $path)).await.unwrap().into_inner();
            assert_eq!(again, first, $path);
            let other = keys.$method(keyed($other, $path)).await;
            assert_eq!(code(&other), Code::InvalidArgument, $path);
            done.push(($path, first.clone()));
            first
        }};
    }
    let other_name = CreateSymmetricKeyRequest { name: "two".to_owned(), ..to_create() };
    let created = mutation!(create, "Create", to_create(), other_name);
    let key: SymmetricKey = response(&created);
    let (id, first) = (key.id.as_str(), key.primary_version.clone().unwrap().id);
    let rename = |name: &str| UpdateSymmetricKeyRequest {
        key_id: id.to_owned(),
        update_mask: Some(prost_types::FieldMask { paths: vec!["name".to_owned()] }),
        name: name.to_owned(),
        ..UpdateSymmetricKeyRequest::default()
    };
    mutation!(update, "Update", rename("new"), rename("newer"));
    let to_rotate = |id: &str| RotateSymmetricKeyRequest { key_id: id.to_owned() };
    let rotated = mutation!(rotate, "Rotate", to_rotate(id), to_rotate("abjother"));
    let second = metadata::<RotateSymmetricKeyMetadata>(&rotated).new_primary_version_id;
    let set = mutation!(
        set_primary_version,
        "SetPrimaryVersion",
        to_set_primary(id, &first),
        to_set_primary(id, &second)
    );
    let meta: SetPrimarySymmetricKeyVersionMetadata = metadata(&set);
    assert_eq!((meta.key_id.as_str(), &meta.version_id), (id, &first));
    assert_eq!(response::<SymmetricKey>(&set).primary_version.unwrap().id, first);
    let scheduled = mutation!(
        schedule_version_destruction,
        "ScheduleVersionDestruction",
        to_schedule(id, &second, None),
        to_schedule(id, &second, seconds(90_000))
    );
    let meta: ScheduleSymmetricKeyVersionDestructionMetadata = metadata(&scheduled);
    let version: SymmetricKeyVersion = response(&scheduled);
    assert_eq!(meta.destroy_at, version.destroy_at);
    let created_at = scheduled.created_at.unwrap();
    assert_eq!(meta.destroy_at.unwrap().seconds - created_at.seconds, 7 * 86_400);
    assert_eq!(version.status(), symmetric_key_version::Status::ScheduledForDestruction);
    assert!(!version.primary);
    let cancelled = mutation!(
        cancel_version_destruction,
        "CancelVersionDestruction",
        to_cancel(id, &second),
        to_cancel(id, &first)
    );
    let version: SymmetricKeyVersion = response(&cancelled);
    assert_eq!(version.status(), symmetric_key_version::Status::Active);
    assert_eq!(version.destroy_at, None);
    mutation!(
        set_access_bindings,
        "SetAccessBindings",
        to_set_bindings(id, vec![binding("kms.viewer", "a")]),
        to_set_bindings(id, Vec::new())
    );
    mutation!(
        update_access_bindings,
        "UpdateAccessBindings",
        to_add(id, "kms.viewer", "b"),
        to_add(id, "kms.viewer", "c")
    );
    let request = ListAccessBindingsRequest { resource_id: id.to_owned(), ..Default::default() };
    let bound = keys.list_access_bindings(by(request)).await.unwrap().into_inner();
    let bound: BTreeSet<_> =
        bound.access_bindings.into_iter().map(|binding| binding.subject.unwrap().id).collect();
    assert_eq!(bound, BTreeSet::from(["a".to_owned(), "b".to_owned()]));

    let request = ListSymmetricKeyOperationsRequest {
        key_id: id.to_owned(),
        ..ListSymmetricKeyOperationsRequest::default()
    };
    let listed = keys.list_operations(by(request)).await.unwrap().into_inner().operations;
    let expected: Vec<_> = done.iter().rev().map(|(_, operation)| operation.clone()).collect();
    assert_eq!(listed, expected, "newest first, each once, as it was answered");
    let deleted = mutation!(delete, "Delete", to_delete(id), to_delete("abjother"));
    assert_eq!(metadata::<DeleteSymmetricKeyMetadata>(&deleted).key_id, id);

    let mut operations = server.operations().await;
    for (method, operation) in done {
        let path = format!("/yandex.cloud.kms.v1.SymmetricKeyService/{method}");
        let declared = lockbox_proto::operations::OPERATION_TYPES;
        let declared = declared.iter().find(|types| types.grpc_path == path).unwrap();
        let url = |name: &str| format!("type.googleapis.com/{name}");
        assert_eq!(operation.metadata.as_ref().unwrap().type_url, url(declared.metadata));
        let Some(operation::Result::Response(response)) = &operation.result else { panic!() };
        assert_eq!(response.type_url, url(declared.response), "{method}");
        assert_eq!(operation.created_by, "admin");
        assert!(!operation.description.is_empty());
        let get = GetOperationRequest { operation_id: operation.id.clone() };
        assert_eq!(operations.get(by(get)).await.unwrap().into_inner(), operation);
        let cancel = CancelOperationRequest { operation_id: operation.id.clone() };
        assert_eq!(operations.cancel(by(cancel)).await.unwrap().into_inner(), operation);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pending_periods_and_pages_have_the_edges_of_the_contract() {
    let server = ServerFixture::start(|_| {}).await;
    let mut keys = server.keys(None).await;
    let key = create(&mut keys).await;
    let first = key.primary_version.unwrap().id;
    rotate(&mut keys, &key.id).await;
    for (period, expected) in [
        (seconds(86_399), Code::InvalidArgument),
        (seconds(0), Code::InvalidArgument),
        (seconds(-1), Code::InvalidArgument),
        (seconds(i64::MIN), Code::InvalidArgument),
        (seconds(365 * 86_400 + 1), Code::InvalidArgument),
        (seconds(86_400), Code::Ok),
        (seconds(365 * 86_400), Code::Ok),
    ] {
        let request = by(to_schedule(&key.id, &first, period));
        let result = keys.schedule_version_destruction(request).await;
        assert_eq!(code(&result), expected, "{period:?}");
    }
    for (page_size, expected) in [
        (-1, Code::InvalidArgument),
        (0, Code::Ok),
        (1, Code::Ok),
        (1000, Code::Ok),
        (1001, Code::InvalidArgument),
    ] {
        let key_id = key.id.clone();
        let page_token = String::new();
        let list = ListSymmetricKeysRequest {
            folder_id: "folder".to_owned(),
            page_size,
            page_token: page_token.clone(),
        };
        assert_eq!(code(&keys.list(by(list)).await), expected, "{page_size}");
        let list = ListSymmetricKeyVersionsRequest {
            key_id: key_id.clone(),
            page_size,
            page_token: page_token.clone(),
        };
        assert_eq!(code(&keys.list_versions(by(list)).await), expected, "{page_size}");
        let list = ListSymmetricKeyOperationsRequest {
            key_id: key_id.clone(),
            page_size,
            page_token: page_token.clone(),
        };
        assert_eq!(code(&keys.list_operations(by(list)).await), expected, "{page_size}");
        let list = ListAccessBindingsRequest { resource_id: key_id, page_size, page_token };
        assert_eq!(code(&keys.list_access_bindings(by(list)).await), expected, "{page_size}");
    }
    let bindings = |count: usize| {
        let all = (0..count).map(|n| binding("kms.viewer", &format!("a{n}")));
        by(to_set_bindings(&key.id, all.collect()))
    };
    assert_eq!(code(&keys.set_access_bindings(bindings(1000)).await), Code::Ok);
    assert_eq!(code(&keys.set_access_bindings(bindings(1001)).await), Code::InvalidArgument);
    let none = UpdateAccessBindingsRequest { resource_id: key.id.clone(), ..Default::default() };
    assert_eq!(code(&keys.update_access_bindings(by(none)).await), Code::InvalidArgument);
    let mut robot = to_add(&key.id, "kms.viewer", "a");
    let bound = robot.access_binding_deltas[0].access_binding.as_mut().unwrap();
    bound.subject.as_mut().unwrap().r#type = "robot".to_owned();
    assert_eq!(code(&keys.update_access_bindings(by(robot)).await), Code::InvalidArgument);
    server.stop().await;
}

/// Which of two keys is meant would be a guess.
#[tokio::test(flavor = "multi_thread")]
async fn two_idempotency_keys_are_none() {
    let server = ServerFixture::start(|_| {}).await;
    let mut keys = server.keys(None).await;
    let mut twice = keyed(to_create(), "first");
    twice.metadata_mut().append("idempotency-key", "second".parse().unwrap());
    let refused = keys.create(twice).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert_eq!(refused.message(), "idempotency-key: is given more than once");
    let list = ListSymmetricKeysRequest {
        folder_id: "folder".to_owned(),
        ..ListSymmetricKeysRequest::default()
    };
    assert!(keys.list(by(list)).await.unwrap().into_inner().keys.is_empty());
    server.stop().await;
}
