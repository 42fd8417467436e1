//! The files of the newest snapshot, read again and compared with what their manifest says.
//!
//! Tables never change and a snapshot shares them with the state, so what has changed here has
//! changed there: filters and indexes too, which reading rows alone would not touch.

use std::io::Read;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::durable_files::failed;
use super::manifest::ManifestFile;
use super::pace::Pace;
use super::snapshot::{SnapshotHandle, SnapshotShelf};
use crate::error::StorageError;

/// Read at once.
const STEP_BYTES: usize = 256 << 10;

/// Looks for damage in the newest snapshot.
#[derive(Clone)]
pub struct SnapshotFiles {
    pub(super) shelf: Arc<SnapshotShelf>,
}

impl SnapshotFiles {
    /// Reads all files of the newest snapshot; false when it was told to end before, or when a
    /// newer one has come: who reads the old one keeps its files, and with them what may have to be
    /// erased. Blocks.
    ///
    /// # Errors
    /// [`StorageError`]: corrupt when a file is not what it was.
    pub(crate) fn scrub(&self, pace: &mut Pace) -> Result<bool, StorageError> {
        let Some(snapshot) = self.shelf.current() else { return Ok(true) };
        let (shelf, read) = (Arc::clone(&self.shelf), snapshot.path().to_owned());
        pace.end_when(move || shelf.current().is_none_or(|current| current.path() != read));
        let scrubbed = scrub_files(&snapshot, pace);
        pace.next_object();
        scrubbed
    }
}

fn scrub_files(snapshot: &SnapshotHandle, pace: &mut Pace) -> Result<bool, StorageError> {
    for file in snapshot.manifest().files() {
        if !scrub_file(snapshot, file, pace)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn scrub_file(
    snapshot: &SnapshotHandle,
    file: &ManifestFile,
    pace: &mut Pace,
) -> Result<bool, StorageError> {
    let mut opened = snapshot.open_file(file)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; STEP_BYTES];
    loop {
        let read = opened.read(&mut buffer).map_err(|error| {
            failed("read the snapshot file", &snapshot.path().join(&file.name), &error)
        })?;
        if read == 0 {
            break;
        }
        hash.update(&buffer[..read]);
        if !pace.spend(read as u64) {
            return Ok(false);
        }
    }
    let found: [u8; 32] = hash.finalize().into();
    if found == file.sha256 {
        return Ok(true);
    }
    let path = snapshot.path().join(&file.name);
    let message = format!("{} is not what it was when the snapshot was taken", path.display());
    Err(StorageError::corrupt("look for damaged files", message))
}
