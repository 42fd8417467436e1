//! What the state machine keeps of itself: its time, its marks, its last erasures.

use lockbox_core::LogTime;

use super::{Found, load};
use crate::domain::erasure::{ERASURES_KEPT, Erasure, ErasurePoint};
use crate::domain::retention::RetentionMeter;
use crate::domain::state_check::StateCheck;
use crate::error::StorageError;
use crate::state::{Space, StateRead, keys};

/// The largest log time applied so far.
///
/// # Errors
/// [`StorageError`].
pub fn log_time(view: &dyn StateRead) -> Result<LogTime, StorageError> {
    let time = load(view, Space::System, keys::SYSTEM_LOG_TIME)?;
    Ok(time.unwrap_or_default())
}

/// The feature level that every member understands.
///
/// # Errors
/// [`StorageError`].
pub fn feature_level(view: &dyn StateRead) -> Result<u32, StorageError> {
    let level = load(view, Space::System, keys::SYSTEM_FEATURE_LEVEL)?;
    Ok(level.unwrap_or_default())
}

/// The cap on what is kept of what was done, and what that takes; nothing without a cap.
///
/// # Errors
/// [`StorageError`].
pub fn retention(view: &dyn StateRead) -> Found<RetentionMeter> {
    load(view, Space::System, keys::SYSTEM_RETENTION)
}

/// The newest comparison of the members' states.
///
/// # Errors
/// [`StorageError`].
pub fn state_check(view: &dyn StateRead) -> Found<StateCheck> {
    load(view, Space::System, keys::SYSTEM_STATE_CHECK)
}

/// When the expiry queue is to be looked at next, if that was put off.
///
/// # Errors
/// [`StorageError`].
pub fn expiry_next(view: &dyn StateRead) -> Found<LogTime> {
    load(view, Space::System, keys::SYSTEM_EXPIRY_NEXT)
}

/// The index from which on every change of a folder is in [`super::changes_page`]; nothing while
/// no change was ever kept: then from the next one on.
///
/// # Errors
/// [`StorageError`].
pub fn changes_begin(view: &dyn StateRead) -> Found<u64> {
    load(view, Space::System, keys::SYSTEM_CHANGES_BEGIN)
}

/// How many erasures there were, and the last.
///
/// # Errors
/// [`StorageError`].
pub fn erasures(view: &dyn StateRead) -> Result<ErasurePoint, StorageError> {
    Ok(load(view, Space::System, keys::SYSTEM_ERASURES)?.unwrap_or_default())
}

/// The erasures behind the first `done`, up to `point`, which is this view's; nothing when there
/// are more of them than are kept.
///
/// # Errors
/// [`StorageError`]; a ring that does not hold what its point says is corruption.
pub fn erasures_after(view: &dyn StateRead, done: u64, point: ErasurePoint) -> Found<Vec<Erasure>> {
    if point.count.saturating_sub(done) > ERASURES_KEPT {
        return Ok(None);
    }
    let erasures = (done.saturating_add(1)..=point.count).map(|number| {
        let found: Option<Erasure> = load(view, Space::System, &keys::erasure(number))?;
        found.filter(|erasure| erasure.number == number).ok_or_else(|| {
            StorageError::corrupt("read the state", format!("erasure {number} is missing"))
        })
    });
    erasures.collect::<Result<_, _>>().map(Some)
}

/// When the first erasure behind the first `done` was, or the first one that is kept of them;
/// nothing when there is none. `point` is this view's.
///
/// # Errors
/// [`StorageError`].
pub fn erasing_since(view: &dyn StateRead, done: u64, point: ErasurePoint) -> Found<LogTime> {
    let first = done.max(point.count.saturating_sub(ERASURES_KEPT)).saturating_add(1);
    if first > point.count {
        return Ok(None);
    }
    let found: Option<Erasure> = load(view, Space::System, &keys::erasure(first))?;
    Ok(found.map(|erasure| erasure.at))
}
