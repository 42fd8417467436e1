//! Grants as they arrive from the cluster: read, or left out when they mean nothing here.

use lockbox_core::{ResourceKind, ResourceRef};

use crate::caller::{Grant, Rights};

/// Kinds of resource that a grant can name.
const KINDS: [ResourceKind; 7] = [
    ResourceKind::Organization,
    ResourceKind::Cloud,
    ResourceKind::Folder,
    ResourceKind::Secret,
    ResourceKind::KmsKey,
    ResourceKind::ServiceAccount,
    ResourceKind::SecretVersion,
];

/// Reads the name of a kind of resource, as audit records spell it.
#[must_use]
pub(crate) fn parse_resource_kind(name: &str) -> Option<ResourceKind> {
    KINDS.into_iter().find(|kind| kind.audit_name() == name)
}

/// One grant on the wire: resource type, resource id, role id.
pub(crate) type WireGrant<'a> = (&'a str, &'a str, &'a str);
/// One folder on the wire: folder id, cloud id, organization id.
pub(crate) type WireFolder<'a> = (&'a str, &'a str, &'a str);

/// Reads grants and folders; a grant on an unknown kind of resource grants nothing.
pub(crate) fn rights<'a>(
    grants: impl Iterator<Item = WireGrant<'a>>,
    folders: impl Iterator<Item = WireFolder<'a>>,
) -> Rights {
    let mut rights = Rights::default();
    for (resource_type, resource_id, role_id) in grants {
        if let Some(kind) = parse_resource_kind(resource_type) {
            let resource = ResourceRef::new(kind, resource_id);
            rights.grants.push(Grant { resource, role_id: role_id.to_owned() });
        }
    }
    for (folder_id, cloud_id, organization_id) in folders {
        rights.add_folder(folder_id, cloud_id, organization_id);
    }
    rights
}
