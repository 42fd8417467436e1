//! `ServiceAccountService`: who can log in by a key (`contract §1.11`).

mod changes;

use std::sync::Arc;

use lockbox_core::{
    FolderId, Permission, ResourceKind, ResourcePath, ResourceRef, ServiceAccountId,
};
use lockbox_platform::audit::AuditDetails;
use lockbox_platform::audit::details::ServiceAccountDetails;
use lockbox_platform::audit::record::EventSource;
use lockbox_platform::status::ApiError;
use lockbox_proto::yandex::cloud::access;
use lockbox_proto::yandex::cloud::iam::v1 as wire;
use lockbox_proto::yandex::cloud::operation::Operation;
use lockbox_raft::apply::{account_path, require};
use lockbox_raft::domain::Rejection;
use lockbox_raft::domain::command::{Command, CreateServiceAccount};
use lockbox_raft::domain::identity::ServiceAccountRecord;
use lockbox_raft::domain::operation::{OperationRecord, OperationResult};
use lockbox_raft::state::{TimedView, tables};
use tonic::{Request, Response, Status};
use wire::service_account_service_server::ServiceAccountService;

use crate::app::App;
use crate::authn::Caller;
use crate::call::{Call, detached};
use crate::grpc::{access_bindings, operations_of};
use crate::page::{self, List};
use crate::refused::{Refused, within};
use crate::{convert, describe, idempotency, name_filter};

/// The service over the node's parts.
#[derive(Clone)]
pub struct ServiceAccountGrpc {
    app: Arc<App>,
}

impl ServiceAccountGrpc {
    /// The service.
    #[must_use]
    pub const fn new(app: Arc<App>) -> Self {
        Self { app }
    }
}

type Answer<T> = Result<Response<T>, Status>;

fn event(event_name: &'static str, id: &str) -> AuditDetails {
    describe::request_event(EventSource::Iam, event_name, "service_account_id", id)
}

#[tonic::async_trait]
impl ServiceAccountService for ServiceAccountGrpc {
    async fn get(
        &self,
        request: Request<wire::GetServiceAccountRequest>,
    ) -> Answer<wire::ServiceAccount> {
        let app = Arc::clone(&self.app);
        let calls = app.calls.clone();
        detached(&calls, async move {
            let details = event("GetServiceAccount", &request.get_ref().service_account_id);
            let mut call = Call::begin(&app, &request, details)?;
            let result = get(&mut call, request.get_ref()).await;
            call.finish(result).await
        })
        .await
    }

    async fn list(
        &self,
        request: Request<wire::ListServiceAccountsRequest>,
    ) -> Answer<wire::ListServiceAccountsResponse> {
        let app = Arc::clone(&self.app);
        let calls = app.calls.clone();
        detached(&calls, async move {
            let (source, field) = (EventSource::Iam, "folder_id");
            let id = &request.get_ref().folder_id;
            let details = describe::request_event(source, "ListServiceAccounts", field, id);
            let mut call = Call::begin(&app, &request, details)?;
            let result = list(&mut call, request.get_ref()).await;
            call.finish(result).await
        })
        .await
    }

    async fn create(
        &self,
        request: Request<wire::CreateServiceAccountRequest>,
    ) -> Answer<Operation> {
        let app = Arc::clone(&self.app);
        let calls = app.calls.clone();
        detached(&calls, async move {
            let details = AuditDetails::CreateServiceAccount(ServiceAccountDetails {
                folder_id: describe::named_id(&request.get_ref().folder_id),
                ..ServiceAccountDetails::default()
            });
            let mut call = Call::begin(&app, &request, details)?;
            let result = create(&mut call, request.get_ref()).await;
            call.finish(result).await
        })
        .await
    }

    async fn update(
        &self,
        request: Request<wire::UpdateServiceAccountRequest>,
    ) -> Answer<Operation> {
        let app = Arc::clone(&self.app);
        let calls = app.calls.clone();
        detached(&calls, async move {
            let details = event("UpdateServiceAccount", &request.get_ref().service_account_id);
            let mut call = Call::begin(&app, &request, details)?;
            let result = changes::update(&mut call, request.into_inner()).await;
            call.finish(result).await
        })
        .await
    }

    async fn delete(
        &self,
        request: Request<wire::DeleteServiceAccountRequest>,
    ) -> Answer<Operation> {
        let app = Arc::clone(&self.app);
        let calls = app.calls.clone();
        detached(&calls, async move {
            let details = event("DeleteServiceAccount", &request.get_ref().service_account_id);
            let mut call = Call::begin(&app, &request, details)?;
            let result = changes::delete(&mut call, request.get_ref()).await;
            call.finish(result).await
        })
        .await
    }

    async fn list_access_bindings(
        &self,
        request: Request<access::ListAccessBindingsRequest>,
    ) -> Answer<access::ListAccessBindingsResponse> {
        access_bindings::list(&self.app, request, &access_bindings::SERVICE_ACCOUNT).await
    }

    async fn set_access_bindings(
        &self,
        request: Request<access::SetAccessBindingsRequest>,
    ) -> Answer<Operation> {
        access_bindings::set(&self.app, request, &access_bindings::SERVICE_ACCOUNT).await
    }

    async fn update_access_bindings(
        &self,
        request: Request<access::UpdateAccessBindingsRequest>,
    ) -> Answer<Operation> {
        access_bindings::update(&self.app, request, &access_bindings::SERVICE_ACCOUNT).await
    }

    async fn list_operations(
        &self,
        request: Request<wire::ListServiceAccountOperationsRequest>,
    ) -> Answer<wire::ListServiceAccountOperationsResponse> {
        let app = Arc::clone(&self.app);
        let calls = app.calls.clone();
        detached(&calls, async move {
            let id = &request.get_ref().service_account_id;
            let details = event("ListServiceAccountOperations", id);
            let mut call = Call::begin(&app, &request, details)?;
            let result = list_operations(&mut call, request.get_ref()).await;
            call.finish(result).await
        })
        .await
    }

    async fn suspend(
        &self,
        request: Request<wire::SuspendServiceAccountRequest>,
    ) -> Answer<Operation> {
        let app = Arc::clone(&self.app);
        let calls = app.calls.clone();
        detached(&calls, async move {
            let details = event("SuspendServiceAccount", &request.get_ref().service_account_id);
            let mut call = Call::begin(&app, &request, details)?;
            let result = changes::suspend(&mut call, request.get_ref()).await;
            call.finish(result).await
        })
        .await
    }

    async fn reactivate(
        &self,
        request: Request<wire::ReactivateServiceAccountRequest>,
    ) -> Answer<Operation> {
        let app = Arc::clone(&self.app);
        let calls = app.calls.clone();
        detached(&calls, async move {
            let details = event("ReactivateServiceAccount", &request.get_ref().service_account_id);
            let mut call = Call::begin(&app, &request, details)?;
            let result = changes::reactivate(&mut call, request.get_ref()).await;
            call.finish(result).await
        })
        .await
    }
}

fn parse_folder_id(text: &str) -> Result<FolderId, ApiError> {
    FolderId::parse(text).map_err(|error| ApiError::invalid("folder_id", error.to_string()))
}

fn parse_account_id(text: &str) -> Result<ServiceAccountId, ApiError> {
    ServiceAccountId::parse(text)
        .map_err(|error| ApiError::invalid("service_account_id", error.to_string()))
}

/// An account with its path, for who may see it.
fn account_for(
    view: &TimedView<'_>,
    caller: &Caller,
    id: &ServiceAccountId,
) -> Result<(ServiceAccountRecord, ResourcePath), Refused> {
    let account = tables::service_account(view, id)?
        .ok_or_else(|| Rejection::not_found(ResourceKind::ServiceAccount, id.as_str()))?;
    within(account_path(view, &account)?, |path| {
        require(view, &caller.subject, Permission::ServiceAccountsGet, path)?;
        Ok(account)
    })
}

async fn get(
    call: &mut Call<'_>,
    request: &wire::GetServiceAccountRequest,
) -> Result<wire::ServiceAccount, ApiError> {
    let caller = call.admit(request)?;
    let id = parse_account_id(&request.service_account_id)?;
    let (account, path) = call.read(&caller, |view| account_for(view, &caller, &id)).await?;
    call.path = Some(path);
    Ok(convert::service_account(&account))
}

async fn list_operations(
    call: &mut Call<'_>,
    request: &wire::ListServiceAccountOperationsRequest,
) -> Result<wire::ListServiceAccountOperationsResponse, ApiError> {
    let caller = call.admit(request)?;
    let id = parse_account_id(&request.service_account_id)?;
    let list = List { kind: "operations on a service account", of: id.as_str() };
    let asked = operations_of::Asked::new(list, &request.page_token, request.page_size)?;
    let (operations, next_page_token) = asked
        .answer(call, &caller, |view, asked| {
            let (_, path) = account_for(view, &caller, &id)?;
            let of = ResourceRef::new(ResourceKind::ServiceAccount, id.as_str());
            Ok((asked.of_resource(view, &of)?, path))
        })
        .await?;
    Ok(wire::ListServiceAccountOperationsResponse { operations, next_page_token })
}

async fn list(
    call: &mut Call<'_>,
    request: &wire::ListServiceAccountsRequest,
) -> Result<wire::ListServiceAccountsResponse, ApiError> {
    let caller = call.admit(request)?;
    let folder = parse_folder_id(&request.folder_id)?;
    let name = name_filter::parse(&request.filter)?;
    let list = List { kind: "service accounts", of: folder.as_str() };
    let after = list.place(&request.page_token)?.unwrap_or(0);
    let size = page::size(request.page_size);
    let ((records, next), path) = call
        .read(&caller, |view| {
            let path = tables::folder_path(view, &folder)?
                .ok_or_else(|| Rejection::not_found(ResourceKind::Folder, folder.as_str()))?;
            require(view, &caller.subject, Permission::ServiceAccountsGet, &path)?;
            let Some(name) = &name else {
                return Ok((tables::service_accounts_page(view, &folder, after, size)?, path));
            };
            // Names are unique within the cloud, so there is at most one.
            let Some(record) = tables::folder(view, &folder)? else {
                return Ok(((Vec::new(), None), path));
            };
            let found = tables::service_account_named(view, &record.cloud_id, name)?;
            let here = found.filter(|account| account.folder_id == folder);
            Ok(((here.into_iter().collect(), None), path))
        })
        .await?;
    call.path = Some(path);
    let made = |account: ServiceAccountRecord| {
        Ok::<_, ApiError>((account.sequence, convert::service_account(&account)))
    };
    let (service_accounts, next) = page::fill(records, next, made)?;
    let next_page_token = next.map(|place| list.token(place)).unwrap_or_default();
    Ok(wire::ListServiceAccountsResponse { service_accounts, next_page_token })
}

async fn create(
    call: &mut Call<'_>,
    request: &wire::CreateServiceAccountRequest,
) -> Result<Operation, ApiError> {
    let caller = call.admit(request)?;
    let claim = idempotency::claim(&call.context, &caller, &call.app.keyring, request)?;
    if let Some(operation) = call.recall(&caller, claim.as_ref()).await? {
        return Ok(answer(call, &operation));
    }
    let folder_id = parse_folder_id(&request.folder_id)?;
    let expires_at = match &request.expires_at {
        None => None,
        Some(at) => Some(
            convert::log_time(at)
                .ok_or_else(|| ApiError::invalid("expires_at", "is outside the range of times"))?,
        ),
    };
    let path = call
        .prepare(&caller, |view| {
            let path = tables::folder_path(view, &folder_id)?
                .ok_or_else(|| Rejection::not_found(ResourceKind::Folder, folder_id.as_str()))?;
            require(view, &caller.subject, Permission::ServiceAccountsAdminister, &path)?;
            Ok(path)
        })
        .await?;
    call.path = Some(path);
    let command = Command::CreateServiceAccount(CreateServiceAccount {
        id: ServiceAccountId::generate(call.app.random.as_ref()),
        folder_id,
        name: request.name.clone(),
        description: request.description.clone(),
        labels: request.labels.clone(),
        expires_at,
    });
    let operation = call.propose(&caller, claim, command).await?;
    Ok(answer(call, &operation))
}

/// The operation on the wire; its account goes into the audit record.
fn answer(call: &mut Call<'_>, operation: &OperationRecord) -> Operation {
    if let OperationResult::ServiceAccount(account) = &operation.result {
        call.details = AuditDetails::CreateServiceAccount(ServiceAccountDetails {
            service_account_id: account.id.to_string(),
            service_account_name: account.name.clone(),
            folder_id: account.folder_id.to_string(),
            description: account.description.clone(),
            labels: account.labels.clone(),
        });
    }
    convert::operation(operation)
}
