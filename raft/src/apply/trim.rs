//! The cap on what is kept of what was done.
//!
//! Operations are kept for a month, so that they can be read; idempotency records for a little
//! more than a day, and the operation that one of them names for as long as it, whatever the cap
//! (`design §8`: a retry within 24 hours finds what the first call did). Beyond the cap operations
//! go before their month is over, the oldest first. All by log time, a bounded number for each
//! entry: a state that is far beyond it comes back over many entries.

use std::time::Duration;

use lockbox_core::{LogTime, Subject};

use super::retention::{Expiry, forget_rows};
use super::{Application, Refusal};
use crate::domain::codec;
use crate::domain::command::Envelope;
use crate::domain::idempotency::{OPERATION_RETENTION, OPERATION_RETENTION_MIN};
use crate::domain::outcome::Rejection;
use crate::domain::retention::RetentionMeter;
use crate::error::StorageError;
use crate::state::{Direction, Overlay, Scan, Space, StateRead, keys, tables};

/// Rows of the queue that one entry may look at for this.
const ROWS_PER_ENTRY_MAX: usize = 64;
/// How long after a search that found all that could go the next one begins.
const TRIM_PAUSE: Duration = Duration::from_secs(1);

/// Sets the cap; the system's alone. From the first time on everything that is kept is counted.
pub(super) fn set_retention(
    application: &mut Application<'_, '_>,
    envelope: &Envelope,
    bytes_max: u64,
) -> Result<(), Refusal> {
    if envelope.subject != Subject::internal() {
        return Err(Rejection::PermissionDenied.into());
    }
    let known = tables::retention(application.state)?.unwrap_or_default();
    let meter = RetentionMeter { bytes_max, next_look: LogTime::default(), ..known };
    put(application.state, &meter);
    Ok(())
}

/// Counts what was just written, if there is a cap.
pub(super) fn count(state: &mut Overlay<'_>, bytes: u64) -> Result<(), StorageError> {
    change(state, |meter| meter.bytes = meter.bytes.saturating_add(bytes))
}

/// Counts off what was just forgotten.
pub(super) fn count_off(state: &mut Overlay<'_>, bytes: u64) -> Result<(), StorageError> {
    change(state, |meter| meter.bytes = meter.bytes.saturating_sub(bytes))
}

/// Forgets the oldest operations while there is too much.
pub(super) fn trim(state: &mut Overlay<'_>, now: LogTime) -> Result<(), StorageError> {
    let Some(mut meter) = tables::retention(state)? else { return Ok(()) };
    if !meter.is_over() || now < meter.next_look {
        return Ok(());
    }
    if tables::expiry_next(state)?.is_none() {
        // What is due is being worked off, idempotency records among it: they go first.
        return Ok(());
    }
    // The queue is in the order of the times at which operations would go by themselves.
    let early = OPERATION_RETENTION.saturating_sub(OPERATION_RETENTION_MIN);
    let begin = state.get(Space::System, keys::SYSTEM_EXPIRY_BEGIN)?;
    let begin = begin.unwrap_or_else(keys::expiries);
    let old = Scan {
        space: Space::Records,
        from: begin.max(meter.trimmed_upto.clone()),
        to: keys::expiry_due(now.plus(early)),
        direction: Direction::Ascending,
        limit: ROWS_PER_ENTRY_MAX,
    };
    let rows = state.scan(&old)?;
    let is_all = rows.len() < ROWS_PER_ENTRY_MAX;
    let mut freed = 0;
    let mut stopped = false;
    for (queue_key, value) in rows {
        if meter.bytes.saturating_sub(freed) <= meter.bytes_max {
            stopped = true;
            break;
        }
        let expiry: Expiry = codec::decode(&value)
            .map_err(|e| StorageError::corrupt("forget old operations", e.to_string()))?;
        meter.trimmed_upto = [queue_key.as_slice(), &[0]].concat();
        if expiry.is_operation() {
            freed += expiry.bytes();
            state.delete(Space::Records, queue_key);
            forget_rows(state, expiry.into_keys())?;
        }
    }
    meter.bytes = meter.bytes.saturating_sub(freed);
    if is_all && !stopped {
        meter.next_look = now.plus(TRIM_PAUSE);
    }
    put(state, &meter);
    Ok(())
}

fn change(
    state: &mut Overlay<'_>,
    by: impl FnOnce(&mut RetentionMeter),
) -> Result<(), StorageError> {
    let Some(mut meter) = tables::retention(state)? else { return Ok(()) };
    by(&mut meter);
    put(state, &meter);
    Ok(())
}

fn put(state: &mut Overlay<'_>, meter: &RetentionMeter) {
    state.put(Space::System, keys::SYSTEM_RETENTION.to_vec(), codec::encode(meter));
}
