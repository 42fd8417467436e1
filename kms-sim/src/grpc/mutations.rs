//! The mutations of SymmetricKeyService: from a message to a command's input.

use lockbox_platform::status::ApiError;
use lockbox_proto::yandex::cloud::kms::v1::{
    CreateSymmetricKeyRequest, RotateSymmetricKeyRequest, UpdateSymmetricKeyRequest,
};
use prost::Message;

use super::call::Call;
use super::{Edge, convert};
use crate::error::KmsError;
use crate::keys::command::{IdempotencyClaim, UpdateKey};
use crate::keys::service::{self, Answer, NewKey};
use crate::store::records::{KeyRecord, OperationRecord};

/// Longest idempotency key accepted, in bytes; a UUID is advised (`contract §10`).
const IDEMPOTENCY_KEY_BYTES_MAX: usize = 128;

type Mutated = Result<Answer<Box<OperationRecord>>, ApiError>;

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
            edge.rotation_period_min,
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
                let min = edge.rotation_period_min;
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
