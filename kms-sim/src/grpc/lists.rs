//! The reads of SymmetricKeyService: one key, and the lists of keys and of what belongs to one.

use std::sync::Arc;

use lockbox_platform::audit::record::EventSource;
use lockbox_platform::status::ApiError;
use lockbox_proto::validate::Validate;
use lockbox_proto::yandex::cloud::access::{ListAccessBindingsRequest, ListAccessBindingsResponse};
use lockbox_proto::yandex::cloud::kms::v1::{
    GetSymmetricKeyRequest, ListSymmetricKeyOperationsRequest, ListSymmetricKeyOperationsResponse,
    ListSymmetricKeyVersionsRequest, ListSymmetricKeyVersionsResponse, ListSymmetricKeysRequest,
    ListSymmetricKeysResponse, SymmetricKey,
};
use tonic::{Request, Response, Status};

use super::call::Call;
use super::{Edge, bindings, convert, events, operations};
use crate::caller::Caller;
use crate::error::KmsError;
use crate::keys::page::PageRequest;
use crate::keys::service::{self, Answer, Page};
use crate::keys::{bindings as key_bindings, operations as key_operations};
use crate::store::records::KeyRecord;

/// Under which name the audit has the id that a request names, and where that is.
type Id<M> = (&'static str, fn(&M) -> &str);

/// Answers a read: admits, looks, audits.
async fn read<M: Validate, T>(
    edge: &Arc<Edge>,
    request: Request<M>,
    event_name: &'static str,
    (field, id): Id<M>,
    look: impl FnOnce(&Caller, &M, &mut Option<KeyRecord>) -> Result<Answer<T>, KmsError>,
) -> Result<Response<T>, Status> {
    let mut call = Call::begin(edge, &request)?;
    let message = request.into_inner();
    let mut observed = None;
    let result = match call.admit(edge, &message).await {
        Ok(caller) => look(&caller, &message, &mut observed).map_err(ApiError::from),
        Err(error) => Err(error),
    };
    let asked = (field, id(&message));
    let event = events::request(EventSource::Kms, event_name, asked, observed.as_ref());
    call.finish(edge, event, result).await
}

pub(super) async fn get(
    edge: &Arc<Edge>,
    request: Request<GetSymmetricKeyRequest>,
) -> Result<Response<SymmetricKey>, Status> {
    let id: Id<GetSymmetricKeyRequest> = ("key_id", |message| &message.key_id);
    read(edge, request, "GetSymmetricKey", id, |caller, message, observed| {
        let key_id = convert::key_id("key_id", &message.key_id)?;
        let Answer { value, index } = service::get(&edge.engine, caller, &key_id, observed)?;
        Ok(Answer { value: convert::key(&value.key, &value.primary), index })
    })
    .await
}

pub(super) async fn keys(
    edge: &Arc<Edge>,
    request: Request<ListSymmetricKeysRequest>,
) -> Result<Response<ListSymmetricKeysResponse>, Status> {
    let id: Id<ListSymmetricKeysRequest> = ("folder_id", |message| &message.folder_id);
    read(edge, request, "ListSymmetricKeys", id, |caller, message, _| {
        let folder_id = convert::folder_id(&message.folder_id)?;
        let page = PageRequest::new(message.page_size, &message.page_token)?;
        let Answer { value: Page { rows, next_token: next_page_token }, index } =
            service::list(&edge.engine, caller, &folder_id, &page)?;
        let keys = rows.iter().map(|row| convert::key(&row.key, &row.primary)).collect();
        Ok(Answer { value: ListSymmetricKeysResponse { keys, next_page_token }, index })
    })
    .await
}

pub(super) async fn versions(
    edge: &Arc<Edge>,
    request: Request<ListSymmetricKeyVersionsRequest>,
) -> Result<Response<ListSymmetricKeyVersionsResponse>, Status> {
    let id: Id<ListSymmetricKeyVersionsRequest> = ("key_id", |message| &message.key_id);
    read(edge, request, "ListSymmetricKeyVersions", id, |caller, message, observed| {
        let key_id = convert::key_id("key_id", &message.key_id)?;
        let page = PageRequest::new(message.page_size, &message.page_token)?;
        let Answer { value: Page { rows, next_token: next_page_token }, index } =
            service::list_versions(&edge.engine, caller, &key_id, &page, observed)?;
        let version = |(version, primary): &(_, bool)| convert::version(version, *primary);
        let key_versions = rows.iter().map(version).collect();
        let value = ListSymmetricKeyVersionsResponse { key_versions, next_page_token };
        Ok(Answer { value, index })
    })
    .await
}

pub(super) async fn operations(
    edge: &Arc<Edge>,
    request: Request<ListSymmetricKeyOperationsRequest>,
) -> Result<Response<ListSymmetricKeyOperationsResponse>, Status> {
    let id: Id<ListSymmetricKeyOperationsRequest> = ("key_id", |message| &message.key_id);
    read(edge, request, "ListSymmetricKeyOperations", id, |caller, message, observed| {
        let key_id = convert::key_id("key_id", &message.key_id)?;
        let page = PageRequest::new(message.page_size, &message.page_token)?;
        let Answer { value: Page { rows, next_token: next_page_token }, index } =
            key_operations::list(&edge.engine, caller, &key_id, &page, observed)?;
        let operations = rows.iter().map(operations::to_wire).collect();
        let value = ListSymmetricKeyOperationsResponse { operations, next_page_token };
        Ok(Answer { value, index })
    })
    .await
}

pub(super) async fn access_bindings(
    edge: &Arc<Edge>,
    request: Request<ListAccessBindingsRequest>,
) -> Result<Response<ListAccessBindingsResponse>, Status> {
    let id: Id<ListAccessBindingsRequest> = ("key_id", |message| &message.resource_id);
    read(edge, request, "ListSymmetricKeyAccessBindings", id, |caller, message, observed| {
        let key_id = convert::key_id("resource_id", &message.resource_id)?;
        let page = PageRequest::new(message.page_size, &message.page_token)?;
        let Answer { value: Page { rows, next_token: next_page_token }, index } =
            key_bindings::list(&edge.engine, caller, &key_id, &page, observed)?;
        let access_bindings = rows.into_iter().map(bindings::to_wire).collect();
        Ok(Answer { value: ListAccessBindingsResponse { access_bindings, next_page_token }, index })
    })
    .await
}
