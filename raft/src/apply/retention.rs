//! What is remembered so that a repeat has no second effect, and how it is forgotten.
//!
//! Two memories with different scopes: a proposal's request id, which its operation carries
//! (retries inside the cluster), and a caller's idempotency key (retries by clients,
//! `contract §10`). Both are part of the state, so they survive crashes, failovers and snapshots.
//! Expiry runs on log time.

use std::time::Duration;

use lockbox_core::{LogTime, Subject};
use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};

use super::destroyed::{self, KeptVersion};
use super::{Application, Refusal, changes, trim};
use crate::domain::codec;
use crate::domain::command::{Envelope, IdempotencyClaim};
use crate::domain::idempotency::{
    IDEMPOTENCY_RECORDS_MAX, IDEMPOTENCY_RETENTION, IdempotencyRecord, OPERATION_RETENTION,
};
use crate::domain::operation::OperationRecord;
use crate::domain::outcome::Rejection;
use crate::error::StorageError;
use crate::state::{Direction, Overlay, Scan, Space, StateRead, keys, tables};

/// Expiries that one entry may carry out: bounds the work of an entry after a long silence.
const EXPIRIES_PER_ENTRY_MAX: usize = 64;
/// The place among an entry's expiries of the record that [`forget_at`] is about; those of its
/// operation come before.
const RECORD_ORDINAL: u64 = 1 << 32;
/// How long what is due may wait for the next look at the queue: one scan for many entries.
const EXPIRY_PAUSE: Duration = Duration::from_secs(1);

/// One row of the expiry queue: what to delete when its time has come.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(super) struct Expiry {
    /// The keys to delete, in [`Space::Records`]. An operation's own is the first of its.
    #[n(0)]
    keys: Vec<ByteVec>,
    /// Whose count of idempotency records goes down by one.
    #[n(1)]
    counted_for: Option<Subject>,
    /// The destroyed version that is forgotten, unless it is current.
    #[n(2)]
    version: Option<KeptVersion>,
    /// What the rows under these keys take, as far as there is a cap on it; absent is not counted.
    #[n(3)]
    bytes: Option<u64>,
}

impl Expiry {
    const fn of_keys(keys: Vec<ByteVec>) -> Self {
        Self { keys, counted_for: None, version: None, bytes: None }
    }

    const fn of_version(kept: KeptVersion) -> Self {
        Self { keys: Vec::new(), counted_for: None, version: Some(kept), bytes: None }
    }

    /// Whether it is an operation that is forgotten.
    pub(super) fn is_operation(&self) -> bool {
        self.keys.first().is_some_and(|key| keys::is_operation(key))
    }

    /// What was counted for it.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.unwrap_or_default()
    }

    /// The keys to delete.
    pub(super) fn into_keys(self) -> Vec<ByteVec> {
        self.keys
    }
}

/// The operation that an earlier copy of this proposal made.
pub(super) fn repeated_request(
    state: &dyn StateRead,
    envelope: &Envelope,
) -> Result<Option<OperationRecord>, Refusal> {
    // Copies of a proposal share their operation id, which is random. Compared all the same: the
    // answer to one proposal must never be the operation of another.
    let operation = tables::operation(state, &envelope.operation_id)?;
    Ok(operation.filter(|operation| operation.request_id == envelope.request_id))
}

/// The operation that an earlier request under the same idempotency key made, if there was one.
///
/// Views of the node ask the same question before a billed KMS call (`design §3`).
///
/// # Errors
/// [`Rejection::IdempotencyConflict`] when that was another request, or a storage error.
pub fn recall(
    view: &dyn StateRead,
    subject: &Subject,
    claim: &IdempotencyClaim,
) -> Result<Option<OperationRecord>, Refusal> {
    let known = tables::idempotency(view, subject, &claim.method, &claim.key)?;
    let Some(record) = known else { return Ok(None) };
    if !claim.is_of(&record) {
        return Err(Rejection::IdempotencyConflict.into());
    }
    Ok(tables::operation(view, &record.operation_id)?)
}

/// What [`recall`] finds; and when it finds nothing, whether one more key can be remembered, for
/// a call that cannot be must not reach the KMS first.
///
/// # Errors
/// As [`recall`]; [`Rejection::IdempotencyFull`].
pub fn recall_or_room(
    view: &dyn StateRead,
    subject: &Subject,
    claim: &IdempotencyClaim,
) -> Result<Option<OperationRecord>, Refusal> {
    let operation = recall(view, subject, claim)?;
    if operation.is_none() {
        room_for_key(view, subject)?;
    }
    Ok(operation)
}

/// Whether the subject may have one more key remembered; gives the number that it has.
///
/// Nothing is evicted early: a full memory refuses new keys (`design §8`).
fn room_for_key(view: &dyn StateRead, subject: &Subject) -> Result<u32, Refusal> {
    let count = tables::idempotency_count(view, subject)?;
    if count >= IDEMPOTENCY_RECORDS_MAX {
        return Err(Rejection::IdempotencyFull.into());
    }
    Ok(count)
}

/// Stores the operation and what makes a repeat find it.
pub(super) fn remember(
    application: &mut Application<'_, '_>,
    envelope: &Envelope,
    operation: &OperationRecord,
) -> Result<(), Refusal> {
    let now = application.now;
    let key = keys::operation(&operation.id);
    let place = keys::operation_of(&operation.resource, application.index);
    let mut bytes = put_counted(application, key.clone(), operation);
    let mut keys = vec![key.into()];
    // What is no operation on the wire is in no list: kept for the repeats alone.
    if operation.metadata.is_listed() {
        let of_key = operation.metadata.key_id();
        let of_key = of_key.map(|key| keys::operation_of_key(key, application.index));
        for place in [Some(place), of_key].into_iter().flatten() {
            bytes += put_counted(application, place.clone(), &operation.id);
            keys.push(place.into());
        }
    }
    if let Some(change) = changes::keep(application, operation)? {
        bytes += (change.len() + codec::encode(&operation.id).len()) as u64;
        keys.push(change.into());
    }
    let expiry = Expiry { bytes: Some(bytes), ..Expiry::of_keys(keys) };
    let mut expiries = vec![(now.plus(OPERATION_RETENTION), expiry)];
    if let Some(expiry) = remember_key(application, envelope, operation)? {
        expiries.push(expiry);
    }
    // Without a cap nothing is counted, and rows are what they were before there could be one.
    let is_capped = tables::retention(application.state)?.is_some();
    let mut counted = 0;
    for (ordinal, (at, mut expiry)) in (0_u64..).zip(expiries) {
        expiry.bytes = expiry.bytes.filter(|_| is_capped);
        counted += expiry.bytes();
        application.put(Space::Records, keys::expiry(at, application.index, ordinal), &expiry);
    }
    if is_capped {
        trim::count(application.state, counted)?;
    }
    Ok(())
}

/// Stores a record; gives what it takes, with its key.
fn put_counted<T: Encode<()>>(
    application: &mut Application<'_, '_>,
    key: Vec<u8>,
    record: &T,
) -> u64 {
    let value = codec::encode(record);
    let bytes = (key.len() + value.len()) as u64;
    application.state.put(Space::Records, key, value);
    bytes
}

/// Deletes a record at that time. Once in an entry.
pub(super) fn forget_at(application: &mut Application<'_, '_>, at: LogTime, key: Vec<u8>) {
    let expiry = Expiry::of_keys(vec![key.into()]);
    let place = keys::expiry(at, application.index, RECORD_ORDINAL);
    application.put(Space::Records, place, &expiry);
}

/// Forgets what is left of a version at that time. Once in an entry.
pub(super) fn forget_version_at(
    application: &mut Application<'_, '_>,
    at: LogTime,
    kept: KeptVersion,
) {
    let expiry = Expiry::of_version(kept);
    let place = keys::expiry(at, application.index, RECORD_ORDINAL);
    application.put(Space::Records, place, &expiry);
}

fn remember_key(
    application: &mut Application<'_, '_>,
    envelope: &Envelope,
    operation: &OperationRecord,
) -> Result<Option<(LogTime, Expiry)>, Refusal> {
    let Some(claim) = &envelope.idempotency else { return Ok(None) };
    let subject = &envelope.subject;
    let count = room_for_key(application.state, subject)?;
    let expires_at = application.now.plus(IDEMPOTENCY_RETENTION);
    let record = IdempotencyRecord {
        operation_id: operation.id.clone(),
        request_mac: claim.request_mac,
        mac_key_id: claim.mac_key_id,
        expires_at,
    };
    let key = keys::idempotency(subject, &claim.method, &claim.key);
    let bytes = put_counted(application, key.clone(), &record);
    application.put(Space::Records, keys::idempotency_count(subject), &(count + 1));
    let counted_for = Some(subject.clone());
    let expiry = Expiry { counted_for, bytes: Some(bytes), ..Expiry::of_keys(vec![key.into()]) };
    Ok(Some((expires_at, expiry)))
}

/// Forgets what is due at `now`, a bounded number of records at a time; not before
/// [`EXPIRY_PAUSE`] has passed since all that was due was forgotten.
pub(super) fn expire(state: &mut Overlay<'_>, now: LogTime) -> Result<(), StorageError> {
    if tables::expiry_next(state)?.is_some_and(|next| now < next) {
        return Ok(());
    }
    let begin = state.get(Space::System, keys::SYSTEM_EXPIRY_BEGIN)?;
    let due = Scan {
        space: Space::Records,
        from: begin.unwrap_or_else(keys::expiries),
        to: keys::expiry_due(now),
        direction: Direction::Ascending,
        limit: EXPIRIES_PER_ENTRY_MAX,
    };
    let rows = state.scan(&due)?;
    let next = keys::SYSTEM_EXPIRY_NEXT.to_vec();
    if rows.len() < EXPIRIES_PER_ENTRY_MAX {
        state.put(Space::System, next, codec::encode(&now.plus(EXPIRY_PAUSE)));
    } else {
        state.delete(Space::System, next);
    }
    if let Some((last, _)) = rows.last() {
        // The store keeps a mark for each deleted row until it compacts, and a scan steps over
        // all of them: without this, a quarter of an hour of writes slows each later one down.
        // Nothing is queued before this place again: log time never goes back.
        let begin = [last.as_slice(), &[0]].concat();
        state.put(Space::System, keys::SYSTEM_EXPIRY_BEGIN.to_vec(), begin);
    }
    let mut freed = 0;
    for (queue_key, value) in rows {
        let expiry: Expiry = codec::decode(&value)
            .map_err(|e| StorageError::corrupt("expire old records", e.to_string()))?;
        state.delete(Space::Records, queue_key.clone());
        freed += expiry.bytes();
        forget_rows(state, expiry.keys)?;
        if let Some(kept) = expiry.version
            && !destroyed::forget(state, &kept)?
        {
            // It is current: looked at again after as long a time.
            let place = keys::expiry_again(&queue_key, kept.next(now));
            state.put(Space::Records, place, codec::encode(&Expiry::of_version(kept)));
        }
        if let Some(subject) = expiry.counted_for {
            let count = tables::idempotency_count(state, &subject)?.saturating_sub(1);
            let key = keys::idempotency_count(&subject);
            match count {
                0 => state.delete(Space::Records, key),
                _ => state.put(Space::Records, key, codec::encode(&count)),
            }
        }
    }
    if freed > 0 {
        trim::count_off(state, freed)?;
    }
    Ok(())
}

/// Deletes the rows under these keys, of which some may be changes of folders.
pub(super) fn forget_rows(state: &mut Overlay<'_>, keys: Vec<ByteVec>) -> Result<(), StorageError> {
    for key in keys {
        changes::forgotten(state, &key)?;
        state.delete(Space::Records, key.into());
    }
    Ok(())
}
