//! The mutations of SymmetricKeyService: from a message to a command's input.

use lockbox_platform::status::ApiError;
use lockbox_proto::yandex::cloud::access::{SetAccessBindingsRequest, UpdateAccessBindingsRequest};
use lockbox_proto::yandex::cloud::kms::v1::{
    CancelSymmetricKeyVersionDestructionRequest, CreateSymmetricKeyRequest,
    DeleteSymmetricKeyRequest, RotateSymmetricKeyRequest,
    ScheduleSymmetricKeyVersionDestructionRequest, SetPrimarySymmetricKeyVersionRequest,
    UpdateSymmetricKeyRequest,
};
use prost::Message;

use super::call::Call;
use super::{Edge, bindings, convert};
use crate::caller::Caller;
use crate::error::KmsError;
use crate::keys::command::{BindingsChange, IdempotencyClaim, UpdateKey};
use crate::keys::service::{self, NewKey};
use crate::keys::{Done, bindings as key_bindings, versions};
use crate::store::records::KeyRecord;

/// Longest idempotency key accepted, in bytes; a UUID is advised (`contract §10`).
const IDEMPOTENCY_KEY_BYTES_MAX: usize = 128;

type Mutated = Result<Done, ApiError>;

pub(super) async fn create(
    edge: &Edge,
    call: &mut Call,
    message: CreateSymmetricKeyRequest,
) -> Mutated {
    let caller = call.admit(edge, &message).await?;
    let idempotency = claim(edge, call, "SymmetricKeyService.Create", &message)?;
    let new = NewKey {
        folder_id: convert::folder_id(&message.folder_id)?,
        default_algorithm: convert::key_algorithm(message.default_algorithm)?,
        rotation_period_ms: convert::rotation_period_ms(
            message.rotation_period,
            edge.periods.rotation_min,
        )?,
        name: message.name,
        description: message.description,
        labels: message.labels,
        deletion_protection: message.deletion_protection,
    };
    call.commit(service::create(&edge.engine, &caller, new, idempotency)).await
}

pub(super) async fn update(
    edge: &Edge,
    call: &mut Call,
    message: UpdateSymmetricKeyRequest,
    observed: &mut Option<KeyRecord>,
) -> Mutated {
    let caller = call.admit(edge, &message).await?;
    let idempotency = claim(edge, call, "SymmetricKeyService.Update", &message)?;
    let update = read_update(edge, message)?;
    let work = service::update(&edge.engine, &caller, update, idempotency, observed);
    call.commit(work).await
}

pub(super) async fn rotate(
    edge: &Edge,
    call: &mut Call,
    message: &RotateSymmetricKeyRequest,
    observed: &mut Option<KeyRecord>,
) -> Mutated {
    let caller = call.admit(edge, message).await?;
    let idempotency = claim(edge, call, "SymmetricKeyService.Rotate", message)?;
    let key_id = convert::key_id("key_id", &message.key_id)?;
    let work = service::rotate(&edge.engine, &caller, &key_id, idempotency, observed);
    call.commit(work).await
}

pub(super) async fn delete(
    edge: &Edge,
    call: &mut Call,
    message: &DeleteSymmetricKeyRequest,
    observed: &mut Option<KeyRecord>,
) -> Mutated {
    let caller = call.admit(edge, message).await?;
    let idempotency = claim(edge, call, "SymmetricKeyService.Delete", message)?;
    let key_id = convert::key_id("key_id", &message.key_id)?;
    let retention = edge.periods.deleted;
    let work = service::delete(&edge.engine, &caller, &key_id, retention, idempotency, observed);
    call.commit(work).await
}

pub(super) async fn set_primary(
    edge: &Edge,
    call: &mut Call,
    message: &SetPrimarySymmetricKeyVersionRequest,
    observed: &mut Option<KeyRecord>,
) -> Mutated {
    let caller = call.admit(edge, message).await?;
    let idempotency = claim(edge, call, "SymmetricKeyService.SetPrimaryVersion", message)?;
    let version = convert::version_of(&message.key_id, &message.version_id)?;
    let work = versions::set_primary(&edge.engine, &caller, &version, idempotency, observed);
    call.commit(work).await
}

pub(super) async fn schedule(
    edge: &Edge,
    call: &mut Call,
    message: &ScheduleSymmetricKeyVersionDestructionRequest,
    observed: &mut Option<KeyRecord>,
) -> Mutated {
    let caller = call.admit(edge, message).await?;
    let method = "SymmetricKeyService.ScheduleVersionDestruction";
    let idempotency = claim(edge, call, method, message)?;
    let version = convert::version_of(&message.key_id, &message.version_id)?;
    let min = edge.periods.pending_min;
    let pending = convert::pending_period(message.pending_period.as_ref(), min)?;
    let engine = &edge.engine;
    let work =
        versions::schedule_destruction(engine, &caller, &version, pending, idempotency, observed);
    call.commit(work).await
}

pub(super) async fn cancel(
    edge: &Edge,
    call: &mut Call,
    message: &CancelSymmetricKeyVersionDestructionRequest,
    observed: &mut Option<KeyRecord>,
) -> Mutated {
    let caller = call.admit(edge, message).await?;
    let method = "SymmetricKeyService.CancelVersionDestruction";
    let idempotency = claim(edge, call, method, message)?;
    let version = convert::version_of(&message.key_id, &message.version_id)?;
    let work = versions::cancel_destruction(&edge.engine, &caller, &version, idempotency, observed);
    call.commit(work).await
}

pub(super) async fn set_bindings(
    edge: &Edge,
    call: &mut Call,
    message: SetAccessBindingsRequest,
    change: &mut Option<BindingsChange>,
    observed: &mut Option<KeyRecord>,
) -> Mutated {
    let caller = call.admit(edge, &message).await?;
    let idempotency = claim(edge, call, "SymmetricKeyService.SetAccessBindings", &message)?;
    let change = change.insert(bindings::set(message.access_bindings)?);
    change_bindings(edge, call, &caller, &message.resource_id, change, idempotency, observed).await
}

pub(super) async fn update_bindings(
    edge: &Edge,
    call: &mut Call,
    message: UpdateAccessBindingsRequest,
    change: &mut Option<BindingsChange>,
    observed: &mut Option<KeyRecord>,
) -> Mutated {
    let caller = call.admit(edge, &message).await?;
    let idempotency = claim(edge, call, "SymmetricKeyService.UpdateAccessBindings", &message)?;
    let change = change.insert(bindings::deltas(message.access_binding_deltas)?);
    change_bindings(edge, call, &caller, &message.resource_id, change, idempotency, observed).await
}

async fn change_bindings(
    edge: &Edge,
    call: &Call,
    caller: &Caller,
    resource_id: &str,
    change: &BindingsChange,
    idempotency: Option<IdempotencyClaim>,
    observed: &mut Option<KeyRecord>,
) -> Mutated {
    let key_id = convert::key_id("resource_id", resource_id)?;
    let engine = &edge.engine;
    let work = key_bindings::change(engine, caller, &key_id, change, idempotency, observed);
    call.commit(work).await
}

/// Takes from an update what its mask names (`contract §3.2`).
fn read_update(edge: &Edge, message: UpdateSymmetricKeyRequest) -> Result<UpdateKey, KmsError> {
    let paths = message.update_mask.map(|mask| mask.paths).unwrap_or_default();
    if paths.is_empty() {
        return Err(KmsError::invalid("update_mask", "must name at least one field"));
    }
    let mut update = UpdateKey {
        key_id: convert::key_id("key_id", &message.key_id)?,
        name: None,
        description: None,
        labels: None,
        status: None,
        default_algorithm: None,
        rotation_period_ms: None,
        deletion_protection: None,
    };
    for path in paths {
        match path.as_str() {
            "name" => update.name = Some(message.name.clone()),
            "description" => update.description = Some(message.description.clone()),
            "labels" => update.labels = Some(message.labels.clone()),
            "status" => update.status = Some(convert::key_status(message.status)?),
            "default_algorithm" => {
                let algorithm = convert::key_algorithm(message.default_algorithm)?;
                update.default_algorithm = Some(algorithm);
            }
            "rotation_period" => {
                let min = edge.periods.rotation_min;
                let period = convert::rotation_period_ms(message.rotation_period, min)?;
                update.rotation_period_ms = Some(period);
            }
            "deletion_protection" => update.deletion_protection = Some(message.deletion_protection),
            _ => {
                return Err(KmsError::invalid(
                    "update_mask",
                    "names a field that cannot be changed",
                ));
            }
        }
    }
    Ok(update)
}

/// By what a repeat of this request is recognised, if the client wants that.
fn claim<M: Message>(
    edge: &Edge,
    call: &Call,
    method: &'static str,
    message: &M,
) -> Result<Option<IdempotencyClaim>, KmsError> {
    let Some(key) = call.idempotency_key() else { return Ok(None) };
    let allowed = (1..=IDEMPOTENCY_KEY_BYTES_MAX).contains(&key.len());
    if !allowed || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        let problem = format!("must be 1 to {IDEMPOTENCY_KEY_BYTES_MAX} visible characters");
        return Err(KmsError::invalid("idempotency-key", problem));
    }
    let request_mac = edge.engine.mac_key().of(&[method.as_bytes(), &message.encode_to_vec()]);
    Ok(Some(IdempotencyClaim { idempotency_key: key.to_owned(), method, request_mac }))
}
