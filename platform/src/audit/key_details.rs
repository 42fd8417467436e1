//! Details of the events about keys, identities and access bindings (`contract §6.3`).
//!
//! INVARIANT: no field here can hold a plaintext, a ciphertext, a token or a private key. A field
//! is added only with a name from the contract's table, or of an extension of ours. Unknown fields
//! are left out.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::audit::record::AuditTime;

/// A symmetric key.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct SymmetricKeyDetails {
    /// The key.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub key_id: String,
    /// Its name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub key_name: String,
    /// The version that encrypts.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub primary_version_id: String,
    /// The algorithm of new versions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_algorithm: Option<&'static str>,
    /// How often it rotates by itself.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub rotation_period: String,
    /// Status of the key, as on the wire.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_status: Option<&'static str>,
    /// Whether it is protected from deletion.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletion_protection: Option<bool>,
    /// Status of the version that encrypts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub primary_version_status: Option<&'static str>,
    /// Algorithm of the version that encrypts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub primary_version_algorithm: Option<&'static str>,
    /// Whether a hardware module holds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub primary_version_hosted_by_hsm: Option<bool>,
    /// Its description.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Its labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// When it was created.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at: Option<AuditTime>,
    /// When it last rotated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rotated_at: Option<AuditTime>,
    /// When the version that encrypts was created.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub primary_version_created_at: Option<AuditTime>,
    /// When the version that encrypts will be destroyed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub primary_version_destroy_at: Option<AuditTime>,
}

/// SetPrimarySymmetricKeyVersion, ScheduleSymmetricKeyVersionDestruction and its cancellation, by
/// analogy with the events of a secret's versions.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct KeyVersionDetails {
    /// The key afterwards.
    #[serde(flatten)]
    pub key: SymmetricKeyDetails,
    /// The version that the call is about.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub version_id: String,
    /// The version that was primary before.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub old_primary_version_id: String,
    /// Status of the version that the call is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version_status: Option<&'static str>,
    /// When that version will be destroyed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destroy_at: Option<AuditTime>,
}

/// Encrypt, Decrypt and GenerateDataKey.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct CryptoDetails {
    /// The key.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub key_id: String,
    /// Its name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub key_name: String,
    /// The version used.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub version_id: String,
    /// The key's folder.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub folder_id: String,
    /// Where the KMS's ledger has the call; none of one that was not done. Our extension: it
    /// anchors the end of the ledger.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ledger: Option<LedgerPlace>,
}

/// A record of the KMS's ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LedgerPlace {
    /// Its sequence.
    pub sequence: u64,
    /// Its chain value, in hexadecimal.
    pub chain: String,
}

/// ReEncrypt.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct ReEncryptDetails {
    /// The target.
    #[serde(flatten)]
    pub target: CryptoDetails,
    /// The source key.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub source_key_id: String,
    /// Its name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub source_key_name: String,
    /// The version that decrypted.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub source_version_id: String,
    /// The source key's folder.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub source_folder_id: String,
}

/// CreateIamToken. The token itself is named by its id only.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct IamTokenDetails {
    /// The token's id.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub iam_token_id: String,
    /// Whom it speaks for.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub service_account_id: String,
    /// The authorized key that was shown.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub key_id: String,
    /// When it ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<AuditTime>,
}

/// CreateServiceAccount.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct ServiceAccountDetails {
    /// The account.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub service_account_id: String,
    /// Its name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub service_account_name: String,
    /// Its folder.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub folder_id: String,
    /// Its description.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Its labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// CreateKey.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct AuthorizedKeyDetails {
    /// The key.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub key_id: String,
    /// The account.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub service_account_id: String,
    /// Its algorithm, as on the wire.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_algorithm: Option<&'static str>,
    /// Its description.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
}

/// One access binding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Binding {
    /// The role.
    pub role_id: String,
    /// Who has it.
    pub subject_id: String,
    /// What they are, as on the wire.
    pub subject_type: &'static str,
    /// Their name, where it is known here.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub subject_name: String,
    /// Our extension: when the binding ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_after: Option<AuditTime>,
    /// Our extension: that it is for a secret's current version alone.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub only_current_version: bool,
}

/// Whether a binding was added or removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum BindingAction {
    /// It is new.
    Add,
    /// It is gone.
    Remove,
}

/// One changed binding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BindingDelta {
    /// What happened.
    pub action: BindingAction,
    /// To which.
    pub access_binding: Binding,
}

/// A change of the bindings of a resource.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct AccessBindingsDetails {
    /// The resource, when it is a secret.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub secret_id: String,
    /// Its name, when it is a secret.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub secret_name: String,
    /// The resource, when it is a symmetric key.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub key_id: String,
    /// Its name, when it is a symmetric key.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub key_name: String,
    /// The resource, when it is none of the others.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub resource_id: String,
    /// All bindings after a set.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub access_bindings: Vec<Binding>,
    /// The changes of an update.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub access_binding_deltas: Vec<BindingDelta>,
}
