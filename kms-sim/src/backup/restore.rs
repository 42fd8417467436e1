//! A store out of a backup: unpacked beside the place where it will be, checked, and moved there
//! whole. The server must not run on the data directory.
//!
//! Promises that a data directory with a store is not touched, and that a restore which fails or is
//! interrupted leaves no store behind.

use std::fs::{self, File};
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};

pub use super::check::Contents;
use super::check::check;
use super::rows::Rows;
use super::seal::{ChunkReader, Sealing};
use super::{BackupError, BackupHeader};
use crate::engine::db_directory;
use crate::root_key::RootKey;
use crate::root_secret::RootSecret;
use crate::store::identity::RestoreMark;
use crate::store::{Db, Write};

/// Where a store is unpacked, inside the data directory.
const UNPACKING: &str = "db.restoring";
/// Where one is that is only looked at.
const LOOKING: &str = "db.verifying";
/// Rows that are written together.
const BATCH_ROWS: usize = 1024;

/// Puts the store of a backup into a data directory that has none. Where `standalone`, the store
/// will not ask a cluster what happened since.
///
/// # Errors
/// [`BackupError`].
pub fn restore(
    file: &Path,
    data_dir: &Path,
    secret: RootSecret,
    standalone: bool,
) -> Result<Contents, BackupError> {
    let target = db_directory(data_dir);
    demand_room(&target)?;
    let unpacking = Scratch::make(data_dir.join(UNPACKING))?;
    let contents = {
        let (db, header, root) = unpack(file, &unpacking.path, secret)?;
        let contents = check(&db.view(), &root, &header)?;
        let (head, backed_up_at) = (header.head, header.created_at);
        let mark = RestoreMark { head, backed_up_at, standalone, claimed: false };
        db.commit(&[mark.write()])?;
        db.flush()?;
        contents
    };
    // Somebody may have started a server meanwhile.
    demand_room(&target)?;
    unpacking.keep_as(&target)?;
    Ok(contents)
}

/// Does all of that but putting the store into its place: whether a backup can be restored. Also
/// beside a running server.
///
/// # Errors
/// [`BackupError`].
pub fn verify(file: &Path, data_dir: &Path, secret: RootSecret) -> Result<Contents, BackupError> {
    let scratch = Scratch::make(data_dir.join(LOOKING))?;
    let (db, header, root) = unpack(file, &scratch.path, secret)?;
    let contents = check(&db.view(), &root, &header);
    drop(db);
    contents
}

/// Proves that a backup was made under this root key: its first row opens under it.
///
/// # Errors
/// [`BackupError`].
pub fn prove(file: &Path, root: &RootKey) -> Result<(), BackupError> {
    let mut source = BufReader::new(File::open(file).map_err(BackupError::Read)?);
    let (header, bound) = BackupHeader::read(&mut source)?;
    rows_of(source, &header, bound, root)?.row().map(drop)
}

/// Refuses a place where something is. A directory without anything in it is nothing.
fn demand_room(target: &Path) -> Result<(), BackupError> {
    match fs::read_dir(target) {
        Ok(mut entries) => match entries.next() {
            Some(_) => Err(BackupError::Exists { path: target.to_owned() }),
            None => Ok(()),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(BackupError::Directory { path: target.to_owned(), source }),
    }
}

/// Unpacks a backup into an empty directory.
fn unpack(
    file: &Path,
    directory: &Path,
    secret: RootSecret,
) -> Result<(Db, BackupHeader, RootKey), BackupError> {
    let mut source = BufReader::new(File::open(file).map_err(BackupError::Read)?);
    let (header, bound) = BackupHeader::read(&mut source)?;
    let root = secret.of_backup(header.derivation.as_ref())?.ok_or(BackupError::NoPassphrase)?;
    let mut rows = rows_of(source, &header, bound, &root)?;
    // Before there is a store: what is no backup mostly shows here.
    let mut next = rows.row()?;
    // The disk is waited for once, at the end.
    let db = Db::open(directory)?.without_sync();
    let mut batch: Vec<Write> = Vec::with_capacity(BATCH_ROWS);
    while let Some(row) = next {
        batch.push(row);
        if batch.len() == BATCH_ROWS {
            db.commit(&batch)?;
            batch.clear();
        }
        next = rows.row()?;
    }
    db.commit(&batch)?;
    Ok((db, header, root))
}

/// The rows behind a header, if this root key opens them.
fn rows_of(
    source: BufReader<File>,
    header: &BackupHeader,
    bound: [u8; 32],
    root: &RootKey,
) -> Result<Rows<File>, BackupError> {
    if root.id() != header.root_key_id {
        return Err(BackupError::WrongRootKey { made: hex::encode(header.root_key_id) });
    }
    let chunks = ChunkReader::new(source, Sealing::new(root, &header.salt, bound));
    Rows::new(chunks, &header.tables)
}

/// A directory that goes when nobody keeps it.
struct Scratch {
    path: PathBuf,
    kept: bool,
}

impl Scratch {
    /// Makes it; what an interrupted restore has left there is removed.
    fn make(path: PathBuf) -> Result<Self, BackupError> {
        let failed = |source| BackupError::Directory { path: path.clone(), source };
        match fs::remove_dir_all(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(failed(source)),
        }
        fs::create_dir_all(&path).map_err(failed)?;
        Ok(Self { path, kept: false })
    }

    /// Moves it to its place, and makes sure that it is there after a power loss.
    fn keep_as(mut self, target: &Path) -> Result<(), BackupError> {
        let failed = |source| BackupError::Directory { path: target.to_owned(), source };
        // An empty directory is replaced.
        fs::rename(&self.path, target).map_err(failed)?;
        self.kept = true;
        let parent = target.parent().unwrap_or(Path::new("."));
        File::open(parent).and_then(|directory| directory.sync_all()).map_err(failed)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !self.kept
            && let Err(error) = fs::remove_dir_all(&self.path)
        {
            tracing::warn!(%error, path = %self.path.display(), "what was unpacked is left");
        }
    }
}
