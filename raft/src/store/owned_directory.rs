//! A directory that disappears with its last user, once it is no longer wanted.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use super::durable_files::UNFINISHED;

/// Keeps a directory's files in place as long as it lives.
#[derive(Debug)]
pub(super) struct OwnedDirectory {
    path: PathBuf,
    unwanted: AtomicBool,
}

impl OwnedDirectory {
    /// A directory that stays.
    pub(super) const fn wanted(path: PathBuf) -> Self {
        Self { path, unwanted: AtomicBool::new(false) }
    }

    /// A directory that is removed unless it is finished.
    pub(super) const fn unwanted(path: PathBuf) -> Self {
        Self { path, unwanted: AtomicBool::new(true) }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Removes the directory when the last user is gone.
    pub(super) fn discard(&self) {
        self.unwanted.store(true, Ordering::Release);
    }
}

impl Drop for OwnedDirectory {
    fn drop(&mut self) {
        if !*self.unwanted.get_mut() {
            return;
        }
        // ORDER: renamed first, so that a crash half-way leaves nothing that looks complete.
        let mut doomed = self.path.clone().into_os_string();
        doomed.push(".");
        doomed.push(UNFINISHED);
        let removed = match fs::rename(&self.path, &doomed) {
            Ok(()) => fs::remove_dir_all(&doomed),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = removed {
            let path = self.path.display();
            tracing::warn!(%path, %error, "an unwanted directory stays until the next start");
        }
    }
}
