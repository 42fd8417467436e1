//! The cluster's beginning, service accounts and authorized keys (`design §7`).

use std::collections::BTreeMap;

use lockbox_core::{
    AuthorizedKeyId, FolderId, Permission, ResourceKind, ResourceRef, ServiceAccountId, Subject,
};

use super::{Application, Effect, Refusal, access, bindings, feature_level, require_absent};
use crate::domain::binding::{AccessBinding, BindingSet};
use crate::domain::command::{CreateAuthorizedKey, CreateServiceAccount, Envelope, InitCluster};
use crate::domain::identity::{
    AuthorizedKeyRecord, CloudRecord, FirstResources, FolderRecord, ServiceAccountRecord,
    ServiceAccountStatus,
};
use crate::domain::operation::{OperationMetadata, OperationResult};
use crate::domain::outcome::{Precondition, Rejection};
use crate::error::StorageError;
use crate::state::{Direction, Scan, Space, StateRead, keys, tables};

pub(super) fn init_cluster(
    application: &mut Application<'_, '_>,
    init: &InitCluster,
) -> Result<Effect, Refusal> {
    if tables::cluster(application.state)?.is_some() {
        return Err(Precondition::AlreadyInitialised.into());
    }
    let now = application.now;
    let mut cluster = init.cluster.clone();
    cluster.created_at = now;
    application.put(Space::Records, keys::CLUSTER.to_vec(), &cluster);
    let cloud = CloudRecord {
        id: init.cloud_id.clone(),
        organization_id: init.organization_id.clone(),
        name: "default".to_owned(),
        created_at: now,
        secrets: 0,
        description: String::new(),
        labels: BTreeMap::new(),
    };
    application.put(Space::Records, keys::cloud(&cloud.id), &cloud);
    let cloud_name = keys::cloud_by_name(&cloud.organization_id, &cloud.name);
    application.put(Space::Records, cloud_name, &cloud.id);
    let folder = FolderRecord {
        id: init.folder_id.clone(),
        cloud_id: init.cloud_id.clone(),
        name: init.folder_name.clone(),
        created_at: now,
        description: String::new(),
        labels: BTreeMap::new(),
    };
    application.put(Space::Records, keys::folder(&folder.id), &folder);
    let folder_name = keys::folder_by_name(&folder.cloud_id, &folder.name);
    application.put(Space::Records, folder_name, &folder.id);
    let first = FirstResources {
        cloud_id: init.cloud_id.clone(),
        folder_id: init.folder_id.clone(),
        admin_id: init.admin.id.clone(),
        admin_key_id: init.admin_key.id.clone(),
    };
    application.put(Space::Records, keys::FIRST_RESOURCES.to_vec(), &first);
    feature_level::set(application, init.feature_level)?;
    for key in &init.keyring {
        let mut key = key.clone();
        key.created_at = now;
        application.put(Space::Records, keys::keyring_key(key.id), &key);
    }
    store_service_account(application, &init.admin)?;
    store_authorized_key(application, &init.admin_key);
    let root = ResourceRef::new(ResourceKind::Organization, init.organization_id.as_str());
    let admin = Subject::service_account(&init.admin.id);
    let administrators = BindingSet::new(vec![AccessBinding::new("admin", admin.clone())]);
    bindings::replace(application, &root, &administrators)?;
    // Only owners can make owners (`contract §4.2`), so there has to be a first one.
    let owner = AccessBinding::new("resource-manager.clouds.owner", admin);
    let cloud_ref = ResourceRef::new(ResourceKind::Cloud, init.cloud_id.as_str());
    bindings::replace(application, &cloud_ref, &BindingSet::new(vec![owner]))?;
    Ok(Effect {
        description: "Initialise cluster".to_owned(),
        resource: root,
        metadata: OperationMetadata::InitCluster,
        result: OperationResult::Empty,
    })
}

pub(super) fn create_service_account(
    application: &mut Application<'_, '_>,
    envelope: &Envelope,
    create: &CreateServiceAccount,
) -> Result<Effect, Refusal> {
    let state = &application.state;
    let not_found = || Rejection::not_found(ResourceKind::Folder, create.folder_id.as_str());
    let path = tables::folder_path(*state, &create.folder_id)?.ok_or_else(not_found)?;
    let permission = Permission::ServiceAccountsAdminister;
    access::require(&application.view(), &envelope.subject, permission, &path)?;
    let account = store_service_account(application, create)?;
    Ok(Effect {
        description: "Create service account".to_owned(),
        resource: resource(&account.id),
        metadata: OperationMetadata::CreateServiceAccount {
            service_account_id: account.id.clone(),
        },
        result: OperationResult::ServiceAccount(Box::new(account)),
    })
}

pub(super) fn resource(id: &ServiceAccountId) -> ResourceRef {
    ResourceRef::new(ResourceKind::ServiceAccount, id.as_str())
}

pub(super) fn store_service_account(
    application: &mut Application<'_, '_>,
    create: &CreateServiceAccount,
) -> Result<ServiceAccountRecord, Refusal> {
    let key = keys::service_account(&create.id);
    // Bindings outlive an account, so its id never comes back.
    for taken in [&key, &keys::deleted_service_account(&create.id)] {
        require_absent(application.state, Space::Records, taken, ResourceKind::ServiceAccount)?;
    }
    let by_name = require_free_name(application.state, &create.folder_id, &create.name)?;
    let account = ServiceAccountRecord {
        id: create.id.clone(),
        folder_id: create.folder_id.clone(),
        created_at: application.now,
        name: create.name.clone(),
        description: create.description.clone(),
        labels: create.labels.clone(),
        status: ServiceAccountStatus::Active,
        expires_at: create.expires_at,
        sequence: application.index,
    };
    application.put(Space::Records, key, &account);
    application.put(Space::Records, by_name, &account.id);
    let place = keys::service_account_in_folder(&account.folder_id, account.sequence);
    application.put(Space::Records, place, &account.id);
    Ok(account)
}

/// Where the name of an account is stored, if no other one of the cloud has it
/// (`contract §1.11`).
pub(super) fn require_free_name(
    state: &dyn StateRead,
    folder_id: &FolderId,
    name: &str,
) -> Result<Vec<u8>, Refusal> {
    let folder = tables::folder(state, folder_id)?
        .ok_or_else(|| Rejection::not_found(ResourceKind::Folder, folder_id.as_str()))?;
    let by_name = keys::service_account_by_name(&folder.cloud_id, name);
    require_absent(state, Space::Records, &by_name, ResourceKind::ServiceAccount)?;
    Ok(by_name)
}

pub(super) fn create_authorized_key(
    application: &mut Application<'_, '_>,
    envelope: &Envelope,
    create: &CreateAuthorizedKey,
) -> Result<Effect, Refusal> {
    let account_id = &create.service_account_id;
    let account = tables::service_account(application.state, account_id)?
        .ok_or_else(|| Rejection::not_found(ResourceKind::ServiceAccount, account_id.as_str()))?;
    let path = account_path(application.state, &account)?;
    // A key is as good as a token of the account: managing accounts is not enough to make one. An
    // account may make keys for itself (`contract §1.11`: empty means the caller itself).
    access::require_own_token(envelope.token.as_ref())?;
    let view = application.view();
    access::require_key_maker(&view, &envelope.subject, account_id, &path)?;
    let key = keys::authorized_key(&create.id);
    require_absent(application.state, Space::Records, &key, ResourceKind::ServiceAccount)?;
    room_for_authorized_key(application.state, account_id, create.keys_per_account_max)?;
    let record = store_authorized_key(application, create);
    Ok(Effect {
        description: "Create authorized key".to_owned(),
        resource: resource(account_id),
        metadata: OperationMetadata::CreateAuthorizedKey { key_id: record.id.clone() },
        result: OperationResult::AuthorizedKey(Box::new(record)),
    })
}

/// Whether an account can have one more key.
///
/// # Errors
/// [`Rejection::QuotaExceeded`].
pub fn room_for_authorized_key(
    state: &dyn StateRead,
    account: &ServiceAccountId,
    limit: u32,
) -> Result<(), Refusal> {
    let prefix = keys::authorized_keys_of(account);
    let full = usize::try_from(limit).unwrap_or(usize::MAX);
    let scan = Scan {
        space: Space::Records,
        to: keys::prefix_end(&prefix),
        from: prefix,
        direction: Direction::Ascending,
        limit: full,
    };
    if state.scan(&scan)?.len() < full {
        return Ok(());
    }
    Err(Rejection::QuotaExceeded { quota: "iam.authorizedKeys.count".into(), limit }.into())
}

pub(super) fn update_authorized_key(
    application: &mut Application<'_, '_>,
    envelope: &Envelope,
    key_id: &AuthorizedKeyId,
    description: &str,
) -> Result<Effect, Refusal> {
    let mut record = key_to_change(application, envelope, key_id)?;
    description.clone_into(&mut record.description);
    application.put(Space::Records, keys::authorized_key(key_id), &record);
    Ok(Effect {
        description: "Update authorized key".to_owned(),
        resource: resource(&record.service_account_id),
        metadata: OperationMetadata::UpdateAuthorizedKey { key_id: key_id.clone() },
        result: OperationResult::AuthorizedKey(Box::new(record)),
    })
}

pub(super) fn delete_authorized_key(
    application: &mut Application<'_, '_>,
    envelope: &Envelope,
    key_id: &AuthorizedKeyId,
) -> Result<Effect, Refusal> {
    let record = key_to_change(application, envelope, key_id)?;
    application.state.delete(Space::Records, keys::authorized_key(&record.id));
    let place = keys::authorized_key_of(&record.service_account_id, record.sequence);
    application.state.delete(Space::Records, place);
    Ok(Effect {
        description: "Delete authorized key".to_owned(),
        resource: resource(&record.service_account_id),
        metadata: OperationMetadata::DeleteAuthorizedKey { key_id: record.id },
        result: OperationResult::Empty,
    })
}

/// A key, for who may change or delete it: what takes making one, but another permission.
fn key_to_change(
    application: &Application<'_, '_>,
    envelope: &Envelope,
    key_id: &AuthorizedKeyId,
) -> Result<AuthorizedKeyRecord, Refusal> {
    let record = tables::authorized_key(application.state, key_id)?
        .ok_or_else(|| Rejection::KeyNotFound(key_id.to_string()))?;
    let account = account_of(application.state, &record)?;
    let path = account_path(application.state, &account)?;
    access::require_own_token(envelope.token.as_ref())?;
    let permission = Permission::ServiceAccountsAdminister;
    let subject = &envelope.subject;
    let view = application.view();
    access::require_over_keys(&view, subject, permission, &account.id, &path)?;
    Ok(record)
}

/// The account of an authorized key.
///
/// # Errors
/// [`StorageError`]; a key without its account is corruption.
pub fn account_of(
    state: &dyn StateRead,
    key: &AuthorizedKeyRecord,
) -> Result<ServiceAccountRecord, StorageError> {
    let account = tables::service_account(state, &key.service_account_id)?;
    account.ok_or_else(|| {
        let message = format!("authorized key {} has no account", key.id);
        StorageError::corrupt("read the state", message)
    })
}

/// The path of a service account: organization, cloud, folder, account.
///
/// # Errors
/// [`StorageError`]; an account without its folder is corruption.
pub fn account_path(
    state: &dyn StateRead,
    account: &ServiceAccountRecord,
) -> Result<lockbox_core::ResourcePath, StorageError> {
    let Some(path) = tables::folder_path(state, &account.folder_id)? else {
        let message = format!("service account {} has no folder", account.id);
        return Err(StorageError::corrupt("read the state", message));
    };
    Ok(path.with_leaf(resource(&account.id)))
}

pub(super) fn store_authorized_key(
    application: &mut Application<'_, '_>,
    create: &CreateAuthorizedKey,
) -> AuthorizedKeyRecord {
    let record = AuthorizedKeyRecord {
        id: create.id.clone(),
        service_account_id: create.service_account_id.clone(),
        created_at: application.now,
        description: create.description.clone(),
        algorithm: create.algorithm,
        public_key_pem: create.public_key_pem.clone(),
        sequence: application.index,
    };
    application.put(Space::Records, keys::authorized_key(&record.id), &record);
    let place = keys::authorized_key_of(&record.service_account_id, record.sequence);
    application.put(Space::Records, place, &record.id);
    record
}
