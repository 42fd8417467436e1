//! What happens to a state that is restored from a backup before anybody reads it.
//!
//! As pure as the rest of `apply`, though no entry of a log stands behind it: the first entry of the
//! new cluster comes after it.

use std::collections::BTreeMap;
use std::time::Duration;

use lockbox_core::{ClusterId, NodeId, SecretId, VersionId};

use super::{Application, destruction, register_members, secret};
use crate::domain::codec;
use crate::domain::erasure::Destroyed;
use crate::domain::feature_level::FEATURE_LEVEL_MAX;
use crate::domain::identity::ClusterRecord;
use crate::domain::version::{Destruction, VersionStatus};
use crate::error::StorageError;
use crate::state::{Overlay, Space, keys, tables};

/// How long the metadata stay of a version that a list of destructions names.
const RETAINED: Duration = Duration::from_secs(30 * 24 * 3600);

/// Destroys what was destroyed after the backup; says whether it was still there.
///
/// # Errors
/// [`StorageError`] when the store cannot answer.
pub fn destroy_again(
    state: &mut Overlay<'_>,
    destroyed: &Destroyed,
    index: u64,
) -> Result<bool, StorageError> {
    let now = tables::log_time(state)?.max(destroyed.at);
    let mut application = Application { state, index, now };
    let was_there = match &destroyed.version_id {
        Some(version) => version_again(&mut application, &destroyed.secret_id, version)?,
        None => secret_again(&mut application, &destroyed.secret_id)?,
    };
    let state = application.state;
    state.put(Space::System, keys::SYSTEM_LOG_TIME.to_vec(), codec::encode(&now));
    state.keep();
    Ok(was_there)
}

fn version_again(
    application: &mut Application<'_, '_>,
    secret_id: &SecretId,
    version_id: &VersionId,
) -> Result<bool, StorageError> {
    let found = tables::secret(application.state, secret_id)?;
    let version = tables::version(application.state, secret_id, version_id)?;
    let (Some(mut secret), Some(mut version)) = (found, version) else { return Ok(false) };
    if version.status == VersionStatus::Destroyed {
        return Ok(false);
    }
    let due = Destruction {
        secret_id: secret_id.clone(),
        version_id: version_id.clone(),
        destroy_at: application.now,
        retained_ms: u64::try_from(RETAINED.as_millis()).unwrap_or(u64::MAX),
    };
    destruction::destroy_payload(application, &mut secret, &mut version, &due)?;
    secret.revision = application.index;
    secret::put(application, &secret);
    application.put(Space::Records, keys::version(&version.id), &version);
    Ok(true)
}

fn secret_again(
    application: &mut Application<'_, '_>,
    secret_id: &SecretId,
) -> Result<bool, StorageError> {
    let Some(secret) = tables::secret(application.state, secret_id)? else { return Ok(false) };
    secret::remove(application, &secret)?;
    Ok(true)
}

/// Makes the state that of another cluster, whose only member is this node: those of before are
/// noted as removed, so that their ids are never used again. As any cluster it begins at the feature
/// level that all of its members understand.
///
/// # Errors
/// [`StorageError`] when the store cannot answer, and when a newer build has written the state.
pub fn found_restored(
    state: &mut Overlay<'_>,
    before: &ClusterRecord,
    cluster_id: ClusterId,
    (node_id, store_id): (NodeId, [u8; 16]),
    index: u64,
) -> Result<(), StorageError> {
    let level = tables::feature_level(state)?;
    if level > FEATURE_LEVEL_MAX {
        return Err(StorageError::newer_build(level, FEATURE_LEVEL_MAX));
    }
    let level = codec::encode(&FEATURE_LEVEL_MAX);
    state.put(Space::System, keys::SYSTEM_FEATURE_LEVEL.to_vec(), level);
    let keyring_cluster = Some(before.keyring_scope().clone());
    let cluster = ClusterRecord { id: cluster_id, keyring_cluster, ..before.clone() };
    state.put(Space::Records, keys::CLUSTER.to_vec(), codec::encode(&cluster));
    state.keep();
    register_members(state, &BTreeMap::from([(node_id, store_id)]), index)
}
