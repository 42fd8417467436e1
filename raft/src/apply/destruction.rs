//! Scheduled destruction of versions, on log time (`contract §2.3`).
//!
//! A version that is scheduled has a row in the destruction queue. The leader's reaper proposes
//! what is due, and only the same schedule that it saw is carried out.

use std::time::Duration;

use lockbox_core::{
    LogTime, Mutant, Permission, ResourceKind, SecretId, Subject, VersionId, mutant,
};

use super::{Application, Effect, Refusal, destroyed, erasures, metering, secret, version};
use crate::domain::codec;
use crate::domain::command::Envelope;
use crate::domain::operation::{OperationMetadata, OperationResult};
use crate::domain::outcome::{Precondition, Rejection};
use crate::domain::secret::SecretRecord;
use crate::domain::version::{Destruction, VersionRecord, VersionStatus};
use crate::error::StorageError;
use crate::state::{Direction, Scan, Space, StateRead, keys, tables};

/// The destructions that are due at `now`, the earliest first, at most `limit`.
///
/// # Errors
/// [`StorageError`].
pub fn destructions_due(
    view: &dyn StateRead,
    now: LogTime,
    limit: usize,
) -> Result<Vec<Destruction>, StorageError> {
    let scan = Scan {
        space: Space::Records,
        from: keys::destructions(),
        to: keys::destruction_due(now),
        direction: Direction::Ascending,
        limit,
    };
    let decoded = |(_, row): (_, Vec<u8>)| codec::decode(&row);
    let due: Result<_, _> = view.scan(&scan)?.into_iter().map(decoded).collect();
    due.map_err(|e| StorageError::corrupt("read the destruction queue", e.to_string()))
}

/// What a schedule waits for, and how long the metadata stay after it.
#[derive(Clone, Copy)]
pub(super) struct Periods {
    /// How long it can be called off.
    pub(super) pending: Duration,
    /// How long what is left is shown, in milliseconds.
    pub(super) retained_ms: u64,
}

/// `SecretService.ScheduleVersionDestruction`: also of the current version, and again with
/// another period (`contract §2.3`, `§2.4`).
pub(super) fn schedule(
    application: &mut Application<'_, '_>,
    envelope: &Envelope,
    (secret_id, version_id): (&SecretId, &VersionId),
    periods: Periods,
) -> Result<Effect, Refusal> {
    let (secret, mut version) = load(application, envelope, secret_id, version_id)?;
    if version.status == VersionStatus::Destroyed {
        return Err(Precondition::VersionDestroyed(version.id).into());
    }
    unqueue(application, &version);
    let destroy_at = application.now.plus(periods.pending);
    version.status = VersionStatus::ScheduledForDestruction;
    version.destroy_at = Some(destroy_at);
    let row = Destruction {
        secret_id: secret_id.clone(),
        version_id: version_id.clone(),
        destroy_at,
        retained_ms: periods.retained_ms,
    };
    let place = keys::destruction(destroy_at, secret_id, version_id);
    application.put(Space::Records, place, &row);
    let metadata = OperationMetadata::ScheduleVersionDestruction {
        secret_id: secret_id.clone(),
        version_id: version_id.clone(),
        destroy_at,
    };
    Ok(store(application, secret, version, "Schedule version destruction", metadata))
}

/// `SecretService.CancelVersionDestruction`.
pub(super) fn cancel(
    application: &mut Application<'_, '_>,
    envelope: &Envelope,
    secret_id: &SecretId,
    version_id: &VersionId,
) -> Result<Effect, Refusal> {
    let (secret, mut version) = load(application, envelope, secret_id, version_id)?;
    match version.status {
        VersionStatus::ScheduledForDestruction => {}
        VersionStatus::Active => return Err(Precondition::VersionNotScheduled(version.id).into()),
        VersionStatus::Destroyed => return Err(Precondition::VersionDestroyed(version.id).into()),
    }
    if !mutant(Mutant::CancelKeepsTimer) {
        unqueue(application, &version);
    }
    version.status = VersionStatus::Active;
    version.destroy_at = None;
    let metadata = OperationMetadata::CancelVersionDestruction {
        secret_id: secret_id.clone(),
        version_id: version_id.clone(),
    };
    Ok(store(application, secret, version, "Cancel version destruction", metadata))
}

/// The end of a version whose time has come; the reaper's. Refused when it is not scheduled for
/// that very time any more, or the entry's own stamp is before it.
pub(super) fn destroy(
    application: &mut Application<'_, '_>,
    envelope: &Envelope,
    due: &Destruction,
) -> Result<Effect, Refusal> {
    if envelope.subject != Subject::internal() {
        return Err(Rejection::PermissionDenied.into());
    }
    let Destruction { secret_id, version_id, destroy_at, .. } = due;
    let not_found = |kind, id: &str| Rejection::not_found(kind, id);
    let mut secret = tables::secret(application.state, secret_id)?
        .ok_or_else(|| not_found(ResourceKind::Secret, secret_id.as_str()))?;
    let mut version = tables::version(application.state, secret_id, version_id)?
        .ok_or_else(|| not_found(ResourceKind::SecretVersion, version_id.as_str()))?;
    let called_off = version.destroy_at != Some(*destroy_at) && !mutant(Mutant::CancelKeepsTimer);
    let early = envelope.proposed_at < *destroy_at && !mutant(Mutant::DestroyByWallClock);
    if called_off || early {
        return Err(Precondition::VersionNotScheduled(version.id).into());
    }
    destroy_payload(application, &mut secret, &mut version, due)?;
    let metadata = OperationMetadata::DestroyVersion {
        secret_id: secret_id.clone(),
        version_id: version_id.clone(),
    };
    Ok(store(application, secret, version, "Destroy version", metadata))
}

/// Takes what there is of a version out of the state; the caller stores it and its secret.
pub(super) fn destroy_payload(
    application: &mut Application<'_, '_>,
    secret: &mut SecretRecord,
    version: &mut VersionRecord,
    due: &Destruction,
) -> Result<(), StorageError> {
    let Destruction { secret_id, version_id, .. } = due;
    unqueue(application, version);
    version.status = VersionStatus::Destroyed;
    version.destroy_at = None;
    if let Some(payload) = tables::payload(application.state, secret_id, version_id)? {
        version.payload_marks.get_or_insert_default().note(&payload);
    }
    if !mutant(Mutant::WrappedKeyKept) {
        application.state.delete(Space::Payloads, keys::payload(secret_id, version_id));
    }
    erasures::of_version(application, secret_id, version_id)?;
    // There is nothing left to read, and so nobody to allow it to.
    application.state.delete(Space::Records, keys::bindings(&version::resource(version_id)));
    secret.live_versions = secret.live_versions.saturating_sub(1);
    metering::change(application, &secret.folder_id, 0, 1)?;
    destroyed::keep(application, secret, due)
}

/// Takes a version out of the destruction queue, if it is in it.
pub(super) fn unqueue(application: &mut Application<'_, '_>, version: &VersionRecord) {
    if let Some(destroy_at) = version.destroy_at {
        let place = keys::destruction(destroy_at, &version.secret_id, &version.id);
        application.state.delete(Space::Records, place);
    }
}

fn load(
    application: &Application<'_, '_>,
    envelope: &Envelope,
    secret_id: &SecretId,
    version_id: &VersionId,
) -> Result<(SecretRecord, VersionRecord), Refusal> {
    let permission = Permission::VersionsDestroy;
    let secret = secret::load_for(application, envelope, secret_id, permission)?;
    let version = tables::version(application.state, secret_id, version_id)?
        .ok_or_else(|| Rejection::not_found(ResourceKind::SecretVersion, version_id.as_str()))?;
    Ok((secret, version))
}

fn store(
    application: &mut Application<'_, '_>,
    mut secret: SecretRecord,
    version: VersionRecord,
    description: &str,
    metadata: OperationMetadata,
) -> Effect {
    secret.revision = application.index;
    secret::put(application, &secret);
    application.put(Space::Records, keys::version(&version.id), &version);
    Effect {
        description: description.to_owned(),
        resource: secret::resource(&secret.id),
        metadata,
        result: OperationResult::Version(Box::new(version)),
    }
}
