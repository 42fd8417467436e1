//! The audit file: appended to, never rewritten, opened again where it ended.
//!
//! Promises: a write that failed half-way leaves no half line for the next one to run into; a
//! line that a crash tore is closed off by a marker, so that every other line is whole JSON.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::PoisonError;

use serde::Deserialize;

/// How much is read at a time on the way back to a line's begin, in bytes.
const BLOCK_BYTES: usize = 64 << 10;
/// Lines at the end that may be no records. A crash leaves one, when it cuts off the marker of
/// the crash before.
const TORN_LINES_MAX: usize = 100;
/// The longest file that may be the torn half of a first record, in bytes.
const FIRST_LINE_BYTES_MAX: u64 = 4 << 20;

/// Where the writer's bytes go. The real one is a file; tests have one that fails.
pub(crate) trait AuditFile: Send + Sync {
    /// Appends whole lines: all of them, or none that a later append would run into.
    fn append(&self, lines: &[u8]) -> io::Result<()>;

    /// Makes everything appended so far survive a power loss.
    fn sync(&self) -> io::Result<()>;
}

/// Why the audit file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AuditOpenError {
    /// It cannot be opened, read or written.
    #[error("cannot use the audit file {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It is not an audit file.
    #[error("{} has content but no audit record at its end", path.display())]
    NotAudit {
        /// The file.
        path: PathBuf,
    },
    /// No number is left for the next record: its last one is not ours.
    #[error("the last audit record of {} has the largest number that there is", path.display())]
    Full {
        /// The file.
        path: PathBuf,
    },
}

/// The file that audit records are appended to.
#[derive(Debug)]
pub(crate) struct AppendFile {
    file: File,
    /// INVARIANT: the length up to which the file holds whole lines.
    whole_bytes: Mutex<u64>,
}

impl AuditFile for AppendFile {
    fn append(&self, lines: &[u8]) -> io::Result<()> {
        let mut whole_bytes = self.whole_bytes.lock().unwrap_or_else(PoisonError::into_inner);
        let length = self.file.metadata()?.len();
        if length > *whole_bytes {
            // An earlier append failed half-way; its calls were told so.
            self.file.set_len(*whole_bytes)?;
        } else if length < *whole_bytes {
            // Somebody cut the file, as some rotate logs; the next append begins where it ends.
            *whole_bytes = length;
        }
        (&self.file).write_all(lines)?;
        *whole_bytes += u64::try_from(lines.len()).unwrap_or(u64::MAX);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

/// An opened file and where its numbering goes on.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) file: AppendFile,
    pub(crate) next_sequence: u64,
}

/// Opens the file with mode 0600, closes off a torn line and finds the next sequence number.
pub(crate) fn open(path: &Path) -> Result<Opened, AuditOpenError> {
    let failed = |source| AuditOpenError::File { path: path.to_owned(), source };
    let mut file = OpenOptions::new()
        .create(true)
        .read(true)
        .append(true)
        .mode(0o600)
        .open(path)
        .map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len();
    let whole_bytes = line_end_before(&file, length).map_err(failed)?;
    let torn_bytes = length - whole_bytes;
    let mut next_sequence = match last_sequence(&mut file, whole_bytes).map_err(failed)? {
        Some(last) => {
            last.checked_add(1).ok_or_else(|| AuditOpenError::Full { path: path.to_owned() })?
        }
        // A file of a single torn line: the very first write was cut.
        None if whole_bytes == 0 && length <= FIRST_LINE_BYTES_MAX => 0,
        None => return Err(AuditOpenError::NotAudit { path: path.to_owned() }),
    };
    let opened = AppendFile { file, whole_bytes: Mutex::new(length) };
    if torn_bytes > 0 {
        let marker = torn_marker(next_sequence, torn_bytes);
        opened.append(marker.as_bytes()).and_then(|()| opened.sync()).map_err(failed)?;
        next_sequence += 1;
    }
    Ok(Opened { file: opened, next_sequence })
}

/// Where the last line that ends before `end` does end, its line end included; 0 when none does.
fn line_end_before(file: &File, end: u64) -> io::Result<u64> {
    let mut block = vec![0; BLOCK_BYTES];
    let mut unread = end;
    while unread > 0 {
        let wanted = usize::try_from(unread).map_or(BLOCK_BYTES, |left| left.min(BLOCK_BYTES));
        let part = &mut block[..wanted];
        let begin = unread - wanted as u64;
        file.read_exact_at(part, begin)?;
        if let Some(at) = part.iter().rposition(|byte| *byte == b'\n') {
            return Ok(begin + at as u64 + 1);
        }
        unread = begin;
    }
    Ok(0)
}

/// The sequence number of the last line before `whole_bytes` that parses, however long it is.
fn last_sequence(file: &mut File, whole_bytes: u64) -> io::Result<Option<u64>> {
    #[derive(Deserialize)]
    struct Numbered {
        sequence: u64,
    }
    let mut end = whole_bytes;
    for _ in 0..TORN_LINES_MAX {
        if end == 0 {
            break;
        }
        let begin = line_end_before(file, end - 1)?;
        file.seek(SeekFrom::Start(begin))?;
        // Read as it is parsed: a line need not fit into memory.
        let line = BufReader::new(Read::by_ref(file).take(end - begin));
        match serde_json::from_reader::<_, Numbered>(line) {
            Ok(numbered) => return Ok(Some(numbered.sequence)),
            Err(error) if error.is_io() => return Err(error.into()),
            Err(_no_record) => end = begin,
        }
    }
    Ok(None)
}

/// Ends the torn line and says, as a record of its own, that it is not one.
fn torn_marker(sequence: u64, torn_bytes: u64) -> String {
    format!(
        "\n{{\"sequence\":{sequence},\"event_type\":\"lockbox.audit.TornLine\",\
         \"torn_bytes\":{torn_bytes}}}\n"
    )
}
