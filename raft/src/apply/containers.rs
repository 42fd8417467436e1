//! Clouds and folders: made and changed (`contract §4.1`, `§13` no. 40).
//!
//! Names are unique within the parent, so that a name on a command line means one of them.

use std::collections::BTreeMap;

use lockbox_core::{CloudId, FolderId, Permission, ResourceKind, ResourcePath, ResourceRef, Role};

use super::paths::cloud_path;
use super::{Application, Effect, Refusal, access, bindings, require_absent};
use crate::domain::binding::{AccessBinding, BindingSet};
use crate::domain::codec;
use crate::domain::command::{ContainerChanges, CreateCloud, CreateFolder, Envelope};
use crate::domain::identity::{CloudRecord, FolderRecord};
use crate::domain::operation::{OperationMetadata, OperationResult};
use crate::domain::outcome::{Precondition, Rejection};
use crate::state::{Space, StateRead, keys, tables};

pub(super) fn create_cloud(
    application: &mut Application<'_, '_>,
    envelope: &Envelope,
    create: &CreateCloud,
) -> Result<Effect, Refusal> {
    let cluster = tables::cluster(application.state)?.ok_or(Precondition::NotInitialised)?;
    let organization = &create.organization_id;
    let root = ResourceRef::new(ResourceKind::Organization, organization.as_str());
    if cluster.organization_id != *organization {
        return Err(Rejection::not_found(root.kind, &root.id).into());
    }
    let path = ResourcePath::new(vec![root]);
    let permission = Permission::ResourceManagerAdminister;
    // Its maker owns it for good: that must not come from a right that ends, nor from a token of
    // somebody else.
    access::require(&application.view().lasting(), &envelope.subject, permission, &path)?;
    access::require_own_token(envelope.token.as_ref())?;
    let key = keys::cloud(&create.id);
    let by_name = keys::cloud_by_name(organization, &create.name);
    for taken in [&key, &by_name] {
        require_absent(application.state, Space::Records, taken, ResourceKind::Cloud)?;
    }
    let cloud = CloudRecord {
        id: create.id.clone(),
        organization_id: organization.clone(),
        name: create.name.clone(),
        created_at: application.now,
        secrets: 0,
        description: create.description.clone(),
        labels: create.labels.clone(),
    };
    application.put(Space::Records, key, &cloud);
    application.put(Space::Records, by_name, &cloud.id);
    // Only owners can make owners (`contract §4.2`), so there has to be a first one.
    let owner = AccessBinding::new(Role::CloudsOwner.as_str(), envelope.subject.clone());
    let resource = cloud_resource(&cloud.id);
    bindings::replace(application, &resource, &BindingSet::new(vec![owner]))?;
    Ok(Effect {
        description: "Create cloud".to_owned(),
        resource,
        metadata: OperationMetadata::CreateCloud { cloud_id: cloud.id.clone() },
        result: OperationResult::Cloud(Box::new(cloud)),
    })
}

pub(super) fn update_cloud(
    application: &mut Application<'_, '_>,
    envelope: &Envelope,
    id: &CloudId,
    changes: &ContainerChanges,
) -> Result<Effect, Refusal> {
    let mut cloud = tables::cloud(application.state, id)?
        .ok_or_else(|| Rejection::not_found(ResourceKind::Cloud, id.as_str()))?;
    let permission = Permission::ResourceManagerAdminister;
    access::require(&application.view(), &envelope.subject, permission, &cloud_path(&cloud))?;
    if let Some(name) = changes.name.as_ref().filter(|name| **name != cloud.name) {
        let names = |name: &str| keys::cloud_by_name(&cloud.organization_id, name);
        rename(application, (names(&cloud.name), names(name)), id, ResourceKind::Cloud)?;
        cloud.name.clone_from(name);
    }
    describe(changes, &mut cloud.description, &mut cloud.labels);
    application.put(Space::Records, keys::cloud(id), &cloud);
    Ok(Effect {
        description: "Update cloud".to_owned(),
        resource: cloud_resource(id),
        metadata: OperationMetadata::UpdateCloud { cloud_id: id.clone() },
        result: OperationResult::Cloud(Box::new(cloud)),
    })
}

pub(super) fn create_folder(
    application: &mut Application<'_, '_>,
    envelope: &Envelope,
    create: &CreateFolder,
) -> Result<Effect, Refusal> {
    let cloud = tables::cloud(application.state, &create.cloud_id)?
        .ok_or_else(|| Rejection::not_found(ResourceKind::Cloud, create.cloud_id.as_str()))?;
    let permission = Permission::ResourceManagerAdminister;
    access::require(&application.view(), &envelope.subject, permission, &cloud_path(&cloud))?;
    let key = keys::folder(&create.id);
    let by_name = keys::folder_by_name(&cloud.id, &create.name);
    for taken in [&key, &by_name] {
        require_absent(application.state, Space::Records, taken, ResourceKind::Folder)?;
    }
    let folder = FolderRecord {
        id: create.id.clone(),
        cloud_id: cloud.id,
        name: create.name.clone(),
        created_at: application.now,
        description: create.description.clone(),
        labels: create.labels.clone(),
    };
    application.put(Space::Records, key, &folder);
    application.put(Space::Records, by_name, &folder.id);
    Ok(Effect {
        description: "Create folder".to_owned(),
        resource: folder_resource(&folder.id),
        metadata: OperationMetadata::CreateFolder { folder_id: folder.id.clone() },
        result: OperationResult::Folder(Box::new(folder)),
    })
}

pub(super) fn update_folder(
    application: &mut Application<'_, '_>,
    envelope: &Envelope,
    id: &FolderId,
    changes: &ContainerChanges,
) -> Result<Effect, Refusal> {
    let not_found = || Rejection::not_found(ResourceKind::Folder, id.as_str());
    let mut folder = tables::folder(application.state, id)?.ok_or_else(not_found)?;
    let path = tables::folder_path(application.state, id)?.ok_or_else(not_found)?;
    let permission = Permission::ResourceManagerAdminister;
    access::require(&application.view(), &envelope.subject, permission, &path)?;
    if let Some(name) = changes.name.as_ref().filter(|name| **name != folder.name) {
        let names = |name: &str| keys::folder_by_name(&folder.cloud_id, name);
        rename(application, (names(&folder.name), names(name)), id, ResourceKind::Folder)?;
        folder.name.clone_from(name);
    }
    describe(changes, &mut folder.description, &mut folder.labels);
    application.put(Space::Records, keys::folder(id), &folder);
    Ok(Effect {
        description: "Update folder".to_owned(),
        resource: folder_resource(id),
        metadata: OperationMetadata::UpdateFolder { folder_id: id.clone() },
        result: OperationResult::Folder(Box::new(folder)),
    })
}

/// Moves the row of a name from the old to the new one, if that is free.
fn rename<I: minicbor::Encode<()>>(
    application: &mut Application<'_, '_>,
    (old, new): (Vec<u8>, Vec<u8>),
    id: &I,
    kind: ResourceKind,
) -> Result<(), Refusal> {
    require_absent(application.state, Space::Records, &new, kind)?;
    // The first ones of an older build have no row of their name; another one may have taken it.
    let row = application.state.get(Space::Records, &old)?;
    if row.is_some_and(|row| row == codec::encode(id)) {
        application.state.delete(Space::Records, old);
    }
    application.put(Space::Records, new, id);
    Ok(())
}

fn describe(
    changes: &ContainerChanges,
    description: &mut String,
    labels: &mut BTreeMap<String, String>,
) {
    if let Some(new) = &changes.description {
        description.clone_from(new);
    }
    if let Some(new) = &changes.labels {
        labels.clone_from(new);
    }
}

fn cloud_resource(id: &CloudId) -> ResourceRef {
    ResourceRef::new(ResourceKind::Cloud, id.as_str())
}

fn folder_resource(id: &FolderId) -> ResourceRef {
    ResourceRef::new(ResourceKind::Folder, id.as_str())
}
