//! Room on a disk: how much there is, and a file that holds some of it back.
//!
//! A server that has filled its disk can often not even start again, or delete something: both
//! write first. The ballast is room that nothing else gets; removed, it is enough for that.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate, statvfs};
use rustix::io::Errno;

/// Written at once where a file system cannot set blocks aside.
const STEP_BYTES: usize = 1 << 20;

/// The room of a file system, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskSpace {
    /// All of it.
    pub total: u64,
    /// What this process may still write.
    pub available: u64,
}

/// Says how much room there is; another one in tests.
pub trait DiskGauge: Send + Sync + 'static {
    /// The room where a directory is, or would be made.
    ///
    /// # Errors
    /// When the file system does not say.
    fn space(&self, directory: &Path) -> io::Result<DiskSpace>;
}

/// The machine's file systems.
#[derive(Debug, Clone, Copy, Default)]
pub struct FileSystems;

impl DiskGauge for FileSystems {
    fn space(&self, directory: &Path) -> io::Result<DiskSpace> {
        // A relative one of which nothing is there is made in the working directory.
        let existing = directory.ancestors().find(|path| path.exists());
        let found = statvfs(existing.unwrap_or(Path::new(".")))?;
        let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
        // What only root may write is not for us, whoever we are.
        Ok(DiskSpace { total: bytes(found.f_blocks), available: bytes(found.f_bavail) })
    }
}

/// A file that holds room back.
#[derive(Debug, Clone)]
pub struct Ballast {
    path: PathBuf,
    bytes: u64,
}

impl Ballast {
    /// One of so many bytes; none at all of zero bytes. Nothing is written yet.
    #[must_use]
    pub const fn new(path: PathBuf, bytes: u64) -> Self {
        Self { path, bytes }
    }

    /// How much it holds back, when it is there.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether it is there.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.bytes > 0 && self.path.exists()
    }

    /// Takes the room, with blocks of its own. Blocks.
    ///
    /// # Errors
    /// When there is no room for it, or it cannot be written; nothing of it stays then.
    pub fn take(&self) -> io::Result<()> {
        if self.bytes == 0 {
            return self.release();
        }
        let taken = File::create(&self.path).and_then(|file| fill(file, self.bytes));
        if taken.is_err() {
            self.release()?;
        }
        taken
    }

    /// Gives the room back. Needs none itself.
    ///
    /// # Errors
    /// When the file cannot be removed; one that is not there is fine.
    pub fn release(&self) -> io::Result<()> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

fn fill(mut file: File, bytes: u64) -> io::Result<()> {
    match fallocate(&file, FallocateFlags::empty(), 0, bytes) {
        Ok(()) => file.sync_all(),
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => {
            let zeros = vec![0; STEP_BYTES];
            let mut left = bytes;
            while left > 0 {
                let step = usize::try_from(left).unwrap_or(STEP_BYTES).min(STEP_BYTES);
                file.write_all(&zeros[..step])?;
                left -= step as u64;
            }
            file.sync_all()
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_has_room_also_before_it_is_made() {
        let place = tempfile::tempdir().unwrap();
        let there = FileSystems.space(place.path()).unwrap();
        assert!(there.total > 0 && there.available <= there.total, "{there:?}");
        let not_yet = FileSystems.space(&place.path().join("a/b")).unwrap();
        assert_eq!(not_yet.total, there.total);
        assert!(FileSystems.space(Path::new("not-there/either")).unwrap().total > 0);
    }

    #[test]
    fn ballast_takes_blocks_and_gives_them_back() {
        use std::os::unix::fs::MetadataExt;
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("BALLAST");
        let ballast = Ballast::new(path.clone(), 3 << 20);
        assert!(!ballast.is_there());
        ballast.release().unwrap();
        ballast.take().unwrap();
        let metadata = fs::metadata(&path).unwrap();
        assert_eq!(metadata.len(), 3 << 20);
        assert!(metadata.blocks() * 512 >= 3 << 20, "it is sparse: {} blocks", metadata.blocks());
        assert!(ballast.is_there());
        // One of another size, after a change of the configuration.
        Ballast::new(path.clone(), 1 << 20).take().unwrap();
        assert_eq!(fs::metadata(&path).unwrap().len(), 1 << 20);
        ballast.release().unwrap();
        assert!(!path.exists() && !ballast.is_there());
        let none = Ballast::new(path.clone(), 0);
        none.take().unwrap();
        assert!(!path.exists());
    }
}
