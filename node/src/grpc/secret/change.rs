//! Mutations without a payload: update, delete, activate, deactivate, move the pointer.
//!
//! Everything that depends on the state is decided by `apply`; nothing is looked up before.

use lockbox_core::{Mutant, Permission, ResourceKind, ResourcePath, SecretId, VersionId, mutant};
use lockbox_platform::audit::AuditDetails;
use lockbox_platform::status::ApiError;
use lockbox_proto::validate::Validate;
use lockbox_proto::yandex::cloud::lockbox::v1 as wire;
use lockbox_proto::yandex::cloud::operation::Operation;
use lockbox_raft::apply::require;
use lockbox_raft::domain::Rejection;
use lockbox_raft::domain::command::{Command, SecretChanges};
use lockbox_raft::domain::operation::{OperationMetadata, OperationRecord, OperationResult};
use lockbox_raft::domain::secret::{SecretRecord, SecretStatus};
use lockbox_raft::state::tables;
use prost::Message;

use super::parse_secret_id;
use crate::authn::Caller;
use crate::call::Call;
use crate::refused::within;
use crate::{convert, describe, errors, idempotency, password, seeded};

pub(super) async fn update(
    call: &mut Call<'_>,
    request: wire::UpdateSecretRequest,
) -> Result<Operation, ApiError> {
    let listed = listed(request.clone());
    let caller = call.admit(&listed)?;
    let claim = idempotency::claim(&call.context, &caller, &call.app.keyring, &request)?;
    let secret_id = parse_secret_id(&request.secret_id)?;
    let changes = masked_changes(listed, call.app.config.limits.unique_names)?;
    if let Some(operation) = call.recall(&caller, claim.as_ref()).await? {
        return Ok(convert::operation(&operation));
    }
    look_up(call, &caller, &secret_id, Permission::SecretsUpdate).await?;
    let command = Command::UpdateSecret { secret_id, changes };
    let operation = call.propose(&caller, claim, command).await?;
    note_secret(call, &operation);
    Ok(convert::operation(&operation))
}

/// The request without the fields that its mask does not list: those are ignored, however wrong
/// they are (`contract §2.7`).
fn listed(mut request: wire::UpdateSecretRequest) -> wire::UpdateSecretRequest {
    let paths = request.update_mask.as_ref().map_or(&[][..], |mask| mask.paths.as_slice());
    let lists = |field: &str| paths.iter().any(|path| path == field);
    let [name, description, labels, specification] =
        ["name", "description", "labels", "password_payload_specification"].map(lists);
    if !name {
        request.name.clear();
    }
    if !description {
        request.description.clear();
    }
    if !labels {
        request.labels.clear();
    }
    if !specification {
        request.payload_specification = None;
    }
    request
}

/// The changes that the mask names; a named field takes its value even when that is the default
/// (`contract §2.7`).
fn masked_changes(
    request: wire::UpdateSecretRequest,
    unique_name: bool,
) -> Result<SecretChanges, ApiError> {
    use wire::update_secret_request::PayloadSpecification::PasswordPayloadSpecification;
    let paths = request.update_mask.map(|mask| mask.paths).unwrap_or_default();
    if paths.is_empty() {
        return Err(ApiError::invalid("update_mask", "must name at least one field"));
    }
    let spec = request.payload_specification.map(|spec| match spec {
        PasswordPayloadSpecification(spec) => convert::spec_from_wire(spec),
    });
    let mut changes = SecretChanges { unique_name, ..SecretChanges::default() };
    for path in &paths {
        match path.as_str() {
            "name" => changes.name = Some(request.name.clone()),
            "description" => changes.description = Some(request.description.clone()),
            "labels" => changes.labels = Some(request.labels.clone().into_iter().collect()),
            "deletion_protection" => {
                changes.deletion_protection = Some(request.deletion_protection);
            }
            "password_payload_specification" => {
                if let Some(spec) = &spec {
                    password::classes(spec).map_err(errors::wrong_spec)?;
                }
                changes.changes_password_spec = true;
                changes.password_spec.clone_from(&spec);
            }
            _ => return Err(ApiError::invalid("update_mask", "names a field that cannot change")),
        }
    }
    Ok(changes)
}

pub(super) async fn delete(
    call: &mut Call<'_>,
    request: &wire::DeleteSecretRequest,
) -> Result<Operation, ApiError> {
    let caller = call.admit(request)?;
    let claim = idempotency::claim(&call.context, &caller, &call.app.keyring, request)?;
    let secret_id = parse_secret_id(&request.secret_id)?;
    // A repeat of a deletion finds no secret: only its operation.
    if let Some(operation) = call.recall(&caller, claim.as_ref()).await? {
        return Ok(convert::operation(&operation));
    }
    look_up(call, &caller, &secret_id, Permission::SecretsDelete).await?;
    let operation = call.propose(&caller, claim, Command::DeleteSecret { secret_id }).await?;
    note_secret(call, &operation);
    Ok(convert::operation(&operation))
}

pub(super) async fn set_status(
    call: &mut Call<'_>,
    request: &(impl Validate + Message),
    secret_id: &str,
    status: SecretStatus,
) -> Result<Operation, ApiError> {
    let caller = call.admit(request)?;
    let claim = idempotency::claim(&call.context, &caller, &call.app.keyring, request)?;
    let secret_id = parse_secret_id(secret_id)?;
    if let Some(operation) = call.recall(&caller, claim.as_ref()).await? {
        return Ok(convert::operation(&operation));
    }
    look_up(call, &caller, &secret_id, Permission::SecretsUpdate).await?;
    let command = Command::SetSecretStatus { secret_id, status };
    let operation = call.propose(&caller, claim, command).await?;
    if mutant(Mutant::DeactivateInCache) {
        seeded::note_status(&operation);
    }
    note_secret(call, &operation);
    Ok(convert::operation(&operation))
}

/// An early answer on rights, so that who has none costs no log entry; and the path and the secret
/// for the audit.
pub(super) async fn look_up(
    call: &mut Call<'_>,
    caller: &Caller,
    id: &SecretId,
    permission: Permission,
) -> Result<SecretRecord, ApiError> {
    let (secret, path) = call
        .prepare(caller, |view| {
            let secret = tables::secret(view, id)?
                .ok_or_else(|| Rejection::not_found(ResourceKind::Secret, id.as_str()))?;
            let path = tables::secret_path(view, &secret)?;
            let require = |path: &ResourcePath| require(view, &caller.subject, permission, path);
            let ((), path) = within(path, require)?;
            Ok((secret, path))
        })
        .await?;
    call.path = Some(path);
    Ok(secret)
}

/// Fills the audit details with the secret that the operation answered with.
fn note_secret(call: &mut Call<'_>, operation: &OperationRecord) {
    let OperationResult::Secret(snapshot) = &operation.result else { return };
    let noted = describe::secret(snapshot);
    match &mut call.details {
        AuditDetails::UpdateSecret(details)
        | AuditDetails::DeleteSecret(details)
        | AuditDetails::ActivateSecret(details)
        | AuditDetails::DeactivateSecret(details) => *details = noted,
        _ => {}
    }
}

/// The audit details of a pointer move, as far as the request names them.
pub(super) fn pointer_event(request: &wire::SetCurrentVersionRequest) -> AuditDetails {
    let mut details = lockbox_platform::audit::details::SetCurrentVersionDetails::default();
    details.secret.secret_id = describe::named_id(&request.secret_id);
    details.new_current_version_id = describe::named_id(&request.version_id);
    AuditDetails::SetCurrentVersion(details)
}

pub(super) async fn set_current_version(
    call: &mut Call<'_>,
    request: &wire::SetCurrentVersionRequest,
) -> Result<Operation, ApiError> {
    let caller = call.admit(request)?;
    let claim = idempotency::claim(&call.context, &caller, &call.app.keyring, request)?;
    let secret_id = parse_secret_id(&request.secret_id)?;
    let version_id = VersionId::parse(&request.version_id)
        .map_err(|error| ApiError::invalid("version_id", error.to_string()))?;
    if let Some(operation) = call.recall(&caller, claim.as_ref()).await? {
        return Ok(convert::operation(&operation));
    }
    let secret = look_up(call, &caller, &secret_id, Permission::VersionsSetCurrent).await?;
    let command = Command::SetCurrentVersion { secret_id, version_id };
    let operation = call.propose(&caller, claim, command).await?;
    if let (
        OperationMetadata::SetCurrentVersion { previous_version_id, .. },
        OperationResult::Version(version),
    ) = (&operation.metadata, &operation.result)
    {
        let previous = previous_version_id.as_ref().map(ToString::to_string).unwrap_or_default();
        let moved = describe::moved_pointer(&secret, version, &previous);
        call.details = AuditDetails::SetCurrentVersion(moved);
    }
    Ok(convert::operation(&operation))
}
