//! What a server answered, with hashes in place of values.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ids::{EntryKey, FolderId, KmsKeyId, PageToken, SecretId, ValueHash, VersionId};

/// An answer that the service decided in some state: a success, or a refusal, which is an
/// observation as good as any (`verification §3.4`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case", deny_unknown_fields)]
pub enum Answer {
    /// The secret after the call; the secret as it was for a deletion (`contract §2.8`).
    Secret(SecretView),
    /// The version that was made, made current, scheduled or restored.
    Version(VersionView),
    /// The versions of a secret.
    Versions(VersionList),
    /// A payload.
    Payload(PayloadView),
    /// Some secrets of a folder.
    Secrets(SecretPage),
    /// Success without content (binding changes).
    Done,
    /// A refusal that the state decided.
    Refused(Refusal),
}

/// A secret as its metadata show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretView {
    /// Its id.
    pub id: SecretId,
    /// Its folder, if that is another one than the run's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<FolderId>,
    /// Its name.
    pub name: String,
    /// Its description.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Its labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Its own KMS key, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kms_key: Option<KmsKeyId>,
    /// Whether its payloads can be read.
    pub status: SecretStatus,
    /// Whether its deletion is refused.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deletion_protection: bool,
    /// Time of its creation, nanoseconds since 1970.
    pub created_at_ns: i64,
    /// The current version, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<VersionView>,
}

/// `Secret.Status` as far as it can be seen (`contract §2.2`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretStatus {
    /// Payloads can be read.
    Active,
    /// Only metadata can be read.
    Inactive,
}

/// A version as its metadata show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VersionView {
    /// Its id.
    pub id: VersionId,
    /// Its description.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Its status.
    pub status: VersionStatus,
    /// Its entry keys in order.
    pub keys: Vec<EntryKey>,
    /// Time of its creation, nanoseconds since 1970.
    pub created_at_ns: i64,
    /// Time of its destruction while that is scheduled, nanoseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destroy_at_ns: Option<i64>,
}

/// `Version.Status` (`contract §2.3`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VersionStatus {
    /// Its payload can be read.
    Active,
    /// Waits for its destruction; can be restored.
    Scheduled,
    /// Its payload is gone for good.
    Destroyed,
}

/// A page of versions, newest first (`contract §2.11`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VersionList {
    /// The versions.
    pub versions: Vec<VersionView>,
    /// Whether that is all of them: the page had no token for a next one.
    pub complete: bool,
}

/// A page of a folder's secrets, by their creation (`contract §2.11`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretPage {
    /// The secrets.
    pub secrets: Vec<SecretView>,
    /// Where the list goes on; absent from its last page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<PageToken>,
}

/// A payload: the version that it is of, and its entries in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PayloadView {
    /// The version.
    pub version: VersionId,
    /// Its entries.
    pub entries: Vec<PayloadEntry>,
}

/// One entry of a payload.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PayloadEntry {
    /// The key.
    pub key: EntryKey,
    /// Hash of the value.
    pub value: ValueHash,
}

/// A refusal. The message is for readers of a report; only the code is judged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refusal {
    /// The gRPC code.
    pub code: Code,
    /// The message; holds no value (`contract §5.2`).
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// A gRPC status code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Code {
    /// 0; only to be seen where a success itself is out of contract.
    Ok,
    /// 1.
    Cancelled,
    /// 2.
    Unknown,
    /// 3.
    InvalidArgument,
    /// 4.
    DeadlineExceeded,
    /// 5.
    NotFound,
    /// 6.
    AlreadyExists,
    /// 7.
    PermissionDenied,
    /// 8.
    ResourceExhausted,
    /// 9.
    FailedPrecondition,
    /// 10.
    Aborted,
    /// 11.
    OutOfRange,
    /// 12.
    Unimplemented,
    /// 13.
    Internal,
    /// 14.
    Unavailable,
    /// 15.
    DataLoss,
    /// 16.
    Unauthenticated,
}

impl Code {
    /// Whether the code can be a decision of the state, and with an index is an observation.
    #[must_use]
    pub const fn is_decision(self) -> bool {
        match self {
            Self::NotFound
            | Self::AlreadyExists
            | Self::PermissionDenied
            | Self::ResourceExhausted
            | Self::FailedPrecondition
            | Self::Aborted
            | Self::InvalidArgument => true,
            Self::Ok
            | Self::Cancelled
            | Self::Unknown
            | Self::DeadlineExceeded
            | Self::OutOfRange
            | Self::Unimplemented
            | Self::Internal
            | Self::Unavailable
            | Self::DataLoss
            | Self::Unauthenticated => false,
        }
    }
}

impl Answer {
    /// Whether the service did what was asked.
    #[must_use]
    pub const fn is_success(&self) -> bool {
        !matches!(self, Self::Refused(_))
    }

    /// Every version that the answer shows the metadata of.
    pub fn versions(&self) -> impl Iterator<Item = &VersionView> {
        let (one, list, secrets) = match self {
            Self::Secret(secret) => (secret.current.as_ref(), &[][..], &[][..]),
            Self::Version(version) => (Some(version), &[][..], &[][..]),
            Self::Versions(list) => (None, list.versions.as_slice(), &[][..]),
            Self::Secrets(page) => (None, &[][..], page.secrets.as_slice()),
            Self::Payload(_) | Self::Done | Self::Refused(_) => (None, &[][..], &[][..]),
        };
        let of_secrets = secrets.iter().filter_map(|secret| secret.current.as_ref());
        one.into_iter().chain(list).chain(of_secrets)
    }
}
