//! What the operator gives: the root key itself, or a passphrase that it is derived from.
//!
//! Promises: a passphrase file that others can read is refused, as is a passphrase that is short;
//! the salt is made with the store and never again, so that a store of another root key is not
//! taken for a new one. Refuses to know how a key is derived ([`crate::passphrase`]).

use std::path::Path;

use lockbox_core::codec::encode;
use lockbox_core::{Randomness, Sensitive, SensitiveBytes};

use crate::engine::{OpenError, open_db};
use crate::passphrase::{
    Derivation, DerivationError, PASSPHRASE_BYTES_MAX, PASSPHRASE_BYTES_MIN, PASSPHRASE_VARIABLE,
};
use crate::root_key::{RootKey, RootKeyError, read_private};
use crate::store::tables::{MAC_KEY, ROOT_DERIVATION, Table};
use crate::store::{Db, View, Write};

/// The root key, or what it is derived from. No `Debug`, wiped when dropped.
pub enum RootSecret {
    /// The key itself.
    Key(RootKey),
    /// A passphrase.
    Passphrase(Passphrase),
}

/// A passphrase of a length that can be accepted. No `Debug`, wiped when dropped.
pub struct Passphrase(SensitiveBytes);

impl Passphrase {
    /// Reads a file that only its owner may read: one line, whose end does not count.
    ///
    /// # Errors
    /// [`RootKeyError::Read`], [`RootKeyError::Exposed`] or [`RootKeyError::Passphrase`].
    pub fn read_file(path: &Path) -> Result<Self, RootKeyError> {
        // One more than the longest, and the end of its line: what is longer shows.
        let content = read_private("passphrase", path, PASSPHRASE_BYTES_MAX + 3)?;
        Self::checked(&content, || path.display().to_string())
    }

    /// Takes the value of [`PASSPHRASE_VARIABLE`].
    ///
    /// # Errors
    /// [`RootKeyError::Passphrase`].
    pub fn from_variable(value: &Sensitive<String>) -> Result<Self, RootKeyError> {
        Self::checked(value.expose().as_bytes(), || PASSPHRASE_VARIABLE.to_owned())
    }

    fn checked(bytes: &[u8], origin: impl FnOnce() -> String) -> Result<Self, RootKeyError> {
        let line = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let fits = (PASSPHRASE_BYTES_MIN..=PASSPHRASE_BYTES_MAX).contains(&line.len());
        if !fits || line.contains(&b'\n') {
            return Err(RootKeyError::Passphrase { origin: origin() });
        }
        Ok(Self(Sensitive::new(line.to_vec())))
    }
}

impl RootSecret {
    /// The root key of the store in this data directory. For a passphrase the store keeps a salt,
    /// which is made when the store is: before there is anything in it.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(self, data_dir: &Path, random: &dyn Randomness) -> Result<RootKey, OpenError> {
        let passphrase = match self {
            Self::Key(root) => return Ok(root),
            Self::Passphrase(passphrase) => passphrase,
        };
        let db = open_db(data_dir)?;
        let is_new = db.view().get(Table::Meta, MAC_KEY)?.is_none();
        if is_new && db.view().get(Table::Meta, ROOT_DERIVATION)?.is_none() {
            db.commit(&[derivation_row(&Derivation::fresh(random))])?;
        }
        derived(&db.view(), data_dir, &passphrase)
    }

    /// The root key that a store was made with. Makes nothing.
    ///
    /// # Errors
    /// [`OpenError`].
    pub(crate) fn present(self, db: &Db, data_dir: &Path) -> Result<RootKey, OpenError> {
        match self {
            Self::Key(root) => Ok(root),
            Self::Passphrase(passphrase) => derived(&db.view(), data_dir, &passphrase),
        }
    }

    /// The root key that a backup was made under; none for a passphrase when that was no passphrase.
    /// The key itself opens what its passphrase does: recovery shares give the key.
    ///
    /// # Errors
    /// [`DerivationError`].
    pub(crate) fn of_backup(
        self,
        derivation: Option<&Derivation>,
    ) -> Result<Option<RootKey>, DerivationError> {
        match (self, derivation) {
            (Self::Key(root), _) => Ok(Some(root)),
            (Self::Passphrase(Passphrase(passphrase)), Some(derivation)) => {
                derivation.root_key(&passphrase).map(Some)
            }
            (Self::Passphrase(_), None) => Ok(None),
        }
    }

    /// A root key for a store that is to have another one, and the row that says how it is derived
    /// from now on.
    ///
    /// # Errors
    /// [`OpenError`].
    pub(crate) fn next(self, random: &dyn Randomness) -> Result<(RootKey, Write), OpenError> {
        match self {
            Self::Key(root) => Ok((root, Write::delete(Table::Meta, ROOT_DERIVATION.to_vec()))),
            Self::Passphrase(Passphrase(passphrase)) => {
                let derivation = Derivation::fresh(random);
                let root = derivation.root_key(&passphrase)?;
                Ok((root, derivation_row(&derivation)))
            }
        }
    }
}

fn derivation_row(derivation: &Derivation) -> Write {
    Write::put(Table::Meta, ROOT_DERIVATION.to_vec(), encode(derivation))
}

fn derived(
    view: &View<'_>,
    data_dir: &Path,
    Passphrase(passphrase): &Passphrase,
) -> Result<RootKey, OpenError> {
    let stored: Option<Derivation> = view.record(Table::Meta, ROOT_DERIVATION)?;
    let made_with_a_key = || OpenError::NoPassphrase { path: data_dir.to_owned() };
    Ok(stored.ok_or_else(made_with_a_key)?.root_key(passphrase)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(text: &[u8]) -> Result<Vec<u8>, RootKeyError> {
        Passphrase::checked(text, String::new).map(|passphrase| passphrase.0.expose().clone())
    }

    #[test]
    fn the_end_of_the_line_is_no_part_of_a_passphrase() {
        let words = b"correct horse battery".to_vec();
        for end in ["", "\n", "\r\n"] {
            let line = [words.as_slice(), end.as_bytes()].concat();
            assert_eq!(checked(&line).unwrap(), words, "{end:?}");
        }
        for wrong in [&b"fifteen bytes !"[..], b"", b"\n", b"two lines of\nit are none"] {
            assert!(checked(wrong).is_err(), "{wrong:?}");
        }
        assert!(checked(&[b'x'; PASSPHRASE_BYTES_MAX]).is_ok());
        assert!(checked(&[b'x'; PASSPHRASE_BYTES_MAX + 1]).is_err());
    }
}
