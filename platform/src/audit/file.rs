//! The audit file: appended to, never rewritten, opened again where it ended.
//!
//! Promises: a write that failed half-way leaves no half line for the next one to run into; a
//! line that a crash tore is closed off by a marker, so that every other line is whole JSON.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::PoisonError;

use serde::Deserialize;

/// How far back from the end the last whole record is looked for, in bytes. A record is as long
/// as the entry keys of a version: at most 65,536 keys of one character, and their names.
const TAIL_BYTES: u64 = 4 << 20;

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
    let tail = read_tail(&mut file, length).map_err(failed)?;
    let torn_bytes = tail.iter().rev().take_while(|byte| **byte != b'\n').count();
    let last = last_sequence(&tail);
    let mut next_sequence = match last {
        Some(last) => last + 1,
        // A file of a single torn line: the very first write was cut.
        None if torn_bytes == tail.len() && length <= TAIL_BYTES => 0,
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

fn read_tail(file: &mut File, length: u64) -> io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
    let mut tail = Vec::new();
    file.read_to_end(&mut tail)?;
    Ok(tail)
}

/// The sequence number of the last line that ends and parses.
fn last_sequence(tail: &[u8]) -> Option<u64> {
    #[derive(Deserialize)]
    struct Numbered {
        sequence: u64,
    }
    let end = tail.iter().rposition(|byte| *byte == b'\n')?;
    let lines = tail[..end].rsplit(|byte| *byte == b'\n');
    let mut numbers = lines.filter_map(|line| serde_json::from_slice::<Numbered>(line).ok());
    numbers.next().map(|numbered| numbered.sequence)
}

/// Ends the torn line and says, as a record of its own, that it is not one.
fn torn_marker(sequence: u64, torn_bytes: usize) -> String {
    format!(
        "\n{{\"sequence\":{sequence},\"event_type\":\"lockbox.audit.TornLine\",\
         \"torn_bytes\":{torn_bytes}}}\n"
    )
}
