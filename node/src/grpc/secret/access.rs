//! Who may do what with one secret: its own bindings, not those that it inherits
//! (`contract §2.12`).

use lockbox_core::{Permission, ResourceKind, ResourceRef, SecretId};
use lockbox_platform::audit::AuditDetails;
use lockbox_platform::audit::details::AccessBindingsDetails;
use lockbox_platform::status::ApiError;
use lockbox_proto::yandex::cloud::access;
use lockbox_proto::yandex::cloud::operation::Operation;
use lockbox_raft::domain::command::Command;
use lockbox_raft::state::tables;

use super::change::look_up;
use super::read::secret_for;
use crate::call::Call;
use crate::page::{self, List};
use crate::{bindings, convert, describe, idempotency};

/// The details of a change of bindings that has only an id so far.
pub(super) fn changed(id: &str) -> AccessBindingsDetails {
    AccessBindingsDetails { secret_id: describe::named_id(id), ..Default::default() }
}

fn parse_resource_id(text: &str) -> Result<SecretId, ApiError> {
    SecretId::parse(text).map_err(|error| ApiError::invalid("resource_id", error.to_string()))
}

fn resource(id: &SecretId) -> ResourceRef {
    ResourceRef::new(ResourceKind::Secret, id.as_str())
}

pub(super) async fn list(
    call: &mut Call<'_>,
    request: &access::ListAccessBindingsRequest,
) -> Result<access::ListAccessBindingsResponse, ApiError> {
    let caller = call.admit_metadata_read(request)?;
    let id = parse_resource_id(&request.resource_id)?;
    let list = List { kind: "bindings of a secret", of: id.as_str() };
    let after = list.place(&request.page_token)?;
    let size = page::size(request.page_size);
    let (set, path) = call
        .read_metadata(&caller, |view| {
            let permission = Permission::SecretsListAccessBindings;
            let (_, path) = secret_for(view, &caller, &id, permission)?;
            Ok((tables::bindings(view, &resource(&id))?, path))
        })
        .await?;
    call.path = Some(path);
    let (access_bindings, next) = bindings::page(&set, after, size);
    let next_page_token = next.map(|place| list.token(place)).unwrap_or_default();
    Ok(access::ListAccessBindingsResponse { access_bindings, next_page_token })
}

pub(super) async fn set(
    call: &mut Call<'_>,
    request: access::SetAccessBindingsRequest,
) -> Result<Operation, ApiError> {
    let caller = call.admit(&request)?;
    let claim = idempotency::claim(&call.context, &caller, &call.app.keyring, &request)?;
    let id = parse_resource_id(&request.resource_id)?;
    let new = bindings::set_from_wire(request.access_bindings)?;
    call.details = AuditDetails::SetSecretAccessBindings(AccessBindingsDetails {
        access_bindings: new.iter().map(bindings::to_audit).collect(),
        ..changed(id.as_str())
    });
    if let Some(operation) = call.recall(&caller, claim.as_ref()).await? {
        return Ok(convert::operation(&operation));
    }
    look_up(call, &caller, &id, Permission::SecretsSetAccessBindings).await?;
    let command = Command::SetAccessBindings { resource: resource(&id), bindings: new };
    Ok(convert::operation(&call.propose(&caller, claim, command).await?))
}

pub(super) async fn update(
    call: &mut Call<'_>,
    request: access::UpdateAccessBindingsRequest,
) -> Result<Operation, ApiError> {
    let caller = call.admit(&request)?;
    let claim = idempotency::claim(&call.context, &caller, &call.app.keyring, &request)?;
    let id = parse_resource_id(&request.resource_id)?;
    let deltas = bindings::deltas_from_wire(request.access_binding_deltas)?;
    call.details = AuditDetails::UpdateSecretAccessBindings(AccessBindingsDetails {
        access_binding_deltas: deltas.iter().map(bindings::delta_to_audit).collect(),
        ..changed(id.as_str())
    });
    if let Some(operation) = call.recall(&caller, claim.as_ref()).await? {
        return Ok(convert::operation(&operation));
    }
    look_up(call, &caller, &id, Permission::SecretsSetAccessBindings).await?;
    let command = Command::UpdateAccessBindings { resource: resource(&id), deltas };
    Ok(convert::operation(&call.propose(&caller, claim, command).await?))
}
