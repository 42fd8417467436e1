//! The beginning of a rotation: the leader makes a key, the KMS wraps it, the log takes it.

use lockbox_core::{ClusterId, LogTime, Sensitive};
use lockbox_platform::status::ApiError;
use lockbox_raft::domain::command::Command;
use lockbox_raft::domain::keyring::{KeyPurpose, KeyStage, KeyringKeyRecord};
use lockbox_raft::domain::outcome::Outcome;
use lockbox_raft::error::StorageError;
use lockbox_raft::state::tables;
use lockbox_raft::store::View;
use tokio::time::Instant;

use crate::app::App;
use crate::errors::{DecidedAt, rejected, unproposed, unread};
use crate::keyring::associated_data;
use crate::seal::SymmetricKey;

/// What a rotation has begun with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Begun {
    /// The new key; the one that there is when none was made.
    pub key_id: u32,
    /// Whether a key was made.
    pub made: bool,
}

/// Adds a key to the keyring, unless one is on its way already, or another than `instead_of` is
/// active: then an earlier call has done it. 0 is whichever is active.
///
/// # Errors
/// UNAVAILABLE on a node that does not lead or is sealed, and without the KMS; nothing has changed
/// then. Whatever becomes of a proposal.
pub async fn begin(app: &App, instead_of: u32, deadline: Instant) -> Result<Begun, ApiError> {
    let leads = app.replica.watch_leadership().current().is_leader;
    if !leads {
        return Err(ApiError::unavailable("this node does not lead: the leader makes the key"));
    }
    app.keyring.ring().map_err(|sealed| ApiError::unavailable(sealed.to_string()))?;
    let look = |view: &View<'_>, _: LogTime| {
        Ok::<_, StorageError>((tables::cluster(view)?, tables::keyring(view)?))
    };
    let reading = app.replica.read(deadline, look).await.map_err(unread)?;
    let looked = reading.value.map_err(|error| ApiError::internal(error.to_string()))?;
    let (Some(cluster), keys) = looked else {
        return Err(ApiError::unavailable("the cluster is not initialised"));
    };
    let purpose = KeyPurpose::WrapDataKeys;
    let id_at = |stage: KeyStage| {
        let found = keys.iter().find(|key| key.purpose == purpose && key.stage == stage);
        found.map(|key| key.id)
    };
    if let Some(key_id) = id_at(KeyStage::Added) {
        return Ok(Begun { key_id, made: false });
    }
    let another = id_at(KeyStage::Activated).filter(|id| instead_of != 0 && *id != instead_of);
    if let Some(key_id) = another {
        return Ok(Begun { key_id, made: false });
    }
    let id = keys.last().map_or(1, |last| last.id.saturating_add(1));
    let (scope, system_key) = (cluster.keyring_scope(), &cluster.system_key_id);
    let (_, wrapped) = wrapped_key(app, scope, system_key, (id, purpose), deadline).await?;
    let record = KeyringKeyRecord::new(id, purpose, KeyStage::Added, wrapped, Vec::new());
    let command = Command::AddKeyringKey(Box::new(record));
    let applied = app.replica.propose_as_leader(command, deadline).await;
    let applied = applied.map_err(|error| unproposed(&error))?;
    match applied.outcome {
        Outcome::Done(_) | Outcome::Nothing => Ok(Begun { key_id: id, made: true }),
        Outcome::Rejected(rejection) => {
            let at = DecidedAt { index: applied.index, term: applied.term };
            Err(rejected(&rejection, at))
        }
    }
}

/// A new random key for the keyring, in clear and wrapped by the system key.
///
/// # Errors
/// UNAVAILABLE when the KMS does not wrap it.
pub async fn wrapped_key(
    app: &App,
    cluster: &ClusterId,
    system_key_id: &str,
    (id, purpose): (u32, KeyPurpose),
    deadline: Instant,
) -> Result<(SymmetricKey, Vec<u8>), ApiError> {
    let key = SymmetricKey::generate(app.random.as_ref());
    let data = associated_data(cluster.as_str(), id, purpose);
    let plaintext = Sensitive::new(key.expose().to_vec());
    let wrapped = app.kms.system_encrypt(system_key_id, data, &plaintext, deadline).await;
    let wrapped = wrapped.map_err(|status| {
        ApiError::unavailable(format!("the KMS wraps no keyring: {:?}", status.code()))
    })?;
    Ok((key, wrapped))
}
