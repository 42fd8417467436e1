//! Commands of the control plane: what a mutation carries to the commit writer.
//!
//! Everything random or secret is made before (ids, wrapped material); the decision about state
//! falls in [`super::apply`], at the command's own place in the commit sequence.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lockbox_core::{KmsKeyId, KmsKeyVersionId, LogTime, OperationId, RequestMac, Subject};

use crate::algorithm::Algorithm;
use crate::material::WrappedMaterial;
use crate::store::records::{FolderPath, KeyBinding, KeyScope, KeyStatus};

/// Quotas of the control plane (`contract §9`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quotas {
    /// Keys in one cloud.
    pub keys_per_cloud: u32,
    /// Versions of one key that are not destroyed.
    pub versions_per_key: u32,
}

/// A new version: its id, algorithm and wrapped material.
#[derive(Debug, Clone)]
pub struct NewVersion {
    /// Its id.
    pub id: KmsKeyVersionId,
    /// What it encrypts with.
    pub algorithm: Algorithm,
    /// Its material, already wrapped for this key, id and algorithm.
    pub material: WrappedMaterial,
}

/// Makes a key with its first version.
#[derive(Debug, Clone)]
pub struct CreateKey {
    /// Its id.
    pub key_id: KmsKeyId,
    /// Whose key it is.
    pub scope: KeyScope,
    /// Where it will be.
    pub path: FolderPath,
    /// Its name.
    pub name: String,
    /// Its description.
    pub description: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Time between automatic rotations, in milliseconds.
    pub rotation_period_ms: Option<u64>,
    /// Whether deletion is refused.
    pub deletion_protection: bool,
    /// The first version; its algorithm is the key's default.
    pub version: NewVersion,
}

/// Changes attributes of a key; what is absent stays.
#[derive(Debug, Clone)]
pub struct UpdateKey {
    /// The key.
    pub key_id: KmsKeyId,
    /// New name.
    pub name: Option<String>,
    /// New description.
    pub description: Option<String>,
    /// New labels.
    pub labels: Option<BTreeMap<String, String>>,
    /// New status.
    pub status: Option<KeyStatus>,
    /// New algorithm for versions made later.
    pub default_algorithm: Option<Algorithm>,
    /// New rotation period in milliseconds; `Some(None)` ends automatic rotation.
    pub rotation_period_ms: Option<Option<u64>>,
    /// New protection.
    pub deletion_protection: Option<bool>,
}

/// Adds a version and makes it primary.
#[derive(Debug, Clone)]
pub struct RotateKey {
    /// The key.
    pub key_id: KmsKeyId,
    /// The version. Its algorithm must be the key's default at the time of the commit.
    pub version: NewVersion,
    /// Why.
    pub cause: RotationCause,
}

/// Why a key is rotated. A cause that no longer holds at the commit is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RotationCause {
    /// Somebody asked for it.
    Asked,
    /// Its rotation period has passed at this time.
    Due(LogTime),
    /// This version, the primary one, has encrypted enough.
    Worn(KmsKeyVersionId),
}

/// Names a version of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionOf {
    /// The key.
    pub key_id: KmsKeyId,
    /// The version.
    pub version_id: KmsKeyVersionId,
}

/// Deletes a key: it is gone from sight now, and its material later.
#[derive(Debug, Clone)]
pub struct DeleteKey {
    /// The key.
    pub key_id: KmsKeyId,
    /// How much later.
    pub retention: Duration,
}

/// What becomes of a key's bindings.
#[derive(Debug, Clone)]
pub enum BindingsChange {
    /// These, and no others.
    Set(BTreeSet<KeyBinding>),
    /// One after the other; adding what is there and removing what is not change nothing.
    Update(Vec<BindingDelta>),
}

/// One change of a key's bindings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BindingDelta {
    /// Somebody gets a role.
    Add(KeyBinding),
    /// Somebody loses it.
    Remove(KeyBinding),
}

/// One mutation.
#[derive(Debug, Clone)]
pub enum Command {
    /// Makes a key.
    Create(CreateKey),
    /// Changes a key.
    Update(UpdateKey),
    /// Rotates a key.
    Rotate(RotateKey),
    /// Deletes a key.
    Delete(DeleteKey),
    /// Takes a deletion back.
    Undelete(KmsKeyId),
    /// Makes another version primary.
    SetPrimaryVersion(VersionOf),
    /// Closes a version, and destroys it once this time has passed.
    ScheduleVersionDestruction(VersionOf, Duration),
    /// Opens a version that was to be destroyed.
    CancelVersionDestruction(VersionOf),
    /// Destroys a version that is scheduled for this very time, when it has come.
    DestroyVersion(VersionOf, LogTime),
    /// Destroys what a key holds whose deletion ends at this very time, when it has come.
    DestroyKey(KmsKeyId, LogTime),
    /// Changes who may do what with a key.
    ChangeBindings(KmsKeyId, BindingsChange),
}

impl Command {
    /// The key that it is about.
    #[must_use]
    pub const fn key_id(&self) -> &KmsKeyId {
        match self {
            Self::Create(create) => &create.key_id,
            Self::Update(update) => &update.key_id,
            Self::Rotate(rotate) => &rotate.key_id,
            Self::Delete(delete) => &delete.key_id,
            Self::SetPrimaryVersion(version)
            | Self::ScheduleVersionDestruction(version, _)
            | Self::CancelVersionDestruction(version)
            | Self::DestroyVersion(version, _) => &version.key_id,
            Self::Undelete(key_id)
            | Self::DestroyKey(key_id, _)
            | Self::ChangeBindings(key_id, _) => key_id,
        }
    }
}

/// By what a repeat of a mutation is recognised (`contract §10`).
#[derive(Debug, Clone)]
pub struct IdempotencyClaim {
    /// The key that the client chose.
    pub idempotency_key: String,
    /// The called method.
    pub method: &'static str,
    /// MAC of the request as received.
    pub request_mac: RequestMac,
}

/// A mutation with who asked for it.
#[derive(Debug, Clone)]
pub struct Envelope {
    /// The mutation.
    pub command: Command,
    /// Id of the operation that records it.
    pub operation_id: OperationId,
    /// Who asked for it.
    pub created_by: Subject,
    /// The key's [`bindings_revision`] that the caller's rights were judged on; none where no right
    /// on a key is in question. When others hold at the commit, the rights are judged again.
    ///
    /// [`bindings_revision`]: crate::store::records::KeyRecord::bindings_revision
    pub seen: Option<u64>,
    /// By what a repeat is recognised, if the client wants that.
    pub idempotency: Option<IdempotencyClaim>,
}
