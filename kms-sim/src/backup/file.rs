//! Writes a backup of a view, wherever it goes.

use std::io::Write;

use lockbox_core::{LogTime, Randomness};

use super::header::FORMAT;
use super::rows::{self, Stop};
use super::seal::{ChunkWriter, Sealing};
use super::{BackupError, BackupHeader};
use crate::engine::Engine;
use crate::passphrase::Derivation;
use crate::root_key::RootKey;
use crate::store::identity::StoreIdentity;
use crate::store::tables::{ROOT_DERIVATION, Table};
use crate::store::{StoreError, View};

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// The last commit that is in it.
    pub head: u64,
    /// When it was made.
    pub created_at: LogTime,
    /// Rows of all tables.
    pub rows: u64,
}

/// Writes a backup of the store as it is now. Blocks for as long as that takes; commits go on.
///
/// # Errors
/// [`BackupError::Write`] or [`BackupError::Store`].
pub fn write(engine: &Engine, sink: &mut dyn Write) -> Result<Written, BackupError> {
    let created_at = engine.now()?;
    write_view(&engine.view(), engine.root(), created_at, engine.random(), sink)
}

fn write_view(
    view: &View<'_>,
    root: &RootKey,
    created_at: LogTime,
    random: &dyn Randomness,
    sink: &mut dyn Write,
) -> Result<Written, BackupError> {
    let nameless = || StoreError::inconsistent(Table::Meta, "the store has no identity");
    let identity = StoreIdentity::read(view)?.ok_or_else(nameless)?;
    let derivation: Option<Derivation> = view.record(Table::Meta, ROOT_DERIVATION)?;
    let head = view.head()?.sequence;
    let mut salt = [0; 32];
    random.fill(&mut salt);
    let header = BackupHeader {
        format: FORMAT,
        store_id: identity.store_id,
        root_key_id: root.id(),
        salt,
        derivation,
        head,
        created_at,
        tables: Table::ALL.map(|table| table.name().to_owned()).to_vec(),
    };
    let bound = header.write(sink).map_err(BackupError::Write)?;
    let mut chunks = ChunkWriter::new(sink, Sealing::new(root, &salt, bound));
    let rows = rows::write_all(view, &mut chunks).map_err(|stop| match stop {
        Stop::Store(error) => BackupError::Store(error),
        Stop::Sink(error) => BackupError::Write(error),
    })?;
    chunks.finish().map_err(BackupError::Write)?;
    Ok(Written { head, created_at, rows })
}
