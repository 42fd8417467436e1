//! Another root key for a store: all wraps change in one commit, or none does.
//!
//! Offline: the store is held for as long as it takes, so a running server and this exclude each
//! other. Promises: nothing is written before every key has been opened under the present root key
//! and again under the next one; a crash leaves a store that one of the two opens whole; when it
//! succeeds, no file holds a wrap that the earlier one opens.

use std::path::Path;

use lockbox_core::codec::encode;
use lockbox_core::{KmsKeyVersionId, Randomness};
use subtle::ConstantTimeEq;

use crate::engine::{MAC_KEY_ALGORITHM, OpenError, db_directory, mac_key_name, purge_wraps};
use crate::material::{self, MaterialPlace, WrappedMaterial};
use crate::root_key::RootKey;
use crate::root_secret::RootSecret;
use crate::store::records::VersionRecord;
use crate::store::tables::{MAC_KEY, Table};
use crate::store::{Db, StoreError, View, Write};

/// Why a store has no other root key now; one sentence.
#[derive(Debug, thiserror::Error)]
pub enum RotateError {
    /// The store cannot be opened, or not with the present root key.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The next root key is the present one.
    #[error("the new root key is the present one: nothing was changed")]
    Same,
    /// One of the keys does not open.
    #[error("key version {0} does not open under the present root key: nothing was changed")]
    Damaged(KmsKeyVersionId),
    /// The keys are under the new root key, and older files are still there.
    #[error(
        "the keys are under the new root key, but files still hold them under the old one{}; \
         the server rewrites these files when it starts",
        .0.as_ref().map(|error| format!(": {error}")).unwrap_or_default()
    )]
    Purge(Option<StoreError>),
}

impl From<StoreError> for RotateError {
    fn from(error: StoreError) -> Self {
        Self::Open(error.into())
    }
}

/// Puts all that the present root key wraps under the next one; says how many key versions that
/// were. The data directory must not be in use.
///
/// # Errors
/// [`RotateError`].
pub fn rotate(
    data_dir: &Path,
    present: RootSecret,
    next: RootSecret,
    random: &dyn Randomness,
) -> Result<usize, RotateError> {
    let directory = db_directory(data_dir);
    if !directory.is_dir() {
        return Err(StoreError::Missing { directory }.into());
    }
    let db = Db::open(&directory)?;
    let present = present.present(&db, data_dir)?;
    let (next, derivation) = next.next(random)?;
    if present.id() == next.id() {
        return Err(RotateError::Same);
    }
    let roots = Roots { present, next };
    let mut writes = rewrapped(&db.view(), data_dir, &roots, random)?;
    // The first row is the MAC key's.
    let versions = writes.len() - 1;
    writes.push(derivation);
    db.commit(&writes)?;
    if !purge_wraps(&db).map_err(|error| RotateError::Purge(Some(error)))? {
        return Err(RotateError::Purge(None));
    }
    Ok(versions)
}

struct Roots {
    present: RootKey,
    next: RootKey,
}

impl Roots {
    /// A wrap under the next root key; nothing when it does not open under the present one.
    fn move_wrap(
        &self,
        wrapped: &WrappedMaterial,
        place: &MaterialPlace<'_>,
        random: &dyn Randomness,
    ) -> Option<Vec<u8>> {
        let material = material::unwrap(&self.present, wrapped, place).ok()?;
        let moved = material::wrap(&self.next, &material, place, random);
        // The old wrap is dropped for good: not before the new one is known to open.
        let opened = material::unwrap(&self.next, &moved, place).ok()?;
        bool::from(opened.expose().ct_eq(material.expose())).then(|| encode(&moved))
    }
}

/// The rows with every wrap replaced: the MAC key's, then those of all versions.
fn rewrapped(
    view: &View<'_>,
    data_dir: &Path,
    roots: &Roots,
    random: &dyn Randomness,
) -> Result<Vec<Write>, RotateError> {
    let missing = |problem: &str| StoreError::inconsistent(Table::Meta, problem);
    let (key_id, version_id) = mac_key_name().ok_or_else(|| missing("the MAC key has no name"))?;
    let place =
        MaterialPlace { key_id: &key_id, version_id: &version_id, algorithm: MAC_KEY_ALGORITHM };
    let wrapped: WrappedMaterial =
        view.record(Table::Meta, MAC_KEY)?.ok_or_else(|| missing("the MAC key is missing"))?;
    let moved = roots
        .move_wrap(&wrapped, &place, random)
        .ok_or_else(|| OpenError::WrongRootKey { path: data_dir.to_owned() })?;
    let mut writes = vec![Write::put(Table::Meta, MAC_KEY.to_vec(), moved)];
    for item in view.scan(Table::Materials, b"", b"") {
        let (row, _) = item?;
        let nameless = || StoreError::inconsistent(Table::Materials, "a row has no version");
        let version: VersionRecord = view.record(Table::Versions, &row)?.ok_or_else(nameless)?;
        let wrapped: WrappedMaterial = view.record(Table::Materials, &row)?.ok_or_else(nameless)?;
        let place = MaterialPlace {
            key_id: &version.key_id,
            version_id: &version.id,
            algorithm: version.algorithm,
        };
        let moved = roots.move_wrap(&wrapped, &place, random);
        let moved = moved.ok_or(RotateError::Damaged(version.id))?;
        writes.push(Write::put(Table::Materials, row.into_vec(), moved));
    }
    Ok(writes)
}
