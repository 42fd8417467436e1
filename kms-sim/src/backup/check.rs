//! Whether what came out of a backup can be served: the same for a restore and for a mere look.
//!
//! Promises that every wrap opens under the root key, that no material is missing and none is too
//! many, and that the ledger with its counters is what its records give.

use std::collections::BTreeSet;

use lockbox_core::LogTime;

use super::{BackupError, BackupHeader};
use crate::engine::{MAC_KEY_ALGORITHM, mac_key_name};
use crate::keys::apply::{read_keys, read_primary, read_versions};
use crate::ledger;
use crate::material::{self, MaterialPlace, WrappedMaterial};
use crate::root_key::RootKey;
use crate::store::View;
use crate::store::identity::{Restores, StoreIdentity};
use crate::store::records::{VersionRecord, VersionStatus};
use crate::store::tables::{self, MAC_KEY, Table};

/// What is in a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    /// When it was made.
    pub created_at: LogTime,
    /// Its last commit.
    pub head: u64,
    /// The time of that.
    pub head_time: LogTime,
    /// The store that it is of, in hexadecimal.
    pub store_id: String,
    /// The life of the store that made it.
    pub epoch: u64,
    /// How often the store was restored before.
    pub restores: usize,
    /// The root key that opens it, by its name in hexadecimal.
    pub root_key_id: String,
    /// Whether that comes from a passphrase.
    pub by_passphrase: bool,
    /// Keys, the system key and deleted ones included.
    pub keys: usize,
    /// Versions that have their material.
    pub versions: usize,
    /// Versions that were destroyed before.
    pub destroyed: usize,
    /// When the newest version was made: younger ones are not in it.
    pub newest_version_at: LogTime,
    /// Records of the ledger.
    pub ledger_records: u64,
}

/// Checks a store that came out of a backup, and counts what is in it.
///
/// # Errors
/// [`BackupError::Wrong`] or [`BackupError::Store`].
pub(super) fn check(
    view: &View<'_>,
    root: &RootKey,
    header: &BackupHeader,
) -> Result<Contents, BackupError> {
    let wrong = |problem: String| Err(BackupError::Wrong(problem));
    let Some(identity) = StoreIdentity::read(view)? else {
        return wrong("the store has no identity".to_owned());
    };
    let head = view.head()?;
    if identity.store_id != header.store_id || head.sequence != header.head {
        return wrong("its header is of another store, or of another commit".to_owned());
    }
    check_mac_key(view, root)?;
    let (mut versions, mut destroyed) = (BTreeSet::new(), 0);
    let mut newest_version_at = LogTime::default();
    let keys = read_keys(view)?;
    for key in &keys {
        read_primary(view, key)?;
        for version in read_versions(view, key)? {
            newest_version_at = newest_version_at.max(version.created_at);
            if version.status == VersionStatus::Destroyed {
                destroyed += 1;
                continue;
            }
            check_material(view, root, &version)?;
            versions.insert(tables::version(&version.key_id, &version.id));
        }
    }
    for row in view.scan(Table::Materials, b"", b"") {
        let (row, _) = row?;
        if !versions.contains(&row[..]) {
            return wrong("there is material of no version, or of a destroyed one".to_owned());
        }
    }
    let ledger = ledger::verify::verify(view)?;
    if let Some(problem) = ledger.problems.first() {
        return wrong(problem.to_string());
    }
    Ok(Contents {
        created_at: header.created_at,
        head: head.sequence,
        head_time: head.time,
        store_id: hex::encode(header.store_id),
        epoch: identity.epoch,
        restores: Restores::read(view)?.restores.len(),
        root_key_id: hex::encode(header.root_key_id),
        by_passphrase: header.derivation.is_some(),
        keys: keys.len(),
        versions: versions.len(),
        destroyed,
        newest_version_at,
        ledger_records: ledger.records,
    })
}

fn check_mac_key(view: &View<'_>, root: &RootKey) -> Result<(), BackupError> {
    let wrong = || BackupError::Wrong("the MAC key is missing, or does not open".to_owned());
    let (key_id, version_id) = mac_key_name().ok_or_else(wrong)?;
    let place =
        MaterialPlace { key_id: &key_id, version_id: &version_id, algorithm: MAC_KEY_ALGORITHM };
    let wrapped: WrappedMaterial = view.record(Table::Meta, MAC_KEY)?.ok_or_else(wrong)?;
    material::unwrap(root, &wrapped, &place).map(drop).map_err(|_| wrong())
}

fn check_material(
    view: &View<'_>,
    root: &RootKey,
    version: &VersionRecord,
) -> Result<(), BackupError> {
    let wrong = || {
        let id = &version.id;
        BackupError::Wrong(format!("the material of version {id} is missing, or does not open"))
    };
    let row = tables::version(&version.key_id, &version.id);
    let wrapped: WrappedMaterial = view.record(Table::Materials, &row)?.ok_or_else(wrong)?;
    let place = MaterialPlace {
        key_id: &version.key_id,
        version_id: &version.id,
        algorithm: version.algorithm,
    };
    material::unwrap(root, &wrapped, &place).map(drop).map_err(|_| wrong())
}
