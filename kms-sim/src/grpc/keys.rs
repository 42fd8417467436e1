//! SymmetricKeyService: reads requests, hands them to [`crate::keys`], answers.

use std::sync::Arc;

use lockbox_platform::detach::detached;
use lockbox_platform::status::ApiError;
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

use super::attended::attended;
use super::call::{Call, Event};
use super::events::{self, BindingsMutation, Effect, Mutation, VersionMutation};
use super::{Edge, lists, mutations, operations};
use crate::keys::Done;
use crate::keys::service::Answer;
use crate::store::records::KeyRecord;

/// The service.
pub(crate) struct KeysService {
    edge: Arc<Edge>,
}

type Mutated = Result<Done, ApiError>;
type Answered = Result<Response<Operation>, Status>;

impl KeysService {
    pub(crate) const fn new(edge: Arc<Edge>) -> Self {
        Self { edge }
    }
}

/// Records a mutation and answers with its operation.
async fn finish(
    edge: &Edge,
    call: Call,
    result: Mutated,
    observed: Option<&KeyRecord>,
    event: impl FnOnce(Effect<'_>) -> Event,
) -> Answered {
    let operation = result.as_ref().ok().map(|done| done.value.as_ref());
    let event = event(Effect { operation, observed });
    let result = result.map(|Answer { value, index }| {
        let value = operations::to_wire(&value);
        Answer { value, index }
    });
    call.finish(edge, event, result).await
}

#[tonic::async_trait]
impl SymmetricKeyService for KeysService {
    async fn create(&self, request: Request<CreateSymmetricKeyRequest>) -> Answered {
        attended(&self.edge, request, |edge, mut call, message| async move {
            let result = mutations::create(&edge, &mut call, message).await;
            let event = |effect: Effect<'_>| events::mutation(Mutation::Create, "", effect);
            finish(&edge, call, result, None, event).await
        })
        .await
    }

    async fn update(&self, request: Request<UpdateSymmetricKeyRequest>) -> Answered {
        attended(&self.edge, request, |edge, mut call, message| async move {
            let (id, mut observed) = (message.key_id.clone(), None);
            let result = mutations::update(&edge, &mut call, message, &mut observed).await;
            let event = |effect: Effect<'_>| events::mutation(Mutation::Update, &id, effect);
            finish(&edge, call, result, observed.as_ref(), event).await
        })
        .await
    }

    async fn rotate(&self, request: Request<RotateSymmetricKeyRequest>) -> Answered {
        attended(&self.edge, request, |edge, mut call, message| async move {
            let mut observed = None;
            let result = mutations::rotate(&edge, &mut call, &message, &mut observed).await;
            let id = &message.key_id;
            let event = |effect: Effect<'_>| events::mutation(Mutation::Rotate, id, effect);
            finish(&edge, call, result, observed.as_ref(), event).await
        })
        .await
    }

    async fn delete(&self, request: Request<DeleteSymmetricKeyRequest>) -> Answered {
        attended(&self.edge, request, |edge, mut call, message| async move {
            let mut observed = None;
            let result = mutations::delete(&edge, &mut call, &message, &mut observed).await;
            let id = &message.key_id;
            let event = |effect: Effect<'_>| events::mutation(Mutation::Delete, id, effect);
            finish(&edge, call, result, observed.as_ref(), event).await
        })
        .await
    }

    async fn set_primary_version(
        &self,
        request: Request<SetPrimarySymmetricKeyVersionRequest>,
    ) -> Answered {
        attended(&self.edge, request, |edge, mut call, message| async move {
            let mut observed = None;
            let result = mutations::set_primary(&edge, &mut call, &message, &mut observed).await;
            let ids = (message.key_id.as_str(), message.version_id.as_str());
            let mutation = VersionMutation::SetPrimary;
            let event = |effect: Effect<'_>| events::version_mutation(mutation, ids, effect);
            finish(&edge, call, result, observed.as_ref(), event).await
        })
        .await
    }

    async fn schedule_version_destruction(
        &self,
        request: Request<ScheduleSymmetricKeyVersionDestructionRequest>,
    ) -> Answered {
        attended(&self.edge, request, |edge, mut call, message| async move {
            let mut observed = None;
            let result = mutations::schedule(&edge, &mut call, &message, &mut observed).await;
            let ids = (message.key_id.as_str(), message.version_id.as_str());
            let mutation = VersionMutation::ScheduleDestruction;
            let event = |effect: Effect<'_>| events::version_mutation(mutation, ids, effect);
            finish(&edge, call, result, observed.as_ref(), event).await
        })
        .await
    }

    async fn cancel_version_destruction(
        &self,
        request: Request<CancelSymmetricKeyVersionDestructionRequest>,
    ) -> Answered {
        attended(&self.edge, request, |edge, mut call, message| async move {
            let mut observed = None;
            let result = mutations::cancel(&edge, &mut call, &message, &mut observed).await;
            let ids = (message.key_id.as_str(), message.version_id.as_str());
            let mutation = VersionMutation::CancelDestruction;
            let event = |effect: Effect<'_>| events::version_mutation(mutation, ids, effect);
            finish(&edge, call, result, observed.as_ref(), event).await
        })
        .await
    }

    async fn set_access_bindings(&self, request: Request<SetAccessBindingsRequest>) -> Answered {
        attended(&self.edge, request, |edge, mut call, message| async move {
            let id = message.resource_id.clone();
            let (mut change, mut observed) = (None, None);
            let result =
                mutations::set_bindings(&edge, &mut call, message, &mut change, &mut observed)
                    .await;
            let change = change.as_ref();
            let event = |effect: Effect<'_>| {
                events::bindings_mutation(BindingsMutation::Set, &id, change, effect)
            };
            finish(&edge, call, result, observed.as_ref(), event).await
        })
        .await
    }

    async fn update_access_bindings(
        &self,
        request: Request<UpdateAccessBindingsRequest>,
    ) -> Answered {
        attended(&self.edge, request, |edge, mut call, message| async move {
            let id = message.resource_id.clone();
            let (mut change, mut observed) = (None, None);
            let result =
                mutations::update_bindings(&edge, &mut call, message, &mut change, &mut observed)
                    .await;
            let change = change.as_ref();
            let event = |effect: Effect<'_>| {
                events::bindings_mutation(BindingsMutation::Update, &id, change, effect)
            };
            finish(&edge, call, result, observed.as_ref(), event).await
        })
        .await
    }

    async fn get(
        &self,
        request: Request<GetSymmetricKeyRequest>,
    ) -> Result<Response<SymmetricKey>, Status> {
        let edge = Arc::clone(&self.edge);
        detached(&self.edge.calls, async move { lists::get(&edge, request).await }).await
    }

    async fn list(
        &self,
        request: Request<ListSymmetricKeysRequest>,
    ) -> Result<Response<ListSymmetricKeysResponse>, Status> {
        let edge = Arc::clone(&self.edge);
        detached(&self.edge.calls, async move { lists::keys(&edge, request).await }).await
    }

    async fn list_versions(
        &self,
        request: Request<ListSymmetricKeyVersionsRequest>,
    ) -> Result<Response<ListSymmetricKeyVersionsResponse>, Status> {
        let edge = Arc::clone(&self.edge);
        detached(&self.edge.calls, async move { lists::versions(&edge, request).await }).await
    }

    async fn list_operations(
        &self,
        request: Request<ListSymmetricKeyOperationsRequest>,
    ) -> Result<Response<ListSymmetricKeyOperationsResponse>, Status> {
        let edge = Arc::clone(&self.edge);
        detached(&self.edge.calls, async move { lists::operations(&edge, request).await }).await
    }

    async fn list_access_bindings(
        &self,
        request: Request<ListAccessBindingsRequest>,
    ) -> Result<Response<ListAccessBindingsResponse>, Status> {
        let edge = Arc::clone(&self.edge);
        detached(&self.edge.calls, async move { lists::access_bindings(&edge, request).await })
            .await
    }
}
