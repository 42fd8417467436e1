//! How far an audit goes at a moment, whatever is written, finished, compressed or removed later.
//!
//! By files and bytes alone: what the lines say may have been changed. Refuses to know what that is.

use std::fs::{File, Metadata};
use std::io;
use std::path::PathBuf;

use super::files::AuditFiles;
use super::walk::{WalkedFile, found, identity, open_file, open_finished};

/// The files of one audit as they are at a moment.
#[derive(Debug)]
pub struct Extent {
    files: AuditFiles,
    /// The finished ones, by their last records, the oldest first.
    finished: std::vec::IntoIter<u64>,
    /// The one that is written to, and its length in bytes.
    active: Option<(File, u64)>,
}

/// One of these files, in the order of their records.
pub struct ExtentFile {
    /// Where it was.
    pub path: PathBuf,
    /// Nothing when it has been removed since, as retention does it, with all that are older; an
    /// error when it cannot be opened.
    pub opened: io::Result<Option<WalkedFile>>,
}

impl Extent {
    /// As they are now; nothing without any file.
    ///
    /// # Errors
    /// When the directory, or the file that is written to, cannot be read.
    pub fn now(files: &AuditFiles) -> io::Result<Option<Self>> {
        loop {
            let active = found(open_file(files.active()))?;
            let finished = match files.finished() {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                finished => finished?,
            };
            let opened = active.as_ref().map(File::metadata).transpose()?;
            // ORDER: one that was finished between the two is not missed, nor there twice.
            let there = found(std::fs::metadata(files.active()))?;
            let same = |metadata: &Metadata| identity(metadata);
            if opened.as_ref().map(same) != there.as_ref().map(same) {
                continue;
            }
            if finished.is_empty() && active.is_none() {
                return Ok(None);
            }
            let length = opened.map_or(0, |opened| opened.len());
            let active = active.map(|active| (active, length));
            let files = files.clone();
            return Ok(Some(Self { files, finished: finished.into_iter(), active }));
        }
    }

    /// The next file.
    pub fn next_file(&mut self) -> Option<ExtentFile> {
        if let Some(number) = self.finished.next() {
            let opened = open_finished(&self.files, number).and_then(|opened| match opened {
                None => self.demand_removed(number).map(|()| None),
                opened => Ok(opened),
            });
            let plain = self.files.plain(number);
            let path = if plain.exists() { plain } else { self.files.compressed(number) };
            return Some(ExtentFile { path, opened });
        }
        let (active, length) = self.active.take()?;
        let path = self.files.active().to_owned();
        let opened = WalkedFile::begin_of(&path, active, length).map(Some);
        Some(ExtentFile { path, opened })
    }

    /// That this file, which was there, is gone with all that are older, and nothing has its name.
    fn demand_removed(&self, number: u64) -> io::Result<()> {
        match self.files.finished()?.first() {
            Some(oldest) if *oldest <= number => Err(io::Error::new(
                io::ErrorKind::NotFound,
                "it is gone, and neither it nor what is older was removed in order",
            )),
            Some(_) | None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::audit::walk::LineRead;

    /// The whole lines that are read, file by file; a removed file is `None`.
    fn read(mut extent: Extent) -> Vec<Option<Vec<String>>> {
        let mut files = Vec::new();
        while let Some(file) = extent.next_file() {
            files.push(file.opened.unwrap().map(|mut file| {
                let (mut lines, mut line) = (Vec::new(), Vec::new());
                while file.read_line(&mut line).unwrap() == LineRead::Whole {
                    lines.push(String::from_utf8(std::mem::take(&mut line)).unwrap());
                }
                lines
            }));
        }
        files
    }

    fn lines(text: &str) -> Option<Vec<String>> {
        Some(text.split_whitespace().map(str::to_owned).collect())
    }

    #[test]
    fn what_comes_later_is_not_in_it_and_what_was_there_is() {
        let directory = tempfile::tempdir().unwrap();
        let files = AuditFiles::at(directory.path());
        assert!(Extent::now(&files).unwrap().is_none());
        fs::write(files.plain(2), "1\n2\n").unwrap();
        fs::write(files.plain(4), "3\n4\n").unwrap();
        let none_active = Extent::now(&files).unwrap().unwrap();
        fs::write(files.active(), "5\n6").unwrap();
        let extent = Extent::now(&files).unwrap().unwrap();
        // Its last line ends, the file is finished and compressed, and the oldest is removed.
        fs::write(files.active(), "5\n6\n7\n").unwrap();
        fs::rename(files.active(), files.plain(7)).unwrap();
        fs::write(files.compressed(7), zstd::encode_all(&b"5\n6\n7\n"[..], 1).unwrap()).unwrap();
        fs::remove_file(files.plain(7)).unwrap();
        fs::write(files.active(), "8\n").unwrap();
        fs::remove_file(files.plain(2)).unwrap();
        assert_eq!(read(extent), [None, lines("3 4"), lines("5")]);
        assert_eq!(read(none_active), [None, lines("3 4")]);
        let now = Extent::now(&files).unwrap().unwrap();
        assert_eq!(read(now), [lines("3 4"), lines("5 6 7"), lines("8")]);
    }

    /// Retention takes the oldest first, and leaves no names.
    #[test]
    fn what_goes_otherwise_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let files = AuditFiles::at(directory.path());
        for number in [2, 4, 6] {
            fs::write(files.plain(number), "1\n").unwrap();
        }
        fs::remove_file(files.plain(6)).unwrap();
        std::os::unix::fs::symlink("nowhere", files.plain(6)).unwrap();
        let mut extent = Extent::now(&files).unwrap().unwrap();
        fs::remove_file(files.plain(4)).unwrap();
        let mut readable = || extent.next_file().unwrap().opened.map(|opened| opened.is_some());
        assert!(readable().unwrap());
        assert_eq!(readable().unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(readable().unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn what_is_not_a_file_is_not_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let files = AuditFiles::at(directory.path());
        let pipe = |path: &std::path::Path| {
            assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
        };
        pipe(&files.plain(2));
        let mut extent = Extent::now(&files).unwrap().unwrap();
        assert!(extent.next_file().unwrap().opened.is_err());
        pipe(files.active());
        assert!(Extent::now(&files).is_err());
    }

    #[test]
    fn without_a_directory_there_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let files = AuditFiles::at(&directory.path().join("absent/audit.jsonl"));
        assert!(Extent::now(&files).unwrap().is_none());
    }
}
