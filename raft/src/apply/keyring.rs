//! The keyring's protocol: how a key comes, takes over and goes (`design §6`).
//!
//! The order is the state's: a key wraps once every member has unwrapped it, its predecessor goes
//! once nothing is wrapped by it and every member has said that neither its log nor its snapshot
//! needs it. All of it is the cluster's own doing: nobody who logs in may.

use lockbox_core::{NodeId, ResourceKind, ResourceRef, SecretId, Subject, VersionId};

use super::{Application, Effect, Refusal};
use crate::domain::command::Envelope;
use crate::domain::keyring::{
    DataKeyRewrap, KeyPurpose, KeyStage, KeyringKeyRecord, KeyringKeyRewrap,
};
use crate::domain::operation::{OperationMetadata, OperationResult};
use crate::domain::outcome::{Precondition, Rejection};
use crate::domain::version::{SealedPayload, WrappedDataKey};
use crate::state::{Space, StateRead, keys, tables};

/// KeyAdded: the next number, and one key on its way at a time.
pub(super) fn add(
    application: &mut Application<'_, '_>,
    envelope: &Envelope,
    new: &KeyringKeyRecord,
) -> Result<Effect, Refusal> {
    require_cluster(envelope)?;
    let known = tables::keyring(application.state)?;
    let next = known.last().map_or(1, |last| last.id.saturating_add(1));
    let pending = known.iter().any(|key| key.stage == KeyStage::Added);
    let fits = new.stage == KeyStage::Added && new.purpose == KeyPurpose::WrapDataKeys;
    if new.id != next || pending || !fits || new.wrapped.is_empty() {
        return Err(Precondition::KeyringStage.into());
    }
    let mut key = new.clone();
    key.created_at = application.now;
    key.added_at = application.index;
    key.wrapped_at = application.index;
    enter(application, &mut key, KeyStage::Added);
    effect(application, key.id, "Add keyring key")
}

/// A member has unwrapped the new key, or has nothing on its disk that needs the old one.
pub(super) fn confirm(
    application: &mut Application<'_, '_>,
    envelope: &Envelope,
    (key_id, stage): (u32, KeyStage),
    node_id: NodeId,
) -> Result<Effect, Refusal> {
    require_cluster(envelope)?;
    let mut key = load(application, key_id)?;
    let members = tables::member_ids(application.state)?;
    if key.stage != stage || !stage.awaits_members() || !members.contains(&node_id) {
        return Err(Precondition::KeyringStage.into());
    }
    if let Err(place) = key.confirmed_by.binary_search(&node_id) {
        key.confirmed_by.insert(place, node_id);
        put(application, &key);
    }
    effect(application, key_id, "Confirm keyring key")
}

/// KeyActivated, KeyRetired, and what is between them.
pub(super) fn step(
    application: &mut Application<'_, '_>,
    envelope: &Envelope,
    key_id: u32,
    to: KeyStage,
) -> Result<Effect, Refusal> {
    require_cluster(envelope)?;
    let mut key = load(application, key_id)?;
    let members = tables::member_ids(application.state)?;
    let confirmed = !members.is_empty() && key.is_confirmed_by(&members);
    let description = match (key.stage, to) {
        (KeyStage::Added, KeyStage::Activated) if confirmed => {
            supersede(application, key.purpose)?;
            "Activate keyring key"
        }
        (KeyStage::Superseded, KeyStage::Closed) => "Close keyring key",
        (KeyStage::Closed, KeyStage::Emptied) => "Empty keyring key",
        (KeyStage::Emptied, KeyStage::Retired) if confirmed => {
            key.wrapped = Vec::new();
            "Retire keyring key"
        }
        _ => return Err(Precondition::KeyringStage.into()),
    };
    enter(application, &mut key, to);
    effect(application, key_id, description)
}

/// The one key that new work is done with makes room for another one.
fn supersede(application: &mut Application<'_, '_>, purpose: KeyPurpose) -> Result<(), Refusal> {
    for mut key in tables::keyring(application.state)? {
        if key.purpose == purpose && key.stage == KeyStage::Activated {
            enter(application, &mut key, KeyStage::Superseded);
        }
    }
    Ok(())
}

/// Puts data keys under the activated key. One whose wrapping is another than was seen stays as it
/// is: its version was destroyed, deleted or wrapped anew. Nothing that is shown of a version
/// changes, and neither does its secret.
pub(super) fn rewrap_data_keys(
    application: &mut Application<'_, '_>,
    envelope: &Envelope,
    rewraps: &[DataKeyRewrap],
) -> Result<Effect, Refusal> {
    require_cluster(envelope)?;
    let mut by = None;
    for rewrap in rewraps {
        let WrappedDataKey::Keyring { keyring_key_id, .. } = &rewrap.new else {
            return Err(Precondition::KeyringStage.into());
        };
        if *by.get_or_insert(*keyring_key_id) != *keyring_key_id {
            return Err(Precondition::KeyringStage.into());
        }
    }
    let by = by.ok_or(Precondition::KeyringStage)?;
    if load(application, by)?.stage != KeyStage::Activated {
        return Err(Precondition::KeyringStage.into());
    }
    for rewrap in rewraps {
        let (secret, version) = (&rewrap.secret_id, &rewrap.version_id);
        let aside = match tables::payload(application.state, secret, version)? {
            Some(mut payload) if is_as_seen(&payload, rewrap) => {
                let old = std::mem::replace(&mut payload.wrapped_key, rewrap.new.clone());
                application.put(Space::Payloads, keys::payload(secret, version), &payload);
                old
            }
            // This entry alone brings it.
            Some(_) | None => rewrap.new.clone(),
        };
        note_wrapping(application, secret, version, &aside)?;
    }
    effect(application, by, "Rewrap data keys")
}

fn is_as_seen(payload: &SealedPayload, rewrap: &DataKeyRewrap) -> bool {
    matches!(
        &payload.wrapped_key,
        WrappedDataKey::Keyring { keyring_key_id, salt, .. }
            if *keyring_key_id == rewrap.old_key_id && *salt == rewrap.old_salt
    )
}

/// Keeps a mark of a wrapping that is not the stored one: it is in older files or in the log, and is
/// looked for once the version is destroyed.
fn note_wrapping(
    application: &mut Application<'_, '_>,
    secret: &SecretId,
    version: &VersionId,
    wrapped: &WrappedDataKey,
) -> Result<(), Refusal> {
    if let Some(mut version) = tables::version(application.state, secret, version)? {
        version.payload_marks.get_or_insert_default().note_wrapping(wrapped);
        application.put(Space::Records, keys::version(&version.id), &version);
    }
    Ok(())
}

/// Another wrapping of the same key by the system key.
pub(super) fn rewrap_key(
    application: &mut Application<'_, '_>,
    envelope: &Envelope,
    rewrap: &KeyringKeyRewrap,
) -> Result<Effect, Refusal> {
    require_cluster(envelope)?;
    let mut key = load(application, rewrap.key_id)?;
    let retired = key.stage == KeyStage::Retired;
    if retired || key.wrapped != rewrap.old || rewrap.new.is_empty() {
        return Err(Precondition::KeyringStage.into());
    }
    key.wrapped.clone_from(&rewrap.new);
    key.wrapped_at = application.index;
    put(application, &key);
    effect(application, rewrap.key_id, "Rewrap keyring key")
}

/// What is wrapped by a key that is not activated yet, or on its way out, is not stored: its node
/// wraps it anew. So nothing comes under a key once it is closed.
pub(super) fn require_stores(
    state: &dyn StateRead,
    wrapped: &WrappedDataKey,
) -> Result<(), Refusal> {
    let WrappedDataKey::Keyring { keyring_key_id, .. } = wrapped else { return Ok(()) };
    match tables::keyring_key(state, *keyring_key_id)? {
        Some(key) if !key.stage.stores() => Err(Precondition::KeyringStage.into()),
        // Retired keys have a record, so a key without one is none that was ever taken away.
        Some(_) | None => Ok(()),
    }
}

fn require_cluster(envelope: &Envelope) -> Result<(), Refusal> {
    if envelope.subject == Subject::internal() {
        return Ok(());
    }
    Err(Rejection::PermissionDenied.into())
}

fn load(application: &Application<'_, '_>, id: u32) -> Result<KeyringKeyRecord, Refusal> {
    let key = tables::keyring_key(application.state, id)?;
    key.ok_or_else(|| Precondition::KeyringStage.into())
}

fn enter(application: &mut Application<'_, '_>, key: &mut KeyringKeyRecord, stage: KeyStage) {
    key.stage = stage;
    key.staged_at = application.index;
    key.staged_time = application.now;
    key.confirmed_by = Vec::new();
    put(application, key);
}

fn put(application: &mut Application<'_, '_>, key: &KeyringKeyRecord) {
    application.put(Space::Records, keys::keyring_key(key.id), key);
}

fn effect(
    application: &Application<'_, '_>,
    keyring_key_id: u32,
    description: &str,
) -> Result<Effect, Refusal> {
    let cluster = tables::cluster(application.state)?.ok_or(Precondition::NotInitialised)?;
    let organization = cluster.organization_id.as_str();
    Ok(Effect {
        description: description.to_owned(),
        resource: ResourceRef::new(ResourceKind::Organization, organization),
        metadata: OperationMetadata::ChangeKeyring { keyring_key_id },
        result: OperationResult::Empty,
    })
}
