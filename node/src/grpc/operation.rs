//! `OperationService`: operations can be read by who made them or may read their resource
//! (`contract §4.3`).

use std::sync::Arc;

use lockbox_core::{OperationId, Permission, ResourceKind, Subject};
use lockbox_platform::status::ApiError;
use lockbox_proto::yandex::cloud::operation::operation_service_server::OperationService;
use lockbox_proto::yandex::cloud::operation::{
    CancelOperationRequest, GetOperationRequest, Operation,
};
use lockbox_raft::apply::{Refusal, bound_path, require};
use lockbox_raft::domain::Rejection;
use lockbox_raft::domain::operation::OperationRecord;
use lockbox_raft::state::{TimedView, tables};
use tonic::{Request, Response, Status};

use crate::app::App;
use crate::authn::Caller;
use crate::call::{Call, detached};
use crate::errors::rejected;
use crate::grants::{Grants, kms_grants};
use crate::{convert, describe};

/// The service over the node's parts.
#[derive(Clone)]
pub struct OperationGrpc {
    app: Arc<App>,
}

impl OperationGrpc {
    /// The service.
    #[must_use]
    pub const fn new(app: Arc<App>) -> Self {
        Self { app }
    }
}

#[tonic::async_trait]
impl OperationService for OperationGrpc {
    async fn get(
        &self,
        request: Request<GetOperationRequest>,
    ) -> Result<Response<Operation>, Status> {
        let app = Arc::clone(&self.app);
        let calls = app.calls.clone();
        detached(&calls, async move {
            let message = request.get_ref();
            let details = describe::operation_event("GetOperation", &message.operation_id);
            let mut call = Call::begin(&app, &request, details)?;
            let result = find(&mut call, message, &message.operation_id).await;
            call.finish(result).await
        })
        .await
    }

    /// Mutations complete at once, so there is never anything to cancel: the operation comes
    /// back unchanged (`contract §0.3`).
    async fn cancel(
        &self,
        request: Request<CancelOperationRequest>,
    ) -> Result<Response<Operation>, Status> {
        let app = Arc::clone(&self.app);
        let calls = app.calls.clone();
        detached(&calls, async move {
            let message = request.get_ref();
            let details = describe::operation_event("CancelOperation", &message.operation_id);
            let mut call = Call::begin(&app, &request, details)?;
            let result = find(&mut call, message, &message.operation_id).await;
            call.finish(result).await
        })
        .await
    }
}

async fn find(
    call: &mut Call<'_>,
    request: &impl lockbox_proto::validate::Validate,
    operation_id: &str,
) -> Result<Operation, ApiError> {
    let caller = call.admit(request)?;
    let id = OperationId::parse(operation_id)
        .map_err(|error| ApiError::invalid("operation_id", error.to_string()))?;
    let looked = call
        .read(&caller, |view| {
            let record = tables::operation(view, &id)?;
            // What the cluster did by itself is nobody's operation.
            let by_a_caller = |record: &OperationRecord| record.created_by != Subject::internal();
            match record.filter(by_a_caller) {
                Some(record) => {
                    may_read(view, &caller, &record)?;
                    Ok(Looked::Here(Box::new(record)))
                }
                None => Ok(Looked::Elsewhere(kms_grants(view, &caller)?)),
            }
        })
        .await?;
    let grants = match looked {
        Looked::Here(record) => return Ok(convert::operation(&record)),
        Looked::Elsewhere(grants) => grants,
    };
    let assertion = call.assertion(&caller, &grants, None);
    let asked = call.app.kms.operation(&id, &assertion, call.context.deadline).await?;
    if let Some((operation, kms_index)) = asked {
        call.kms_index = kms_index;
        return Ok(operation);
    }
    let not_found = Rejection::OperationNotFound(operation_id.to_owned());
    let error = ApiError::internal("an operation was looked for at no index");
    Err(call.observed().map_or(error, |at| rejected(&not_found, at)))
}

/// What the state says of an operation's id.
enum Looked {
    Here(Box<OperationRecord>),
    /// It may be one of the KMS, which is asked with these rights.
    Elsewhere(Grants),
}

fn may_read(
    view: &TimedView<'_>,
    caller: &Caller,
    record: &OperationRecord,
) -> Result<(), Refusal> {
    if record.created_by == caller.subject {
        return Ok(());
    }
    let permission = match record.resource.kind {
        ResourceKind::Secret => Permission::SecretsGet,
        ResourceKind::ServiceAccount => Permission::ServiceAccountsGet,
        ResourceKind::Cloud | ResourceKind::Folder => Permission::ResourceManagerGet,
        ResourceKind::Organization | ResourceKind::KmsKey | ResourceKind::SecretVersion => {
            return Err(Rejection::PermissionDenied.into());
        }
    };
    match bound_path(view, &record.resource) {
        Ok(path) => require(view, &caller.subject, permission, &path),
        Err(Refusal::Storage(error)) => Err(Refusal::Storage(error)),
        // Of what was deleted nobody else may read: there is no path left to judge by.
        Err(Refusal::Rejected(_)) => Err(Rejection::PermissionDenied.into()),
    }
}
