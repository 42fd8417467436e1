//! Snapshots on disk: checkpoints with a manifest, the newest of which is the current one.
//!
//! A snapshot is complete once its directory has its final name. Whoever holds a
//! [`SnapshotHandle`] keeps the files; a replaced snapshot goes with its last handle.

use std::fs::{File, Metadata};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use sha2::{Digest, Sha256};

use super::durable_files::{
    UNFINISHED, create_directory, failed, is_directory, names, read_optional, remove_directory,
    rename, sync_directory, write_synced,
};
use super::layout::{is_of_snapshot, is_unfinished, renewed_name, snapshot_name};
use super::locking::locked;
use super::manifest::{MANIFEST_NAME, Manifest, ManifestFile};
use super::owned_directory::{InUse, OwnedDirectory};
use crate::error::StorageError;
use crate::types::{LogId, Snapshot, SnapshotMeta};

const HASH_BUFFER_BYTES: usize = 256 << 10;
/// How RocksDB names its tables.
const TABLE_SUFFIX: &str = ".sst";

/// A complete snapshot. Its files stay as long as a handle lives.
#[derive(Debug, Clone)]
pub struct SnapshotHandle {
    directory: Arc<OwnedDirectory>,
    manifest: Arc<Manifest>,
    /// The last [renewal](SnapshotShelf::renew) that it came after.
    renewal: u64,
}

impl SnapshotHandle {
    pub(super) fn new(directory: OwnedDirectory, manifest: Manifest) -> Self {
        Self { directory: Arc::new(directory), manifest: Arc::new(manifest), renewal: 0 }
    }

    /// The same, as one that was taken after this renewal.
    pub(super) fn taken_after(self, renewal: u64) -> Self {
        Self { renewal, ..self }
    }

    /// The last renewal that it came after.
    pub(super) const fn renewal(&self) -> u64 {
        self.renewal
    }

    /// Its manifest.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// What it contains.
    #[must_use]
    pub fn meta(&self) -> &SnapshotMeta {
        self.manifest.meta()
    }

    /// Opens one of its files for reading.
    ///
    /// # Errors
    /// [`StorageError`].
    pub fn open_file(&self, file: &ManifestFile) -> Result<File, StorageError> {
        let path = self.directory.path().join(&file.name);
        File::open(&path).map_err(|error| failed("open the snapshot file", &path, &error))
    }

    /// When its manifest was written, in milliseconds since the Unix epoch.
    pub(super) fn written_ms(&self) -> Option<u64> {
        let written = std::fs::metadata(self.path().join(MANIFEST_NAME)).ok()?.modified().ok()?;
        let since = written.duration_since(std::time::UNIX_EPOCH).ok()?;
        u64::try_from(since.as_millis()).ok()
    }

    pub(super) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(super) fn into_snapshot(self) -> Snapshot {
        Snapshot { meta: self.meta().clone(), snapshot: self }
    }

    /// Its entry for a table of RocksDB that is the very same file: tables never change, and
    /// checkpoints share them. Should the disk change one all the same, the old hash is the right
    /// one, and whoever is sent the file refuses it.
    fn same_table(&self, path: &Path, name: &str) -> Option<&ManifestFile> {
        if !name.ends_with(TABLE_SUFFIX) {
            return None;
        }
        let known = self.manifest.files().iter().find(|file| file.name == name)?;
        // What cannot be looked at is hashed, and that says why.
        let [ours, theirs] =
            [self.path().join(name).as_path(), path].map(|path| std::fs::metadata(path).ok());
        let identity = |file: &Metadata| (file.dev(), file.ino(), file.len());
        let (ours, theirs) = (identity(&ours?), identity(&theirs?));
        (ours == theirs && theirs.2 == known.bytes).then_some(known)
    }

    fn last(&self) -> Option<&LogId> {
        self.meta().last_log_id.as_ref()
    }
}

/// The directory of snapshots and the current one.
pub(super) struct SnapshotShelf {
    directory: PathBuf,
    in_use: InUse,
    current: Mutex<Option<SnapshotHandle>>,
    unfinished: AtomicU64,
    /// Counts renewals in this process.
    renewals: AtomicU64,
}

impl SnapshotShelf {
    /// Finds the newest snapshot and removes the others and all that is unfinished. What bears
    /// another name, or is no directory, is none of ours and stays.
    pub(super) fn open(directory: PathBuf) -> Result<Self, StorageError> {
        create_directory(&directory)?;
        let in_use = InUse::default();
        let mut newest: Option<SnapshotHandle> = None;
        for name in names(&directory)? {
            let path = directory.join(&name);
            if !is_of_snapshot(&name) || !is_directory(&path) {
                tracing::warn!(path = %path.display(), "this is no snapshot, and stays as it is");
                continue;
            }
            if is_unfinished(&name) {
                remove_directory(&path)?;
                continue;
            }
            let found = load(path, &in_use)?;
            // ORDER: never compare by name: terms are decimal.
            if newest.as_ref().is_some_and(|newest| newest.last() >= found.last()) {
                found.directory.discard();
            } else if let Some(older) = newest.replace(found) {
                older.directory.discard();
            }
        }
        let current = Mutex::new(newest);
        let (unfinished, renewals) = (AtomicU64::new(0), AtomicU64::new(0));
        Ok(Self { directory, in_use, current, unfinished, renewals })
    }

    pub(super) fn current(&self) -> Option<SnapshotHandle> {
        locked(&self.current).clone()
    }

    /// A place for something unfinished, unique in this process and not made yet; leftovers of
    /// another one are removed at opening.
    pub(super) fn unfinished(&self, kind: &str) -> OwnedDirectory {
        let number = self.unfinished.fetch_add(1, Ordering::Relaxed);
        let path = self.directory.join(format!("{kind}-{number}.{UNFINISHED}"));
        OwnedDirectory::unwanted(path, &self.in_use)
    }

    /// From now on every snapshot of before is to be replaced, whatever it is of: its files may
    /// hold what is erased from the state. Returns the number of this renewal.
    pub(super) fn renew(&self) -> u64 {
        self.renewals.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// The last renewal.
    pub(super) fn renewal(&self) -> u64 {
        self.renewals.load(Ordering::Acquire)
    }

    /// What there is beside the current snapshot, when that was taken after this renewal: others
    /// that somebody reads, and those that are being made or received. What nobody uses is removed.
    /// Blocks.
    pub(super) fn others(&self, renewal: u64) -> Result<Vec<PathBuf>, StorageError> {
        let current = self.current().filter(|current| current.renewal >= renewal);
        let own = current.as_ref().map_or(Path::new(""), SnapshotHandle::path);
        self.in_use.sweep(&self.directory, own, is_of_snapshot)
    }

    /// Gives a finished snapshot its final name and makes it the current one. If the current one
    /// is neither older nor to be renewed, it stays, and the given one goes with its last handle.
    pub(super) fn publish(&self, finished: SnapshotHandle) -> Result<SnapshotHandle, StorageError> {
        let mut current = locked(&self.current);
        let order = |snapshot: &SnapshotHandle| (snapshot.last().copied(), snapshot.renewal);
        if let Some(current) = current.as_ref()
            && order(current) >= order(&finished)
        {
            return Ok(current.clone());
        }
        let mut path = self.directory.join(snapshot_name(finished.last()));
        if path.exists() {
            // That of the same entry, which is being renewed.
            path = path.with_file_name(renewed_name(finished.last(), finished.renewal));
        }
        let directory = OwnedDirectory::wanted(path, &self.in_use);
        rename(finished.path(), directory.path())?;
        let directory = Arc::new(directory);
        let SnapshotHandle { manifest, renewal, .. } = finished;
        let published = SnapshotHandle { directory, manifest, renewal };
        if let Some(replaced) = current.replace(published.clone()) {
            replaced.directory.discard();
        }
        Ok(published)
    }
}

fn load(path: PathBuf, in_use: &InUse) -> Result<SnapshotHandle, StorageError> {
    let manifest = read_optional(&path.join(MANIFEST_NAME))?.ok_or_else(|| {
        StorageError::corrupt("open a snapshot", format!("{} has no manifest", path.display()))
    })?;
    let manifest = Manifest::from_json(&manifest)?;
    for file in manifest.files() {
        let path = path.join(&file.name);
        let length = std::fs::metadata(&path)
            .map_err(|error| failed("open the snapshot file", &path, &error))?
            .len();
        if length != file.bytes {
            let message = format!("{} has {length} bytes, not {}", path.display(), file.bytes);
            return Err(StorageError::corrupt("open a snapshot", message));
        }
    }
    Ok(SnapshotHandle::new(OwnedDirectory::wanted(path, in_use), manifest))
}

/// Hashes a checkpoint's files and writes the manifest beside them, durably. Of a table that the
/// snapshot before has as well, the hash is taken from there: what a snapshot costs is in
/// proportion to what has changed, not to all that there is.
pub(super) fn seal(
    directory: &Path,
    meta: SnapshotMeta,
    before: Option<&SnapshotHandle>,
) -> Result<Manifest, StorageError> {
    let files = names(directory)?.into_iter().map(|name| {
        let path = directory.join(&name);
        if let Some(known) = before.and_then(|before| before.same_table(&path, &name)) {
            return Ok(known.clone());
        }
        let (bytes, sha256) = hash_file(&path)?;
        Ok(ManifestFile { name, bytes, sha256 })
    });
    let manifest = Manifest::new(meta, files.collect::<Result<_, StorageError>>()?);
    write_manifest(directory, &manifest)?;
    Ok(manifest)
}

/// Writes the manifest beside its files, which are durable already.
pub(super) fn write_manifest(directory: &Path, manifest: &Manifest) -> Result<(), StorageError> {
    write_synced(&directory.join(MANIFEST_NAME), &manifest.to_json())?;
    sync_directory(directory)
}

fn hash_file(path: &Path) -> Result<(u64, [u8; 32]), StorageError> {
    let hash = || -> std::io::Result<(u64, [u8; 32])> {
        let mut file = File::open(path)?;
        let mut hash = Sha256::new();
        let mut buffer = vec![0; HASH_BUFFER_BYTES];
        let mut bytes = 0;
        loop {
            let read = file.read(&mut buffer)?;
            if read == 0 {
                return Ok((bytes, hash.finalize().into()));
            }
            bytes += read as u64;
            hash.update(&buffer[..read]);
        }
    };
    hash().map_err(|error| failed("hash the file", path, &error))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn sha256_of<'m>(manifest: &'m Manifest, name: &str) -> &'m [u8; 32] {
        &manifest.files().iter().find(|file| file.name == name).unwrap().sha256
    }

    #[test]
    fn a_table_that_is_shared_is_hashed_once_and_everything_else_each_time() {
        let place = tempfile::tempdir().unwrap();
        let [first, second] = ["first", "second"].map(|name| place.path().join(name));
        fs::create_dir(&first).unwrap();
        fs::create_dir(&second).unwrap();
        for (name, text) in [("1.sst", "shared"), ("2.sst", "gone"), ("3.log", "linked")] {
            fs::write(first.join(name), text).unwrap();
        }
        let before = seal(&first, SnapshotMeta::default(), None).unwrap();
        let before =
            SnapshotHandle::new(OwnedDirectory::wanted(first.clone(), &InUse::default()), before);
        fs::hard_link(first.join("1.sst"), second.join("1.sst")).unwrap();
        // Another file of the same name and length.
        fs::write(second.join("2.sst"), "here").unwrap();
        fs::hard_link(first.join("3.log"), second.join("3.log")).unwrap();
        let once = *sha256_of(before.manifest(), "1.sst");
        let log = *sha256_of(before.manifest(), "3.log");
        // The disk changes what nobody writes.
        fs::write(first.join("1.sst"), "shorex").unwrap();
        fs::write(first.join("3.log"), "longer").unwrap();
        let after = seal(&second, SnapshotMeta::default(), Some(&before)).unwrap();
        assert_eq!(sha256_of(&after, "1.sst"), &once);
        assert_ne!(sha256_of(&after, "2.sst"), sha256_of(before.manifest(), "2.sst"));
        assert_ne!(sha256_of(&after, "3.log"), &log);
        let anew = Manifest::from_json(&fs::read(second.join(MANIFEST_NAME)).unwrap()).unwrap();
        assert_eq!(anew, after);
    }
}
