//! Whether the files of an audit lead from one record to another.
//!
//! Promises: a yes is a proof, whoever has had the files: each line from the one record to the
//! other names the one before it by its hash, so nobody can have put anything between two records
//! whose hashes are known. Refuses to know why anybody asks.

use std::io;

use crate::audit::chain::{ChainHead, LineHash, Link};
use crate::audit::files::AuditFiles;
use crate::audit::walk::{LineRead, Walk};

/// Whether the files lead from this record to that one, line by line; each record leads to itself.
/// Both must be on disk when they are there at all.
///
/// # Errors
/// When a file that is in between cannot be read.
pub fn leads(files: &AuditFiles, from: ChainHead, to: ChainHead) -> io::Result<bool> {
    leads_unless(files, from, to, || false)
}

/// The same, given up between two lines once `stopping` says so.
///
/// # Errors
/// As [`leads`], and [`io::ErrorKind::Interrupted`] when it was given up.
pub fn leads_unless(
    files: &AuditFiles,
    from: ChainHead,
    to: ChainHead,
    stopping: impl Fn() -> bool,
) -> io::Result<bool> {
    if from == to {
        return Ok(true);
    }
    if to.sequence <= from.sequence {
        return Ok(false);
    }
    let passed = files.finished()?.into_iter().rfind(|last| *last < from.sequence);
    let mut walk = Walk::behind(files, passed);
    // The last line that the first record leads to.
    let mut reached: Option<ChainHead> = None;
    let mut line = Vec::new();
    while let Some(mut file) = walk.next_file()? {
        while file.read_line(&mut line)? == LineRead::Whole {
            if stopping() {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let hash = LineHash::of(&line);
            reached = match reached {
                None => (hash == from.hash).then_some(from),
                Some(before) => match behind(before, &line) {
                    Some(sequence) => Some(ChainHead { sequence, hash }),
                    None => return Ok(false),
                },
            };
            if reached == Some(to) {
                return Ok(true);
            }
            line.clear();
        }
        line.clear();
    }
    Ok(false)
}

/// The number of the record in this line, when it is the one behind that one.
fn behind(before: ChainHead, line: &[u8]) -> Option<u64> {
    let link: Link = serde_json::from_slice(line).ok()?;
    let named: LineHash = link.previous_hash.as_deref()?.parse().ok()?;
    let next = before.sequence.checked_add(1)?;
    (named == before.hash && link.sequence == next).then_some(next)
}
