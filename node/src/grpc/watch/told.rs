//! A change as its followers are told it.

use lockbox_core::{ResourceKind, Subject};
use lockbox_proto::lockbox::watch::v1::change::Type;
use lockbox_proto::lockbox::watch::v1::{Change, WatchResponse};
use lockbox_proto::yandex::cloud::access;
use lockbox_raft::domain::operation::{OperationMetadata as M, OperationRecord};

use crate::convert;

/// The answer for one change.
pub(super) fn change(operation: &OperationRecord) -> WatchResponse {
    let (kind, version_id) = kind(&operation.metadata);
    let own = operation.created_by == Subject::internal();
    let by = || access::Subject {
        id: operation.created_by.id.clone(),
        r#type: operation.created_by.kind.as_str().to_owned(),
    };
    let change = Change {
        r#type: kind.into(),
        secret_id: operation.resource.id.clone(),
        version_id: version_id.unwrap_or_default(),
        changed_at: Some(convert::timestamp(operation.created_at)),
        operation_id: if own { String::new() } else { operation.id.to_string() },
        changed_by: (!own).then(by),
    };
    WatchResponse { index: operation.index, change: Some(change) }
}

/// Word of how far the stream is.
pub(super) const fn reached(index: u64) -> WatchResponse {
    WatchResponse { index, change: None }
}

/// What happened, and to which version.
fn kind(metadata: &M) -> (Type, Option<String>) {
    match metadata {
        M::CreateSecret { version_id, .. } => {
            (Type::SecretCreated, version_id.as_ref().map(ToString::to_string))
        }
        M::UpdateSecret { .. } => (Type::SecretUpdated, None),
        M::DeleteSecret { .. } => (Type::SecretDeleted, None),
        M::ActivateSecret { .. } => (Type::SecretActivated, None),
        M::DeactivateSecret { .. } => (Type::SecretDeactivated, None),
        M::AddVersion { version_id, .. } => (Type::VersionAdded, Some(version_id.to_string())),
        M::SetCurrentVersion { version_id, .. } => {
            (Type::CurrentVersionSet, Some(version_id.to_string()))
        }
        M::ScheduleVersionDestruction { version_id, .. } => {
            (Type::VersionDestructionScheduled, Some(version_id.to_string()))
        }
        M::CancelVersionDestruction { version_id, .. } => {
            (Type::VersionDestructionCancelled, Some(version_id.to_string()))
        }
        M::DestroyVersion { version_id, .. } => {
            (Type::VersionDestroyed, Some(version_id.to_string()))
        }
        M::SetAccessBindings { resource } | M::UpdateAccessBindings { resource } => {
            let of_version = resource.kind == ResourceKind::SecretVersion;
            (Type::AccessBindingsChanged, of_version.then(|| resource.id.clone()))
        }
        // On no secret, and so in no folder's changes.
        M::CreateServiceAccount { .. }
        | M::UpdateServiceAccount { .. }
        | M::DeleteServiceAccount { .. }
        | M::SuspendServiceAccount { .. }
        | M::ReactivateServiceAccount { .. }
        | M::CreateAuthorizedKey { .. }
        | M::UpdateAuthorizedKey { .. }
        | M::DeleteAuthorizedKey { .. }
        | M::InitCluster
        | M::RecoverAdmin { .. }
        | M::ChangeKeyring { .. }
        | M::CreateFolder { .. }
        | M::UpdateFolder { .. }
        | M::CreateCloud { .. }
        | M::UpdateCloud { .. }
        | M::RevokeToken { .. } => (Type::Unspecified, None),
    }
}
