//! Requests of the life of keys, as the administrator of the fake cluster sends them.

use std::time::Duration;

use lockbox_proto::yandex::cloud::access::{
    AccessBinding, AccessBindingAction, AccessBindingDelta, SetAccessBindingsRequest, Subject,
    UpdateAccessBindingsRequest,
};
use lockbox_proto::yandex::cloud::kms::v1::{
    CancelSymmetricKeyVersionDestructionRequest, CreateSymmetricKeyRequest,
    DeleteSymmetricKeyRequest, RotateSymmetricKeyRequest,
    ScheduleSymmetricKeyVersionDestructionRequest, SetPrimarySymmetricKeyVersionRequest,
    SymmetricAlgorithm, SymmetricKey,
};
use lockbox_proto::yandex::cloud::operation::{Operation, operation};
use prost::{Message, Name};
use tonic::{Code, Request, Response, Status};

use crate::server_support::{KeyClient, TOKEN, with_token};

/// How often something is looked at that is waited for, and for how long.
const PAUSE: Duration = Duration::from_millis(50);
const PATIENCE: Duration = Duration::from_secs(30);

/// Looks until there is something.
pub(crate) async fn until<T>(what: &str, look: impl AsyncFn() -> Option<T>) -> T {
    let waited = tokio::time::timeout(PATIENCE, async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(PAUSE).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("{what} does not come"))
}

pub(crate) fn code<T>(result: &Result<Response<T>, Status>) -> Code {
    result.as_ref().map_or_else(Status::code, |_| Code::Ok)
}

pub(crate) fn by<M>(message: M) -> Request<M> {
    with_token(message, TOKEN)
}

pub(crate) fn keyed<M>(message: M, key: &str) -> Request<M> {
    let mut request = by(message);
    request.metadata_mut().insert("idempotency-key", key.parse().unwrap());
    request
}

pub(crate) fn response<M: Message + Name + Default>(operation: &Operation) -> M {
    assert!(operation.done);
    match &operation.result {
        Some(operation::Result::Response(any)) => any.to_msg().unwrap(),
        other => panic!("no response: {other:?}"),
    }
}

pub(crate) fn metadata<M: Message + Name + Default>(operation: &Operation) -> M {
    operation.metadata.as_ref().unwrap().to_msg().unwrap()
}

pub(crate) fn seconds(seconds: i64) -> Option<prost_types::Duration> {
    Some(prost_types::Duration { seconds, nanos: 0 })
}

pub(crate) fn to_create() -> CreateSymmetricKeyRequest {
    CreateSymmetricKeyRequest {
        folder_id: "folder".to_owned(),
        name: "one".to_owned(),
        default_algorithm: SymmetricAlgorithm::Aes256.into(),
        ..CreateSymmetricKeyRequest::default()
    }
}

pub(crate) async fn create(keys: &mut KeyClient) -> SymmetricKey {
    response(keys.create(by(to_create())).await.unwrap().get_ref())
}

pub(crate) async fn rotate(keys: &mut KeyClient, key_id: &str) -> Operation {
    let rotate = RotateSymmetricKeyRequest { key_id: key_id.to_owned() };
    keys.rotate(by(rotate)).await.unwrap().into_inner()
}

pub(crate) fn to_set_primary(
    key_id: &str,
    version_id: &str,
) -> SetPrimarySymmetricKeyVersionRequest {
    let (key_id, version_id) = (key_id.to_owned(), version_id.to_owned());
    SetPrimarySymmetricKeyVersionRequest { key_id, version_id }
}

pub(crate) fn to_schedule(
    key_id: &str,
    version_id: &str,
    pending_period: Option<prost_types::Duration>,
) -> ScheduleSymmetricKeyVersionDestructionRequest {
    let (key_id, version_id) = (key_id.to_owned(), version_id.to_owned());
    ScheduleSymmetricKeyVersionDestructionRequest { key_id, version_id, pending_period }
}

pub(crate) fn to_cancel(
    key_id: &str,
    version_id: &str,
) -> CancelSymmetricKeyVersionDestructionRequest {
    let (key_id, version_id) = (key_id.to_owned(), version_id.to_owned());
    CancelSymmetricKeyVersionDestructionRequest { key_id, version_id }
}

pub(crate) fn to_delete(key_id: &str) -> DeleteSymmetricKeyRequest {
    DeleteSymmetricKeyRequest { key_id: key_id.to_owned() }
}

pub(crate) fn binding(role: &str, id: &str) -> AccessBinding {
    let subject = Subject { id: id.to_owned(), r#type: "serviceAccount".to_owned() };
    AccessBinding { role_id: role.to_owned(), subject: Some(subject) }
}

pub(crate) fn to_set_bindings(
    key_id: &str,
    access_bindings: Vec<AccessBinding>,
) -> SetAccessBindingsRequest {
    SetAccessBindingsRequest { resource_id: key_id.to_owned(), access_bindings }
}

pub(crate) fn to_add(key_id: &str, role: &str, id: &str) -> UpdateAccessBindingsRequest {
    let delta = AccessBindingDelta {
        action: AccessBindingAction::Add.into(),
        access_binding: Some(binding(role, id)),
    };
    UpdateAccessBindingsRequest {
        resource_id: key_id.to_owned(),
        access_binding_deltas: vec![delta],
    }
}
