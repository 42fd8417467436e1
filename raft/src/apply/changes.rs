//! The changes of each folder's secrets, kept in the order of the log for who follows them.
//!
//! A change is an operation on a secret, under the index of its entry: at most one for each entry.
//! It is forgotten with its operation; from where on nothing is missing is kept beside
//! ([`keys::SYSTEM_CHANGES_BEGIN`]).

use lockbox_core::{FolderId, ResourceKind, SecretId};

use super::Application;
use crate::domain::codec;
use crate::domain::operation::{OperationMetadata, OperationRecord, OperationResult};
use crate::error::StorageError;
use crate::state::{Overlay, Space, StateRead, keys, tables};

/// Keeps the change that an operation was, if it was one. Gives the key that is to be forgotten
/// with the operation.
pub(super) fn keep(
    application: &mut Application<'_, '_>,
    operation: &OperationRecord,
) -> Result<Option<Vec<u8>>, StorageError> {
    if tables::changes_begin(application.state)?.is_none() {
        // Of a new cluster nothing is missing; of one from before there were changes, all till now.
        let new = matches!(operation.metadata, OperationMetadata::InitCluster);
        begin_at(application.state, if new { 0 } else { operation.index });
    }
    let Some(folder) = folder_of(application.state, operation)? else { return Ok(None) };
    let key = keys::change(&folder, operation.index);
    application.put(Space::Records, key.clone(), &operation.id);
    Ok(Some(key))
}

/// Notes that what was kept under a key is forgotten, if that was a change.
pub(super) fn forgotten(state: &mut Overlay<'_>, key: &[u8]) -> Result<(), StorageError> {
    let Some(index) = keys::change_index(key) else { return Ok(()) };
    let begin = tables::changes_begin(state)?.unwrap_or_default();
    // What is due at the same time is forgotten in the order of the log, a few at a time.
    begin_at(state, begin.max(index.saturating_add(1)));
    Ok(())
}

fn begin_at(state: &mut Overlay<'_>, index: u64) {
    state.put(Space::System, keys::SYSTEM_CHANGES_BEGIN.to_vec(), codec::encode(&index));
}

/// The folder of the secret that an operation was on.
fn folder_of(
    state: &dyn StateRead,
    operation: &OperationRecord,
) -> Result<Option<FolderId>, StorageError> {
    if operation.resource.kind != ResourceKind::Secret {
        return Ok(None);
    }
    // A deleted one is found in the result alone.
    if let OperationResult::Secret(snapshot) = &operation.result {
        return Ok(Some(snapshot.secret.folder_id.clone()));
    }
    let Ok(id) = SecretId::parse(&operation.resource.id) else { return Ok(None) };
    Ok(tables::secret(state, &id)?.map(|secret| secret.folder_id))
}
