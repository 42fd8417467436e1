//! SymmetricKeyService: reads requests, hands them to [`crate::keys::service`], answers.

use std::sync::Arc;

use lockbox_platform::audit::record::EventSource;
use lockbox_platform::detach::detached;
use lockbox_platform::status::ApiError;
use lockbox_proto::validate::Validate;
use lockbox_proto::yandex::cloud::access::{
    ListAccessBindingsRequest, ListAccessBindingsResponse, SetAccessBindingsRequest,
    UpdateAccessBindingsRequest,
};
use lockbox_proto::yandex::cloud::kms::v1::symmetric_key_service_server::SymmetricKeyService;
use lockbox_proto::yandex::cloud::kms::v1::{
    CancelSymmetricKeyVersionDestructionRequest, CreateSymmetricKeyRequest,
    DeleteSymmetricKeyRequest, GetSymmetricKeyRequest, ListSymmetricKeyOperationsRequest,
    ListSymmetricKeyOperationsResponse, ListSymmetricKeyVersionsRequest,
    ListSymmetricKeyVersionsResponse, ListSymmetricKeysRequest, ListSymmetricKeysResponse,
    RotateSymmetricKeyRequest, ScheduleSymmetricKeyVersionDestructionRequest,
    SetPrimarySymmetricKeyVersionRequest, SymmetricKey, UpdateSymmetricKeyRequest,
};
use lockbox_proto::yandex::cloud::operation::Operation;
use tonic::{Request, Response, Status};

use super::call::{Call, Event};
use super::events::{self, Mutation};
use super::mutations;
use super::{Edge, convert};
use crate::error::KmsError;
use crate::keys::page::PageRequest;
use crate::keys::service::{self, Answer, Page};
use crate::store::records::{KeyRecord, OperationRecord};

/// The service.
pub(crate) struct KeysService {
    edge: Arc<Edge>,
}

type Mutated = Result<Answer<Box<OperationRecord>>, ApiError>;

impl KeysService {
    pub(crate) const fn new(edge: Arc<Edge>) -> Self {
        Self { edge }
    }

    async fn finish_mutation(
        edge: &Edge,
        call: Call,
        mutation: Mutation,
        key_id: &str,
        observed: Option<&KeyRecord>,
        result: Mutated,
    ) -> Result<Response<Operation>, Status> {
        let operation = result.as_ref().ok().map(|answer| answer.value.as_ref());
        let event = events::mutation(mutation, key_id, operation, observed);
        let result = result
            .map(|answer| Answer { value: convert::operation(&answer.value), index: answer.index });
        call.finish(edge, event, result).await
    }

    /// Answers a method that is not built: recognised, audited, refused.
    async fn refuse<M: Validate, T>(
        &self,
        request: Request<M>,
        event_name: &'static str,
        id: impl FnOnce(&M) -> (&'static str, String),
    ) -> Result<Response<T>, Status> {
        let edge = self.edge.as_ref();
        let mut call = Call::begin(&request)?;
        let message = request.into_inner();
        let (field, id) = id(&message);
        let result = match call.admit(edge, &message).await {
            Ok(_) => Err(ApiError::from(KmsError::Unimplemented(
                "this method of SymmetricKeyService is not built yet",
            ))),
            Err(error) => Err(error),
        };
        call.finish(edge, request_event(event_name, (field, &id), None), result).await
    }
}

fn request_event(
    event_name: &'static str,
    id: (&'static str, &str),
    observed: Option<&KeyRecord>,
) -> Event {
    events::request(EventSource::Kms, event_name, id, observed)
}

#[tonic::async_trait]
impl SymmetricKeyService for KeysService {
    async fn create(
        &self,
        request: Request<CreateSymmetricKeyRequest>,
    ) -> Result<Response<Operation>, Status> {
        let edge = Arc::clone(&self.edge);
        detached(&self.edge.calls, async move {
            let mut call = Call::begin(&request)?;
            let result = mutations::create(&edge, &mut call, request.into_inner()).await;
            Self::finish_mutation(&edge, call, Mutation::Create, "", None, result).await
        })
        .await
    }

    async fn update(
        &self,
        request: Request<UpdateSymmetricKeyRequest>,
    ) -> Result<Response<Operation>, Status> {
        let edge = Arc::clone(&self.edge);
        detached(&self.edge.calls, async move {
            let mut call = Call::begin(&request)?;
            let message = request.into_inner();
            let id = message.key_id.clone();
            let mut observed = None;
            let result = mutations::update(&edge, &mut call, message, &mut observed).await;
            let observed = observed.as_ref();
            Self::finish_mutation(&edge, call, Mutation::Update, &id, observed, result).await
        })
        .await
    }

    async fn rotate(
        &self,
        request: Request<RotateSymmetricKeyRequest>,
    ) -> Result<Response<Operation>, Status> {
        let edge = Arc::clone(&self.edge);
        detached(&self.edge.calls, async move {
            let mut call = Call::begin(&request)?;
            let message = request.into_inner();
            let mut observed = None;
            let result = mutations::rotate(&edge, &mut call, &message, &mut observed).await;
            let (id, observed) = (&message.key_id, observed.as_ref());
            Self::finish_mutation(&edge, call, Mutation::Rotate, id, observed, result).await
        })
        .await
    }

    async fn get(
        &self,
        request: Request<GetSymmetricKeyRequest>,
    ) -> Result<Response<SymmetricKey>, Status> {
        let edge = self.edge.as_ref();
        let mut call = Call::begin(&request)?;
        let message = request.into_inner();
        let mut observed = None;
        let result = async {
            let caller = call.admit(edge, &message).await?;
            let key_id = convert::key_id("key_id", &message.key_id)?;
            let found = service::get(&edge.engine, &caller, &key_id, &mut observed)?;
            let value = convert::key(&found.value.key, &found.value.primary);
            Ok(Answer { value, index: found.index })
        };
        let result = result.await;
        let id = ("key_id", message.key_id.as_str());
        let event = request_event("GetSymmetricKey", id, observed.as_ref());
        call.finish(edge, event, result).await
    }

    async fn list(
        &self,
        request: Request<ListSymmetricKeysRequest>,
    ) -> Result<Response<ListSymmetricKeysResponse>, Status> {
        let edge = self.edge.as_ref();
        let mut call = Call::begin(&request)?;
        let message = request.into_inner();
        let result = async {
            let caller = call.admit(edge, &message).await?;
            let folder_id = convert::folder_id(&message.folder_id)?;
            let page = PageRequest::new(message.page_size, &message.page_token)?;
            let Answer { value: Page { rows, next_token }, index } =
                service::list(&edge.engine, &caller, &folder_id, &page)?;
            let keys = rows.iter().map(|row| convert::key(&row.key, &row.primary)).collect();
            let value = ListSymmetricKeysResponse { keys, next_page_token: next_token };
            Ok(Answer { value, index })
        };
        let result = result.await;
        let id = ("folder_id", message.folder_id.as_str());
        call.finish(edge, request_event("ListSymmetricKeys", id, None), result).await
    }

    async fn list_versions(
        &self,
        request: Request<ListSymmetricKeyVersionsRequest>,
    ) -> Result<Response<ListSymmetricKeyVersionsResponse>, Status> {
        let edge = self.edge.as_ref();
        let mut call = Call::begin(&request)?;
        let message = request.into_inner();
        let mut observed = None;
        let result = async {
            let caller = call.admit(edge, &message).await?;
            let key_id = convert::key_id("key_id", &message.key_id)?;
            let page = PageRequest::new(message.page_size, &message.page_token)?;
            let Answer { value: Page { rows, next_token }, index } =
                service::list_versions(&edge.engine, &caller, &key_id, &page, &mut observed)?;
            let key_versions =
                rows.iter().map(|(version, primary)| convert::version(version, *primary)).collect();
            let value =
                ListSymmetricKeyVersionsResponse { key_versions, next_page_token: next_token };
            Ok(Answer { value, index })
        };
        let result = result.await;
        let id = ("key_id", message.key_id.as_str());
        let event = request_event("ListSymmetricKeyVersions", id, observed.as_ref());
        call.finish(edge, event, result).await
    }

    async fn delete(
        &self,
        request: Request<DeleteSymmetricKeyRequest>,
    ) -> Result<Response<Operation>, Status> {
        self.refuse(request, "DeleteSymmetricKey", |m| ("key_id", m.key_id.clone())).await
    }

    async fn set_primary_version(
        &self,
        request: Request<SetPrimarySymmetricKeyVersionRequest>,
    ) -> Result<Response<Operation>, Status> {
        let id = |m: &SetPrimarySymmetricKeyVersionRequest| ("key_id", m.key_id.clone());
        self.refuse(request, "SetPrimarySymmetricKeyVersion", id).await
    }

    async fn schedule_version_destruction(
        &self,
        request: Request<ScheduleSymmetricKeyVersionDestructionRequest>,
    ) -> Result<Response<Operation>, Status> {
        let id = |m: &ScheduleSymmetricKeyVersionDestructionRequest| ("key_id", m.key_id.clone());
        self.refuse(request, "ScheduleSymmetricKeyVersionDestruction", id).await
    }

    async fn cancel_version_destruction(
        &self,
        request: Request<CancelSymmetricKeyVersionDestructionRequest>,
    ) -> Result<Response<Operation>, Status> {
        let id = |m: &CancelSymmetricKeyVersionDestructionRequest| ("key_id", m.key_id.clone());
        self.refuse(request, "CancelSymmetricKeyVersionDestruction", id).await
    }

    async fn list_operations(
        &self,
        request: Request<ListSymmetricKeyOperationsRequest>,
    ) -> Result<Response<ListSymmetricKeyOperationsResponse>, Status> {
        let id = |m: &ListSymmetricKeyOperationsRequest| ("key_id", m.key_id.clone());
        self.refuse(request, "ListSymmetricKeyOperations", id).await
    }

    async fn list_access_bindings(
        &self,
        request: Request<ListAccessBindingsRequest>,
    ) -> Result<Response<ListAccessBindingsResponse>, Status> {
        let id = |m: &ListAccessBindingsRequest| ("key_id", m.resource_id.clone());
        self.refuse(request, "ListSymmetricKeyAccessBindings", id).await
    }

    async fn set_access_bindings(
        &self,
        request: Request<SetAccessBindingsRequest>,
    ) -> Result<Response<Operation>, Status> {
        let id = |m: &SetAccessBindingsRequest| ("key_id", m.resource_id.clone());
        self.refuse(request, "SetSymmetricKeyAccessBindings", id).await
    }

    async fn update_access_bindings(
        &self,
        request: Request<UpdateAccessBindingsRequest>,
    ) -> Result<Response<Operation>, Status> {
        let id = |m: &UpdateAccessBindingsRequest| ("key_id", m.resource_id.clone());
        self.refuse(request, "UpdateSymmetricKeyAccessBindings", id).await
    }
}
