//! What the state machine keeps of itself: its time, its marks.

use lockbox_core::LogTime;

use super::{Found, load};
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
