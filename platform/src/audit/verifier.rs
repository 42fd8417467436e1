//! Judges the lines of an audit one by one, by the one before and by the heads that are known.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::audit::chain::{ChainHead, LineHash, Link};
use crate::audit::own;
use crate::audit::verify::Findings;

/// The line before the one that is judged.
#[derive(Clone, Copy)]
struct Before {
    hash: LineHash,
    /// Nothing when that cannot be told.
    sequence: Option<u64>,
    /// Whether it is of a chain, or stands in one.
    chained: bool,
}

/// Through which record retention has removed everything, and who says so.
#[derive(Clone, Copy)]
pub(super) enum Removed {
    /// The cluster, which heard of it before the files were gone. What the files say does not
    /// count.
    AsHeadsSay(Option<u64>),
    /// The files that were read so far: there is nothing else to believe.
    AsFilesSay(Option<u64>),
}

impl Removed {
    fn covers(self, sequence: u64) -> bool {
        let (Self::AsHeadsSay(through) | Self::AsFilesSay(through)) = self;
        through.is_some_and(|through| sequence <= through)
    }
}

/// What is known so far.
pub(super) struct Verifier {
    findings: Findings,
    /// Hashes of records that are not read yet.
    wanted: BTreeMap<u64, Vec<LineHash>>,
    path: PathBuf,
    line: u64,
    before: Option<Before>,
    /// Where the first line is, and its number, when it follows one that is not there.
    cut: Option<(PathBuf, u64, u64)>,
    removed: Removed,
}

impl Verifier {
    /// Nothing is read yet.
    pub(super) fn new(wanted: BTreeMap<u64, Vec<LineHash>>, removed: Removed) -> Self {
        Self {
            findings: Findings::default(),
            wanted,
            path: PathBuf::new(),
            line: 0,
            before: None,
            cut: None,
            removed,
        }
    }

    /// The lines that follow are of this file.
    pub(super) fn begin_file(&mut self, path: &Path) {
        self.findings.files += 1;
        path.clone_into(&mut self.path);
        self.line = 0;
    }

    /// A whole line, and its number in the file.
    pub(super) fn line(&mut self, number: u64, bytes: &[u8]) {
        self.findings.lines += 1;
        self.line = number;
        let hash = LineHash::of(bytes);
        let before = self.before.take();
        let next = match serde_json::from_slice::<Link>(bytes) {
            Ok(link) => self.record(&link, bytes, hash, before),
            Err(_no_record) => self.no_record(hash, before),
        };
        self.before = Some(next);
    }

    /// The file cannot be read to its end.
    pub(super) fn unreadable(&mut self, line: u64, what: String) {
        self.findings.problem(self.path.clone(), line, what);
    }

    /// What stands behind the last whole line of the file that is written to.
    pub(super) const fn unfinished(&mut self, bytes: u64) {
        self.findings.unfinished_bytes = bytes;
    }

    fn problem(&mut self, what: String) {
        self.findings.problem(self.path.clone(), self.line, what);
    }

    /// Before a chain begins, a line that is none is one that an earlier build left torn.
    fn no_record(&mut self, hash: LineHash, before: Option<Before>) -> Before {
        match before.filter(|before| before.chained) {
            Some(before) => {
                self.problem("is no audit record".to_owned());
                let sequence = before.sequence.and_then(|sequence| sequence.checked_add(1));
                Before { hash, sequence, chained: true }
            }
            None => {
                self.findings.unchained += 1;
                Before { hash, sequence: None, chained: false }
            }
        }
    }

    fn record(
        &mut self,
        link: &Link,
        bytes: &[u8],
        hash: LineHash,
        before: Option<Before>,
    ) -> Before {
        let sequence = link.sequence;
        if self.findings.first.is_none() {
            self.findings.first = Some(sequence);
        }
        self.findings.last = Some(ChainHead { sequence, hash });
        if let Some(what) = wrong_number(sequence, before) {
            self.problem(what);
        }
        if let Some(what) = self.wrong_place(link, before) {
            self.problem(what);
        }
        if !link.is_chained() && before.is_none_or(|before| !before.chained) {
            self.findings.unchained += 1;
        }
        self.compare_with_heads(sequence, hash);
        if let Removed::AsFilesSay(through) = &mut self.removed
            && link.event_type.as_deref() == Some(own::FILE_REMOVED)
        {
            *through = (*through).max(own::removed_through(bytes));
        }
        let chained = link.is_chained() || before.is_some_and(|before| before.chained);
        Before { hash, sequence: Some(sequence), chained }
    }

    /// Whether the line names the one before it as it has to.
    fn wrong_place(&mut self, link: &Link, before: Option<Before>) -> Option<String> {
        let in_chain = before.is_some_and(|before| before.chained);
        match (link.previous_hash.as_deref(), link.begins()) {
            (None, true) if in_chain => Some("begins a chain within another one".to_owned()),
            (None, false) if in_chain => Some("does not name the line before it".to_owned()),
            // What an earlier build wrote has numbers, so that the chain behind it begins later.
            (None, true) if before.is_some() && link.sequence == 0 => {
                Some("is the first record, and lines stand before it".to_owned())
            }
            (None, true | false) => None,
            (Some(_), true) => Some("begins a chain, and names a line before it".to_owned()),
            (Some(named), false) => {
                let Ok(named) = named.parse::<LineHash>() else {
                    return Some("names the line before it by no hash".to_owned());
                };
                match before {
                    None => {
                        self.cut = Some((self.path.clone(), self.line, link.sequence));
                        None
                    }
                    Some(before) if before.hash == named => None,
                    Some(before) => Some(format!(
                        "follows another line than the one before it: names {named}, and that one \
                         has {}",
                        before.hash
                    )),
                }
            }
        }
    }

    fn compare_with_heads(&mut self, sequence: u64, hash: LineHash) {
        let Some(anchored) = self.wanted.remove(&sequence) else { return };
        for anchored in anchored {
            if anchored == hash {
                self.findings.heads_found += 1;
            } else {
                let what = format!(
                    "record {sequence} is another one than was anchored: has {hash}, anchored is \
                     {anchored}"
                );
                self.problem(what);
            }
        }
    }

    /// All files are read; `active` is the one that is written to.
    pub(super) fn end(mut self, active: &Path) -> Findings {
        let removed = self.removed;
        if let Some((path, line, sequence)) = self.cut.take() {
            self.judge_cut(path, line, sequence);
        }
        let last = self.findings.last.map(|head| head.sequence);
        let first = self.findings.first;
        // Lines of an earlier build have numbers too.
        if first.is_none() && self.findings.lines > 0 {
            self.problem("no line is an audit record".to_owned());
        }
        let mut beyond = None;
        for sequence in std::mem::take(&mut self.wanted).into_keys() {
            if Some(sequence) > last {
                beyond = Some(sequence);
            } else if first.is_some_and(|first| first <= sequence) {
                let what = format!("the anchored record {sequence} is not there");
                self.findings.problem(active.to_owned(), self.line, what);
            } else if !removed.covers(sequence) {
                let what = format!("the anchored record {sequence} is before everything there is");
                self.findings.problem(active.to_owned(), self.line, what);
            }
        }
        if let Some(anchored) = beyond {
            let from = last.map_or(0, |last| last.saturating_add(1));
            let what = format!(
                "the records from {from} on are missing: the last one that was anchored is \
                 {anchored}"
            );
            self.findings.problem(active.to_owned(), self.line, what);
        }
        self.findings
    }

    /// The first record names a line before it, which is not there.
    fn judge_cut(&mut self, path: PathBuf, line: u64, sequence: u64) {
        let Some(last) = sequence.checked_sub(1) else {
            return self.findings.problem(path, line, "record 0 names a line before it".to_owned());
        };
        let witness = match self.removed {
            Removed::AsFilesSay(_) if self.removed.covers(last) => {
                self.findings.removed_as_files_say = Some(last);
                return;
            }
            Removed::AsHeadsSay(_) if self.removed.covers(last) => return,
            Removed::AsFilesSay(_) => "no record",
            Removed::AsHeadsSay(_) => "no head",
        };
        let what = format!(
            "the records up to {last} are missing, and {witness} says that they were removed"
        );
        self.findings.problem(path, line, what);
    }
}

/// Whether the number is the one after that of the line before.
fn wrong_number(sequence: u64, before: Option<Before>) -> Option<String> {
    let last = before?.sequence?;
    if last.checked_add(1) == Some(sequence) {
        return None;
    }
    Some(if sequence > last {
        format!("the records from {} to {} are missing", last + 1, sequence - 1)
    } else {
        format!("record {sequence} is behind record {last}")
    })
}
