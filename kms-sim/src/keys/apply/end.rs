//! The end of a key: hidden at once, restorable for a while, then without material
//! (`contract §3.2`).

use lockbox_core::{KmsKeyId, LogTime};

use super::key::listing_row;
use super::read::{any_key, live_key};
use super::version::destroyed;
use super::{Changed, Place, Refusal, Stop, read_primary, read_versions};
use crate::keys::command::DeleteKey;
use crate::store::due::Due;
use crate::store::records::{Deletion, KeyRecord, OperationKind, VersionRecord, VersionStatus};
use crate::store::tables::{self, Table};
use crate::store::{View, Write};
use lockbox_core::codec::encode;

pub(super) fn delete(view: &View<'_>, delete: &DeleteKey, place: Place) -> Result<Changed, Stop> {
    let before = live_key(view, &delete.key_id)?;
    if before.deletion_protection {
        return Err(Refusal::DeletionProtected.into());
    }
    let destroy_at = place.time.plus(delete.retention);
    let deletion = Deletion { deleted_at: place.time, destroy_at, destroyed_at: None };
    let key = KeyRecord { deletion: Some(deletion), ..before.clone() };
    let due = Due::DestroyKey(key.id.clone()).row(destroy_at);
    let mut writes = vec![Write::put(Table::Due, due, Vec::new())];
    if let Some(row) = listing_row(&key) {
        writes.push(Write::delete(Table::KeysByFolder, row));
    }
    // What the answer says; the row stays as it is, for an undelete.
    let primary_version = VersionRecord {
        status: VersionStatus::ScheduledForDestruction,
        destroy_at: Some(destroy_at),
        ..read_primary(view, &key)?
    };
    let kind = OperationKind::DeleteKey;
    Ok(Changed { writes, kind, before: Some(before), key, primary_version })
}

/// Takes a deletion back, as long as its time has not come. The quota of keys is not asked: who
/// restores a key must not have to delete another.
pub(super) fn undelete(view: &View<'_>, key_id: &KmsKeyId, place: Place) -> Result<Changed, Stop> {
    let before = any_key(view, key_id)?;
    let restorable =
        |deletion: &&Deletion| deletion.destroyed_at.is_none() && place.time < deletion.destroy_at;
    let Some(deletion) = before.deletion.as_ref().filter(restorable) else {
        return Err(Refusal::KeyNotDeleted.into());
    };
    let due = Due::DestroyKey(key_id.clone()).row(deletion.destroy_at);
    let mut writes = vec![Write::delete(Table::Due, due)];
    let key = KeyRecord { deletion: None, ..before.clone() };
    if let Some(row) = listing_row(&key) {
        writes.push(Write::put(Table::KeysByFolder, row, Vec::new()));
    }
    let primary_version = read_primary(view, &key)?;
    let kind = OperationKind::UndeleteKey;
    Ok(Changed { writes, kind, before: Some(before), key, primary_version })
}

/// Applies only to the deletion that it names, and only when the commit's own time has reached it.
pub(super) fn destroy(
    view: &View<'_>,
    key_id: &KmsKeyId,
    destroy_at: LogTime,
    place: Place,
) -> Result<Changed, Stop> {
    let before = any_key(view, key_id)?;
    let named = |deletion: &&Deletion| {
        deletion.destroy_at == destroy_at
            && deletion.destroyed_at.is_none()
            && place.time >= destroy_at
    };
    let Some(deletion) = before.deletion.as_ref().filter(named).cloned() else {
        return Err(Refusal::NotDue.into());
    };
    let due = Due::DestroyKey(key_id.clone()).row(destroy_at);
    let mut writes =
        vec![Write::delete(Table::Due, due), Write::delete(Table::Bindings, tables::key(key_id))];
    let mut primary_version = read_primary(view, &before)?;
    for mut version in read_versions(view, &before)? {
        if version.status == VersionStatus::Destroyed {
            continue;
        }
        writes.extend(destroyed(&mut version, place.time));
        let row = tables::version(&version.key_id, &version.id);
        writes.push(Write::put(Table::Versions, row, encode(&version)));
        if version.id == before.primary_version_id {
            primary_version = version;
        }
    }
    let deletion = Deletion { destroyed_at: Some(place.time), ..deletion };
    let key = KeyRecord { deletion: Some(deletion), ..before.clone() };
    let kind = OperationKind::Destroy;
    Ok(Changed { writes, kind, before: Some(before), key, primary_version })
}
