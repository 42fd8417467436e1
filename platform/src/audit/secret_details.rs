//! Details of the events about secrets (`contract §6.3`).
//!
//! INVARIANT: no field here can hold the value of an entry. A field is added only with a name
//! from the contract's table. Unknown fields, because the call failed early, are left out.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::audit::record::AuditTime;

/// What a secret event says of the secret and of the version that it is about.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct SecretDetails {
    /// The secret.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub secret_id: String,
    /// Its name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub secret_name: String,
    /// The version.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub secret_version_id: String,
    /// The secret's own key; empty for the common key.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kms_key_id: String,
    /// Whether it is protected from deletion.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletion_protection: Option<bool>,
    /// Status of the secret, as on the wire.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<&'static str>,
    /// The version.
    #[serde(flatten)]
    pub version: VersionDetails,
    /// The secret's description.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// The secret's labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// When the secret was created.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at: Option<AuditTime>,
}

/// What events say of a version, its id aside.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct VersionDetails {
    /// Status of the version, as on the wire.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_version_status: Option<&'static str>,
    /// The keys of its entries.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub secret_version_payload_entry_keys: Vec<String>,
    /// Its description.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub secret_version_description: String,
    /// When it was created.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_version_created_at: Option<AuditTime>,
    /// When it will be destroyed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_version_destroy_at: Option<AuditTime>,
}

/// What happened to one entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum DeltaType {
    /// It is new.
    Added,
    /// It has another value.
    Updated,
    /// It is gone.
    Removed,
}

/// One changed entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EntryDelta {
    /// The entry's key.
    pub key: String,
    /// What happened to it.
    pub delta_type: DeltaType,
}

/// AddVersion.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct AddVersionDetails {
    /// The secret and its new version; `secret_version_id` stays empty.
    #[serde(flatten)]
    pub secret: SecretDetails,
    /// The keys of the new version's entries.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub payload_entry_keys: Vec<String>,
    /// The new version.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub new_secret_version_id: String,
    /// The version that was current before.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub old_secret_version_id: String,
    /// What changed between the base and the new version.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub payload_entry_deltas: Vec<EntryDelta>,
}

/// SetCurrentVersion.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct SetCurrentVersionDetails {
    /// The secret and the version that became current; `secret_version_id` stays empty.
    #[serde(flatten)]
    pub secret: SecretDetails,
    /// The version that became current.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub new_current_version_id: String,
    /// The version that was.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub old_current_version_id: String,
}

/// ScheduleVersionDestruction, and CancelVersionDestruction without `destroy_at`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct VersionDestructionDetails {
    /// The secret and the version.
    #[serde(flatten)]
    pub secret: SecretDetails,
    /// When the version will be destroyed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destroy_at: Option<AuditTime>,
}

/// GetPayload and GetPayloadEx.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct PayloadDetails {
    /// The secret.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub secret_id: String,
    /// Its name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub secret_name: String,
    /// The version that was read.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub secret_version_id: String,
    /// The secret's own key.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub secret_kms_key_id: String,
    /// Whether it is protected from deletion.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_deletion_protection: Option<bool>,
    /// Status of the secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_status: Option<&'static str>,
    /// Status of the version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_version_status: Option<&'static str>,
    /// The keys of its entries.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub secret_version_payload_entry_keys: Vec<String>,
}
