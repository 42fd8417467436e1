//! For whom a backup is sealed: named recipients, and the KMS.

use lockbox_core::Sensitive;
use lockbox_platform::sealed_file::{FileKey, Recipient, SealedBy, Wrap};
use lockbox_platform::status::ApiError;
use lockbox_raft::state::tables;
use tokio::time::Instant;

use crate::app::App;

/// What the KMS binds the key of a file to.
#[must_use]
pub fn kms_data(file_id: &str) -> Vec<u8> {
    format!("lockbox sealed file v1/{file_id}").into_bytes()
}

/// A new key, wrapped for everybody who may open the file.
///
/// # Errors
/// INVALID_ARGUMENT when that is nobody; UNAVAILABLE when the KMS does not wrap it.
pub async fn seal_for(
    app: &App,
    file_id: [u8; 16],
    recipients: &[Recipient],
    under_kms: bool,
    deadline: Instant,
) -> Result<SealedBy, ApiError> {
    if recipients.is_empty() && !under_kms {
        return Err(ApiError::invalid("recipients", "must name somebody, or the KMS"));
    }
    let key = FileKey::generate(app.random.as_ref());
    let mut wraps = Vec::with_capacity(recipients.len() + 1);
    for recipient in recipients {
        let wrap = recipient.wrap(&key);
        wraps.push(wrap.map_err(|error| ApiError::invalid("recipients", error.to_string()))?);
    }
    if under_kms {
        wraps.push(by_kms(app, &hex::encode(file_id), &key, deadline).await?);
    }
    Ok(SealedBy { file_id, key, wraps })
}

async fn by_kms(
    app: &App,
    file_id: &str,
    key: &FileKey,
    deadline: Instant,
) -> Result<Wrap, ApiError> {
    let reading = app.replica.read_stale(|view, _now| tables::cluster(view));
    let cluster = reading.and_then(|reading| reading.value);
    let cluster = cluster.map_err(|error| ApiError::internal(error.to_string()))?;
    let cluster = cluster.ok_or_else(|| ApiError::unavailable("the cluster is not initialised"))?;
    let key_id = cluster.system_key_id;
    let plaintext = Sensitive::new(key.expose().to_vec());
    let wrapped = app.kms.system_encrypt(&key_id, kms_data(file_id), &plaintext, deadline).await;
    let wrapped = wrapped.map_err(|status| {
        ApiError::unavailable(format!("the KMS wraps no key of a backup: {:?}", status.code()))
    })?;
    Ok(Wrap::Kms { key_id, wrapped: hex::encode(wrapped) })
}
