//! Keys: made, changed, rotated.

use super::read::live_key;
use super::{Changed, Place, Refusal, Stop, read_keys, read_primary, read_versions};
use crate::keys::command::{CreateKey, NewVersion, Quotas, RotateKey, RotationCause, UpdateKey};
use crate::store::records::{
    KeyRecord, KeyScope, KeyStatus, OperationKind, VersionRecord, VersionStatus,
};
use crate::store::tables::{self, Table};
use crate::store::{View, Write};
use lockbox_core::codec::encode;

pub(super) fn create(
    view: &View<'_>,
    create: &CreateKey,
    place: Place,
    quotas: &Quotas,
) -> Result<Changed, Stop> {
    if create.scope == KeyScope::Customer {
        let keys = read_keys(view)?;
        let in_cloud = |key: &&KeyRecord| {
            key.scope == KeyScope::Customer
                && key.deletion.is_none()
                && key.path.cloud_id == create.path.cloud_id
        };
        if keys.iter().filter(in_cloud).count() >= quotas.keys_per_cloud as usize {
            return Err(Refusal::TooManyKeys.into());
        }
    }
    let key = KeyRecord {
        id: create.key_id.clone(),
        scope: create.scope,
        path: create.path.clone(),
        created_at: place.time,
        name: create.name.clone(),
        description: create.description.clone(),
        labels: create.labels.clone(),
        status: KeyStatus::Active,
        primary_version_id: create.version.id.clone(),
        default_algorithm: create.version.algorithm,
        rotated_at: place.time,
        rotation_period_ms: create.rotation_period_ms,
        deletion_protection: create.deletion_protection,
        revision: place.sequence,
        deletion: None,
        bindings_revision: 0,
    };
    let (mut writes, primary_version) = new_version(&key, &create.version, place);
    if let Some(row) = listing_row(&key) {
        writes.push(Write::put(Table::KeysByFolder, row, Vec::new()));
    }
    Ok(Changed { writes, kind: OperationKind::CreateKey, before: None, key, primary_version })
}

/// The row of a key in its folder's listing; the system key is in none.
pub(super) fn listing_row(key: &KeyRecord) -> Option<Vec<u8>> {
    match key.scope {
        KeyScope::Customer => {
            Some(tables::key_by_folder(&key.path.folder_id, key.created_at, &key.id))
        }
        KeyScope::System => None,
    }
}

pub(super) fn update(view: &View<'_>, update: &UpdateKey) -> Result<Changed, Stop> {
    let before = live_key(view, &update.key_id)?;
    let UpdateKey { key_id: _, name, description, labels, .. } = update.clone();
    let key = KeyRecord {
        name: name.unwrap_or_else(|| before.name.clone()),
        description: description.unwrap_or_else(|| before.description.clone()),
        labels: labels.unwrap_or_else(|| before.labels.clone()),
        status: update.status.unwrap_or(before.status),
        default_algorithm: update.default_algorithm.unwrap_or(before.default_algorithm),
        rotation_period_ms: update.rotation_period_ms.unwrap_or(before.rotation_period_ms),
        deletion_protection: update.deletion_protection.unwrap_or(before.deletion_protection),
        ..before.clone()
    };
    let primary_version = read_primary(view, &key)?;
    let kind = OperationKind::UpdateKey;
    Ok(Changed { writes: Vec::new(), kind, before: Some(before), key, primary_version })
}

pub(super) fn rotate(
    view: &View<'_>,
    rotate: &RotateKey,
    place: Place,
    quotas: &Quotas,
) -> Result<Changed, Stop> {
    let before = live_key(view, &rotate.key_id)?;
    let holds = match &rotate.cause {
        RotationCause::Asked => true,
        RotationCause::Due(at) => before.rotation_due() == Some(*at) && place.time >= *at,
        RotationCause::Worn(version_id) => before.primary_version_id == *version_id,
    };
    if !holds {
        return Err(Refusal::NotDue.into());
    }
    if before.status == KeyStatus::Inactive {
        return Err(Refusal::KeyInactive.into());
    }
    // The material was made for another algorithm: it is made again.
    if before.default_algorithm != rotate.version.algorithm {
        return Err(Refusal::Stale.into());
    }
    let versions = read_versions(view, &before)?;
    let kept = versions.iter().filter(|v| v.status != VersionStatus::Destroyed).count();
    if kept >= quotas.versions_per_key as usize {
        return Err(Refusal::TooManyVersions.into());
    }
    let key = KeyRecord {
        primary_version_id: rotate.version.id.clone(),
        rotated_at: place.time,
        ..before.clone()
    };
    let (writes, primary_version) = new_version(&key, &rotate.version, place);
    let kind = OperationKind::RotateKey;
    Ok(Changed { writes, kind, before: Some(before), key, primary_version })
}

pub(super) fn new_version(
    key: &KeyRecord,
    version: &NewVersion,
    place: Place,
) -> (Vec<Write>, VersionRecord) {
    let record = VersionRecord {
        id: version.id.clone(),
        key_id: key.id.clone(),
        status: VersionStatus::Active,
        algorithm: version.algorithm,
        created_at: place.time,
        destroy_at: None,
        destroyed_at: None,
    };
    let row = tables::version(&key.id, &version.id);
    let writes = vec![
        Write::put(Table::Versions, row.clone(), encode(&record)),
        Write::put(Table::Materials, row, encode(&version.material)),
    ];
    (writes, record)
}
