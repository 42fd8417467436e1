//! A directory of backups: one file for each, named after when it was made and its last commit, so
//! that names sort as backups do.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use lockbox_core::LogTime;

use super::BackupError;
use super::file::{Written, write};
use crate::engine::Engine;

const PREFIX: &str = "kms-";
const SUFFIX: &str = ".backup";
/// What a file ends with that is being written.
const PARTIAL: &str = ".partial";
/// Digits of the milliseconds in a name.
const TIME_DIGITS: usize = 15;

/// A backup of a directory, by its name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Named {
    /// When it was made.
    pub created_at: LogTime,
    /// Its last commit.
    pub head: u64,
    /// Where it is.
    pub path: PathBuf,
}

/// The backups of a directory, the oldest first. What has another name is passed over.
///
/// # Errors
/// [`BackupError::Directory`].
pub fn list(directory: &Path) -> Result<Vec<Named>, BackupError> {
    let failed = |source| BackupError::Directory { path: directory.to_owned(), source };
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if let Some((created_at, head)) = path.file_name().and_then(|name| parse(name.to_str()?)) {
            found.push(Named { created_at, head, path });
        }
    }
    found.sort();
    Ok(found)
}

/// Writes a backup into the directory, under another name until it is whole and on the disk.
///
/// # Errors
/// [`BackupError`].
pub fn add(engine: &Engine, directory: &Path) -> Result<(PathBuf, Written), BackupError> {
    fs::create_dir_all(directory)
        .map_err(|source| BackupError::Directory { path: directory.to_owned(), source })?;
    let partial = directory.join(format!("kms{PARTIAL}"));
    let (written, path) = write_as(engine, directory, &partial)?;
    Ok((path, written))
}

fn write_as(
    engine: &Engine,
    directory: &Path,
    partial: &Path,
) -> Result<(Written, PathBuf), BackupError> {
    match fs::remove_file(partial) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(BackupError::Write(error));
        }
        // One that was interrupted, or none.
        Ok(()) | Err(_) => {}
    }
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(partial);
    let mut sink = BufWriter::new(file.map_err(BackupError::Write)?);
    let written = write(engine, &mut sink)?;
    let path = directory.join(name(&written));
    let finished = sink.flush().and_then(|()| sink.get_ref().sync_all());
    finished
        .and_then(|()| fs::rename(partial, &path))
        .and_then(|()| File::open(directory)?.sync_all())
        .map_err(BackupError::Write)?;
    Ok((written, path))
}

/// Removes the oldest backups, so that so many are left; says how many that were.
///
/// # Errors
/// [`BackupError::Directory`].
pub fn retain(directory: &Path, keep: usize) -> Result<usize, BackupError> {
    let all = list(directory)?;
    let old = &all[..all.len().saturating_sub(keep)];
    for backup in old {
        fs::remove_file(&backup.path)
            .map_err(|source| BackupError::Directory { path: backup.path.clone(), source })?;
    }
    Ok(old.len())
}

fn name(written: &Written) -> String {
    let (time, head) = (written.created_at.as_ms(), written.head);
    format!("{PREFIX}{time:0TIME_DIGITS$}-{head}{SUFFIX}")
}

fn parse(name: &str) -> Option<(LogTime, u64)> {
    let (time, head) = name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?.split_once('-')?;
    Some((LogTime::from_ms(time.parse().ok()?), head.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_and_others_are_passed_over() {
        let created_at = LogTime::from_ms(1_790_000_000_123);
        let written = Written { head: 77, created_at, rows: 1 };
        let named = name(&written);
        assert_eq!(named, "kms-001790000000123-77.backup");
        assert_eq!(parse(&named), Some((written.created_at, 77)));
        for other in ["kms.partial", "kms-1.backup", "kms-x-1.backup", "x-1-1.backup", "kms-1-1"] {
            assert_eq!(parse(other), None, "{other}");
        }
    }

    #[test]
    fn the_newest_are_kept_and_nothing_else_is_touched() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        for ms in 0..5 {
            let created_at = LogTime::from_ms(ms);
            fs::write(at(&name(&Written { head: 9, created_at, rows: 0 })), b"").unwrap();
        }
        fs::write(at("notes.txt"), b"").unwrap();
        assert_eq!(retain(directory.path(), 2).unwrap(), 3);
        assert_eq!(retain(directory.path(), 2).unwrap(), 0);
        let left: Vec<u64> =
            list(directory.path()).unwrap().iter().map(|found| found.created_at.as_ms()).collect();
        assert_eq!(left, [3, 4]);
        assert!(at("notes.txt").exists());
    }
}
