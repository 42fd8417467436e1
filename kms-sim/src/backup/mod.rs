//! Backups of the KMS's store: written while calls run, sealed under the root key, restored whole
//! or not at all.
//!
//! A backup is one consistent view of every table: keys with their wrapped material, the ledger, the
//! commit sequence. Whoever reads one needs the root key, or its recovery shares, and without the
//! store nothing else. Promises that a file which was altered, cut or put together out of two is
//! refused. What a restored store does before it serves is [`crate::witness::settle`]'s.

mod check;
pub mod directory;
pub mod file;
pub mod header;
pub mod restore;
mod rows;
pub mod scheduled;
mod seal;

use std::io;
use std::path::PathBuf;

use lockbox_core::LogTime;

pub use self::file::{Written, write};
pub use self::header::BackupHeader;
pub use self::restore::{Contents, prove, restore, verify};
use crate::passphrase::DerivationError;
use crate::store::StoreError;

/// Why there is no backup, or nothing is restored from one; one sentence each.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The backup cannot be written.
    #[error("cannot write the backup: {0}")]
    Write(io::Error),
    /// The file cannot be read.
    #[error("cannot read the backup: {0}")]
    Read(io::Error),
    /// The file is something else.
    #[error("it is no backup of a kms-sim")]
    NotABackup,
    /// A later build has made it.
    #[error("the backup has format {found}, this build reads {known}")]
    Format {
        /// The format that was found.
        found: u32,
        /// The newest one that is known.
        known: u32,
    },
    /// The file was changed, or is not whole.
    #[error("the backup was altered, or it is not whole: {0}")]
    Altered(&'static str),
    /// The root key is another one.
    #[error("the root key does not open the backup: it was made under root key {made}")]
    WrongRootKey {
        /// The name of the one that does, in hexadecimal.
        made: String,
    },
    /// The backup's root key is no passphrase.
    #[error("the backup was made under a root key, and not under a passphrase")]
    NoPassphrase,
    /// The backup does not say how a passphrase becomes the root key.
    #[error(transparent)]
    Derivation(#[from] DerivationError),
    /// What is in it contradicts itself.
    #[error("the backup opens, and what is in it cannot be right: {0}")]
    Wrong(String),
    /// There is a store already.
    #[error("there is a store in {path}: restore into a data directory that has none")]
    Exists {
        /// Where.
        path: PathBuf,
    },
    /// A directory cannot be made, moved or removed.
    #[error("cannot use {path}: {source}")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Hours and minutes for people: when something was, in UTC.
#[must_use]
pub fn shown(time: LogTime) -> String {
    let ms = i64::try_from(time.as_ms()).unwrap_or(i64::MAX);
    jiff::Timestamp::from_millisecond(ms).map_or_else(|_| "?".to_owned(), |at| at.to_string())
}
