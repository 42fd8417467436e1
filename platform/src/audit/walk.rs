//! Reads the files of one audit in the order of their records, beside a server that writes them.
//!
//! Promises: no file is passed over or read twice, also when one is finished, compressed or removed
//! meanwhile. Refuses to know what a line says.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::audit::files::AuditFiles;

/// The longest line that is read, in bytes: many times the largest record.
const LINE_BYTES_MAX: usize = 64 << 20;

/// The files, the oldest first.
#[derive(Debug, Clone)]
pub struct Walk<'a> {
    files: &'a AuditFiles,
    /// The finished file that was read last, by its last record.
    passed: Option<u64>,
    /// The file that is written to was read.
    ended: bool,
}

/// What was read of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineRead {
    /// All of it.
    Whole,
    /// Its begin: it has no end yet.
    Unfinished,
    /// Nothing: the file ends here.
    End,
}

/// A file of the audit, open for reading.
pub struct WalkedFile {
    path: PathBuf,
    /// Device and inode.
    identity: (u64, u64),
    finished: bool,
    lines: Box<dyn BufRead + Send>,
    lines_read: u64,
}

impl<'a> Walk<'a> {
    /// Begins with the oldest file.
    #[must_use]
    pub const fn new(files: &'a AuditFiles) -> Self {
        Self { files, passed: None, ended: false }
    }

    /// Begins behind this finished file, or with the oldest.
    pub(crate) const fn behind(files: &'a AuditFiles, passed: Option<u64>) -> Self {
        Self { files, passed, ended: false }
    }

    /// The next file; nothing behind the one that is written to.
    ///
    /// # Errors
    /// When the directory or the file cannot be read.
    pub fn next_file(&mut self) -> io::Result<Option<WalkedFile>> {
        // What is finished behind the last one is the file that was read as the active one.
        while !self.ended {
            if let Some(number) = self.next_finished()? {
                self.passed = Some(number);
                match open_finished(self.files, number)? {
                    Some(file) => return Ok(Some(file)),
                    // It was one too many meanwhile.
                    None => continue,
                }
            }
            let active = found(WalkedFile::open(self.files.active(), false))?;
            // What was the active file when it was opened has another name by now if this finds
            // something; else it is what follows the finished ones, whatever becomes of it.
            if self.next_finished()?.is_none() {
                self.ended = active.is_some();
                return Ok(active);
            }
        }
        Ok(None)
    }

    /// Goes on behind the file that [`Self::next_file`] gave last, once that is finished; nothing
    /// while it is still written to.
    ///
    /// # Errors
    /// As [`Self::next_file`].
    pub fn file_behind(&mut self, last: &WalkedFile) -> io::Result<Option<WalkedFile>> {
        if last.finished {
            return self.next_file();
        }
        match std::fs::metadata(self.files.active()) {
            Ok(metadata) if identity(&metadata) == last.identity => return Ok(None),
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(_) | Err(_) => {}
        }
        // The first that is finished since is the one that was read.
        let Some(number) = self.next_finished()? else { return Ok(None) };
        let before = self.passed.replace(number);
        self.ended = false;
        let behind = self.next_file()?;
        if behind.is_none() {
            // The next one is not made yet.
            self.passed = before;
        }
        Ok(behind)
    }

    fn next_finished(&self) -> io::Result<Option<u64>> {
        let finished = self.files.finished()?;
        Ok(finished.into_iter().find(|number| Some(*number) > self.passed))
    }
}

/// Opens a finished file, compressed or not; nothing when it is gone.
pub(crate) fn open_finished(files: &AuditFiles, number: u64) -> io::Result<Option<WalkedFile>> {
    // ORDER: it is compressed at any moment, and removed only then.
    if let Some(plain) = found(WalkedFile::open(&files.plain(number), true))? {
        return Ok(Some(plain));
    }
    found(WalkedFile::open_compressed(&files.compressed(number)))
}

/// Opens a file, and nothing else: whoever opens a pipe waits for its writer.
pub(crate) fn open_file(path: &Path) -> io::Result<File> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    File::open(path)
}

/// Nothing when it is not there.
pub(crate) fn found<T>(opened: io::Result<T>) -> io::Result<Option<T>> {
    match opened {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Device and inode.
pub(crate) fn identity(metadata: &std::fs::Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

impl WalkedFile {
    fn open(path: &Path, finished: bool) -> io::Result<Self> {
        let file = open_file(path)?;
        let identity = identity(&file.metadata()?);
        let lines = Box::new(BufReader::new(file));
        Ok(Self { path: path.to_owned(), identity, finished, lines, lines_read: 0 })
    }

    /// The first `length` bytes of the file that is written to, which was opened at `path`.
    pub(crate) fn begin_of(path: &Path, file: File, length: u64) -> io::Result<Self> {
        let identity = identity(&file.metadata()?);
        let lines = Box::new(BufReader::new(file.take(length)));
        Ok(Self { path: path.to_owned(), identity, finished: false, lines, lines_read: 0 })
    }

    fn open_compressed(path: &Path) -> io::Result<Self> {
        let file = open_file(path)?;
        let identity = identity(&file.metadata()?);
        let lines = Box::new(BufReader::new(zstd::Decoder::new(file)?));
        Ok(Self { path: path.to_owned(), identity, finished: true, lines, lines_read: 0 })
    }

    /// Its path when it was opened.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it was finished when it was opened: then it ends with a whole line.
    #[must_use]
    pub const fn is_finished(&self) -> bool {
        self.finished
    }

    /// Whole lines read so far: the number of the last one.
    #[must_use]
    pub const fn lines_read(&self) -> u64 {
        self.lines_read
    }

    /// Reads on, to the end of the next line, behind what `line` holds of it already. Its line end
    /// is left out.
    ///
    /// # Errors
    /// When the file cannot be read, or a line is longer than any record.
    pub fn read_line(&mut self, line: &mut Vec<u8>) -> io::Result<LineRead> {
        let room = (LINE_BYTES_MAX + 1).saturating_sub(line.len());
        Read::by_ref(&mut self.lines).take(room as u64).read_until(b'\n', line)?;
        if line.last() == Some(&b'\n') {
            line.pop();
            self.lines_read += 1;
            return Ok(LineRead::Whole);
        }
        if line.len() > LINE_BYTES_MAX {
            let message = "a line is longer than any record";
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        Ok(if line.is_empty() { LineRead::End } else { LineRead::Unfinished })
    }
}
