//! Versions: adding one, and moving the current pointer (`contract §2.4`, `§2.6`).

use lockbox_core::{Mutant, Permission, ResourceKind, ResourceRef, SecretId, VersionId, mutant};

use super::{Application, Effect, Refusal, keyring, metering, require_absent, secret, seeded};
use crate::domain::command::{AddVersion, Envelope, MergeBase, NewVersion};
use crate::domain::operation::{OperationMetadata, OperationResult};
use crate::domain::outcome::{Precondition, Rejection};
use crate::domain::secret::{SecretRecord, SecretStatus};
use crate::domain::version::{VersionRecord, VersionStatus};
use crate::error::StorageError;
use crate::state::{Space, StateRead, keys, tables};

/// The base of an AddVersion that names none: the current version while it is active, else
/// nothing, and the new version starts from an empty payload (`contract §2.6`).
///
/// # Errors
/// [`StorageError`].
pub fn default_base(
    state: &dyn StateRead,
    secret: &SecretRecord,
) -> Result<Option<VersionId>, StorageError> {
    let Some(current) = &secret.current_version else { return Ok(None) };
    let version = tables::version(state, &secret.id, current)?;
    let active = version.is_some_and(|v| v.status == VersionStatus::Active);
    Ok(active.then(|| current.clone()))
}

/// Whether a secret can take one more version (`contract §9`).
///
/// # Errors
/// [`Rejection::QuotaExceeded`].
pub fn room_for_version(secret: &SecretRecord, limit: u32) -> Result<(), Refusal> {
    if secret.live_versions < limit {
        return Ok(());
    }
    Err(Rejection::QuotaExceeded { quota: "lockbox.versions.count".into(), limit }.into())
}

/// The version as what bindings stand on.
pub(super) fn resource(id: &VersionId) -> ResourceRef {
    ResourceRef::new(ResourceKind::SecretVersion, id.as_str())
}

/// Stores a new version, makes it current and counts it. The caller stores the secret.
pub(super) fn store(
    application: &mut Application<'_, '_>,
    secret: &mut SecretRecord,
    new: &NewVersion,
) -> Result<VersionRecord, Refusal> {
    keyring::require_stores(application.state, &new.payload.wrapped_key)?;
    let key = keys::version(&new.id);
    let finds_itself = seeded::finds_itself(application, &secret.id, &new.id)?;
    if !finds_itself && !seeded::takes_over(application, &secret.id, &new.id)? {
        require_absent(application.state, Space::Records, &key, ResourceKind::SecretVersion)?;
    }
    let mut entry_keys = new.entry_keys.clone();
    if mutant(Mutant::MapOrder) {
        entry_keys = seeded::map_order(entry_keys);
    }
    let version = VersionRecord {
        id: new.id.clone(),
        secret_id: secret.id.clone(),
        created_at: application.now,
        destroy_at: None,
        description: new.description.clone(),
        status: VersionStatus::Active,
        entry_keys,
        password_spec: new.password_spec.clone(),
        sequence: application.index,
        payload_marks: None,
    };
    application.put(Space::Records, key, &version);
    let place = keys::version_in_secret(&secret.id, version.sequence);
    application.put(Space::Records, place, &version.id);
    application.put(Space::Payloads, keys::payload(&secret.id, &version.id), &new.payload);
    secret.current_version = Some(version.id.clone());
    secret.live_versions = secret.live_versions.saturating_add(1);
    metering::change(application, &secret.folder_id, 1, 0)?;
    secret.revision = application.index;
    Ok(version)
}

pub(super) fn add(
    application: &mut Application<'_, '_>,
    envelope: &Envelope,
    add: &AddVersion,
) -> Result<Effect, Refusal> {
    let permission = Permission::VersionsAdd;
    let mut secret = secret::load_for(application, envelope, &add.secret_id, permission)?;
    if secret.status == SecretStatus::Inactive {
        return Err(Precondition::SecretInactive.into());
    }
    // The specification changed since the handler looked: what it made is no longer asked for.
    if add.version.password_spec != secret.password_spec {
        let current = default_base(application.state, &secret)?;
        return Err(Rejection::BaseMoved { current }.into());
    }
    if !seeded::finds_itself(application, &secret.id, &add.version.id)? {
        check_base(application.state, &secret, &add.base)?;
    }
    room_for_version(&secret, add.versions_per_secret_max)?;
    let previous_version_id = secret.current_version.clone();
    let version = store(application, &mut secret, &add.version)?;
    secret::put(application, &secret);
    Ok(Effect {
        description: "Add version".to_owned(),
        resource: secret::resource(&secret.id),
        metadata: OperationMetadata::AddVersion {
            secret_id: secret.id.clone(),
            version_id: version.id.clone(),
            previous_version_id,
        },
        result: OperationResult::Version(Box::new(version)),
    })
}

/// Checks that what the handler merged onto still is the base.
fn check_base(
    state: &dyn StateRead,
    secret: &SecretRecord,
    base: &MergeBase,
) -> Result<(), Refusal> {
    match base {
        MergeBase::Named(id) => active_version(state, &secret.id, id).map(drop),
        MergeBase::Default(_) if mutant(Mutant::LostUpdate) => Ok(()),
        MergeBase::Default(merged) => {
            let current = default_base(state, secret)?;
            if current == *merged { Ok(()) } else { Err(Rejection::BaseMoved { current }.into()) }
        }
        MergeBase::Generated if secret.password_spec.is_some() => Ok(()),
        MergeBase::Generated => {
            Err(Rejection::BaseMoved { current: default_base(state, secret)? }.into())
        }
    }
}

/// Loads a version that must exist and be active.
fn active_version(
    state: &dyn StateRead,
    secret: &SecretId,
    id: &VersionId,
) -> Result<VersionRecord, Refusal> {
    let version = tables::version(state, secret, id)?
        .ok_or_else(|| Rejection::not_found(ResourceKind::SecretVersion, id.as_str()))?;
    match version.status {
        VersionStatus::Active => Ok(version),
        VersionStatus::ScheduledForDestruction | VersionStatus::Destroyed => {
            Err(Precondition::VersionNotActive(id.clone()).into())
        }
    }
}

pub(super) fn set_current(
    application: &mut Application<'_, '_>,
    envelope: &Envelope,
    secret_id: &SecretId,
    version_id: &VersionId,
) -> Result<Effect, Refusal> {
    let permission = Permission::VersionsSetCurrent;
    let mut secret = secret::load_for(application, envelope, secret_id, permission)?;
    let version = active_version(application.state, secret_id, version_id)?;
    let previous_version_id = secret.current_version.replace(version_id.clone());
    secret.revision = application.index;
    secret::put(application, &secret);
    Ok(Effect {
        description: "Set current version".to_owned(),
        resource: secret::resource(secret_id),
        metadata: OperationMetadata::SetCurrentVersion {
            secret_id: secret_id.clone(),
            version_id: version_id.clone(),
            previous_version_id,
        },
        result: OperationResult::Version(Box::new(version)),
    })
}
