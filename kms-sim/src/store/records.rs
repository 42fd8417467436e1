//! The rows of the store: keys, versions, operations and what retries are recognised by.
//!
//! No row holds a plaintext, a token or unwrapped key material. Field numbers are never reused.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lockbox_core::{
    CloudId, FolderId, KmsKeyId, KmsKeyVersionId, LogTime, OperationId, OrganizationId, RequestMac,
    ResourceKind, ResourcePath, ResourceRef, Subject,
};
use minicbor::{Decode, Encode};

use crate::algorithm::Algorithm;

/// Whose key it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum KeyScope {
    /// A customer's: rights by roles, every use billed.
    #[n(0)]
    Customer,
    /// The installation's own: for nodes alone, neither billed nor listed (`contract §3.4`).
    #[n(1)]
    System,
}

/// Whether a key may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum KeyStatus {
    /// It may.
    #[n(2)]
    Active,
    /// It may not, until it is activated again.
    #[n(3)]
    Inactive,
}

impl KeyStatus {
    /// The name on the wire and in audit records.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "ACTIVE",
            Self::Inactive => "INACTIVE",
        }
    }
}

/// A folder with its ancestors, as they were when the key was made.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct FolderPath {
    /// The folder.
    #[n(0)]
    pub folder_id: FolderId,
    /// Its cloud; none for the reserved folder.
    #[n(1)]
    pub cloud_id: Option<CloudId>,
    /// The cloud's organization.
    #[n(2)]
    pub organization_id: Option<OrganizationId>,
}

impl FolderPath {
    /// The resources from the organization down to the folder.
    #[must_use]
    pub fn resources(&self) -> ResourcePath {
        let organization = self
            .organization_id
            .as_ref()
            .map(|id| ResourceRef::new(ResourceKind::Organization, id.as_str()));
        let cloud =
            self.cloud_id.as_ref().map(|id| ResourceRef::new(ResourceKind::Cloud, id.as_str()));
        let folder = ResourceRef::new(ResourceKind::Folder, self.folder_id.as_str());
        ResourcePath::new(organization.into_iter().chain(cloud).chain([folder]).collect())
    }
}

/// A key without its versions.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct KeyRecord {
    /// Its id.
    #[n(0)]
    pub id: KmsKeyId,
    /// Whose key it is.
    #[n(1)]
    pub scope: KeyScope,
    /// Where it is.
    #[n(2)]
    pub path: FolderPath,
    /// When it was made.
    #[n(3)]
    pub created_at: LogTime,
    /// Not unique.
    #[n(4)]
    pub name: String,
    /// For people.
    #[n(5)]
    pub description: String,
    /// For people and tools.
    #[n(6)]
    pub labels: BTreeMap<String, String>,
    /// Whether it may be used.
    #[n(7)]
    pub status: KeyStatus,
    /// The version that encrypts by default.
    #[n(8)]
    pub primary_version_id: KmsKeyVersionId,
    /// For versions made from now on.
    #[n(9)]
    pub default_algorithm: Algorithm,
    /// When the newest version was made.
    #[n(10)]
    pub rotated_at: LogTime,
    /// Time between automatic rotations, in milliseconds.
    #[n(11)]
    pub rotation_period_ms: Option<u64>,
    /// Whether deletion is refused.
    #[n(12)]
    pub deletion_protection: bool,
    /// Commit sequence of the last change of the key, its versions or its bindings. A crypto call
    /// whose view is older than this is decided again.
    #[n(13)]
    pub revision: u64,
    /// Its deletion; none while it can be used and seen.
    #[n(14)]
    pub deletion: Option<Deletion>,
    /// Commit sequence of the last change of its bindings; zero when there was none. Rights that
    /// were judged on older ones are judged again.
    #[n(15)]
    pub bindings_revision: u64,
}

/// A deletion. The versions keep their own status, so that an undelete finds them as they were;
/// nobody sees them meanwhile, and nothing is done with them.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Deletion {
    /// When it was asked for.
    #[n(0)]
    pub deleted_at: LogTime,
    /// When the material goes; until then an operator may take the deletion back
    /// (`contract §3.2`).
    #[n(1)]
    pub destroy_at: LogTime,
    /// When the material went. The record stays, for bills of hours past.
    #[n(2)]
    pub destroyed_at: Option<LogTime>,
}

impl KeyRecord {
    /// When it is to be rotated by itself; inactive and deleted keys are not
    /// (`contract §3.2`).
    #[must_use]
    pub fn rotation_due(&self) -> Option<LogTime> {
        let rotates = self.status == KeyStatus::Active && self.deletion.is_none();
        let period = self.rotation_period_ms.filter(|_| rotates)?;
        Some(self.rotated_at.plus(Duration::from_millis(period)))
    }

    /// The resources from the organization down to the key.
    #[must_use]
    pub fn resources(&self) -> ResourcePath {
        self.path.resources().with_leaf(ResourceRef::new(ResourceKind::KmsKey, self.id.as_str()))
    }
}

/// Stage of a key version's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum VersionStatus {
    /// In use.
    #[n(1)]
    Active,
    /// Closed for use; may still be taken back.
    #[n(2)]
    ScheduledForDestruction,
    /// The material is gone.
    #[n(3)]
    Destroyed,
}

impl VersionStatus {
    /// The name on the wire and in audit records.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "ACTIVE",
            Self::ScheduledForDestruction => "SCHEDULED_FOR_DESTRUCTION",
            Self::Destroyed => "DESTROYED",
        }
    }
}

/// One generation of key material, without the material.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct VersionRecord {
    /// Its id.
    #[n(0)]
    pub id: KmsKeyVersionId,
    /// Its key.
    #[n(1)]
    pub key_id: KmsKeyId,
    /// Stage of its life.
    #[n(2)]
    pub status: VersionStatus,
    /// What it encrypts with.
    #[n(3)]
    pub algorithm: Algorithm,
    /// When it was made.
    #[n(4)]
    pub created_at: LogTime,
    /// When it will be destroyed; only while scheduled.
    #[n(5)]
    pub destroy_at: Option<LogTime>,
    /// When it was destroyed; ends its storage charge.
    #[n(6)]
    pub destroyed_at: Option<LogTime>,
}

/// What an operation did, with what its metadata and its response need beside the key.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum OperationKind {
    /// A key was made.
    #[n(0)]
    CreateKey,
    /// A key was changed.
    #[n(1)]
    UpdateKey,
    /// A version was added and made primary.
    #[n(2)]
    RotateKey,
    /// A key was deleted.
    #[n(3)]
    DeleteKey,
    /// Another version was made primary.
    #[n(4)]
    SetPrimaryVersion {
        /// The one that was.
        #[n(0)]
        before: KmsKeyVersionId,
    },
    /// A version is to be destroyed.
    #[n(5)]
    ScheduleVersionDestruction {
        /// As it is now.
        #[n(0)]
        version: VersionRecord,
    },
    /// A version is not to be destroyed after all.
    #[n(6)]
    CancelVersionDestruction {
        /// As it is now.
        #[n(0)]
        version: VersionRecord,
    },
    /// The key's bindings were replaced.
    #[n(7)]
    SetAccessBindings,
    /// The key's bindings were changed.
    #[n(8)]
    UpdateAccessBindings,
    /// An operator took a deletion back. Not on the wire, and so not stored.
    #[n(9)]
    UndeleteKey,
    /// The material of a version, or of a deleted key, went. Not on the wire, and so not stored.
    #[n(10)]
    Destroy,
}

impl OperationKind {
    /// Whether it is an operation on the wire: what is none is in no list of operations.
    #[must_use]
    pub const fn is_public(&self) -> bool {
        match self {
            Self::CreateKey
            | Self::UpdateKey
            | Self::RotateKey
            | Self::DeleteKey
            | Self::SetPrimaryVersion { .. }
            | Self::ScheduleVersionDestruction { .. }
            | Self::CancelVersionDestruction { .. }
            | Self::SetAccessBindings
            | Self::UpdateAccessBindings => true,
            Self::UndeleteKey | Self::Destroy => false,
        }
    }
}

/// A finished mutation and the key as it left it. Its commit sequence is the key's revision.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct OperationRecord {
    /// Its id.
    #[n(0)]
    pub id: OperationId,
    /// What it did.
    #[n(1)]
    pub kind: OperationKind,
    /// When.
    #[n(2)]
    pub created_at: LogTime,
    /// Who asked for it.
    #[n(3)]
    pub created_by: Subject,
    /// The key afterwards.
    #[n(4)]
    pub key: KeyRecord,
    /// Its primary version afterwards.
    #[n(5)]
    pub primary_version: VersionRecord,
}

/// A role that somebody has on one key (`contract §2.12`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct KeyBinding {
    /// The role's id, as the caller wrote it.
    #[n(0)]
    pub role_id: String,
    /// Who has it.
    #[n(1)]
    pub subject: Subject,
}

/// All bindings that are set on one key itself.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct KeyBindings {
    /// Sorted; each once.
    #[n(0)]
    pub bindings: BTreeSet<KeyBinding>,
}

/// What a KMS request id was used for (`design §9`).
#[derive(Debug, Clone, Encode, Decode)]
pub struct BilledRequest {
    /// MAC of the operation, the subject and the whole input.
    #[n(0)]
    pub input_mac: RequestMac,
    /// The ledger record that bills it.
    #[n(1)]
    pub sequence: u64,
    /// From when on it says nothing; in rows of earlier builds none, and they say it as long as
    /// they are there.
    #[n(2)]
    pub until: Option<LogTime>,
}

impl BilledRequest {
    /// Whether a request at this time is a repeat.
    #[must_use]
    pub fn lasts_at(&self, time: LogTime) -> bool {
        self.until.is_none_or(|until| time < until)
    }
}

/// What an idempotency key was used for (`contract §10`).
#[derive(Debug, Clone, Encode, Decode)]
pub struct IdempotencyRecord {
    /// MAC of the request as received.
    #[n(0)]
    pub request_mac: RequestMac,
    /// The operation to answer a repeat with.
    #[n(1)]
    pub operation_id: OperationId,
}

/// The head of the commit sequence; written with every commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
pub struct Head {
    /// Sequence of the last commit: the `kms-index` of what it wrote.
    #[n(0)]
    pub sequence: u64,
    /// Time stamped on it; never decreases.
    #[n(1)]
    pub time: LogTime,
    /// Chain value of the last ledger record.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub chain: [u8; 32],
    /// Number of ledger records.
    #[n(3)]
    pub ledger_records: u64,
}
