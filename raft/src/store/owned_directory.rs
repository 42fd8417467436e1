//! A directory that disappears with its last user, once it is no longer wanted.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use super::durable_files::{UNFINISHED, is_directory, names, remove_directory};
use super::locking::locked;
use crate::error::StorageError;

/// The directories of one place that somebody uses. All clones are one list.
#[derive(Debug, Clone, Default)]
pub(super) struct InUse(Arc<Mutex<BTreeSet<PathBuf>>>);

impl InUse {
    /// Removes the directories below `place` that bear one of our names and that nobody uses: their
    /// removal failed once. Returns those beside `own` that are still there. Blocks.
    pub(super) fn sweep(
        &self,
        place: &Path,
        own: &Path,
        is_ours: fn(&str) -> bool,
    ) -> Result<Vec<PathBuf>, StorageError> {
        let mut left = Vec::new();
        for name in names(place)?.into_iter().filter(|name| is_ours(name)) {
            let path = place.join(name);
            if path == own || !is_directory(&path) {
                continue;
            }
            // ORDER: kept until it is removed, for somebody may want the same name.
            let used = locked(&self.0);
            if is_used(&used, &path) {
                left.push(path);
            } else if let Err(error) = remove_directory(&path) {
                tracing::warn!(path = %path.display(), %error, "a left-over directory stays");
                left.push(path);
            }
        }
        Ok(left)
    }
}

/// Whether somebody uses the directory, or is just removing it.
fn is_used(used: &BTreeSet<PathBuf>, path: &Path) -> bool {
    let is_doomed = path.extension().is_some_and(|extension| extension == UNFINISHED);
    used.contains(path) || is_doomed && used.contains(&path.with_extension(""))
}

/// Keeps a directory's files in place as long as it lives.
#[derive(Debug)]
pub(super) struct OwnedDirectory {
    path: PathBuf,
    unwanted: AtomicBool,
    in_use: InUse,
}

impl OwnedDirectory {
    /// A directory that stays. To be made before the directory itself, or before anybody
    /// [sweeps](InUse::sweep).
    pub(super) fn wanted(path: PathBuf, in_use: &InUse) -> Self {
        Self::new(path, in_use, false)
    }

    /// A directory that is removed unless it is finished. To be made as [`Self::wanted`].
    pub(super) fn unwanted(path: PathBuf, in_use: &InUse) -> Self {
        Self::new(path, in_use, true)
    }

    fn new(path: PathBuf, in_use: &InUse, unwanted: bool) -> Self {
        locked(&in_use.0).insert(path.clone());
        Self { path, unwanted: AtomicBool::new(unwanted), in_use: in_use.clone() }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The list that it is on.
    pub(super) fn in_use(&self) -> InUse {
        self.in_use.clone()
    }

    /// Removes the directory when the last user is gone.
    pub(super) fn discard(&self) {
        self.unwanted.store(true, Ordering::Release);
    }

    fn remove(&self) {
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
            tracing::warn!(%path, %error, "an unwanted directory stays for now");
        }
    }
}

impl Drop for OwnedDirectory {
    fn drop(&mut self) {
        if *self.unwanted.get_mut() {
            self.remove();
        }
        // ORDER: what is being removed is still in use.
        locked(&self.in_use.0).remove(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn make(path: &Path) -> PathBuf {
        fs::create_dir(path).unwrap();
        fs::write(path.join("file"), "text").unwrap();
        path.to_owned()
    }

    #[test]
    fn what_nobody_uses_is_removed_and_what_is_not_ours_is_not_touched() {
        let place = tempfile::tempdir().unwrap();
        let path = |name: &str| place.path().join(name);
        let in_use = InUse::default();
        let own = OwnedDirectory::wanted(make(&path("1")), &in_use);
        let old = OwnedDirectory::wanted(make(&path("2")), &in_use);
        old.discard();
        for name in ["3", "3.tmp", "copy"] {
            make(&path(name));
        }
        fs::write(path("4"), "a file").unwrap();
        let ours = |name: &str| name.starts_with(|first: char| first.is_ascii_digit());
        let sweep = || in_use.sweep(place.path(), own.path(), ours).unwrap();
        assert_eq!(sweep(), [path("2")]);
        assert_eq!(names(place.path()).unwrap(), ["1", "2", "4", "copy"]);
        // As it is called while it is being removed.
        fs::rename(path("2"), path("2.tmp")).unwrap();
        assert_eq!(sweep(), [path("2.tmp")]);
        fs::rename(path("2.tmp"), path("2")).unwrap();
        drop(old);
        assert_eq!(sweep(), Vec::<PathBuf>::new());
        assert_eq!(names(place.path()).unwrap(), ["1", "4", "copy"]);
    }
}
