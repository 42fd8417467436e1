//! Where a resource is in the tree of organizations, clouds and folders, found by its reference.

use lockbox_core::{
    CloudId, FolderId, ResourceKind, ResourcePath, ResourceRef, SecretId, ServiceAccountId,
    VersionId,
};

use super::Refusal;
use super::identity::account_path;
use crate::domain::identity::CloudRecord;
use crate::domain::outcome::Rejection;
use crate::error::StorageError;
use crate::state::{StateRead, tables};

/// The path of a resource; nothing when it is no more, or when its parents are not known here.
///
/// # Errors
/// [`StorageError`].
pub(super) fn path_of(
    view: &dyn StateRead,
    resource: &ResourceRef,
) -> Result<Option<ResourcePath>, StorageError> {
    let id = resource.id.as_str();
    match resource.kind {
        ResourceKind::Organization => Ok(Some(ResourcePath::new(vec![resource.clone()]))),
        ResourceKind::Cloud => {
            let Ok(id) = CloudId::parse(id) else { return Ok(None) };
            Ok(tables::cloud(view, &id)?.as_ref().map(cloud_path))
        }
        ResourceKind::Folder => {
            let Ok(id) = FolderId::parse(id) else { return Ok(None) };
            tables::folder_path(view, &id)
        }
        ResourceKind::Secret => {
            let Ok(id) = SecretId::parse(id) else { return Ok(None) };
            let Some(secret) = tables::secret(view, &id)? else { return Ok(None) };
            tables::secret_path(view, &secret).map(Some)
        }
        ResourceKind::ServiceAccount => {
            let Ok(id) = ServiceAccountId::parse(id) else { return Ok(None) };
            let Some(account) = tables::service_account(view, &id)? else { return Ok(None) };
            account_path(view, &account).map(Some)
        }
        ResourceKind::SecretVersion => {
            let Ok(id) = VersionId::parse(id) else { return Ok(None) };
            let Some(version) = tables::any_version(view, &id)? else { return Ok(None) };
            let Some(secret) = tables::secret(view, &version.secret_id)? else { return Ok(None) };
            Ok(Some(tables::secret_path(view, &secret)?.with_leaf(resource.clone())))
        }
        ResourceKind::KmsKey => Ok(None),
    }
}

/// The resource of that id with its path: ids are unique across kinds. Nothing for an id of nothing,
/// and for kinds that are not found by an id alone.
///
/// # Errors
/// [`StorageError`].
pub fn find_resource(view: &dyn StateRead, id: &str) -> Result<Option<ResourcePath>, StorageError> {
    let kinds = [
        ResourceKind::Secret,
        ResourceKind::SecretVersion,
        ResourceKind::Folder,
        ResourceKind::ServiceAccount,
        ResourceKind::Cloud,
    ];
    for kind in kinds {
        if let Some(path) = path_of(view, &ResourceRef::new(kind, id))? {
            return Ok(Some(path));
        }
    }
    let organization = tables::cluster(view)?.filter(|c| c.organization_id.as_str() == id);
    Ok(organization
        .map(|_| ResourcePath::new(vec![ResourceRef::new(ResourceKind::Organization, id)])))
}

/// The path of a cloud: organization, cloud.
#[must_use]
pub fn cloud_path(cloud: &CloudRecord) -> ResourcePath {
    ResourcePath::new(vec![
        ResourceRef::new(ResourceKind::Organization, cloud.organization_id.as_str()),
        ResourceRef::new(ResourceKind::Cloud, cloud.id.as_str()),
    ])
}

/// The path of a resource whose bindings callers may see and change.
///
/// # Errors
/// NOT_FOUND for a resource that is not there, and for kinds that have no bindings here: those of
/// keys are with the KMS, and those of the organization are made by `cluster init` alone.
pub fn bound_path(view: &dyn StateRead, resource: &ResourceRef) -> Result<ResourcePath, Refusal> {
    let path = match resource.kind {
        ResourceKind::Organization => None,
        ResourceKind::Cloud
        | ResourceKind::Folder
        | ResourceKind::Secret
        | ResourceKind::KmsKey
        | ResourceKind::ServiceAccount
        | ResourceKind::SecretVersion => path_of(view, resource)?,
    };
    path.ok_or_else(|| Rejection::not_found(resource.kind, &resource.id).into())
}
