//! What decisions and answers read of the state.

use lockbox_core::{KmsKeyId, KmsKeyVersionId};

use super::{Refusal, Stop};
use crate::store::records::{KeyBindings, KeyRecord, VersionRecord};
use crate::store::tables::{self, Table};
use crate::store::{StoreError, View};

/// Every key, deleted ones too, in the order of ids.
///
/// # Errors
/// [`StoreError`].
pub fn read_keys(view: &View<'_>) -> Result<Vec<KeyRecord>, StoreError> {
    decode_rows(view, Table::Keys, b"")
}

/// Every version of a key, in the order of ids.
///
/// # Errors
/// [`StoreError`].
pub fn read_versions(view: &View<'_>, key: &KeyRecord) -> Result<Vec<VersionRecord>, StoreError> {
    decode_rows(view, Table::Versions, &tables::versions_prefix(&key.id))
}

/// A version of a key, if the key has it.
///
/// # Errors
/// [`StoreError`].
pub fn read_version(
    view: &View<'_>,
    key_id: &KmsKeyId,
    version_id: &KmsKeyVersionId,
) -> Result<Option<VersionRecord>, StoreError> {
    view.record(Table::Versions, &tables::version(key_id, version_id))
}

/// The primary version of a key.
///
/// # Errors
/// [`StoreError`], also when it is not there.
pub fn read_primary(view: &View<'_>, key: &KeyRecord) -> Result<VersionRecord, StoreError> {
    read_version(view, &key.id, &key.primary_version_id)?
        .ok_or_else(|| StoreError::inconsistent(Table::Versions, "a primary version is missing"))
}

/// The bindings that are set on a key itself.
///
/// # Errors
/// [`StoreError`].
pub fn read_bindings(view: &View<'_>, key_id: &KmsKeyId) -> Result<KeyBindings, StoreError> {
    Ok(view.record(Table::Bindings, &tables::key(key_id))?.unwrap_or_default())
}

/// A key that there is, deleted or not.
pub(super) fn any_key(view: &View<'_>, key_id: &KmsKeyId) -> Result<KeyRecord, Stop> {
    let key: Option<KeyRecord> = view.record(Table::Keys, &tables::key(key_id))?;
    key.ok_or_else(|| Refusal::KeyNotFound.into())
}

/// A key that is not deleted.
pub(super) fn live_key(view: &View<'_>, key_id: &KmsKeyId) -> Result<KeyRecord, Stop> {
    let key = any_key(view, key_id)?;
    if key.deletion.is_some() {
        return Err(Refusal::KeyNotFound.into());
    }
    Ok(key)
}

fn decode_rows<T>(view: &View<'_>, table: Table, prefix: &[u8]) -> Result<Vec<T>, StoreError>
where
    T: for<'b> minicbor::Decode<'b, ()>,
{
    view.scan(table, prefix, b"")
        .map(|row| {
            let (_, value) = row?;
            lockbox_core::codec::decode(&value).map_err(|e| StoreError::undecodable(table, &e))
        })
        .collect()
}
