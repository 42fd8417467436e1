//! `audit verify`: reads a whole audit and says what is not as it was written.
//!
//! Finds every change, loss, repetition and move of a record within what is there, and with heads
//! of the chain also a cut at its end and a chain that was made anew (`design §10`). What was
//! removed by retention is no loss: the heads say how far that is. Without heads there is nothing
//! to believe but the files themselves, and the findings say so.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::audit::chain::ChainHead;
use crate::audit::files::AuditFiles;
use crate::audit::verifier::{Removed, Verifier};
use crate::audit::walk::{LineRead, Walk, WalkedFile};

/// Problems that are told one by one; of a file of something else every line is one.
const PROBLEMS_MAX: usize = 1000;

/// Something is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file.
    pub path: PathBuf,
    /// The line, from 1; 0 when no line is there.
    pub line: u64,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path.display(), self.line, self.what)
    }
}

/// What an audit was found to be.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Findings {
    /// Files that were read.
    pub files: u64,
    /// Lines that were read.
    pub lines: u64,
    /// Lines at the begin that an earlier build wrote without a chain: their loss does not show.
    pub unchained: u64,
    /// Bytes behind the last whole line: a server is writing it, or a crash tore it.
    pub unfinished_bytes: u64,
    /// The number of the first record.
    pub first: Option<u64>,
    /// The last record.
    pub last: Option<ChainHead>,
    /// Records up to this one are missing, and retention removed them, as the files alone say.
    pub removed_as_files_say: Option<u64>,
    /// Heads that were there, among those that were given.
    pub heads_found: u64,
    /// What is wrong, in the order of the lines; the first ones of many.
    pub problems: Vec<Problem>,
    /// How many problems there are.
    pub problems_total: u64,
}

impl Findings {
    pub(super) fn problem(&mut self, path: PathBuf, line: u64, what: String) {
        self.problems_total += 1;
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(Problem { path, line, what });
        }
    }
}

/// Reads an audit from its begin to its end. `heads` are records of the same audit whose hashes are
/// known from elsewhere, where nothing is known of records that were removed.
///
/// # Errors
/// When a directory or a file cannot be opened. A file that cannot be read on is a problem.
pub fn verify(files: &AuditFiles, heads: &[ChainHead]) -> io::Result<Findings> {
    verify_removed(files, heads, None)
}

/// The same where the heads tell that retention has removed the records up to this one.
///
/// # Errors
/// As [`verify`].
pub fn verify_removed(
    files: &AuditFiles,
    heads: &[ChainHead],
    removed_through: Option<u64>,
) -> io::Result<Findings> {
    let mut wanted: BTreeMap<u64, Vec<_>> = BTreeMap::new();
    for head in heads {
        wanted.entry(head.sequence).or_default().push(head.hash);
    }
    // Whoever can remove a file can write a record of it, too: the hash has no key.
    let removed = match heads {
        [] => Removed::AsFilesSay(None),
        [..] => Removed::AsHeadsSay(removed_through),
    };
    let mut verifier = Verifier::new(wanted, removed);
    let mut walk = Walk::new(files);
    while let Some(mut file) = walk.next_file()? {
        verifier.begin_file(file.path());
        read_file(&mut verifier, &mut file);
    }
    Ok(verifier.end(files.active()))
}

fn read_file(verifier: &mut Verifier, file: &mut WalkedFile) {
    let mut line = Vec::new();
    loop {
        match file.read_line(&mut line) {
            Ok(LineRead::Whole) => {
                verifier.line(file.lines_read(), &line);
                line.clear();
            }
            Ok(LineRead::End) => return,
            Ok(LineRead::Unfinished) if file.is_finished() => {
                let what = format!("{} bytes behind the last whole line", line.len());
                return verifier.unreadable(file.lines_read() + 1, what);
            }
            Ok(LineRead::Unfinished) => return verifier.unfinished(line.len() as u64),
            Err(error) => {
                let what = format!("cannot be read on: {error}");
                return verifier.unreadable(file.lines_read() + 1, what);
            }
        }
    }
}
