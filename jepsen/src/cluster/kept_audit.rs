//! What a node's audit told of its requests to the KMS, kept before a fault takes the file away:
//! a lost or emptied disk, or the loss of what was not synced.
//!
//! A bill is reconciled with all that was ever told to a client (L11), also by nodes that are gone.

use std::fs::OpenOptions;
use std::io::{self, BufRead, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::part::Part;
use super::{Cluster, audit_files};

/// What every record with such a request holds, and no other line.
const MARK: &[u8] = b"\"kms_requests\":[";

/// Whether a line of an audit tells of requests to the KMS.
#[must_use]
pub fn tells_of_requests(line: &[u8]) -> bool {
    line.windows(MARK.len()).any(|window| window == MARK)
}

impl Cluster {
    /// A server's audit: the file that is written to. [`audit_files::of`] gives the others.
    #[must_use]
    pub fn audit(&self, part: Part) -> PathBuf {
        self.files().data(part).join("audit.jsonl")
    }

    /// What was kept of it. A line may be there and in the audit, too.
    #[must_use]
    pub fn kept_audit(&self, part: Part) -> PathBuf {
        self.files().directory().join("kept-audit").join(format!("{part}.jsonl"))
    }

    /// Keeps what a server's audit tells of requests to the KMS. The server must not run.
    ///
    /// # Errors
    /// When a file cannot be read or written.
    pub(crate) fn keep_audit(&self, part: Part) -> Result<()> {
        let (from, to) = (self.audit(part), self.kept_audit(part));
        keep(&from, &to).with_context(|| format!("cannot keep {}", from.display()))
    }
}

fn keep(from: &Path, to: &Path) -> io::Result<()> {
    for file in audit_files::of(from)? {
        // Without one its process has not come so far.
        if let Some(audit) = audit_files::open(&file)? {
            keep_file(audit, to)?;
        }
    }
    Ok(())
}

fn keep_file(mut audit: impl BufRead, to: &Path) -> io::Result<()> {
    if let Some(parent) = to.parent() {
        std::fs::create_dir_all(parent)?;
    }
    let kept = OpenOptions::new().create(true).append(true).open(to)?;
    let (mut kept, mut line) = (BufWriter::new(kept), Vec::new());
    while audit.read_until(b'\n', &mut line)? > 0 {
        // A line that a kill tore was told to nobody.
        if line.ends_with(b"\n") && tells_of_requests(&line) {
            kept.write_all(&line)?;
        }
        line.clear();
    }
    kept.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_lines_with_requests_are_kept_and_gathered() {
        let directory = tempfile::tempdir().unwrap();
        let (from, to) = (directory.path().join("audit"), directory.path().join("kept/node"));
        keep(&from, &to).unwrap();
        assert!(!to.exists());
        std::fs::write(&from, "{\"a\":1}\n{\"kms_requests\":[1]}\n{\"kms_requests\":[2").unwrap();
        keep(&from, &to).unwrap();
        std::fs::write(&from, "{\"kms_requests\":[3]}\n").unwrap();
        let finished = zstd::encode_all(&b"{\"kms_requests\":[4]}\n"[..], 1).unwrap();
        std::fs::write(directory.path().join("audit.000000000004.zst"), finished).unwrap();
        keep(&from, &to).unwrap();
        let kept = std::fs::read_to_string(&to).unwrap();
        let numbers = [1, 4, 3].map(|number| format!("{{\"kms_requests\":[{number}]}}\n"));
        assert_eq!(kept, numbers.concat());
    }
}
