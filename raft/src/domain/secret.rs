//! A secret: a named container whose versions hold the values (`contract §2.1`, `§2.2`).

use std::collections::BTreeMap;

use lockbox_core::{FolderId, KmsKeyId, LogTime, SecretId, VersionId};
use minicbor::{Decode, Encode};

/// `Secret.Status` of the contract; creation is synchronous, so CREATING is never stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum SecretStatus {
    /// Payloads are readable.
    #[n(2)]
    Active,
    /// Only metadata is readable.
    #[n(3)]
    Inactive,
}

/// How the server generates the value of a generated secret (`contract §2.9`).
///
/// Not confidential: it is echoed in the secret and in the versions made from it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct PasswordSpec {
    /// The entry key under which the generated value is stored.
    #[n(0)]
    pub password_key: String,
    /// Characters to generate; 0 leaves it to the server.
    #[n(1)]
    pub length: u32,
    /// Whether uppercase letters take part; absent means yes.
    #[n(2)]
    pub include_uppercase: Option<bool>,
    /// Whether lowercase letters take part; absent means yes.
    #[n(3)]
    pub include_lowercase: Option<bool>,
    /// Whether digits take part; absent means yes.
    #[n(4)]
    pub include_digits: Option<bool>,
    /// Whether punctuation takes part; absent means yes.
    #[n(5)]
    pub include_punctuation: Option<bool>,
    /// Replaces the punctuation set when not empty.
    #[n(6)]
    pub included_punctuation: String,
    /// Removed from the punctuation set.
    #[n(7)]
    pub excluded_punctuation: String,
}

/// The stored form of a secret. Holds no value and no wrapped key.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct SecretRecord {
    /// Its id.
    #[n(0)]
    pub id: SecretId,
    /// The folder that it lives in; fixed at creation.
    #[n(1)]
    pub folder_id: FolderId,
    /// When it was created, on the log's clock.
    #[n(2)]
    pub created_at: LogTime,
    /// Its name: any text, possibly empty, not unique (`contract §13` no. 1).
    #[n(3)]
    pub name: String,
    /// Free text.
    #[n(4)]
    pub description: String,
    /// Labels, ordered by key.
    #[n(5)]
    pub labels: BTreeMap<String, String>,
    /// The customer's own key; fixed at creation (`contract §1.14` no. 9).
    #[n(6)]
    pub kms_key_id: Option<KmsKeyId>,
    /// Whether payloads are readable.
    #[n(7)]
    pub status: SecretStatus,
    /// The current version; stays even when that version is scheduled or destroyed (§2.4).
    #[n(8)]
    pub current_version: Option<VersionId>,
    /// Refuses deletion while set.
    #[n(9)]
    pub deletion_protection: bool,
    /// Present on generated secrets.
    #[n(10)]
    pub password_spec: Option<PasswordSpec>,
    /// Versions that are not destroyed: what the quota of `contract §9` counts.
    #[n(11)]
    pub live_versions: u32,
    /// The log index that created it: its place in lists.
    #[n(12)]
    pub sequence: u64,
    /// The log index of the last change of this record.
    #[n(13)]
    pub revision: u64,
    /// Reserved: the service that manages this secret on a user's behalf (`contract §2.1`).
    #[n(14)]
    pub managed_by: Option<String>,
    /// Destroyed versions whose metadata are still there.
    #[n(15)]
    #[cbor(default)]
    pub destroyed_versions: u32,
}
