//! What must hold of the rows of a store, whatever was done to it and whenever it was killed.

use std::collections::BTreeSet;

use lockbox_core::{FolderId, LogTime};
use lockbox_kms_sim::keys::apply::{read_keys, read_versions};
use lockbox_kms_sim::store::View;
use lockbox_kms_sim::store::due::Due;
use lockbox_kms_sim::store::records::{KeyScope, VersionStatus};
use lockbox_kms_sim::store::tables::{self, Table};

use crate::support::FOLDER;

/// Asserts that material is there for exactly the versions that are not destroyed, and that what is
/// due is exactly what keys and versions promise.
pub(crate) fn assert_consistent(view: &View<'_>) {
    let mut promised: BTreeSet<(LogTime, Due)> = BTreeSet::new();
    for key in read_keys(view).unwrap() {
        let id = &key.id;
        promised.extend(key.rotation_due().map(|at| (at, Due::Rotate(id.clone()))));
        let deletion = key.deletion.as_ref();
        let pending = deletion.filter(|deletion| deletion.destroyed_at.is_none());
        promised.extend(pending.map(|d| (d.destroy_at, Due::DestroyKey(id.clone()))));
        for version in read_versions(view, &key).unwrap() {
            let row = tables::version(id, &version.id);
            let material = view.get(Table::Materials, &row).unwrap();
            let destroyed = version.status == VersionStatus::Destroyed;
            assert_eq!(material.is_none(), destroyed, "material of {}", version.id);
            assert_eq!(version.destroyed_at.is_some(), destroyed, "{}", version.id);
            let scheduled = version.status == VersionStatus::ScheduledForDestruction;
            assert_eq!(version.destroy_at.is_some(), scheduled, "{}", version.id);
            let due = || Due::DestroyVersion(id.clone(), version.id.clone());
            promised.extend(version.destroy_at.map(|at| (at, due())));
            let primary = version.id == key.primary_version_id;
            let ended = deletion.is_some_and(|deletion| deletion.destroyed_at.is_some());
            assert!(!primary || ended || version.status == VersionStatus::Active, "{id}");
        }
        if key.scope == KeyScope::Customer {
            let folder = FolderId::parse(FOLDER).unwrap();
            let row = tables::key_by_folder(&folder, key.created_at, id);
            let listed = view.get(Table::KeysByFolder, &row).unwrap().is_some();
            assert_eq!(listed, deletion.is_none(), "the listing of {id}");
        }
    }
    let due: BTreeSet<(LogTime, Due)> =
        view.scan(Table::Due, b"", b"").map(|row| Due::parse(&row.unwrap().0).unwrap()).collect();
    assert_eq!(due, promised);
}
