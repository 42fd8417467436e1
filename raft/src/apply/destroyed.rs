//! What is left of destroyed versions, and for how long (`contract §13` no. 13).
//!
//! Their metadata stay for a while that came with the schedule, and no more of them for one secret
//! than [`DESTROYED_VERSIONS_MAX`]: so the entry that deletes a secret is bounded. What a secret's
//! current pointer names stays as long as it does (`contract §2.4`).

use lockbox_core::{LogTime, SecretId, VersionId};
use minicbor::{Decode, Encode};

use super::{Application, retention};
use crate::domain::codec;
use crate::domain::secret::SecretRecord;
use crate::domain::version::{DESTROYED_VERSIONS_MAX, Destruction, VersionStatus};
use crate::error::StorageError;
use crate::state::{Direction, Overlay, Scan, Space, StateRead, keys, tables};

/// A destroyed version whose metadata are kept for the time being.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(super) struct KeptVersion {
    /// The secret.
    #[n(0)]
    secret_id: SecretId,
    /// The version.
    #[n(1)]
    version_id: VersionId,
    /// How long it is kept at a time, in milliseconds.
    #[n(2)]
    retained_ms: u64,
}

impl KeptVersion {
    /// When it is looked at again that was kept until now.
    pub(super) fn next(&self, now: LogTime) -> LogTime {
        now.plus(std::time::Duration::from_millis(self.retained_ms))
    }
}

/// Counts a version that was just destroyed, and queues its metadata to be forgotten. The caller
/// stores the secret and the version.
pub(super) fn keep(
    application: &mut Application<'_, '_>,
    secret: &mut SecretRecord,
    destroyed: &Destruction,
) -> Result<(), StorageError> {
    if secret.destroyed_versions >= DESTROYED_VERSIONS_MAX {
        forget_oldest(application.state, secret)?;
    }
    secret.destroyed_versions = secret.destroyed_versions.saturating_add(1);
    let kept = KeptVersion {
        secret_id: destroyed.secret_id.clone(),
        version_id: destroyed.version_id.clone(),
        retained_ms: destroyed.retained_ms,
    };
    retention::forget_version_at(application, kept.next(application.now), kept);
    Ok(())
}

/// Forgets a version; false when it is its secret's current one, which stays.
pub(super) fn forget(state: &mut Overlay<'_>, kept: &KeptVersion) -> Result<bool, StorageError> {
    let Some(mut secret) = tables::secret(state, &kept.secret_id)? else { return Ok(true) };
    if secret.current_version.as_ref() == Some(&kept.version_id) {
        return Ok(false);
    }
    if remove(state, &mut secret, &kept.version_id)? {
        state.put(Space::Records, keys::secret(&secret.id), codec::encode(&secret));
    }
    Ok(true)
}

/// Forgets the destroyed version that was created first; the caller stores the secret.
fn forget_oldest(state: &mut Overlay<'_>, secret: &mut SecretRecord) -> Result<(), StorageError> {
    let prefix = keys::versions_in_secret(&secret.id);
    // Before it are at most those that are not destroyed, and the current one.
    let limit = usize::try_from(secret.live_versions).unwrap_or(usize::MAX).saturating_add(2);
    let scan = Scan {
        space: Space::Records,
        to: keys::prefix_end(&prefix),
        from: prefix,
        direction: Direction::Ascending,
        limit,
    };
    for (_, value) in state.scan(&scan)? {
        let id: VersionId = codec::decode(&value)
            .map_err(|e| StorageError::corrupt("forget a destroyed version", e.to_string()))?;
        if secret.current_version.as_ref() != Some(&id) && remove(state, secret, &id)? {
            return Ok(());
        }
    }
    Ok(())
}

/// Removes what is left of a version if it is destroyed, and counts it off.
fn remove(
    state: &mut Overlay<'_>,
    secret: &mut SecretRecord,
    id: &VersionId,
) -> Result<bool, StorageError> {
    let version = tables::version(state, &secret.id, id)?;
    let Some(version) = version.filter(|version| version.status == VersionStatus::Destroyed) else {
        return Ok(false);
    };
    let place = keys::version_in_secret(&secret.id, version.sequence);
    state.delete(Space::Records, place);
    state.delete(Space::Records, keys::version(id));
    secret.destroyed_versions = secret.destroyed_versions.saturating_sub(1);
    Ok(true)
}
