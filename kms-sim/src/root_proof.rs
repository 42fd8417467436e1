//! Whether a root key is the one that a store was made with.
//!
//! Offline: looks at the store for reading only, also beside a running server. Promises: makes and
//! changes nothing; a root key that is proved here is one that the server starts with.

use std::path::Path;

use crate::engine::{MAC_KEY_ALGORITHM, OpenError, db_directory, mac_key_name};
use crate::material::{self, KeyMaterial, MaterialPlace, WrappedMaterial};
use crate::root_key::RootKey;
use crate::root_secret::RootSecret;
use crate::store::tables::{MAC_KEY, Table};
use crate::store::{Db, StoreError, View};

/// The root key that the store of a data directory was made with, out of what the operator gives.
///
/// # Errors
/// [`OpenError::WrongRootKey`] when it is another one, [`OpenError::NoKeys`] when the store says
/// nothing of its root key yet, or why the store does not open.
pub fn present_root(data_dir: &Path, secret: RootSecret) -> Result<RootKey, OpenError> {
    let db = open(data_dir)?;
    let root = secret.present(&db, data_dir)?;
    prove_in(&db.view(), data_dir, &root)?;
    Ok(root)
}

/// Proves that the store of a data directory was made with this root key.
///
/// # Errors
/// As [`present_root`].
pub fn prove(data_dir: &Path, root: &RootKey) -> Result<(), OpenError> {
    prove_in(&open(data_dir)?.view(), data_dir, root)
}

fn open(data_dir: &Path) -> Result<Db, OpenError> {
    Ok(Db::open_read_only(&db_directory(data_dir))?)
}

fn prove_in(view: &View<'_>, data_dir: &Path, root: &RootKey) -> Result<(), OpenError> {
    match mac_key(view, root, data_dir)? {
        Some(_opened) => Ok(()),
        None => Err(OpenError::NoKeys { path: data_dir.to_owned() }),
    }
}

/// The key for recognising repeats, which every store has from its first start on. It opens only
/// under the right root key; nothing when the store does not have it.
pub(crate) fn mac_key(
    view: &View<'_>,
    root: &RootKey,
    data_dir: &Path,
) -> Result<Option<KeyMaterial>, OpenError> {
    let nameless = || StoreError::inconsistent(Table::Meta, "the MAC key has no name");
    let (key_id, version_id) = mac_key_name().ok_or_else(nameless)?;
    let algorithm = MAC_KEY_ALGORITHM;
    let place = MaterialPlace { key_id: &key_id, version_id: &version_id, algorithm };
    let Some(wrapped) = view.record::<WrappedMaterial>(Table::Meta, MAC_KEY)? else {
        return Ok(None);
    };
    let opened = material::unwrap(root, &wrapped, &place);
    opened.map(Some).map_err(|_| OpenError::WrongRootKey { path: data_dir.to_owned() })
}
