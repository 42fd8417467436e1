//! Decides mutations of keys: from the state and a command to rows, or to a refusal.
//!
//! Pure: no clock, no randomness, no disk. Runs in the commit writer, so that every decision is
//! made on the state that it changes. A repeat under an idempotency key changes nothing and gives
//! the first operation.

use std::time::Duration;

use lockbox_core::{LogTime, Subject};
use subtle::ConstantTimeEq;

use super::command::{
    Command, CreateKey, Envelope, IdempotencyClaim, NewVersion, Quotas, RotateKey, UpdateKey,
};
use crate::store::records::{
    IdempotencyRecord, KeyRecord, KeyScope, KeyStatus, OperationKind, OperationRecord,
    VersionRecord, VersionStatus,
};
use crate::store::tables::{self, Expiring, Table};
use crate::store::{StoreError, View, Write};
use lockbox_core::codec::encode;

/// How long a repeat is recognised (`contract §10`: at least 24 h).
pub const IDEMPOTENCY_RETENTION: Duration = Duration::from_hours(25);
/// How long an operation can be read (`contract §13` no. 27).
pub const OPERATION_RETENTION: Duration = Duration::from_hours(30 * 24);

/// Why a mutation is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such key.
    KeyNotFound,
    /// The key is inactive.
    KeyInactive,
    /// The cloud has as many keys as it may.
    TooManyKeys,
    /// The key has as many versions as it may.
    TooManyVersions,
    /// The default algorithm changed after the material was made: make it again.
    AlgorithmChanged,
    /// The idempotency key was used for another request.
    IdempotencyKeyReused,
}

/// What a mutation comes to.
#[derive(Debug)]
pub enum Decision {
    /// These rows are to be written, together.
    Commit {
        /// The rows.
        writes: Vec<Write>,
        /// The operation that records it.
        operation: Box<OperationRecord>,
    },
    /// It was done before: this is the operation. Nothing is to be written.
    Repeat(Box<OperationRecord>),
    /// It is refused. Nothing is to be written.
    Refused(Refusal),
}

/// The place in the commit sequence that a mutation would take.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// Its sequence.
    pub sequence: u64,
    /// Its time.
    pub time: LogTime,
}

/// Decides one mutation.
///
/// # Errors
/// [`StoreError`] when the state cannot be read.
pub fn apply(
    view: &View<'_>,
    envelope: &Envelope,
    place: Place,
    quotas: &Quotas,
) -> Result<Decision, StoreError> {
    if let Some(claim) = &envelope.idempotency
        && let Some(earlier) = earlier(view, &envelope.created_by, claim)?
    {
        return Ok(earlier);
    }
    let changed = match &envelope.command {
        Command::Create(create) => create_key(view, create, place, quotas)?,
        Command::Update(update) => update_key(view, update, place)?,
        Command::Rotate(rotate) => rotate_key(view, rotate, place, quotas)?,
    };
    let Changed { mut writes, kind, key, primary_version } = match changed {
        Ok(changed) => changed,
        Err(refusal) => return Ok(Decision::Refused(refusal)),
    };
    writes.push(Write::put(Table::Keys, tables::key(&key.id), encode(&key)));
    let operation = OperationRecord {
        id: envelope.operation_id.clone(),
        kind,
        created_at: place.time,
        created_by: envelope.created_by.clone(),
        key,
        primary_version,
    };
    push_expiring(
        &mut writes,
        Expiring::Operations,
        tables::operation(&operation.id),
        encode(&operation),
        place.time.plus(OPERATION_RETENTION),
    );
    if let Some(claim) = &envelope.idempotency {
        let record = IdempotencyRecord {
            request_mac: claim.request_mac,
            operation_id: operation.id.clone(),
        };
        let row = idempotency_row(&envelope.created_by, claim);
        let until = place.time.plus(IDEMPOTENCY_RETENTION);
        push_expiring(&mut writes, Expiring::Idempotency, row, encode(&record), until);
    }
    Ok(Decision::Commit { writes, operation: Box::new(operation) })
}

/// Stores a row that is forgotten at a time.
pub fn push_expiring(
    writes: &mut Vec<Write>,
    table: Expiring,
    row: Vec<u8>,
    value: Vec<u8>,
    at: LogTime,
) {
    writes.push(Write::put(Table::Expiries, tables::expiry(at, table, &row), Vec::new()));
    writes.push(Write::put(table.table(), row, value));
}

/// What a command changes besides the key's own row.
struct Changed {
    writes: Vec<Write>,
    kind: OperationKind,
    key: KeyRecord,
    primary_version: VersionRecord,
}

fn create_key(
    view: &View<'_>,
    create: &CreateKey,
    place: Place,
    quotas: &Quotas,
) -> Result<Result<Changed, Refusal>, StoreError> {
    if create.scope == KeyScope::Customer {
        let keys = read_keys(view)?;
        let in_cloud = |key: &&KeyRecord| {
            key.scope == KeyScope::Customer && key.path.cloud_id == create.path.cloud_id
        };
        if keys.iter().filter(in_cloud).count() >= quotas.keys_per_cloud as usize {
            return Ok(Err(Refusal::TooManyKeys));
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
    };
    let (mut writes, primary_version) = new_version(&key, &create.version, place);
    if create.scope == KeyScope::Customer {
        let row = tables::key_by_folder(&key.path.folder_id, key.created_at, &key.id);
        writes.push(Write::put(Table::KeysByFolder, row, Vec::new()));
    }
    Ok(Ok(Changed { writes, kind: OperationKind::CreateKey, key, primary_version }))
}

fn update_key(
    view: &View<'_>,
    update: &UpdateKey,
    place: Place,
) -> Result<Result<Changed, Refusal>, StoreError> {
    let Some(mut key) = view.record::<KeyRecord>(Table::Keys, &tables::key(&update.key_id))? else {
        return Ok(Err(Refusal::KeyNotFound));
    };
    let UpdateKey { key_id: _, name, description, labels, .. } = update.clone();
    key.name = name.unwrap_or(key.name);
    key.description = description.unwrap_or(key.description);
    key.labels = labels.unwrap_or(key.labels);
    key.status = update.status.unwrap_or(key.status);
    key.default_algorithm = update.default_algorithm.unwrap_or(key.default_algorithm);
    key.rotation_period_ms = update.rotation_period_ms.unwrap_or(key.rotation_period_ms);
    key.deletion_protection = update.deletion_protection.unwrap_or(key.deletion_protection);
    key.revision = place.sequence;
    let primary_version = read_primary(view, &key)?;
    let kind = OperationKind::UpdateKey;
    Ok(Ok(Changed { writes: Vec::new(), kind, key, primary_version }))
}

fn rotate_key(
    view: &View<'_>,
    rotate: &RotateKey,
    place: Place,
    quotas: &Quotas,
) -> Result<Result<Changed, Refusal>, StoreError> {
    let Some(mut key) = view.record::<KeyRecord>(Table::Keys, &tables::key(&rotate.key_id))? else {
        return Ok(Err(Refusal::KeyNotFound));
    };
    if key.status == KeyStatus::Inactive {
        return Ok(Err(Refusal::KeyInactive));
    }
    if key.default_algorithm != rotate.version.algorithm {
        return Ok(Err(Refusal::AlgorithmChanged));
    }
    let versions = read_versions(view, &key)?;
    let kept = versions.iter().filter(|v| v.status != VersionStatus::Destroyed).count();
    if kept >= quotas.versions_per_key as usize {
        return Ok(Err(Refusal::TooManyVersions));
    }
    key.primary_version_id = rotate.version.id.clone();
    key.rotated_at = place.time;
    key.revision = place.sequence;
    let (writes, primary_version) = new_version(&key, &rotate.version, place);
    Ok(Ok(Changed { writes, kind: OperationKind::RotateKey, key, primary_version }))
}

fn new_version(key: &KeyRecord, version: &NewVersion, place: Place) -> (Vec<Write>, VersionRecord) {
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

/// Every key, in the order of ids.
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

/// The primary version of a key.
///
/// # Errors
/// [`StoreError`], also when it is not there.
pub fn read_primary(view: &View<'_>, key: &KeyRecord) -> Result<VersionRecord, StoreError> {
    let row = tables::version(&key.id, &key.primary_version_id);
    view.record(Table::Versions, &row)?
        .ok_or_else(|| StoreError::inconsistent(Table::Versions, "a primary version is missing"))
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

/// What was decided earlier under the same idempotency key.
fn earlier(
    view: &View<'_>,
    subject: &Subject,
    claim: &IdempotencyClaim,
) -> Result<Option<Decision>, StoreError> {
    let row = idempotency_row(subject, claim);
    let Some(record) = view.record::<IdempotencyRecord>(Table::Idempotency, &row)? else {
        return Ok(None);
    };
    if !bool::from(record.request_mac.ct_eq(&claim.request_mac)) {
        return Ok(Some(Decision::Refused(Refusal::IdempotencyKeyReused)));
    }
    let operation = view
        .record(Table::Operations, &tables::operation(&record.operation_id))?
        .ok_or_else(|| StoreError::inconsistent(Table::Operations, "an operation is missing"))?;
    Ok(Some(Decision::Repeat(Box::new(operation))))
}

fn idempotency_row(subject: &Subject, claim: &IdempotencyClaim) -> Vec<u8> {
    let mut row = Vec::new();
    for part in [subject.to_string().as_str(), claim.method] {
        row.extend_from_slice(part.as_bytes());
        row.push(0);
    }
    row.extend_from_slice(claim.idempotency_key.as_bytes());
    row
}
