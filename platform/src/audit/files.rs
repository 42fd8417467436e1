//! The files of one audit: the one that is written to, and those that are finished.
//!
//! A finished file is named after the one that is written to and the number of its last record,
//! `audit.jsonl.000000041237`, and ends in `.zst` once it is compressed. So their order is that of
//! the numbers, and a name says what is gone with a file.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// The file that is written to, in a data directory, unless the configuration says otherwise.
pub const DEFAULT_FILE_NAME: &str = "audit.jsonl";
/// What a compressed file's name ends in.
const COMPRESSED: &str = ".zst";
/// What the name of one that is being compressed ends in.
const PART: &str = ".zst.part";
/// A directory is listed so often at most, until two listings agree.
const LISTINGS_MAX: u32 = 16;
/// Digits of the number in a name, at least, so that shells sort them.
const DIGITS_MIN: usize = 12;

/// Where the files of one audit are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditFiles {
    active: PathBuf,
}

impl AuditFiles {
    /// Those that belong to the file that is written to.
    #[must_use]
    pub fn of(active: &Path) -> Self {
        Self { active: active.to_owned() }
    }

    /// Those in a data directory, or those that belong to a file.
    #[must_use]
    pub fn at(path: &Path) -> Self {
        if path.is_dir() { Self::of(&path.join(DEFAULT_FILE_NAME)) } else { Self::of(path) }
    }

    /// The file that is written to.
    #[must_use]
    pub fn active(&self) -> &Path {
        &self.active
    }

    /// Whether there is any file.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn exist(&self) -> io::Result<bool> {
        Ok(self.active.exists() || !self.finished()?.is_empty())
    }

    /// A finished file as it was written.
    #[must_use]
    pub fn plain(&self, last_sequence: u64) -> PathBuf {
        self.with_suffix(last_sequence, "")
    }

    /// A finished file, compressed.
    #[must_use]
    pub fn compressed(&self, last_sequence: u64) -> PathBuf {
        self.with_suffix(last_sequence, COMPRESSED)
    }

    /// What becomes [`Self::compressed`].
    pub(crate) fn part(&self, last_sequence: u64) -> PathBuf {
        self.with_suffix(last_sequence, PART)
    }

    /// The numbers of the last records of the finished files, the oldest first.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn finished(&self) -> io::Result<Vec<u64>> {
        let mut listed = self.list()?;
        // A directory that changes while it is read in pieces may show neither name of a file that
        // gets another one just then. Two listings do not miss the same.
        for _ in 0..LISTINGS_MAX {
            let again = self.list()?;
            if again == listed {
                break;
            }
            listed = again;
        }
        Ok(listed)
    }

    fn list(&self) -> io::Result<Vec<u64>> {
        let mut numbers = Vec::new();
        for entry in std::fs::read_dir(self.directory())? {
            let name = entry?.file_name();
            numbers.extend(name.to_str().and_then(|name| self.number(name)));
        }
        // A crash may leave a file and its compressed copy.
        numbers.sort_unstable();
        numbers.dedup();
        Ok(numbers)
    }

    /// Makes names that have changed survive a power loss.
    pub(crate) fn sync_directory(&self) -> io::Result<()> {
        File::open(self.directory())?.sync_all()
    }

    fn directory(&self) -> &Path {
        match self.active.parent() {
            Some(parent) if parent != Path::new("") => parent,
            Some(_) | None => Path::new("."),
        }
    }

    fn with_suffix(&self, last_sequence: u64, suffix: &str) -> PathBuf {
        let mut path = self.active.clone().into_os_string();
        path.push(format!(".{last_sequence:0DIGITS_MIN$}{suffix}"));
        path.into()
    }

    fn number(&self, name: &str) -> Option<u64> {
        let active = self.active.file_name()?.to_str()?;
        let rest = name.strip_prefix(active)?.strip_prefix('.')?;
        let digits = rest.strip_suffix(COMPRESSED).unwrap_or(rest);
        let number: u64 = digits.parse().ok()?;
        // As it is written, and not as `+5` or with more zeros: that file would not be found.
        (format!("{number:0DIGITS_MIN$}") == digits).then_some(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finished_files_are_found_in_the_order_of_their_records() {
        let directory = tempfile::tempdir().unwrap();
        let files = AuditFiles::at(directory.path());
        assert!(!files.exist().unwrap());
        let large = 1_234_567_890_123;
        for path in [files.plain(large), files.compressed(7), files.plain(7), files.part(8)] {
            std::fs::write(path, "").unwrap();
        }
        let long = "audit.jsonl.0000000000009";
        for other in ["audit.jsonl.1", "audit.jsonl.bak", "audit.jsonl.00000000000x", long, "other"]
        {
            std::fs::write(directory.path().join(other), "").unwrap();
        }
        assert_eq!(files.finished().unwrap(), [7, large]);
        assert!(files.exist().unwrap());
        assert!(files.compressed(7).ends_with("audit.jsonl.000000000007.zst"));
    }

    #[test]
    fn a_file_in_the_working_directory_has_a_directory() {
        assert_eq!(AuditFiles::of(Path::new("audit.jsonl")).directory(), Path::new("."));
    }
}
