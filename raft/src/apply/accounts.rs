//! What becomes of service accounts: changed, suspended, deleted (`contract §1.11`, `design §7`).
//!
//! Each of it can lock an account out, so it takes what making a key of the account takes.

use lockbox_core::{AuthorizedKeyId, Permission, ResourceKind, ServiceAccountId, Subject};

use super::identity::{account_path, require_free_name, resource};
use super::{Application, Effect, Refusal, access};
use crate::domain::codec;
use crate::domain::command::{Envelope, ServiceAccountChanges};
use crate::domain::identity::{ServiceAccountRecord, ServiceAccountStatus};
use crate::domain::operation::{OperationMetadata, OperationResult};
use crate::domain::outcome::{Precondition, Rejection};
use crate::error::StorageError;
use crate::state::{Direction, Scan, Space, StateRead, keys, tables};

pub(super) fn update(
    application: &mut Application<'_, '_>,
    envelope: &Envelope,
    id: &ServiceAccountId,
    changes: &ServiceAccountChanges,
) -> Result<Effect, Refusal> {
    let mut account = load_for(application, envelope, id)?;
    if let Some(name) = changes.name.as_ref().filter(|name| **name != account.name) {
        let free = require_free_name(application.state, &account.folder_id, name)?;
        let old = keys::service_account_by_name(&cloud_of(application, &account)?, &account.name);
        application.state.delete(Space::Records, old);
        application.put(Space::Records, free, &account.id);
        account.name.clone_from(name);
    }
    if let Some(description) = &changes.description {
        account.description.clone_from(description);
    }
    if let Some(labels) = &changes.labels {
        account.labels.clone_from(labels);
    }
    if changes.changes_expiry {
        require_another(envelope, id)?;
        account.expires_at = changes.expires_at;
    }
    let metadata = OperationMetadata::UpdateServiceAccount { service_account_id: id.clone() };
    Ok(store(application, account, "Update service account", metadata))
}

/// A suspended account cannot log in, and its tokens are worth nothing until it is active again.
pub(super) fn set_status(
    application: &mut Application<'_, '_>,
    envelope: &Envelope,
    id: &ServiceAccountId,
    status: ServiceAccountStatus,
) -> Result<Effect, Refusal> {
    let mut account = load_for(application, envelope, id)?;
    if status == ServiceAccountStatus::Suspended {
        require_another(envelope, id)?;
    }
    account.status = status;
    let service_account_id = id.clone();
    let (description, metadata) = match status {
        ServiceAccountStatus::Active => (
            "Reactivate service account",
            OperationMetadata::ReactivateServiceAccount { service_account_id },
        ),
        ServiceAccountStatus::Suspended => (
            "Suspend service account",
            OperationMetadata::SuspendServiceAccount { service_account_id },
        ),
    };
    Ok(store(application, account, description, metadata))
}

/// Deletes an account with its keys. Bindings that name it stay where they are and give nobody
/// anything: its id does not come back.
pub(super) fn delete(
    application: &mut Application<'_, '_>,
    envelope: &Envelope,
    id: &ServiceAccountId,
) -> Result<Effect, Refusal> {
    let account = load_for(application, envelope, id)?;
    require_another(envelope, id)?;
    for (place, key_id) in keys_of(application.state, id)? {
        delete_key(application, place, &key_id);
    }
    for key in [
        keys::service_account(id),
        keys::service_account_in_folder(&account.folder_id, account.sequence),
        keys::service_account_by_name(&cloud_of(application, &account)?, &account.name),
        keys::bindings(&resource(id)),
    ] {
        application.state.delete(Space::Records, key);
    }
    let now = application.now;
    application.put(Space::Records, keys::deleted_service_account(id), &now);
    Ok(Effect {
        description: "Delete service account".to_owned(),
        resource: resource(id),
        metadata: OperationMetadata::DeleteServiceAccount { service_account_id: id.clone() },
        result: OperationResult::Empty,
    })
}

/// Nobody ends its own account: the only administrator would lock everybody out.
fn require_another(envelope: &Envelope, id: &ServiceAccountId) -> Result<(), Refusal> {
    if envelope.subject == Subject::service_account(id) {
        return Err(Precondition::OwnAccount.into());
    }
    Ok(())
}

/// The keys of an account, each with its place in the list of them, in the order of the log.
pub(super) fn keys_of(
    state: &dyn StateRead,
    id: &ServiceAccountId,
) -> Result<Vec<(Vec<u8>, AuthorizedKeyId)>, StorageError> {
    let prefix = keys::authorized_keys_of(id);
    let scan = Scan {
        space: Space::Records,
        to: keys::prefix_end(&prefix),
        from: prefix,
        direction: Direction::Ascending,
        limit: usize::MAX,
    };
    let one = |(place, value): (Vec<u8>, Vec<u8>)| {
        let key_id = codec::decode(&value)
            .map_err(|e| StorageError::corrupt("read an account's keys", e.to_string()))?;
        Ok((place, key_id))
    };
    state.scan(&scan)?.into_iter().map(one).collect()
}

/// Deletes a key and its place in the list.
pub(super) fn delete_key(
    application: &mut Application<'_, '_>,
    place: Vec<u8>,
    key_id: &AuthorizedKeyId,
) {
    application.state.delete(Space::Records, place);
    application.state.delete(Space::Records, keys::authorized_key(key_id));
}

/// Loads an account for who may manage it, and may all that it may.
fn load_for(
    application: &Application<'_, '_>,
    envelope: &Envelope,
    id: &ServiceAccountId,
) -> Result<ServiceAccountRecord, Refusal> {
    let account = tables::service_account(application.state, id)?
        .ok_or_else(|| Rejection::not_found(ResourceKind::ServiceAccount, id.as_str()))?;
    require_over_account(application, envelope, &account)?;
    Ok(account)
}

fn require_over_account(
    application: &Application<'_, '_>,
    envelope: &Envelope,
    account: &ServiceAccountRecord,
) -> Result<(), Refusal> {
    access::require_own_token(envelope.token.as_ref())?;
    let view = application.view();
    let path = account_path(&view, account)?;
    let (subject, permission) = (&envelope.subject, Permission::ServiceAccountsAdminister);
    access::require(&view, subject, permission, &path)?;
    access::require_over_keys(&view, subject, permission, &account.id, &path)
}

fn cloud_of(
    application: &Application<'_, '_>,
    account: &ServiceAccountRecord,
) -> Result<lockbox_core::CloudId, StorageError> {
    let folder = tables::folder(application.state, &account.folder_id)?;
    folder.map(|folder| folder.cloud_id).ok_or_else(|| {
        let message = format!("service account {} has no folder", account.id);
        StorageError::corrupt("read the state", message)
    })
}

fn store(
    application: &mut Application<'_, '_>,
    account: ServiceAccountRecord,
    description: &str,
    metadata: OperationMetadata,
) -> Effect {
    application.put(Space::Records, keys::service_account(&account.id), &account);
    Effect {
        description: description.to_owned(),
        resource: resource(&account.id),
        metadata,
        result: OperationResult::ServiceAccount(Box::new(account)),
    }
}
