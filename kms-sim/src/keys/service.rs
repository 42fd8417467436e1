//! What callers do with keys: create, read, list, change, rotate, delete. Refuses to know gRPC.
//!
//! Reads answer from one view. Mutations are authorized on a view, made complete (ids, material),
//! and decided by [`super::apply`] at their own place in the commit sequence.

use std::collections::BTreeMap;
use std::time::Duration;

use lockbox_core::{FolderId, KmsKeyId, Permission};

use super::apply;
use super::command::{
    Command, CreateKey, DeleteKey, IdempotencyClaim, RotateKey, RotationCause, UpdateKey,
};
use super::mutate::{self, Done, Target};
use super::page::{self, KeyPosition, PAGE_BYTES_MAX, PageRequest, VersionPosition};
use crate::algorithm::Algorithm;
use crate::caller::Caller;
use crate::engine::{Engine, Reading, SYSTEM_FOLDER_ID};
use crate::error::{KmsError, Rejection};
use crate::store::records::{FolderPath, KeyRecord, KeyScope, KeyStatus, VersionRecord};
use crate::store::tables::{self, Table};
use crate::store::{StoreError, View};

/// What a key takes in an answer besides its texts, in bytes; rounded up.
const KEY_BYTES_FIXED: usize = 256;

/// An answer with the commit sequence that it reflects.
#[derive(Debug)]
pub struct Answer<T> {
    /// The answer.
    pub value: T,
    /// The commit sequence.
    pub index: u64,
}

/// A key with the version that encrypts by default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyWithPrimary {
    /// The key.
    pub key: KeyRecord,
    /// The version.
    pub primary: VersionRecord,
}

/// A page of a listing.
#[derive(Debug)]
pub struct Page<T> {
    /// The rows.
    pub rows: Vec<T>,
    /// Token of the next page; empty on the last one.
    pub next_token: String,
}

/// What a new key is made of.
#[derive(Debug, Clone)]
pub struct NewKey {
    /// Where it will be.
    pub folder_id: FolderId,
    /// Its name.
    pub name: String,
    /// Its description.
    pub description: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Algorithm of its versions.
    pub default_algorithm: Algorithm,
    /// Time between automatic rotations, in milliseconds.
    pub rotation_period_ms: Option<u64>,
    /// Whether deletion is refused.
    pub deletion_protection: bool,
}

/// Makes a key.
///
/// # Errors
/// [`KmsError`].
pub async fn create(
    engine: &Engine,
    caller: &Caller,
    new: NewKey,
    idempotency: Option<IdempotencyClaim>,
) -> Result<Done, KmsError> {
    if let Some(repeat) = mutate::recall(engine, caller, idempotency.as_ref())? {
        return Ok(repeat);
    }
    // A right on a folder is not the KMS's to know: it came with the call, and holds for it.
    let path = permitted_folder(engine, caller, Permission::KmsKeysCreate, &new.folder_id)?;
    let key_id = KmsKeyId::generate(engine.random());
    let command = Command::Create(CreateKey {
        version: engine.new_version(&key_id, new.default_algorithm),
        key_id,
        scope: KeyScope::Customer,
        path,
        name: new.name,
        description: new.description,
        labels: new.labels,
        rotation_period_ms: new.rotation_period_ms,
        deletion_protection: new.deletion_protection,
    });
    mutate::commit(engine, caller.subject.clone(), command, idempotency).await
}

/// Changes a key. A new status takes a right of its own (`contract §13` no. 38).
///
/// # Errors
/// [`KmsError`].
pub async fn update(
    engine: &Engine,
    caller: &Caller,
    update: UpdateKey,
    idempotency: Option<IdempotencyClaim>,
    observed: &mut Option<KeyRecord>,
) -> Result<Done, KmsError> {
    let attributes = update.name.is_some()
        || update.description.is_some()
        || update.labels.is_some()
        || update.default_algorithm.is_some()
        || update.rotation_period_ms.is_some()
        || update.deletion_protection.is_some();
    let needed: Vec<Permission> = [
        attributes.then_some(Permission::KmsKeysUpdate),
        update.status.is_some().then_some(Permission::KmsKeysSetStatus),
    ]
    .into_iter()
    .flatten()
    .collect();
    let target = Target::key(&update.key_id, &needed);
    let command = |_: &KeyRecord| Ok(Command::Update(update.clone()));
    mutate::change(engine, caller, target, idempotency, observed, command).await
}

/// Adds a version with the default algorithm and makes it primary.
///
/// # Errors
/// [`KmsError`].
pub async fn rotate(
    engine: &Engine,
    caller: &Caller,
    key_id: &KmsKeyId,
    idempotency: Option<IdempotencyClaim>,
    observed: &mut Option<KeyRecord>,
) -> Result<Done, KmsError> {
    let target = Target::key(key_id, &[Permission::KmsKeysUpdate]);
    let command = |key: &KeyRecord| {
        let version = engine.new_version(key_id, key.default_algorithm);
        let cause = RotationCause::Asked;
        Ok(Command::Rotate(RotateKey { key_id: key_id.clone(), version, cause }))
    };
    mutate::change(engine, caller, target, idempotency, observed, command).await
}

/// Deletes a key: nobody sees it or uses it any more, and after `retention` its material goes.
///
/// # Errors
/// [`KmsError`].
pub async fn delete(
    engine: &Engine,
    caller: &Caller,
    key_id: &KmsKeyId,
    retention: Duration,
    idempotency: Option<IdempotencyClaim>,
    observed: &mut Option<KeyRecord>,
) -> Result<Done, KmsError> {
    let target = Target::key(key_id, &[Permission::KmsKeysAdminister]);
    let command =
        |_: &KeyRecord| Ok(Command::Delete(DeleteKey { key_id: key_id.clone(), retention }));
    mutate::change(engine, caller, target, idempotency, observed, command).await
}

/// Takes the deletion of a key back, for an operator. Whether the caller is one, the caller of this
/// has found out.
///
/// # Errors
/// [`KmsError`].
pub async fn undelete(
    engine: &Engine,
    operator: &Caller,
    key_id: &KmsKeyId,
) -> Result<Done, KmsError> {
    let command = Command::Undelete(key_id.clone());
    mutate::commit(engine, operator.subject.clone(), command, None).await
}

/// One key.
///
/// # Errors
/// [`KmsError`].
pub fn get(
    engine: &Engine,
    caller: &Caller,
    key_id: &KmsKeyId,
    observed: &mut Option<KeyRecord>,
) -> Result<Answer<KeyWithPrimary>, KmsError> {
    let reading = engine.reading()?;
    let key = reading.permitted_key(caller, Permission::KmsKeysGet, key_id, observed)?;
    let primary = apply::read_primary(&reading.view, &key)?;
    Ok(Answer { value: KeyWithPrimary { key, primary }, index: reading.index })
}

/// Whether a node's caller may attach a key to a resource: it is there, theirs to use and active.
/// Gives the commit sequence of that answer.
///
/// # Errors
/// [`KmsError`].
pub fn attachable(
    engine: &Engine,
    caller: &Caller,
    key_id: &KmsKeyId,
    observed: &mut Option<KeyRecord>,
) -> Result<u64, KmsError> {
    let reading = engine.reading()?;
    let key = reading.key(key_id, observed)?;
    if !caller.is_asserted() || !uses(&reading, caller, &key)? {
        return Err(reading.reject(Rejection::Denied));
    }
    match key.status {
        KeyStatus::Active => Ok(reading.index),
        KeyStatus::Inactive => Err(reading.reject(Rejection::KeyInactive(key.id))),
    }
}

/// Whether the caller has any right to use a key (`contract §13` no. 19).
fn uses(reading: &Reading<'_>, caller: &Caller, key: &KeyRecord) -> Result<bool, StoreError> {
    for permission in
        [Permission::KmsKeysUse, Permission::KmsKeysEncrypt, Permission::KmsKeysDecrypt]
    {
        if reading.may(caller, permission, key)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A folder's keys, oldest first. The right is needed on the folder, not on each key.
///
/// # Errors
/// [`KmsError`].
pub fn list(
    engine: &Engine,
    caller: &Caller,
    folder_id: &FolderId,
    page: &PageRequest,
) -> Result<Answer<Page<KeyWithPrimary>>, KmsError> {
    let reading = engine.reading()?;
    let path = folder_on(&reading, caller, Permission::KmsKeysList, folder_id)?;
    let start = match page.position::<KeyPosition>()? {
        None => Vec::new(),
        Some(position) if position.folder_id != *folder_id => return Err(page::bad_token()),
        Some(position) => {
            let mut row = tables::key_by_folder(folder_id, position.created_at, &position.key_id);
            // The first row behind the last one shown.
            row.push(0);
            row
        }
    };
    let prefix = tables::folder_prefix(&path.folder_id);
    let mut rows: Vec<KeyWithPrimary> = Vec::new();
    let mut bytes = 0;
    for row in reading.view.scan(Table::KeysByFolder, &prefix, &start) {
        let (row, _) = row?;
        if rows.len() == page.size || bytes >= PAGE_BYTES_MAX {
            let next_token = rows.last().map(next_key).unwrap_or_default();
            return Ok(Answer { value: Page { rows, next_token }, index: reading.index });
        }
        let found = listed_key(&reading.view, &row, folder_id)?;
        bytes += key_bytes(&found.key);
        rows.push(found);
    }
    Ok(Answer { value: Page { rows, next_token: String::new() }, index: reading.index })
}

/// A key's versions in every status, newest first, each with whether it is primary.
///
/// # Errors
/// [`KmsError`].
pub fn list_versions(
    engine: &Engine,
    caller: &Caller,
    key_id: &KmsKeyId,
    page: &PageRequest,
    observed: &mut Option<KeyRecord>,
) -> Result<Answer<Page<(VersionRecord, bool)>>, KmsError> {
    let reading = engine.reading()?;
    let key = reading.permitted_key(caller, Permission::KmsKeysGet, key_id, observed)?;
    let mut versions = apply::read_versions(&reading.view, &key)?;
    versions.sort_by(|a, b| (b.created_at, &b.id).cmp(&(a.created_at, &a.id)));
    let shown = match page.position::<VersionPosition>()? {
        None => 0,
        Some(position) => {
            let last = versions.iter().position(|v| v.id == position.version_id);
            last.ok_or_else(page::bad_token)? + 1
        }
    };
    let mut rest = versions.into_iter().skip(shown);
    let rows: Vec<_> = rest
        .by_ref()
        .take(page.size)
        .map(|version| {
            let primary = version.id == key.primary_version_id;
            (version, primary)
        })
        .collect();
    let next_token = match (rest.next(), rows.last()) {
        (Some(_), Some((last, _))) => page::token(&VersionPosition { version_id: last.id.clone() }),
        _ => String::new(),
    };
    Ok(Answer { value: Page { rows, next_token }, index: reading.index })
}

fn permitted_folder(
    engine: &Engine,
    caller: &Caller,
    permission: Permission,
    folder_id: &FolderId,
) -> Result<FolderPath, KmsError> {
    folder_on(&engine.reading()?, caller, permission, folder_id)
}

/// A folder that the caller may use in this way. Which folders there are, only grants tell.
fn folder_on(
    reading: &Reading<'_>,
    caller: &Caller,
    permission: Permission,
    folder_id: &FolderId,
) -> Result<FolderPath, KmsError> {
    match caller.folder(folder_id) {
        Some(path) if folder_id.as_str() != SYSTEM_FOLDER_ID => {
            if caller.may_in(permission, path) {
                Ok(path.clone())
            } else {
                Err(reading.reject(Rejection::Denied))
            }
        }
        // Who may do this nowhere learns nothing about which folders exist.
        Some(_) | None if caller.has_anywhere(permission) => {
            Err(reading.reject(Rejection::FolderNotFound(folder_id.clone())))
        }
        Some(_) | None => Err(reading.reject(Rejection::Denied)),
    }
}

fn listed_key(
    view: &View<'_>,
    row: &[u8],
    folder_id: &FolderId,
) -> Result<KeyWithPrimary, StoreError> {
    let wrong = || StoreError::inconsistent(Table::KeysByFolder, "a row names no key");
    let id = tables::id_in_listing(row, folder_id).ok_or_else(wrong)?;
    let key: KeyRecord = view.record(Table::Keys, &tables::key(&id))?.ok_or_else(wrong)?;
    let primary = apply::read_primary(view, &key)?;
    Ok(KeyWithPrimary { key, primary })
}

fn next_key(last: &KeyWithPrimary) -> String {
    page::token(&KeyPosition {
        folder_id: last.key.path.folder_id.clone(),
        created_at: last.key.created_at,
        key_id: last.key.id.clone(),
    })
}

/// Bytes that a key takes in an answer, rounded up.
pub(super) fn key_bytes(key: &KeyRecord) -> usize {
    let labels: usize = key.labels.iter().map(|(name, value)| name.len() + value.len() + 8).sum();
    KEY_BYTES_FIXED + key.name.len() + key.description.len() + labels
}
