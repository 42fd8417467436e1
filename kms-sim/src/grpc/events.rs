//! The audit events of the KMS (`contract §6.1`, `§6.3`), from what a call got to see.

use std::collections::BTreeMap;

use lockbox_core::{KmsKeyId, ResourcePath};
use lockbox_platform::audit::details::{
    AccessBindingsDetails, CryptoDetails, KeyVersionDetails, LedgerPlace, ReEncryptDetails,
    RequestDetails, SymmetricKeyDetails,
};
use lockbox_platform::audit::record::EventSource;
use lockbox_platform::audit::{AuditDetails, AuditTime};

use super::bindings;
use super::call::Event;
use crate::crypto::Observed;
use crate::keys::command::BindingsChange;
use crate::ledger::record::CryptoOperation;
use crate::store::records::{KeyRecord, OperationKind, OperationRecord};

/// An id as a request named it; nothing when it is no id. Whatever else a caller sends must not fill
/// the audit, and may be a secret that was pasted into a wrong field.
fn named_id(text: &str) -> String {
    KmsKeyId::parse(text).map(String::from).unwrap_or_default()
}

/// The event of a crypto call; `key_id` and `source_key_id` are the ids as asked for.
pub(super) fn crypto(
    operation: CryptoOperation,
    observed: &Observed,
    key_id: &str,
    source_key_id: &str,
) -> Event {
    let text = |id: Option<String>| id.unwrap_or_default();
    let key = observed.key.as_ref();
    let target = CryptoDetails {
        key_id: named_id(key_id),
        key_name: text(key.map(|key| key.name.clone())),
        version_id: text(observed.version_id.clone().map(Into::into)),
        folder_id: text(key.map(|key| key.path.folder_id.to_string())),
        ledger: observed.recorded.map(|recorded| LedgerPlace {
            sequence: recorded.sequence,
            chain: hex::encode(recorded.chain),
        }),
    };
    let details = match operation {
        CryptoOperation::Encrypt => AuditDetails::Encrypt(target),
        CryptoOperation::Decrypt => AuditDetails::Decrypt(target),
        CryptoOperation::GenerateDataKey => AuditDetails::GenerateDataKey(target),
        CryptoOperation::ReEncrypt => {
            let source = observed.source_key.as_ref();
            AuditDetails::ReEncrypt(ReEncryptDetails {
                target,
                source_key_id: named_id(source_key_id),
                source_key_name: text(source.map(|key| key.name.clone())),
                source_version_id: text(observed.source_version_id.clone().map(Into::into)),
                source_folder_id: text(source.map(|key| key.path.folder_id.to_string())),
            })
        }
    };
    Event { details, path: path(key) }
}

/// Which mutation an event is about.
#[derive(Clone, Copy)]
pub(super) enum Mutation {
    Create,
    Update,
    Rotate,
    Delete,
    Undelete,
}

/// Which mutation of a version an event is about.
#[derive(Clone, Copy)]
pub(super) enum VersionMutation {
    SetPrimary,
    ScheduleDestruction,
    CancelDestruction,
}

/// Which mutation of bindings an event is about.
#[derive(Clone, Copy)]
pub(super) enum BindingsMutation {
    Set,
    Update,
}

/// What a mutation came to: the operation, or what was seen of the key before it was refused.
#[derive(Clone, Copy)]
pub(super) struct Effect<'a> {
    pub(super) operation: Option<&'a OperationRecord>,
    pub(super) observed: Option<&'a KeyRecord>,
}

impl<'a> Effect<'a> {
    fn key(self) -> Option<&'a KeyRecord> {
        self.operation.map(|operation| &operation.key).or(self.observed)
    }

    fn key_details(self, key_id: &str) -> SymmetricKeyDetails {
        let mut details = self.key().map_or_else(
            || SymmetricKeyDetails { key_id: named_id(key_id), ..SymmetricKeyDetails::default() },
            key_details,
        );
        if let Some(operation) = self.operation {
            let primary = &operation.primary_version;
            details.primary_version_status = Some(primary.status.as_str());
            details.primary_version_algorithm = Some(primary.algorithm.as_str());
            details.primary_version_hosted_by_hsm = Some(false);
            details.primary_version_created_at = Some(AuditTime::from(primary.created_at));
            details.primary_version_destroy_at = primary.destroy_at.map(AuditTime::from);
        }
        details
    }
}

/// The event of a mutation of a key; `key_id` is the id as asked for.
pub(super) fn mutation(mutation: Mutation, key_id: &str, effect: Effect<'_>) -> Event {
    let details = effect.key_details(key_id);
    let details = match mutation {
        Mutation::Create => AuditDetails::CreateSymmetricKey(details),
        Mutation::Update => AuditDetails::UpdateSymmetricKey(details),
        Mutation::Rotate => AuditDetails::RotateSymmetricKey(details),
        Mutation::Delete => AuditDetails::DeleteSymmetricKey(details),
        Mutation::Undelete => AuditDetails::CancelDeleteSymmetricKey(details),
    };
    Event { details, path: path(effect.key()) }
}

/// The event of a mutation of a version; the ids are those that were asked for.
pub(super) fn version_mutation(
    mutation: VersionMutation,
    (key_id, version_id): (&str, &str),
    effect: Effect<'_>,
) -> Event {
    let mut details = KeyVersionDetails {
        key: effect.key_details(key_id),
        version_id: named_id(version_id),
        ..KeyVersionDetails::default()
    };
    match effect.operation.map(|operation| &operation.kind) {
        Some(OperationKind::SetPrimaryVersion { before }) => {
            details.old_primary_version_id = before.to_string();
        }
        Some(
            OperationKind::ScheduleVersionDestruction { version }
            | OperationKind::CancelVersionDestruction { version },
        ) => {
            details.version_status = Some(version.status.as_str());
            details.destroy_at = version.destroy_at.map(AuditTime::from);
        }
        // No operation, or none of a version.
        Some(_) | None => {}
    }
    let details = match mutation {
        VersionMutation::SetPrimary => AuditDetails::SetPrimarySymmetricKeyVersion(details),
        VersionMutation::ScheduleDestruction => {
            AuditDetails::ScheduleSymmetricKeyVersionDestruction(details)
        }
        VersionMutation::CancelDestruction => {
            AuditDetails::CancelSymmetricKeyVersionDestruction(details)
        }
    };
    Event { details, path: path(effect.key()) }
}

/// The event of a change of bindings; `change` is none when the request could not be read. Of one
/// that was refused only the key is told: its roles and subjects may be any text, a thousand in one
/// call, and whoever may not grant must not fill the audit with them.
pub(super) fn bindings_mutation(
    mutation: BindingsMutation,
    key_id: &str,
    change: Option<&BindingsChange>,
    effect: Effect<'_>,
) -> Event {
    let key_name = effect.key().map(|key| key.name.clone()).unwrap_or_default();
    let key_id = named_id(key_id);
    let mut details = AccessBindingsDetails { key_id, key_name, ..Default::default() };
    if let Some(change) = change.filter(|_| effect.operation.is_some()) {
        bindings::describe(change, &mut details);
    }
    let details = match mutation {
        BindingsMutation::Set => AuditDetails::SetSymmetricKeyAccessBindings(details),
        BindingsMutation::Update => AuditDetails::UpdateSymmetricKeyAccessBindings(details),
    };
    Event { details, path: path(effect.key()) }
}

/// The name of the event of a backup.
pub(super) const BACKUP_EVENT: &str = "BackUpKms";

/// The event of a backup of the whole store.
pub(super) fn backup() -> Event {
    let (source, event_name, ids) = (EventSource::Kms, BACKUP_EVENT, BTreeMap::new());
    let details = AuditDetails::Request(RequestDetails { source, event_name, ids });
    Event { details, path: ResourcePath::default() }
}

/// The event of any other call: its name and the id that it named.
pub(super) fn request(
    source: EventSource,
    event_name: &'static str,
    id: (&'static str, &str),
    observed: Option<&KeyRecord>,
) -> Event {
    let ids = BTreeMap::from([(id.0, named_id(id.1))]);
    let details = AuditDetails::Request(RequestDetails { source, event_name, ids });
    Event { details, path: path(observed) }
}

fn path(key: Option<&KeyRecord>) -> ResourcePath {
    key.map(KeyRecord::resources).unwrap_or_default()
}

fn key_details(key: &KeyRecord) -> SymmetricKeyDetails {
    let period = key.rotation_period_ms.map(|ms| format!("{}.{:03}s", ms / 1000, ms % 1000));
    SymmetricKeyDetails {
        key_id: key.id.to_string(),
        key_name: key.name.clone(),
        primary_version_id: key.primary_version_id.to_string(),
        default_algorithm: Some(key.default_algorithm.as_str()),
        rotation_period: period.unwrap_or_default(),
        key_status: Some(key.status.as_str()),
        deletion_protection: Some(key.deletion_protection),
        primary_version_status: None,
        primary_version_algorithm: None,
        primary_version_hosted_by_hsm: None,
        primary_version_created_at: None,
        primary_version_destroy_at: None,
        description: key.description.clone(),
        labels: key.labels.clone(),
        created_at: Some(AuditTime::from(key.created_at)),
        rotated_at: Some(AuditTime::from(key.rotated_at)),
    }
}
