//! What a subject holds on containers, in the form that the KMS judges by.
//!
//! Roles on organizations, clouds and folders: a key may live in any of them. A role on a secret
//! reaches no key (`contract §4.5`). Nothing is cut off: a list that ends early would refuse what
//! was granted.

use std::collections::BTreeMap;

use lockbox_core::{ResourceKind, ResourceRef, Subject, access};
use lockbox_proto::lockbox::cluster::v1::{FolderPath, Grant};
use lockbox_raft::domain::AccessBinding;
use lockbox_raft::domain::identity::FolderRecord;
use lockbox_raft::error::StorageError;
use lockbox_raft::state::{TimedView, tables};

use crate::grants::told_role;

/// Folders read at a time.
const FOLDERS_PAGE: usize = 1_000;

/// Grants, and the folders that they reach.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HeldRights {
    /// Every role, with those of the system groups that include the subject.
    pub grants: Vec<Grant>,
    /// The path of every folder at or below a resource named in grants.
    pub folders: Vec<FolderPath>,
}

/// Collects what `subject` holds in this view, at its time: the KMS keeps nothing of it.
///
/// # Errors
/// [`StorageError`].
pub fn held_rights(view: &TimedView<'_>, subject: &Subject) -> Result<HeldRights, StorageError> {
    let mut walk = Walk { view, subject, seen: BTreeMap::new(), found: HeldRights::default() };
    let mut after = None;
    loop {
        let (page, more) = tables::folders_page(view, after.as_ref(), FOLDERS_PAGE)?;
        for folder in &page {
            walk.visit(folder)?;
        }
        after = page.last().map(|folder| folder.id.clone());
        if !more {
            return Ok(walk.found);
        }
    }
}

struct Walk<'a> {
    view: &'a TimedView<'a>,
    subject: &'a Subject,
    /// Containers visited before, and whether the subject holds anything there.
    seen: BTreeMap<ResourceRef, bool>,
    found: HeldRights,
}

impl Walk<'_> {
    fn visit(&mut self, folder: &FolderRecord) -> Result<(), StorageError> {
        let Some(path) = tables::folder_path(self.view, &folder.id)? else { return Ok(()) };
        let mut reached = false;
        for resource in path.resources() {
            reached |= self.holds(resource)?;
        }
        if reached {
            let id = |kind| path.id_of(kind).unwrap_or_default().to_owned();
            self.found.folders.push(FolderPath {
                folder_id: id(ResourceKind::Folder),
                cloud_id: id(ResourceKind::Cloud),
                organization_id: id(ResourceKind::Organization),
            });
        }
        Ok(())
    }

    fn holds(&mut self, resource: &ResourceRef) -> Result<bool, StorageError> {
        if let Some(held) = self.seen.get(resource) {
            return Ok(*held);
        }
        let set = tables::bindings(self.view, resource)?;
        let covers = |binding: &&AccessBinding| access::covers(&binding.subject, self.subject);
        let own = set.bindings().iter().filter(covers);
        let mut roles: Vec<&str> =
            own.filter_map(|binding| told_role(binding, self.view.now())).collect();
        // The subject itself and a group that it is in may have the same role.
        roles.sort_unstable();
        roles.dedup();
        self.found.grants.extend(roles.iter().map(|role| Grant {
            resource_type: resource.kind.audit_name().to_owned(),
            resource_id: resource.id.clone(),
            role_id: (*role).to_owned(),
        }));
        let held = !roles.is_empty();
        self.seen.insert(resource.clone(), held);
        Ok(held)
    }
}
