//! From the domain to audit details (`contract §6.3`): ids, names, keys and states; never a value.

use std::collections::{BTreeMap, BTreeSet};

use lockbox_core::SecretId;
use lockbox_platform::audit::AuditDetails;
use lockbox_platform::audit::details::{
    AddVersionDetails, DeltaType, EntryDelta, PayloadDetails, RequestDetails, SecretDetails,
    SetCurrentVersionDetails, VersionDetails,
};
use lockbox_platform::audit::record::EventSource;
use lockbox_raft::domain::operation::SecretSnapshot;
use lockbox_raft::domain::secret::{SecretRecord, SecretStatus};
use lockbox_raft::domain::version::{VersionRecord, VersionStatus};

/// `Secret.Status` by its name on the wire.
#[must_use]
pub const fn secret_status(status: SecretStatus) -> &'static str {
    match status {
        SecretStatus::Active => "ACTIVE",
        SecretStatus::Inactive => "INACTIVE",
    }
}

/// `Version.Status` by its name on the wire.
#[must_use]
pub const fn version_status(status: VersionStatus) -> &'static str {
    match status {
        VersionStatus::Active => "ACTIVE",
        VersionStatus::ScheduledForDestruction => "SCHEDULED_FOR_DESTRUCTION",
        VersionStatus::Destroyed => "DESTROYED",
    }
}

/// A version.
#[must_use]
pub fn version(version: &VersionRecord) -> VersionDetails {
    VersionDetails {
        secret_version_status: Some(version_status(version.status)),
        secret_version_payload_entry_keys: version.entry_keys.clone(),
        secret_version_description: version.description.clone(),
        secret_version_created_at: Some(version.created_at.into()),
        secret_version_destroy_at: version.destroy_at.map(Into::into),
    }
}

/// A secret with its current version.
#[must_use]
pub fn secret(snapshot: &SecretSnapshot) -> SecretDetails {
    let record = &snapshot.secret;
    let current = snapshot.current_version.as_ref();
    SecretDetails {
        secret_id: record.id.to_string(),
        secret_name: record.name.clone(),
        secret_version_id: current.map(|v| v.id.to_string()).unwrap_or_default(),
        kms_key_id: record.kms_key_id.as_ref().map(ToString::to_string).unwrap_or_default(),
        deletion_protection: Some(record.deletion_protection),
        status: Some(secret_status(record.status)),
        version: current.map(self::version).unwrap_or_default(),
        description: record.description.clone(),
        labels: record.labels.clone(),
        created_at: Some(record.created_at.into()),
    }
}

/// What events of a version say of its secret; the version is theirs to add.
#[must_use]
pub fn secret_of_version(secret: &SecretRecord) -> SecretDetails {
    SecretDetails {
        secret_id: secret.id.to_string(),
        secret_name: secret.name.clone(),
        status: Some(secret_status(secret.status)),
        description: secret.description.clone(),
        labels: secret.labels.clone(),
        created_at: Some(secret.created_at.into()),
        ..SecretDetails::default()
    }
}

/// An id as a request named it, for the audit record; nothing when it is no id. Whatever else a
/// caller sends must not fill the audit, and may be a secret that was pasted into a wrong field.
#[must_use]
pub fn named_id(text: &str) -> String {
    SecretId::parse(text).map(String::from).unwrap_or_default()
}

/// The details of a call that has only an id so far.
#[must_use]
pub fn secret_id(id: &str) -> SecretDetails {
    SecretDetails { secret_id: named_id(id), ..SecretDetails::default() }
}

/// A version that was added: to which secret, in place of which, with which keys.
///
/// A change that changed nothing, the removal of an absent key, is no delta.
#[must_use]
pub fn added_version<'a>(
    secret: &SecretRecord,
    version: &VersionRecord,
    previous_version_id: &str,
    base_keys: &[String],
    changed_keys: impl Iterator<Item = &'a str>,
) -> AddVersionDetails {
    let before: BTreeSet<&str> = base_keys.iter().map(String::as_str).collect();
    let after: BTreeSet<&str> = version.entry_keys.iter().map(String::as_str).collect();
    let delta = |key: &str| {
        let delta_type = match (before.contains(key), after.contains(key)) {
            (false, true) => DeltaType::Added,
            (true, true) => DeltaType::Updated,
            (true, false) => DeltaType::Removed,
            (false, false) => return None,
        };
        Some(EntryDelta { key: key.to_owned(), delta_type })
    };
    AddVersionDetails {
        payload_entry_keys: version.entry_keys.clone(),
        new_secret_version_id: version.id.to_string(),
        old_secret_version_id: previous_version_id.to_owned(),
        payload_entry_deltas: changed_keys.filter_map(delta).collect(),
        secret: SecretDetails { version: self::version(version), ..secret_of_version(secret) },
    }
}

/// A moved pointer.
#[must_use]
pub fn moved_pointer(
    secret: &SecretRecord,
    version: &VersionRecord,
    previous_version_id: &str,
) -> SetCurrentVersionDetails {
    SetCurrentVersionDetails {
        secret: SecretDetails { version: self::version(version), ..secret_of_version(secret) },
        new_current_version_id: version.id.to_string(),
        old_current_version_id: previous_version_id.to_owned(),
    }
}

/// A payload that was read.
#[must_use]
pub fn payload(secret: &SecretRecord, version: &VersionRecord) -> PayloadDetails {
    PayloadDetails {
        secret_id: secret.id.to_string(),
        secret_name: secret.name.clone(),
        secret_version_id: version.id.to_string(),
        secret_kms_key_id: secret.kms_key_id.as_ref().map(ToString::to_string).unwrap_or_default(),
        secret_deletion_protection: Some(secret.deletion_protection),
        secret_status: Some(secret_status(secret.status)),
        secret_version_status: Some(version_status(version.status)),
        secret_version_payload_entry_keys: version.entry_keys.clone(),
    }
}

/// A call that the contract lists no event for: which, and the one id that it names.
#[must_use]
pub fn request_event(
    source: EventSource,
    event_name: &'static str,
    field: &'static str,
    id: &str,
) -> AuditDetails {
    let ids = BTreeMap::from([(field, named_id(id))]);
    AuditDetails::Request(RequestDetails { source, event_name, ids })
}

/// A call about an operation.
#[must_use]
pub fn operation_event(event_name: &'static str, operation_id: &str) -> AuditDetails {
    request_event(EventSource::Operation, event_name, "operation_id", operation_id)
}
