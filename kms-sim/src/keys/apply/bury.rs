//! What a store that was restored must not have any more: keys and versions that were destroyed
//! after its backup was made, as the cluster remembers them.
//!
//! Pure as the rest: tombstones in, rows out. Promises that nothing that a tombstone names keeps
//! its material, and that a key which lives on has a primary version that is active.

use std::collections::BTreeMap;

use lockbox_core::codec::encode;
use lockbox_core::{KmsKeyId, KmsKeyVersionId, LogTime};

use super::key::{listing_row, new_version};
use super::version::destroyed;
use super::{Place, read_keys, read_versions, reschedule_rotation};
use crate::algorithm::Algorithm;
use crate::keys::command::NewVersion;
use crate::store::due::Due;
use crate::store::records::{Deletion, KeyRecord, VersionRecord, VersionStatus};
use crate::store::tables::{self, Table};
use crate::store::{StoreError, View, Write};

/// A key, or a version of a key, that must never open anything again.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tombstone {
    /// The key.
    pub key_id: KmsKeyId,
    /// The version; none for the whole key, with versions that nobody has told of.
    pub version_id: Option<KmsKeyVersionId>,
    /// When it was to be destroyed.
    pub destroyed_at: LogTime,
}

/// Everything that a store has destroyed.
///
/// # Errors
/// [`StoreError`].
pub fn tombstones(view: &View<'_>) -> Result<Vec<Tombstone>, StoreError> {
    let mut found = Vec::new();
    for key in read_keys(view)? {
        let ended = key.deletion.as_ref().and_then(|deletion| deletion.destroyed_at);
        if let Some(destroyed_at) = ended {
            found.push(Tombstone { key_id: key.id.clone(), version_id: None, destroyed_at });
        }
        for version in read_versions(view, &key)? {
            if let Some(destroyed_at) = version.destroyed_at {
                let (key_id, version_id) = (version.key_id, Some(version.id));
                found.push(Tombstone { key_id, version_id, destroyed_at });
            }
        }
    }
    Ok(found)
}

/// What is buried of one key.
#[derive(Default)]
struct Grave {
    whole: Option<LogTime>,
    versions: BTreeMap<KmsKeyVersionId, LogTime>,
}

/// The rows that take everything that was destroyed out of a store, and how many versions and whole
/// keys of it that are. `fresh` makes a version for a key that has no other one left.
///
/// # Errors
/// [`StoreError`] when the state cannot be read.
pub fn bury(
    view: &View<'_>,
    tombstones: &[Tombstone],
    place: Place,
    fresh: &mut dyn FnMut(&KmsKeyId, Algorithm) -> NewVersion,
) -> Result<(Vec<Write>, usize), StoreError> {
    let mut graves: BTreeMap<&KmsKeyId, Grave> = BTreeMap::new();
    for tombstone in tombstones {
        let grave = graves.entry(&tombstone.key_id).or_default();
        match &tombstone.version_id {
            None => grave.whole = Some(tombstone.destroyed_at),
            Some(id) => {
                grave.versions.insert(id.clone(), tombstone.destroyed_at);
            }
        }
    }
    let (mut writes, mut buried) = (Vec::new(), 0);
    for key in read_keys(view)? {
        // What the backup does not have needs no grave.
        let Some(grave) = graves.get(&key.id) else { continue };
        let ended = key.deletion.as_ref().is_some_and(|deletion| deletion.destroyed_at.is_some());
        if ended {
            continue;
        }
        let versions = read_versions(view, &key)?;
        match grave.whole {
            Some(at) => {
                buried += 1;
                bury_key(&mut writes, &key, versions, (grave, at), place);
            }
            None => buried += bury_versions(&mut writes, &key, versions, grave, place, fresh),
        }
    }
    Ok((writes, buried))
}

fn bury_key(
    writes: &mut Vec<Write>,
    before: &KeyRecord,
    versions: Vec<VersionRecord>,
    (grave, at): (&Grave, LogTime),
    place: Place,
) {
    match &before.deletion {
        Some(deletion) => {
            let due = Due::DestroyKey(before.id.clone()).row(deletion.destroy_at);
            writes.push(Write::delete(Table::Due, due));
        }
        None => {
            let listed = listing_row(before);
            writes.extend(listed.map(|row| Write::delete(Table::KeysByFolder, row)));
        }
    }
    writes.push(Write::delete(Table::Bindings, tables::key(&before.id)));
    for mut version in versions {
        if version.status != VersionStatus::Destroyed {
            let at = grave.versions.get(&version.id).copied().unwrap_or(at);
            bury_version(writes, &mut version, at);
        }
    }
    let known = before.deletion.as_ref();
    let deletion = Deletion {
        deleted_at: known.map_or(at, |deletion| deletion.deleted_at),
        destroy_at: known.map_or(at, |deletion| deletion.destroy_at),
        destroyed_at: Some(at),
    };
    let key = KeyRecord { deletion: Some(deletion), ..before.clone() };
    store(writes, before, key, place);
}

fn bury_versions(
    writes: &mut Vec<Write>,
    before: &KeyRecord,
    versions: Vec<VersionRecord>,
    grave: &Grave,
    place: Place,
    fresh: &mut dyn FnMut(&KmsKeyId, Algorithm) -> NewVersion,
) -> usize {
    let (mut buried, mut left) = (0, Vec::new());
    for mut version in versions {
        match grave.versions.get(&version.id) {
            Some(at) if version.status != VersionStatus::Destroyed => {
                buried += 1;
                bury_version(writes, &mut version, *at);
            }
            Some(_) => {}
            None => left.push(version),
        }
    }
    if buried == 0 {
        return 0;
    }
    let mut key = before.clone();
    if !left.iter().any(|version| version.id == key.primary_version_id) {
        // Another one had become primary before this one could be destroyed; which one, nobody
        // remembers. The newest is the one that it most likely was.
        let active = left.iter().filter(|version| version.status == VersionStatus::Active);
        match active.max_by_key(|version| version.created_at) {
            Some(newest) => key.primary_version_id = newest.id.clone(),
            None => {
                let version = fresh(&key.id, key.default_algorithm);
                let (rows, record) = new_version(&key, &version, place);
                writes.extend(rows);
                key.primary_version_id = record.id;
                key.rotated_at = place.time;
            }
        }
    }
    store(writes, before, key, place);
    buried
}

fn bury_version(writes: &mut Vec<Write>, version: &mut VersionRecord, at: LogTime) {
    writes.extend(destroyed(version, at));
    let row = tables::version(&version.key_id, &version.id);
    writes.push(Write::put(Table::Versions, row, encode(version)));
}

fn store(writes: &mut Vec<Write>, before: &KeyRecord, key: KeyRecord, place: Place) {
    let key = KeyRecord { revision: place.sequence, ..key };
    reschedule_rotation(writes, Some(before), &key);
    writes.push(Write::put(Table::Keys, tables::key(&key.id), encode(&key)));
}
