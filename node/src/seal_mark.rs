//! The mark of a node that an operator has sealed: a file beside its data, so that it outlives the
//! process.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// The file's name.
const NAME: &str = "sealed-by-operator";

/// Where the mark is, or would be.
#[derive(Debug, Clone)]
pub struct SealMark {
    directory: PathBuf,
}

impl SealMark {
    /// That of the node with its data in this directory.
    #[must_use]
    pub fn of(data_dir: &Path) -> Self {
        Self { directory: data_dir.to_owned() }
    }

    fn path(&self) -> PathBuf {
        self.directory.join(NAME)
    }

    /// Whether it is there.
    ///
    /// # Errors
    /// When that cannot be told.
    pub fn is_set(&self) -> io::Result<bool> {
        self.path().try_exists()
    }

    /// Makes it, on the disk when this returns.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub fn set(&self) -> io::Result<()> {
        File::create(self.path())?.sync_all()?;
        self.sync()
    }

    /// Takes it away, on the disk too.
    ///
    /// # Errors
    /// When the disk does not let it go.
    pub fn clear(&self) -> io::Result<()> {
        match std::fs::remove_file(self.path()) {
            Ok(()) => self.sync(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// A name is on the disk once its directory is.
    fn sync(&self) -> io::Result<()> {
        File::open(&self.directory)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_there_until_it_is_taken_away() {
        let directory = tempfile::tempdir().unwrap();
        let mark = SealMark::of(directory.path());
        assert!(!mark.is_set().unwrap());
        mark.set().unwrap();
        mark.set().unwrap();
        assert!(SealMark::of(directory.path()).is_set().unwrap());
        mark.clear().unwrap();
        mark.clear().unwrap();
        assert!(!mark.is_set().unwrap());
    }
}
