//! `SecretService`: each method reads top to bottom as the straight line of `design §3`.

mod add_version;
mod change;
mod create;
mod destruction;
mod read;

pub(super) use create::cloud_of;

use std::sync::Arc;

use lockbox_core::SecretId;
use lockbox_platform::audit::AuditDetails;
use lockbox_platform::status::ApiError;
use lockbox_proto::yandex::cloud::access as wire_access;
use lockbox_proto::yandex::cloud::lockbox::v1 as wire;
use lockbox_proto::yandex::cloud::operation::Operation;
use lockbox_raft::domain::operation::SecretSnapshot;
use lockbox_raft::domain::secret::SecretRecord;
use lockbox_raft::domain::secret::SecretStatus;
use lockbox_raft::error::StorageError;
use lockbox_raft::state::{StateRead, tables};
use tonic::{Request, Response, Status};
use wire::secret_service_server::SecretService;

use crate::app::App;
use crate::call::{Call, detached};
use crate::describe;
use crate::errors::wrong_entries;
use crate::grpc::access_bindings;
use crate::merge::EntryChange;
use crate::payload::EntryValue;

/// The service over the node's parts.
#[derive(Clone)]
pub struct SecretGrpc {
    app: Arc<App>,
}

impl SecretGrpc {
    /// The service.
    #[must_use]
    pub const fn new(app: Arc<App>) -> Self {
        Self { app }
    }
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl SecretService for SecretGrpc {
    async fn get(&self, request: Request<wire::GetSecretRequest>) -> Answer<wire::Secret> {
        let app = Arc::clone(&self.app);
        let calls = app.calls.clone();
        detached(&calls, async move {
            let details = read::event("GetSecret", "secret_id", &request.get_ref().secret_id);
            let mut call = Call::begin(&app, &request, details)?;
            let result = read::get(&mut call, request.get_ref()).await;
            call.finish(result).await
        })
        .await
    }

    async fn list(
        &self,
        request: Request<wire::ListSecretsRequest>,
    ) -> Answer<wire::ListSecretsResponse> {
        let app = Arc::clone(&self.app);
        let calls = app.calls.clone();
        detached(&calls, async move {
            let details = read::event("ListSecrets", "folder_id", &request.get_ref().folder_id);
            let mut call = Call::begin(&app, &request, details)?;
            let result = read::list(&mut call, request.get_ref()).await;
            call.finish(result).await
        })
        .await
    }

    async fn list_versions(
        &self,
        request: Request<wire::ListVersionsRequest>,
    ) -> Answer<wire::ListVersionsResponse> {
        let app = Arc::clone(&self.app);
        let calls = app.calls.clone();
        detached(&calls, async move {
            let details = read::event("ListVersions", "secret_id", &request.get_ref().secret_id);
            let mut call = Call::begin(&app, &request, details)?;
            let result = read::list_versions(&mut call, request.get_ref()).await;
            call.finish(result).await
        })
        .await
    }

    async fn create(&self, request: Request<wire::CreateSecretRequest>) -> Answer<Operation> {
        let app = Arc::clone(&self.app);
        let calls = app.calls.clone();
        detached(&calls, async move {
            let details = AuditDetails::CreateSecret(describe::secret_id(""));
            let mut call = Call::begin(&app, &request, details)?;
            let result = create::create(&mut call, request.into_inner()).await;
            call.finish(result).await
        })
        .await
    }

    async fn add_version(&self, request: Request<wire::AddVersionRequest>) -> Answer<Operation> {
        let app = Arc::clone(&self.app);
        let calls = app.calls.clone();
        detached(&calls, async move {
            let details = add_version::event(&request.get_ref().secret_id);
            let mut call = Call::begin(&app, &request, details)?;
            let result = add_version::add_version(&mut call, request.into_inner()).await;
            call.finish(result).await
        })
        .await
    }

    async fn update(&self, request: Request<wire::UpdateSecretRequest>) -> Answer<Operation> {
        let app = Arc::clone(&self.app);
        let calls = app.calls.clone();
        detached(&calls, async move {
            let id = describe::secret_id(&request.get_ref().secret_id);
            let mut call = Call::begin(&app, &request, AuditDetails::UpdateSecret(id))?;
            let result = change::update(&mut call, request.into_inner()).await;
            call.finish(result).await
        })
        .await
    }

    async fn delete(&self, request: Request<wire::DeleteSecretRequest>) -> Answer<Operation> {
        let app = Arc::clone(&self.app);
        let calls = app.calls.clone();
        detached(&calls, async move {
            let id = describe::secret_id(&request.get_ref().secret_id);
            let mut call = Call::begin(&app, &request, AuditDetails::DeleteSecret(id))?;
            let result = change::delete(&mut call, request.get_ref()).await;
            call.finish(result).await
        })
        .await
    }

    async fn activate(&self, request: Request<wire::ActivateSecretRequest>) -> Answer<Operation> {
        let app = Arc::clone(&self.app);
        let calls = app.calls.clone();
        detached(&calls, async move {
            let id = describe::secret_id(&request.get_ref().secret_id);
            let mut call = Call::begin(&app, &request, AuditDetails::ActivateSecret(id))?;
            let message = request.get_ref();
            let result =
                change::set_status(&mut call, message, &message.secret_id, SecretStatus::Active)
                    .await;
            call.finish(result).await
        })
        .await
    }

    async fn deactivate(
        &self,
        request: Request<wire::DeactivateSecretRequest>,
    ) -> Answer<Operation> {
        let app = Arc::clone(&self.app);
        let calls = app.calls.clone();
        detached(&calls, async move {
            let id = describe::secret_id(&request.get_ref().secret_id);
            let mut call = Call::begin(&app, &request, AuditDetails::DeactivateSecret(id))?;
            let message = request.get_ref();
            let status = SecretStatus::Inactive;
            let result = change::set_status(&mut call, message, &message.secret_id, status).await;
            call.finish(result).await
        })
        .await
    }

    async fn set_current_version(
        &self,
        request: Request<wire::SetCurrentVersionRequest>,
    ) -> Answer<Operation> {
        let app = Arc::clone(&self.app);
        let calls = app.calls.clone();
        detached(&calls, async move {
            let details = change::pointer_event(request.get_ref());
            let mut call = Call::begin(&app, &request, details)?;
            let result = change::set_current_version(&mut call, request.get_ref()).await;
            call.finish(result).await
        })
        .await
    }

    async fn schedule_version_destruction(
        &self,
        request: Request<wire::ScheduleVersionDestructionRequest>,
    ) -> Answer<Operation> {
        let app = Arc::clone(&self.app);
        let calls = app.calls.clone();
        detached(&calls, async move {
            let message = request.get_ref();
            let details = destruction::event(&message.secret_id, &message.version_id);
            let details = AuditDetails::ScheduleVersionDestruction(details);
            let mut call = Call::begin(&app, &request, details)?;
            let result = destruction::schedule(&mut call, request.get_ref()).await;
            call.finish(result).await
        })
        .await
    }

    async fn cancel_version_destruction(
        &self,
        request: Request<wire::CancelVersionDestructionRequest>,
    ) -> Answer<Operation> {
        let app = Arc::clone(&self.app);
        let calls = app.calls.clone();
        detached(&calls, async move {
            let message = request.get_ref();
            let details = destruction::event(&message.secret_id, &message.version_id);
            let details = AuditDetails::CancelVersionDestruction(details);
            let mut call = Call::begin(&app, &request, details)?;
            let result = destruction::cancel(&mut call, request.get_ref()).await;
            call.finish(result).await
        })
        .await
    }

    async fn list_operations(
        &self,
        request: Request<wire::ListSecretOperationsRequest>,
    ) -> Answer<wire::ListSecretOperationsResponse> {
        let app = Arc::clone(&self.app);
        let calls = app.calls.clone();
        detached(&calls, async move {
            let id = &request.get_ref().secret_id;
            let details = read::event("ListSecretOperations", "secret_id", id);
            let mut call = Call::begin(&app, &request, details)?;
            let result = read::list_operations(&mut call, request.get_ref()).await;
            call.finish(result).await
        })
        .await
    }

    async fn list_access_bindings(
        &self,
        request: Request<wire_access::ListAccessBindingsRequest>,
    ) -> Answer<wire_access::ListAccessBindingsResponse> {
        access_bindings::list(&self.app, request, &access_bindings::SECRET).await
    }

    async fn set_access_bindings(
        &self,
        request: Request<wire_access::SetAccessBindingsRequest>,
    ) -> Answer<Operation> {
        access_bindings::set(&self.app, request, &access_bindings::SECRET).await
    }

    async fn update_access_bindings(
        &self,
        request: Request<wire_access::UpdateAccessBindingsRequest>,
    ) -> Answer<Operation> {
        access_bindings::update(&self.app, request, &access_bindings::SECRET).await
    }
}

/// Takes a secret's id from a request.
pub(super) fn parse_secret_id(text: &str) -> Result<SecretId, ApiError> {
    SecretId::parse(text).map_err(|error| ApiError::invalid("secret_id", error.to_string()))
}

/// A secret together with its current version, in one view.
fn with_current(
    view: &dyn StateRead,
    secret: SecretRecord,
) -> Result<SecretSnapshot, StorageError> {
    let current_version = match &secret.current_version {
        Some(id) => tables::version(view, &secret.id, id)?,
        None => None,
    };
    Ok(SecretSnapshot { secret, current_version })
}

/// Refuses more and larger changes than can make sense, before anything is done with them: what
/// waits for its turn is small.
fn few_changes(
    call: &Call<'_>,
    entries: &[wire::PayloadEntryChange],
    field: &str,
) -> Result<(), ApiError> {
    use wire::payload_entry_change::Value;
    let bytes = |entry: &wire::PayloadEntryChange| match &entry.value {
        Some(Value::TextValue(text)) => text.len(),
        Some(Value::BinaryValue(bytes)) => bytes.len(),
        None => 0,
    };
    let value_bytes = entries.iter().map(bytes).sum();
    let checked = call.app.config.limits.payload().check_changes(entries.len(), value_bytes);
    checked.map_err(|error| wrong_entries(&error, field))
}

/// Changes as they came; a missing and an empty value both mean removal.
fn changes(entries: Vec<wire::PayloadEntryChange>) -> Vec<EntryChange> {
    use wire::payload_entry_change::Value;
    let change = |entry: wire::PayloadEntryChange| EntryChange {
        key: entry.key,
        value: entry.value.map(|value| match value {
            Value::TextValue(text) => EntryValue::Text(text.into()),
            Value::BinaryValue(bytes) => EntryValue::Binary(bytes.into()),
        }),
    };
    entries.into_iter().map(change).collect()
}
