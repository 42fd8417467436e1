//! A keyring key that stays, wrapped by the present version of the system key.

use lockbox_core::Sensitive;
use lockbox_raft::domain::command::Command;
use lockbox_raft::domain::identity::ClusterRecord;
use lockbox_raft::domain::keyring::{KeyringKeyRecord, KeyringKeyRewrap};
use subtle::ConstantTimeEq;
use tokio::time::Instant;
use tonic::Status;

use super::{STEP_TIMEOUT, StepError, propose};
use crate::app::App;
use crate::keyring::associated_data;

/// Wraps a key anew, makes sure that the KMS opens what it made, and proposes it.
pub(super) async fn rewrap_key(
    app: &App,
    cluster: &ClusterRecord,
    record: &KeyringKeyRecord,
) -> Result<(), StepError> {
    let deadline = Instant::now() + STEP_TIMEOUT;
    let ring = app.keyring.ring()?;
    let key = ring.get(record.id, record.purpose).ok_or(StepError::NoActiveKey)?;
    let scope = cluster.keyring_scope();
    let data = || associated_data(scope.as_str(), record.id, record.purpose);
    let system_key = cluster.system_key_id.as_str();
    let plaintext = Sensitive::new(key.expose().to_vec());
    let wrapped = app.kms.system_encrypt(system_key, data(), &plaintext, deadline).await;
    let wrapped = wrapped.map_err(|status| silent(&status))?;
    // The old wrapping is dropped for good: not before the new one is known to open.
    let opened = app.kms.system_decrypt(system_key, data(), wrapped.clone(), deadline).await;
    let opened = opened.map_err(|status| silent(&status))?;
    if !bool::from(opened.expose().as_slice().ct_eq(plaintext.expose())) {
        return Err(StepError::Kms("the KMS opens something else than it was given".to_owned()));
    }
    let (key_id, old) = (record.id, record.wrapped.clone());
    let rewrap = KeyringKeyRewrap { key_id, old, new: wrapped };
    propose(app, Command::RewrapKeyringKey(Box::new(rewrap))).await
}

fn silent(status: &Status) -> StepError {
    StepError::Kms(format!("the KMS wraps no keyring key: {:?}", status.code()))
}
