//! Receiving a snapshot: its files arrive one after the other and are hashed on the way.
//!
//! Nothing received is trusted before every length and hash is what the manifest says. A transfer
//! that ends early removes what it wrote.

use std::fs::File;
use std::io::Write;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::blocking::Blocking;
use super::durable_files::{create_directory, failed};
use super::manifest::Manifest;
use super::owned_directory::OwnedDirectory;
use super::snapshot::{SnapshotHandle, SnapshotShelf, write_manifest};
use crate::error::StorageError;

/// Where snapshots of other nodes are received. Cheap to clone.
#[derive(Clone)]
pub struct SnapshotInbox {
    pub(super) shelf: Arc<SnapshotShelf>,
    pub(super) blocking: Blocking,
}

impl SnapshotInbox {
    /// Where its file work has to run.
    pub(crate) const fn blocking(&self) -> Blocking {
        self.blocking
    }

    /// When the snapshot that there is was written on this node, in milliseconds since the Unix
    /// epoch, as the file system has it; nothing without one.
    pub(crate) fn current_written_ms(&self) -> Option<u64> {
        self.shelf.current()?.written_ms()
    }

    /// Begins to receive the snapshot that the manifest describes. Blocks.
    ///
    /// # Errors
    /// [`StorageError`].
    pub fn receive(&self, manifest: Manifest) -> Result<SnapshotReceiver, StorageError> {
        let directory = self.shelf.unfinished("recv");
        create_directory(directory.path())?;
        let bytes_left = manifest.total_bytes();
        let mut receiver =
            SnapshotReceiver { directory, manifest, finished: 0, open: None, bytes_left };
        receiver.advance()?;
        Ok(receiver)
    }
}

struct Incoming {
    file: File,
    hash: Sha256,
    bytes_left: u64,
}

/// A snapshot on its way in. Dropping it removes what has arrived.
pub struct SnapshotReceiver {
    directory: OwnedDirectory,
    manifest: Manifest,
    finished: usize,
    open: Option<Incoming>,
    bytes_left: u64,
}

impl SnapshotReceiver {
    /// Bytes that have not arrived yet.
    #[must_use]
    pub const fn expected_bytes_left(&self) -> u64 {
        self.bytes_left
    }

    /// Takes the next bytes: those of all files in the manifest's order, one after the other.
    /// Blocks.
    ///
    /// # Errors
    /// [`StorageError`]: corrupt when the sender sends something else than it announced.
    pub fn append(&mut self, chunk: &[u8]) -> Result<(), StorageError> {
        let mut rest = chunk;
        while !rest.is_empty() {
            let Some(incoming) = &mut self.open else {
                return Err(corrupt("more bytes than the manifest announces"));
            };
            let bytes = usize::try_from(incoming.bytes_left).unwrap_or(usize::MAX);
            let (taken, left) = rest.split_at(bytes.min(rest.len()));
            incoming
                .file
                .write_all(taken)
                .map_err(|error| failed("write to", self.directory.path(), &error))?;
            incoming.hash.update(taken);
            incoming.bytes_left -= taken.len() as u64;
            self.bytes_left -= taken.len() as u64;
            rest = left;
            self.advance()?;
        }
        Ok(())
    }

    /// Closes files that are complete and opens the next one.
    fn advance(&mut self) -> Result<(), StorageError> {
        loop {
            if self.open.as_ref().is_some_and(|incoming| incoming.bytes_left > 0) {
                return Ok(());
            }
            if let Some(incoming) = self.open.take() {
                self.close(incoming)?;
            }
            let Some(next) = self.manifest.files().get(self.finished) else { return Ok(()) };
            let path = self.directory.path().join(&next.name);
            let file = File::create_new(&path)
                .map_err(|error| failed("create the file", &path, &error))?;
            self.open = Some(Incoming { file, hash: Sha256::new(), bytes_left: next.bytes });
        }
    }

    fn close(&mut self, incoming: Incoming) -> Result<(), StorageError> {
        let expected = &self.manifest.files()[self.finished];
        let sha256: [u8; 32] = incoming.hash.finalize().into();
        if sha256 != expected.sha256 {
            let message = format!("file {} has another hash than announced", expected.name);
            return Err(corrupt(message));
        }
        let synced = incoming.file.sync_all();
        synced.map_err(|error| failed("sync", self.directory.path(), &error))?;
        self.finished += 1;
        Ok(())
    }

    /// Ends the transfer: every file is there, as announced, and durable. Blocks.
    ///
    /// # Errors
    /// [`StorageError`]: corrupt when something is missing.
    pub fn finish(self) -> Result<SnapshotHandle, StorageError> {
        if self.finished < self.manifest.files().len() {
            let left = self.bytes_left;
            return Err(corrupt(format!("the transfer ended {left} bytes early")));
        }
        write_manifest(self.directory.path(), &self.manifest)?;
        Ok(SnapshotHandle::new(self.directory, self.manifest))
    }
}

fn corrupt(message: impl Into<String>) -> StorageError {
    StorageError::corrupt("receive a snapshot", message)
}
