//! Where resources are: the paths that rights are looked up along.

use lockbox_core::{FolderId, ResourceKind, ResourcePath, ResourceRef};

use super::{Found, cloud, folder};
use crate::domain::secret::SecretRecord;
use crate::error::StorageError;
use crate::state::StateRead;

/// The path of a folder: organization, cloud, folder.
///
/// # Errors
/// [`StorageError`]; a folder without its cloud is corruption.
pub fn folder_path(view: &dyn StateRead, id: &FolderId) -> Found<ResourcePath> {
    let Some(folder) = folder(view, id)? else { return Ok(None) };
    let Some(cloud) = cloud(view, &folder.cloud_id)? else {
        return Err(StorageError::corrupt("read the state", format!("folder {id} has no cloud")));
    };
    Ok(Some(ResourcePath::new(vec![
        ResourceRef::new(ResourceKind::Organization, cloud.organization_id.as_str()),
        ResourceRef::new(ResourceKind::Cloud, cloud.id.as_str()),
        ResourceRef::new(ResourceKind::Folder, id.as_str()),
    ])))
}

/// The path of a secret: organization, cloud, folder, secret.
///
/// # Errors
/// [`StorageError`]; a secret without its folder is corruption.
pub fn secret_path(
    view: &dyn StateRead,
    secret: &SecretRecord,
) -> Result<ResourcePath, StorageError> {
    let Some(path) = folder_path(view, &secret.folder_id)? else {
        let message = format!("secret {} has no folder", secret.id);
        return Err(StorageError::corrupt("read the state", message));
    };
    Ok(path.with_leaf(ResourceRef::new(ResourceKind::Secret, secret.id.as_str())))
}
