//! The place in the audit up to which a receiver has confirmed: a small file beside it.
//!
//! Replaced as a whole and synced, so that a crash leaves the old place or the new one: a record
//! may be sent twice then, and none is left out.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::audit::chain::{ChainHead, LineHash};

/// The form of the file that is written.
const FORMAT: u32 = 1;

/// What the file says.
#[derive(Debug, Serialize, Deserialize)]
struct Written {
    format: u32,
    sequence: u64,
    sha256: String,
}

/// The file of one receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CursorFile {
    path: PathBuf,
}

impl CursorFile {
    /// `audit.jsonl.syslog.cursor` beside `audit.jsonl`.
    pub(super) fn beside(active: &Path, receiver: &str) -> Self {
        Self { path: with_suffix(active, &format!(".{receiver}.cursor")) }
    }

    /// The last record that is confirmed; nothing before the first.
    ///
    /// # Errors
    /// When the file cannot be read, or is not one of ours: who guesses would leave records out.
    pub(super) fn read(&self) -> io::Result<Option<ChainHead>> {
        let text = match std::fs::read(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let wrong = |problem: &str| {
            let message = format!("{} {problem}", self.path.display());
            io::Error::new(io::ErrorKind::InvalidData, message)
        };
        let written: Written =
            serde_json::from_slice(&text).map_err(|_other| wrong("is no cursor of an audit"))?;
        if written.format != FORMAT {
            return Err(wrong("was written by another version of the program"));
        }
        let hash: LineHash =
            written.sha256.parse().map_err(|_other| wrong("is no cursor of an audit"))?;
        Ok(Some(ChainHead { sequence: written.sequence, hash }))
    }

    /// Remembers the last record that is confirmed.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(super) fn write(&self, at: ChainHead) -> io::Result<()> {
        let ChainHead { sequence, hash } = at;
        let written = Written { format: FORMAT, sequence, sha256: hash.to_string() };
        let text = serde_json::to_vec(&written)?;
        let part = with_suffix(&self.path, ".part");
        let mut options = OpenOptions::new();
        let mut file = options.create(true).write(true).truncate(true).mode(0o600).open(&part)?;
        file.write_all(&text)?;
        // ORDER: on disk before it has its name.
        file.sync_data()?;
        std::fs::rename(&part, &self.path)?;
        let directory = self.path.parent().filter(|parent| *parent != Path::new(""));
        File::open(directory.unwrap_or_else(|| Path::new(".")))?.sync_all()
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.to_owned().into_os_string();
    name.push(suffix);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_as_it_was_written_and_a_damaged_one_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let cursor = CursorFile::beside(&directory.path().join("audit.jsonl"), "syslog");
        assert_eq!(cursor.read().unwrap(), None);
        for sequence in [7, 8] {
            let at = ChainHead { sequence, hash: LineHash::of(b"a line") };
            cursor.write(at).unwrap();
            assert_eq!(cursor.read().unwrap(), Some(at));
        }
        let file = directory.path().join("audit.jsonl.syslog.cursor");
        let text = std::fs::read_to_string(&file).unwrap();
        for wrong in ["", "{}", &text.replace("\"format\":1", "\"format\":2"), &text[..20]] {
            std::fs::write(&file, wrong).unwrap();
            let error = cursor.read().unwrap_err().to_string();
            assert!(error.contains("audit.jsonl.syslog.cursor"), "{error}");
        }
    }
}
