//! What callers do with a key's versions: make one primary, schedule its destruction, keep it.

use std::time::Duration;

use lockbox_core::Permission;

use super::command::{Command, IdempotencyClaim, VersionOf};
use super::mutate::{self, Done, Target};
use crate::caller::Caller;
use crate::engine::Engine;
use crate::error::KmsError;
use crate::store::records::KeyRecord;

/// Makes another active version primary.
///
/// # Errors
/// [`KmsError`].
pub async fn set_primary(
    engine: &Engine,
    caller: &Caller,
    version: &VersionOf,
    idempotency: Option<IdempotencyClaim>,
    observed: &mut Option<KeyRecord>,
) -> Result<Done, KmsError> {
    let command = |_: &KeyRecord| Ok(Command::SetPrimaryVersion(version.clone()));
    mutate::change(engine, caller, of(version), idempotency, observed, command).await
}

/// Closes a version that is not primary, and destroys it after `pending`.
///
/// # Errors
/// [`KmsError`].
pub async fn schedule_destruction(
    engine: &Engine,
    caller: &Caller,
    version: &VersionOf,
    pending: Duration,
    idempotency: Option<IdempotencyClaim>,
    observed: &mut Option<KeyRecord>,
) -> Result<Done, KmsError> {
    let command = |_: &KeyRecord| Ok(Command::ScheduleVersionDestruction(version.clone(), pending));
    mutate::change(engine, caller, of(version), idempotency, observed, command).await
}

/// Opens a version that was to be destroyed; it does not become primary.
///
/// # Errors
/// [`KmsError`].
pub async fn cancel_destruction(
    engine: &Engine,
    caller: &Caller,
    version: &VersionOf,
    idempotency: Option<IdempotencyClaim>,
    observed: &mut Option<KeyRecord>,
) -> Result<Done, KmsError> {
    let command = |_: &KeyRecord| Ok(Command::CancelVersionDestruction(version.clone()));
    mutate::change(engine, caller, of(version), idempotency, observed, command).await
}

/// A version, which the administrator's rights are needed for (`contract §4.4`).
fn of(version: &VersionOf) -> Target<'_> {
    let VersionOf { key_id, version_id } = version;
    Target { key_id, version_id: Some(version_id), needed: &[Permission::KmsKeysAdminister] }
}
