//! Service accounts that change: their attributes, whether they may log in, their end.
//!
//! Everything that depends on the state is decided by `apply`.

use lockbox_core::{Permission, ResourceKind, ServiceAccountId};
use lockbox_platform::status::ApiError;
use lockbox_proto::validate::Validate;
use lockbox_proto::yandex::cloud::iam::v1 as wire;
use lockbox_proto::yandex::cloud::operation::Operation;
use lockbox_raft::apply::{account_path, require, require_over_keys, require_own_token};
use lockbox_raft::domain::Rejection;
use lockbox_raft::domain::command::{Command, ServiceAccountChanges};
use lockbox_raft::domain::identity::ServiceAccountStatus;
use lockbox_raft::state::tables;
use prost::Message;

use super::parse_account_id;
use crate::call::Call;
use crate::refused::within;
use crate::{convert, idempotency};

pub(super) async fn update(
    call: &mut Call<'_>,
    request: wire::UpdateServiceAccountRequest,
) -> Result<Operation, ApiError> {
    let listed = listed(request.clone());
    let id = listed.service_account_id.clone();
    let command = |service_account_id| {
        let changes = masked_changes(&listed)?;
        Ok(Command::UpdateServiceAccount { service_account_id, changes })
    };
    change(call, &listed, &request, &id, command).await
}

pub(super) async fn delete(
    call: &mut Call<'_>,
    request: &wire::DeleteServiceAccountRequest,
) -> Result<Operation, ApiError> {
    let command = |service_account_id| Ok(Command::DeleteServiceAccount { service_account_id });
    change(call, request, request, &request.service_account_id, command).await
}

pub(super) async fn suspend(
    call: &mut Call<'_>,
    request: &wire::SuspendServiceAccountRequest,
) -> Result<Operation, ApiError> {
    let command = |service_account_id| {
        // Ignored, it would leave an account suspended that its owner believes to come back.
        if request.expires_at.is_some() {
            let why = "a suspension ends by Reactivate alone";
            return Err(ApiError::invalid("expires_at", why));
        }
        let status = ServiceAccountStatus::Suspended;
        Ok(Command::SetServiceAccountStatus { service_account_id, status })
    };
    change(call, request, request, &request.service_account_id, command).await
}

pub(super) async fn reactivate(
    call: &mut Call<'_>,
    request: &wire::ReactivateServiceAccountRequest,
) -> Result<Operation, ApiError> {
    let command = |service_account_id| {
        let status = ServiceAccountStatus::Active;
        Ok(Command::SetServiceAccountStatus { service_account_id, status })
    };
    change(call, request, request, &request.service_account_id, command).await
}

/// One change, whose fields are judged as `judged`, and whose repeats are known by `sent`.
async fn change<M: Validate + Message>(
    call: &mut Call<'_>,
    judged: &M,
    sent: &M,
    id: &str,
    command: impl FnOnce(ServiceAccountId) -> Result<Command, ApiError>,
) -> Result<Operation, ApiError> {
    let caller = call.admit(judged)?;
    let claim = idempotency::claim(&call.context, &caller, &call.app.keyring, sent)?;
    let id = parse_account_id(id)?;
    let command = command(id.clone())?;
    // A repeat of a deletion finds no account: only its operation.
    if let Some(operation) = call.recall(&caller, claim.as_ref()).await? {
        return Ok(convert::operation(&operation));
    }
    let ((), path) = call
        .prepare(&caller, |view| {
            let account = tables::service_account(view, &id)?
                .ok_or_else(|| Rejection::not_found(ResourceKind::ServiceAccount, id.as_str()))?;
            let permission = Permission::ServiceAccountsAdminister;
            within(account_path(view, &account)?, |path| {
                require_own_token(Some(&caller.token))?;
                require(view, &caller.subject, permission, path)?;
                require_over_keys(view, &caller.subject, permission, &id, path)
            })
        })
        .await?;
    call.path = Some(path);
    Ok(convert::operation(&call.propose(&caller, claim, command).await?))
}

/// The request without the fields that its mask does not list: those are ignored, however wrong
/// they are. The name keeps a value that is right, for it is a required field.
fn listed(mut request: wire::UpdateServiceAccountRequest) -> wire::UpdateServiceAccountRequest {
    let paths = request.update_mask.as_ref().map_or(&[][..], |mask| mask.paths.as_slice());
    let lists = |field: &str| paths.iter().any(|path| path == field);
    let [name, description, labels, expires_at] =
        ["name", "description", "labels", "expires_at"].map(lists);
    if !name {
        "unlisted".clone_into(&mut request.name);
    }
    if !description {
        request.description.clear();
    }
    if !labels {
        request.labels.clear();
    }
    if !expires_at {
        request.expires_at = None;
    }
    request
}

/// The changes that the mask names (`contract §2.7`).
fn masked_changes(
    request: &wire::UpdateServiceAccountRequest,
) -> Result<ServiceAccountChanges, ApiError> {
    let paths = request.update_mask.as_ref().map_or(&[][..], |mask| mask.paths.as_slice());
    if paths.is_empty() {
        return Err(ApiError::invalid("update_mask", "must name at least one field"));
    }
    let mut changes = ServiceAccountChanges::default();
    for path in paths {
        match path.as_str() {
            "name" => changes.name = Some(request.name.clone()),
            "description" => changes.description = Some(request.description.clone()),
            "labels" => changes.labels = Some(request.labels.clone()),
            "expires_at" => {
                changes.changes_expiry = true;
                changes.expires_at = match &request.expires_at {
                    None => None,
                    Some(at) => Some(convert::log_time(at).ok_or_else(|| {
                        ApiError::invalid("expires_at", "is outside the range of times")
                    })?),
                };
            }
            _ => return Err(ApiError::invalid("update_mask", "names a field that cannot change")),
        }
    }
    Ok(changes)
}
