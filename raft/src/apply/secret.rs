//! Secrets: create, update, delete, activate and deactivate (`contract §2.2`, `§2.5`–`§2.8`).

use lockbox_core::{
    FolderId, Mutant, Permission, ResourceKind, ResourceRef, SecretId, VersionId, mutant,
};

use super::{Application, Effect, Refusal, access, destruction, erasures, metering, version};
use crate::domain::codec;
use crate::domain::command::{CreateSecret, Envelope, SecretChanges};
use crate::domain::identity::CloudRecord;
use crate::domain::operation::{OperationMetadata, OperationResult, SecretSnapshot};
use crate::domain::outcome::{Precondition, Rejection};
use crate::domain::secret::{SecretRecord, SecretStatus};
use crate::error::StorageError;
use crate::state::{Direction, Scan, Space, StateRead, keys, tables};

/// Loads a secret and demands a permission on it: unknown before forbidden (`contract §5.2`).
pub(super) fn load_for(
    application: &Application<'_, '_>,
    envelope: &Envelope,
    id: &SecretId,
    permission: Permission,
) -> Result<SecretRecord, Refusal> {
    let view = application.view();
    let secret = tables::secret(&view, id)?
        .ok_or_else(|| Rejection::not_found(ResourceKind::Secret, id.as_str()))?;
    let path = tables::secret_path(&view, &secret)?;
    access::require(&view, &envelope.subject, permission, &path)?;
    expect_current(envelope.if_version.as_ref(), &secret)?;
    Ok(secret)
}

/// Our extension `x-if-version`: refuse unless the named version is current (`design §8`).
///
/// # Errors
/// [`Rejection::CurrentMismatch`].
pub fn expect_current(
    if_version: Option<&VersionId>,
    secret: &SecretRecord,
) -> Result<(), Refusal> {
    match if_version {
        Some(expected) if secret.current_version.as_ref() != Some(expected) => {
            let current = secret.current_version.clone();
            Err(Rejection::CurrentMismatch { expected: expected.clone(), current }.into())
        }
        Some(_) | None => Ok(()),
    }
}

pub(super) fn resource(id: &SecretId) -> ResourceRef {
    ResourceRef::new(ResourceKind::Secret, id.as_str())
}

/// The secret with its current version, as operations answer with it.
pub(super) fn snapshot(
    state: &dyn StateRead,
    secret: SecretRecord,
) -> Result<OperationResult, StorageError> {
    let current_version = match &secret.current_version {
        Some(id) => tables::version(state, &secret.id, id)?,
        None => None,
    };
    Ok(OperationResult::Secret(Box::new(SecretSnapshot { secret, current_version })))
}

pub(super) fn create(
    application: &mut Application<'_, '_>,
    envelope: &Envelope,
    create: &CreateSecret,
) -> Result<Effect, Refusal> {
    let state = &application.state;
    let not_found = || Rejection::not_found(ResourceKind::Folder, create.folder_id.as_str());
    let path = tables::folder_path(*state, &create.folder_id)?.ok_or_else(not_found)?;
    let view = application.view();
    access::require(&view, &envelope.subject, Permission::SecretsCreate, &path)?;
    if secret_id_taken(*state, &create.id)? {
        return Err(Rejection::AlreadyExists { kind: ResourceKind::Secret }.into());
    }
    let mut limits = CreationLimits {
        secrets_per_cloud_max: create.secrets_per_cloud_max,
        unique_name: create.unique_name,
    };
    if mutant(Mutant::QuotaJudgedEarly) {
        limits.secrets_per_cloud_max = u32::MAX;
    }
    let mut cloud = room_for_secret(*state, &create.folder_id, &create.name, limits)?;
    cloud.secrets += 1;
    application.put(Space::Records, keys::cloud(&cloud.id), &cloud);
    let mut secret = SecretRecord {
        id: create.id.clone(),
        folder_id: create.folder_id.clone(),
        created_at: application.now,
        name: create.name.clone(),
        description: create.description.clone(),
        labels: create.labels.clone(),
        kms_key_id: create.kms_key_id.clone(),
        status: SecretStatus::Active,
        current_version: None,
        deletion_protection: create.deletion_protection,
        password_spec: create.password_spec.clone(),
        live_versions: 0,
        destroyed_versions: 0,
        sequence: application.index,
        revision: application.index,
        managed_by: None,
    };
    if let Some(new) = &create.version {
        version::store(application, &mut secret, new)?;
    }
    let by_folder = keys::secret_in_folder(&secret.folder_id, secret.sequence);
    application.put(Space::Records, by_folder, &secret.id);
    put_name(application, &secret);
    put(application, &secret);
    Ok(Effect {
        description: "Create secret".to_owned(),
        resource: resource(&secret.id),
        metadata: OperationMetadata::CreateSecret {
            secret_id: secret.id.clone(),
            version_id: secret.current_version.clone(),
        },
        result: snapshot(application.state, secret)?,
    })
}

/// Where names are unique, an empty one is no name (`contract §13` no. 1).
fn require_free_name(state: &dyn StateRead, folder: &FolderId, name: &str) -> Result<(), Refusal> {
    if !name.is_empty() && !tables::secrets_named(state, folder, name)?.is_empty() {
        return Err(Rejection::AlreadyExists { kind: ResourceKind::Secret }.into());
    }
    Ok(())
}

/// What limits the creation of secrets on the node that received the request.
#[derive(Debug, Clone, Copy)]
pub struct CreationLimits {
    /// Secrets that a cloud may have (`contract §9`).
    pub secrets_per_cloud_max: u32,
    /// Whether names are unique within a folder (`contract §13` no. 1).
    pub unique_name: bool,
}

/// Whether a folder can take one more secret of that name; gives its cloud, not yet counted up.
///
/// Views ask the same before a billed KMS call (`design §3`).
///
/// # Errors
/// [`Rejection::AlreadyExists`], [`Rejection::QuotaExceeded`], or a storage error.
pub fn room_for_secret(
    state: &dyn StateRead,
    folder: &FolderId,
    name: &str,
    limits: CreationLimits,
) -> Result<CloudRecord, Refusal> {
    if limits.unique_name {
        require_free_name(state, folder, name)?;
    }
    let cloud = cloud_of(state, folder)?;
    if cloud.secrets >= limits.secrets_per_cloud_max {
        let limit = limits.secrets_per_cloud_max;
        return Err(
            Rejection::QuotaExceeded { quota: "lockbox.secrets.count".into(), limit }.into()
        );
    }
    Ok(cloud)
}

/// Whether an id belongs to a secret, or did: ids never come back, for grants, audit records and
/// clients outlive a secret.
///
/// # Errors
/// [`StorageError`].
pub fn secret_id_taken(state: &dyn StateRead, id: &SecretId) -> Result<bool, StorageError> {
    let lives = state.get(Space::Records, &keys::secret(id))?.is_some();
    if mutant(Mutant::IdsReused) {
        return Ok(lives);
    }
    Ok(lives || state.get(Space::Records, &keys::deleted_secret(id))?.is_some())
}

fn cloud_of(state: &dyn StateRead, folder: &FolderId) -> Result<CloudRecord, StorageError> {
    let missing = || StorageError::corrupt("read the state", format!("folder {folder} is loose"));
    let folder_record = tables::folder(state, folder)?.ok_or_else(missing)?;
    tables::cloud(state, &folder_record.cloud_id)?.ok_or_else(missing)
}

pub(super) fn put(application: &mut Application<'_, '_>, secret: &SecretRecord) {
    application.put(Space::Records, keys::secret(&secret.id), secret);
}

fn put_name(application: &mut Application<'_, '_>, secret: &SecretRecord) {
    let key = keys::secret_by_name(&secret.folder_id, &secret.name, secret.sequence);
    application.put(Space::Records, key, &secret.id);
}

pub(super) fn update(
    application: &mut Application<'_, '_>,
    envelope: &Envelope,
    id: &SecretId,
    changes: &SecretChanges,
) -> Result<Effect, Refusal> {
    let mut secret = load_for(application, envelope, id, Permission::SecretsUpdate)?;
    if let Some(name) = &changes.name {
        if changes.unique_name && *name != secret.name {
            require_free_name(application.state, &secret.folder_id, name)?;
        }
        let old = keys::secret_by_name(&secret.folder_id, &secret.name, secret.sequence);
        application.state.delete(Space::Records, old);
        secret.name.clone_from(name);
        put_name(application, &secret);
    }
    if let Some(description) = &changes.description {
        secret.description.clone_from(description);
    }
    if let Some(labels) = &changes.labels {
        secret.labels.clone_from(labels);
    }
    if let Some(protection) = changes.deletion_protection {
        secret.deletion_protection = protection;
    }
    if changes.changes_password_spec {
        secret.password_spec.clone_from(&changes.password_spec);
    }
    secret.revision = application.index;
    put(application, &secret);
    Ok(Effect {
        description: "Update secret".to_owned(),
        resource: resource(id),
        metadata: OperationMetadata::UpdateSecret { secret_id: id.clone() },
        result: snapshot(application.state, secret)?,
    })
}

pub(super) fn set_status(
    application: &mut Application<'_, '_>,
    envelope: &Envelope,
    id: &SecretId,
    status: SecretStatus,
) -> Result<Effect, Refusal> {
    let mut secret = load_for(application, envelope, id, Permission::SecretsUpdate)?;
    secret.status = status;
    secret.revision = application.index;
    put(application, &secret);
    let secret_id = id.clone();
    let (description, metadata) = match status {
        SecretStatus::Active => {
            ("Activate secret", OperationMetadata::ActivateSecret { secret_id })
        }
        SecretStatus::Inactive => {
            ("Deactivate secret", OperationMetadata::DeactivateSecret { secret_id })
        }
    };
    Ok(Effect {
        description: description.to_owned(),
        resource: resource(id),
        metadata,
        result: snapshot(application.state, secret)?,
    })
}

pub(super) fn delete(
    application: &mut Application<'_, '_>,
    envelope: &Envelope,
    id: &SecretId,
) -> Result<Effect, Refusal> {
    let secret = load_for(application, envelope, id, Permission::SecretsDelete)?;
    if secret.deletion_protection {
        return Err(Precondition::DeletionProtected.into());
    }
    let result = snapshot(application.state, secret.clone())?;
    remove(application, &secret)?;
    Ok(Effect {
        description: "Delete secret".to_owned(),
        resource: resource(id),
        metadata: OperationMetadata::DeleteSecret { secret_id: id.clone() },
        result,
    })
}

/// Takes a secret with all of its versions out of the state.
pub(super) fn remove(
    application: &mut Application<'_, '_>,
    secret: &SecretRecord,
) -> Result<(), StorageError> {
    let id = &secret.id;
    delete_versions(application, id)?;
    let folder = &secret.folder_id;
    metering::change(application, folder, 0, u64::from(secret.live_versions))?;
    for key in [
        keys::secret(id),
        keys::secret_in_folder(folder, secret.sequence),
        keys::secret_by_name(folder, &secret.name, secret.sequence),
        keys::bindings(&resource(id)),
    ] {
        application.state.delete(Space::Records, key);
    }
    // A keyed request that is repeated past its retention would derive the same id again.
    let now = application.now;
    application.put(Space::Records, keys::deleted_secret(id), &now);
    let mut cloud = cloud_of(application.state, folder)?;
    if !mutant(Mutant::QuotaNotGivenBack) {
        cloud.secrets = cloud.secrets.saturating_sub(1);
    }
    application.put(Space::Records, keys::cloud(&cloud.id), &cloud);
    Ok(())
}

fn delete_versions(
    application: &mut Application<'_, '_>,
    id: &SecretId,
) -> Result<(), StorageError> {
    let prefix = keys::versions_in_secret(id);
    let scan = Scan {
        space: Space::Records,
        to: keys::prefix_end(&prefix),
        from: prefix,
        direction: Direction::Ascending,
        limit: usize::MAX,
    };
    let versions = application.state.scan(&scan)?;
    if !versions.is_empty() {
        erasures::of_secret(application, id)?;
    }
    for (key, value) in versions {
        let version = codec::decode(&value)
            .map_err(|e| StorageError::corrupt("delete a secret's versions", e.to_string()))?;
        if let Some(version) = tables::version(application.state, id, &version)? {
            destruction::unqueue(application, &version);
        }
        application.state.delete(Space::Records, key);
        application.state.delete(Space::Records, keys::version(&version));
        application.state.delete(Space::Records, keys::bindings(&version::resource(&version)));
        application.state.delete(Space::Payloads, keys::payload(id, &version));
    }
    Ok(())
}
