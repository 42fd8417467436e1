//! The bootstrap administrator, made able to log in again (`lockbox cluster recover-admin`).
//!
//! What `cluster init` gave it is given again, whatever has become of it since: a key that works,
//! an active account, the role of an administrator and the ownership of the first cloud. Who may
//! ask for it is known by a certificate, on the listener for peers: no subject that logs in may.

use lockbox_core::{AuthorizedKeyId, ResourceKind, ResourceRef, Subject};

use super::identity::{resource, store_authorized_key, store_service_account};
use super::{Application, Effect, Refusal, accounts, bindings, require_absent};
use crate::domain::binding::{AccessBinding, BindingDelta, DeltaAction};
use crate::domain::command::{CreateAuthorizedKey, CreateServiceAccount, Envelope, RecoverAdmin};
use crate::domain::identity::{
    AuthorizedKeyRecord, FirstResources, ServiceAccountRecord, ServiceAccountStatus,
};
use crate::domain::operation::{OperationMetadata, OperationResult};
use crate::domain::outcome::{Precondition, Rejection};
use crate::error::StorageError;
use crate::state::{Space, StateRead, keys, tables};

/// What a key says that came this way.
const KEY_DESCRIPTION: &str = "brought to cluster recover-admin";

pub(super) fn recover_admin(
    application: &mut Application<'_, '_>,
    envelope: &Envelope,
    recover: &RecoverAdmin,
) -> Result<Effect, Refusal> {
    if envelope.subject != Subject::internal() {
        return Err(Rejection::PermissionDenied.into());
    }
    let first = tables::first_resources(application.state)?.ok_or(Precondition::NotInitialised)?;
    let cluster = tables::cluster(application.state)?.ok_or(Precondition::NotInitialised)?;
    let account = active_account(application, &first, recover)?;
    let (key, deleted_key_ids) = only_key(application, &account, recover)?;

    let admin = Subject::service_account(&account.id);
    let root = ResourceRef::new(ResourceKind::Organization, cluster.organization_id.as_str());
    bind(application, &root, AccessBinding::new("admin", admin.clone()))?;
    let cloud = ResourceRef::new(ResourceKind::Cloud, first.cloud_id.as_str());
    bind(application, &cloud, AccessBinding::new("resource-manager.clouds.owner", admin))?;

    let (admin_id, admin_key_id) = (account.id.clone(), key.id.clone());
    let first = FirstResources { admin_id, admin_key_id, ..first };
    application.put(Space::Records, keys::FIRST_RESOURCES.to_vec(), &first);
    Ok(Effect {
        description: "Recover administrator".to_owned(),
        resource: resource(&account.id),
        metadata: OperationMetadata::RecoverAdmin { key_id: key.id.clone(), deleted_key_ids },
        result: OperationResult::AuthorizedKey(Box::new(key)),
    })
}

/// The administrator's account, able to log in; another one in its place when it was deleted.
fn active_account(
    application: &mut Application<'_, '_>,
    first: &FirstResources,
    recover: &RecoverAdmin,
) -> Result<ServiceAccountRecord, Refusal> {
    let Some(mut account) = tables::service_account(application.state, &first.admin_id)? else {
        return replacement(application, first, recover);
    };
    account.status = ServiceAccountStatus::Active;
    account.expires_at = None;
    application.put(Space::Records, keys::service_account(&account.id), &account);
    Ok(account)
}

/// A new account under the name that the administrator had, if nobody has taken it.
fn replacement(
    application: &mut Application<'_, '_>,
    first: &FirstResources,
    recover: &RecoverAdmin,
) -> Result<ServiceAccountRecord, Refusal> {
    let id = recover.replacement_id.clone();
    let by_name = keys::service_account_by_name(&first.cloud_id, &recover.name);
    let taken = application.state.get(Space::Records, &by_name)?.is_some();
    let name = if taken { format!("{}-{id}", recover.name) } else { recover.name.clone() };
    let create = CreateServiceAccount {
        id,
        folder_id: first.folder_id.clone(),
        name,
        description: "bootstrap administrator".to_owned(),
        labels: Default::default(),
        expires_at: None,
    };
    store_service_account(application, &create)
}

/// The key that was brought, which a repeat finds; the other ones go unless they are to stay.
fn only_key(
    application: &mut Application<'_, '_>,
    account: &ServiceAccountRecord,
    recover: &RecoverAdmin,
) -> Result<(AuthorizedKeyRecord, Vec<AuthorizedKeyId>), Refusal> {
    let held = accounts::keys_of(application.state, &account.id)?;
    let mut known = None;
    for (_, id) in &held {
        let key = tables::authorized_key(application.state, id)?;
        known = known.or(key.filter(|key| key.public_key_pem == recover.public_key_pem));
    }
    let key = match known {
        Some(key) => key,
        None => new_key(application, account, recover)?,
    };
    let mut deleted = Vec::new();
    if !recover.keep_keys {
        for (place, id) in held.into_iter().filter(|(_, id)| *id != key.id) {
            accounts::delete_key(application, place, &id);
            deleted.push(id);
        }
    }
    Ok((key, deleted))
}

fn new_key(
    application: &mut Application<'_, '_>,
    account: &ServiceAccountRecord,
    recover: &RecoverAdmin,
) -> Result<AuthorizedKeyRecord, Refusal> {
    let place = keys::authorized_key(&recover.key_id);
    require_absent(application.state, Space::Records, &place, ResourceKind::ServiceAccount)?;
    let create = CreateAuthorizedKey {
        id: recover.key_id.clone(),
        service_account_id: account.id.clone(),
        description: KEY_DESCRIPTION.to_owned(),
        algorithm: recover.algorithm,
        public_key_pem: recover.public_key_pem.clone(),
        // No quota keeps the administrator out.
        keys_per_account_max: u32::MAX,
    };
    Ok(store_authorized_key(application, &create))
}

/// Adds a binding unless it is there.
fn bind(
    application: &mut Application<'_, '_>,
    on: &ResourceRef,
    binding: AccessBinding,
) -> Result<(), StorageError> {
    let mut set = tables::bindings(application.state, on)?;
    let delta = BindingDelta { action: DeltaAction::Add, binding };
    if set.apply(&[delta]).is_empty() {
        return Ok(());
    }
    bindings::replace(application, on, &set)
}
