//! Files that must be there after a power failure: written, synced, renamed, directory synced.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use crate::error::StorageError;

/// Ending of everything that is not finished; removed when the store is opened.
pub(super) const UNFINISHED: &str = "tmp";

/// Makes a directory and its parents, and their entries durable.
pub(super) fn create_directory(path: &Path) -> Result<(), StorageError> {
    fs::create_dir_all(path).map_err(|error| failed("create the directory", path, &error))?;
    path.parent().map_or(Ok(()), sync_directory)
}

/// Makes the entries of a directory durable.
pub(super) fn sync_directory(path: &Path) -> Result<(), StorageError> {
    File::open(path)
        .and_then(|directory| directory.sync_all())
        .map_err(|error| failed("sync the directory", path, &error))
}

/// Makes every file of a directory, and the directory itself, durable. It has no sub-directories.
pub(super) fn sync_tree(path: &Path) -> Result<(), StorageError> {
    for name in names(path)? {
        let file = path.join(name);
        File::open(&file)
            .and_then(|opened| opened.sync_all())
            .map_err(|error| failed("sync the file", &file, &error))?;
    }
    sync_directory(path)
}

/// The names in a directory, sorted; none that is not UTF-8, for no file of ours has such a one.
pub(super) fn names(path: &Path) -> Result<Vec<String>, StorageError> {
    let list = || -> std::io::Result<Vec<String>> {
        let entries = fs::read_dir(path)?.collect::<std::io::Result<Vec<_>>>()?;
        let names = entries.into_iter().filter_map(|entry| entry.file_name().into_string().ok());
        let mut names: Vec<String> = names.collect();
        names.sort_unstable();
        Ok(names)
    };
    list().map_err(|error| failed("list the directory", path, &error))
}

/// Replaces a file by new content; after a crash it has either the old or the new one.
pub(super) fn replace_file(path: &Path, content: &[u8]) -> Result<(), StorageError> {
    let temporary = path.with_extension(UNFINISHED);
    write_synced(&temporary, content)?;
    rename(&temporary, path)
}

/// Writes a new file and syncs it, without its directory.
pub(super) fn write_synced(path: &Path, content: &[u8]) -> Result<(), StorageError> {
    let write = || -> std::io::Result<()> {
        let mut file = File::create(path)?;
        file.write_all(content)?;
        file.sync_all()
    };
    write().map_err(|error| failed("write the file", path, &error))
}

/// Renames within one directory and makes that durable.
pub(super) fn rename(from: &Path, to: &Path) -> Result<(), StorageError> {
    fs::rename(from, to).map_err(|error| failed("rename into place", to, &error))?;
    to.parent().map_or(Ok(()), sync_directory)
}

/// Whether there is a directory, and not a link to one.
pub(super) fn is_directory(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.is_dir())
}

/// Removes a directory with all its content, if it is there.
pub(super) fn remove_directory(path: &Path) -> Result<(), StorageError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(failed("remove the directory", path, &error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Reads a file that may not exist.
pub(super) fn read_optional(path: &Path) -> Result<Option<Vec<u8>>, StorageError> {
    match fs::read(path) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("read the file", path, &error)),
    }
}

/// An I/O error with the path that it is about.
pub(super) fn failed(what: &str, path: &Path, error: &std::io::Error) -> StorageError {
    StorageError::io(&format!("{what} {}", path.display()), error)
}
