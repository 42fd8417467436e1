//! Decides mutations of keys: from the state and a command to rows, or to a refusal.
//!
//! Pure: no clock, no randomness, no disk. Runs in the commit writer, so that every decision is
//! made on the state that it changes. A repeat under an idempotency key changes nothing and gives
//! the first operation.

mod bindings;
mod bury;
mod end;
mod key;
mod read;
mod version;

use std::time::Duration;

use lockbox_core::{LogTime, Subject};

pub use self::bury::{Tombstone, bury, tombstones};
pub use self::read::{read_bindings, read_keys, read_primary, read_version, read_versions};
use super::command::{Command, Envelope, IdempotencyClaim, Quotas, RotateKey, RotationCause};
use crate::store::due::Due;
use crate::store::records::{
    IdempotencyRecord, KeyRecord, OperationKind, OperationRecord, VersionRecord,
};
use crate::store::tables::{self, Expiring, Table};
use crate::store::{StoreError, View, Write};
use lockbox_core::codec::encode;

/// How long a repeat is recognised (`contract §10`: at least 24 h).
pub const IDEMPOTENCY_RETENTION: Duration = Duration::from_hours(25);
/// How long an operation can be read (`contract §13` no. 27).
pub const OPERATION_RETENTION: Duration = Duration::from_hours(30 * 24);

/// Why a mutation is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such key, or it is deleted.
    KeyNotFound,
    /// The key has no such version.
    VersionNotFound,
    /// The key is inactive.
    KeyInactive,
    /// The key is protected from deletion.
    DeletionProtected,
    /// The key is not deleted, or its material is gone already.
    KeyNotDeleted,
    /// The version is scheduled for destruction or destroyed.
    VersionNotActive,
    /// The version is not scheduled for destruction.
    VersionNotScheduled,
    /// The version is the primary one.
    VersionIsPrimary,
    /// The cloud has as many keys as it may.
    TooManyKeys,
    /// The key has as many versions as it may.
    TooManyVersions,
    /// The key would have more bindings than it may.
    TooManyBindings,
    /// The key's bindings, or its default algorithm, are others than those that the command was
    /// made for: look again.
    Stale,
    /// What was to be done by itself is called off, or its time has not come.
    NotDue,
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

/// Why there is no change.
enum Stop {
    Refused(Refusal),
    Failed(StoreError),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Failed(error)
    }
}

/// What a command changes besides the key's own row.
struct Changed {
    writes: Vec<Write>,
    kind: OperationKind,
    /// The key as it was; none when it is new.
    before: Option<KeyRecord>,
    key: KeyRecord,
    primary_version: VersionRecord,
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
    match change(view, envelope, place, quotas) {
        Ok(changed) => Ok(commit(envelope, place, changed)),
        Err(Stop::Refused(refusal)) => Ok(Decision::Refused(refusal)),
        Err(Stop::Failed(error)) => Err(error),
    }
}

fn change(
    view: &View<'_>,
    envelope: &Envelope,
    place: Place,
    quotas: &Quotas,
) -> Result<Changed, Stop> {
    if let Some(seen) = envelope.seen {
        let row = tables::key(envelope.command.key_id());
        let key: Option<KeyRecord> = view.record(Table::Keys, &row)?;
        if key.is_none_or(|key| key.bindings_revision != seen) {
            return Err(Refusal::Stale.into());
        }
    }
    match &envelope.command {
        Command::Create(create) => key::create(view, create, place, quotas),
        Command::Update(update) => key::update(view, update),
        Command::Rotate(rotate) => key::rotate(view, rotate, place, quotas),
        Command::Delete(delete) => end::delete(view, delete, place),
        Command::Undelete(key_id) => end::undelete(view, key_id, place),
        Command::DestroyKey(key_id, at) => end::destroy(view, key_id, *at, place),
        Command::SetPrimaryVersion(version) => version::set_primary(view, version),
        Command::ScheduleVersionDestruction(version, pending) => {
            version::schedule(view, version, place.time.plus(*pending), place)
        }
        Command::CancelVersionDestruction(version) => version::cancel(view, version, place),
        Command::DestroyVersion(version, at) => version::destroy(view, version, *at, place),
        Command::ChangeBindings(key_id, change) => bindings::change(view, key_id, change, place),
    }
}

/// The rows of a change, with those that every change has: the key's own, what it promises to do by
/// itself, the operation, and what a repeat is recognised by.
fn commit(envelope: &Envelope, place: Place, changed: Changed) -> Decision {
    let Changed { mut writes, kind, before, mut key, primary_version } = changed;
    key.revision = place.sequence;
    writes.push(Write::put(Table::Keys, tables::key(&key.id), encode(&key)));
    reschedule_rotation(&mut writes, before.as_ref(), &key);
    let operation = OperationRecord {
        id: envelope.operation_id.clone(),
        kind,
        created_at: place.time,
        created_by: envelope.created_by.clone(),
        key,
        primary_version,
    };
    if operation.kind.is_public() {
        push_operation(&mut writes, &operation);
    }
    if is_automatic(&envelope.command) {
        // It has no call that would record it, and must be on record whatever becomes of us.
        let row = tables::audit_owed(place.sequence);
        writes.push(Write::put(Table::AuditOwed, row, encode(&operation)));
    }
    if let Some(claim) = &envelope.idempotency {
        let record = IdempotencyRecord {
            request_mac: claim.request_mac,
            operation_id: operation.id.clone(),
        };
        let row = idempotency_row(&envelope.created_by, claim);
        let until = place.time.plus(IDEMPOTENCY_RETENTION);
        push_expiring(&mut writes, Expiring::Idempotency, row, encode(&record), until);
    }
    Decision::Commit { writes, operation: Box::new(operation) }
}

/// Whether it is an event that nobody asked for (`contract §13` no. 36).
const fn is_automatic(command: &Command) -> bool {
    match command {
        Command::Rotate(RotateKey { cause, .. }) => match cause {
            RotationCause::Asked => false,
            RotationCause::Due(_) | RotationCause::Worn(_) => true,
        },
        // The end of a version is no event (`contract §6.1`).
        Command::DestroyVersion(..) | Command::DestroyKey(..) => false,
        Command::Create(_)
        | Command::Update(_)
        | Command::Delete(_)
        | Command::Undelete(_)
        | Command::SetPrimaryVersion(_)
        | Command::ScheduleVersionDestruction(..)
        | Command::CancelVersionDestruction(_)
        | Command::ChangeBindings(..) => false,
    }
}

/// Keeps the row of a key's next rotation in step with the key.
fn reschedule_rotation(writes: &mut Vec<Write>, before: Option<&KeyRecord>, after: &KeyRecord) {
    let (was, is) = (before.and_then(KeyRecord::rotation_due), after.rotation_due());
    if was == is {
        return;
    }
    let due = Due::Rotate(after.id.clone());
    if let Some(at) = was {
        writes.push(Write::delete(Table::Due, due.row(at)));
    }
    if let Some(at) = is {
        writes.push(Write::put(Table::Due, due.row(at), Vec::new()));
    }
}

/// Stores an operation under its id and in its key's list.
fn push_operation(writes: &mut Vec<Write>, operation: &OperationRecord) {
    let until = operation.created_at.plus(OPERATION_RETENTION);
    let row = tables::operation(&operation.id);
    push_expiring(writes, Expiring::Operations, row, encode(operation), until);
    let row = tables::operation_by_key(&operation.key.id, operation.key.revision);
    push_expiring(writes, Expiring::OperationsByKey, row, encode(&operation.id), until);
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

/// What was decided earlier under the same idempotency key.
///
/// # Errors
/// [`StoreError`].
pub fn earlier(
    view: &View<'_>,
    subject: &Subject,
    claim: &IdempotencyClaim,
) -> Result<Option<Decision>, StoreError> {
    let row = idempotency_row(subject, claim);
    let Some(record) = view.record::<IdempotencyRecord>(Table::Idempotency, &row)? else {
        return Ok(None);
    };
    if !record.request_mac.is(&claim.request_mac) {
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
