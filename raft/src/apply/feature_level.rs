//! The feature level: how it rises, and which commands it lets through.

use lockbox_core::Subject;

use super::{Application, Refusal};
use crate::domain::command::{Command, Envelope};
use crate::domain::feature_level::FEATURE_LEVEL_MAX;
use crate::domain::outcome::{Precondition, Rejection};
use crate::error::StorageError;
use crate::state::{Space, StateRead, keys, tables};

/// Raises the level; the system's alone. Whether all members understand it was asked by who
/// proposed it, while nobody could become a member.
pub(super) fn raise(
    application: &mut Application<'_, '_>,
    envelope: &Envelope,
    level: u32,
) -> Result<(), Refusal> {
    if envelope.subject != Subject::internal() {
        return Err(Rejection::PermissionDenied.into());
    }
    set(application, level)
}

/// Takes a level into the state, unless that is at it or above.
pub(super) fn set(application: &mut Application<'_, '_>, level: u32) -> Result<(), Refusal> {
    if level > FEATURE_LEVEL_MAX {
        // Going on would mean to guess at what follows.
        return Err(StorageError::newer_build(level, FEATURE_LEVEL_MAX).into());
    }
    if level > tables::feature_level(application.state)? {
        application.put(Space::System, keys::SYSTEM_FEATURE_LEVEL.to_vec(), &level);
    }
    Ok(())
}

/// Refuses a command that not every member understands.
pub(super) fn require(state: &dyn StateRead, command: &Command) -> Result<(), Refusal> {
    let needed = command.feature_level();
    if needed > 0 && tables::feature_level(state)? < needed {
        return Err(Precondition::FeatureLevel.into());
    }
    Ok(())
}
