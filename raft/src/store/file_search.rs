//! Searches every file of a data directory for bytes that should not be there any more.
//!
//! Reads files as they are, live or left over, without asking who owns them: so it finds what no
//! reader of the database is shown. That works because what is sealed is stored uncompressed
//! (`rocks_log.rs`, `rocks_state.rs`). Write-ahead logs cut records into pieces with headers
//! between them, so there it also looks at the pieces put together again.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{DirEntry, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::layout::is_stray;
use crate::domain::payload_mark::{PayloadMark, PayloadMarks};

/// RocksDB cuts its write-ahead logs into blocks of so many bytes.
const BLOCK_BYTES: usize = 32 << 10;
/// How much of a file is in memory at a time: whole blocks.
const PIECE_BYTES: usize = 32 * BLOCK_BYTES;
/// Checksum, length and kind of a piece of a record; and with the number of its log.
const HEADER_BYTES: usize = 7;
const LONG_HEADER_BYTES: usize = 11;
/// The kinds of pieces that have the number of their log.
const LONG_KINDS: std::ops::RangeInclusive<u8> = 5..=8;

/// The files are listed so often at most: each time new ones came meanwhile, which are few.
const LISTINGS_MAX: u32 = 100;

/// What is looked for.
type Pattern = [u8; PayloadMark::BYTES];

/// What a search says of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// None of the bytes are in it.
    Clean,
    /// Some are.
    Holds,
    /// Nobody knows, for this reason.
    Unreadable(String),
}

/// One file that was looked at. See [`Self::is_stray`] for whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileReport {
    /// Its path below the directory.
    pub path: String,
    /// How many bytes were read.
    pub bytes: u64,
    /// What they say.
    pub finding: Finding,
}

impl FileReport {
    /// Whether it lies among the node's files and is none of them: no purge takes it away.
    #[must_use]
    pub fn is_stray(&self) -> bool {
        is_stray(Path::new(&self.path))
    }
}

/// A directory, and what is looked for in it.
#[derive(Debug, Clone)]
pub struct FileSearch {
    root: PathBuf,
    patterns: Patterns,
    /// Of all files only those that are [strays](FileReport::is_stray).
    only_strays: bool,
    /// See [`LISTINGS_MAX`].
    listings: u32,
}

impl FileSearch {
    /// A search below `root` for the payload with these marks.
    #[must_use]
    pub fn new(root: &Path, marks: &PayloadMarks) -> Self {
        let patterns = Patterns::new(marks.patterns());
        Self { root: root.to_owned(), patterns, only_strays: false, listings: LISTINGS_MAX }
    }

    /// A search of the strays below `root` for payloads with any of these marks.
    pub(crate) fn of_strays(root: &Path, marks: &[PayloadMarks]) -> Self {
        let patterns = Patterns::new(marks.iter().flat_map(PayloadMarks::patterns).collect());
        Self { root: root.to_owned(), patterns, only_strays: true, listings: LISTINGS_MAX }
    }

    /// Looks at every file, in the order of their names; nothing when `goes_on` said no. What is
    /// removed meanwhile is left out: it is not there. Its content may be, under a name that came
    /// meanwhile, so the files are listed until all that are there have been looked at. Blocks.
    #[must_use]
    pub fn run(&self, goes_on: &dyn Fn() -> bool) -> Option<Vec<FileReport>> {
        let mut known: BTreeMap<FileId, FileReport> = BTreeMap::new();
        for _ in 0..self.listings {
            let listing = self.list();
            known.retain(|file, _| listing.files.contains(file));
            let mut is_complete = !listing.has_changed;
            for file in &listing.files {
                if !known.contains_key(file) {
                    is_complete = false;
                    let report = self.look(&file.path, goes_on);
                    known.extend(report.map(|report| (file.clone(), report)));
                }
                if !goes_on() {
                    return None;
                }
            }
            if is_complete {
                return Some(reports(known, listing.unread));
            }
        }
        let finding = Finding::Unreadable("files come and go faster than they are read".into());
        let restless = FileReport { path: ".".into(), bytes: 0, finding };
        Some(reports(known, vec![restless]))
    }

    fn list(&self) -> Listing {
        let mut listing = Listing::default();
        let mut open = vec![self.root.clone()];
        while let Some(directory) = open.pop() {
            let listed = std::fs::read_dir(&directory)
                .and_then(|entries| entries.collect::<io::Result<Vec<_>>>());
            match listed {
                Err(error) => self.note_unread(&mut listing, &directory, &error),
                Ok(entries) => {
                    for entry in entries {
                        self.note(&mut listing, &mut open, &entry);
                    }
                }
            }
        }
        listing
    }

    fn note(&self, listing: &mut Listing, open: &mut Vec<PathBuf>, entry: &DirEntry) {
        let path = entry.path();
        // Not of what a link leads to.
        match entry.metadata() {
            Ok(found) if found.is_dir() => open.push(path),
            Ok(_) if self.only_strays && !is_stray(self.below(&path)) => {}
            Ok(found) if found.is_file() => {
                let (device, number) = (found.dev(), found.ino());
                listing.files.insert(FileId { path, device, number });
            }
            // Wherever a stray link leads, nothing of that is here.
            Ok(found) if found.is_symlink() && !self.only_strays => {
                let error = io::Error::other("it is a link, and where it leads is not searched");
                self.note_unread(listing, &path, &error);
            }
            // Sockets and the like hold nothing.
            Ok(_) => {}
            Err(error) => self.note_unread(listing, &path, &error),
        }
    }

    fn note_unread(&self, listing: &mut Listing, path: &Path, error: &io::Error) {
        let report = self.unread(path, 0, error);
        listing.has_changed |= report.is_none();
        // What lies beside the three directories is nobody's to judge, as a file there.
        let counts = !self.only_strays || is_stray(self.below(path));
        listing.unread.extend(report.filter(|_| counts));
    }

    /// Nothing for a file that is gone.
    fn look(&self, path: &Path, goes_on: &dyn Fn() -> bool) -> Option<FileReport> {
        let mut bytes = 0;
        let found = File::open(path).and_then(|file| self.find(path, file, &mut bytes, goes_on));
        match found {
            Ok(found) => {
                let finding = if found { Finding::Holds } else { Finding::Clean };
                Some(FileReport { path: self.shown(path), bytes, finding })
            }
            Err(error) => self.unread(path, bytes, &error),
        }
    }

    fn unread(&self, path: &Path, bytes: u64, error: &io::Error) -> Option<FileReport> {
        let finding = Finding::Unreadable(error.to_string());
        let is_there = error.kind() != io::ErrorKind::NotFound;
        is_there.then(|| FileReport { path: self.shown(path), bytes, finding })
    }

    fn shown(&self, path: &Path) -> String {
        self.below(path).display().to_string()
    }

    fn below<'p>(&self, path: &'p Path) -> &'p Path {
        path.strip_prefix(&self.root).unwrap_or(path)
    }

    fn find(
        &self,
        path: &Path,
        mut file: File,
        bytes: &mut u64,
        goes_on: &dyn Fn() -> bool,
    ) -> io::Result<bool> {
        let is_log = path.extension().is_some_and(|extension| extension == "log");
        let (mut raw, mut records) = (Stream::default(), Stream::default());
        let mut piece = Vec::with_capacity(PIECE_BYTES);
        while goes_on() {
            piece.clear();
            file.by_ref().take(PIECE_BYTES as u64).read_to_end(&mut piece)?;
            *bytes += piece.len() as u64;
            if raw.brings(&piece, &self.patterns) {
                return Ok(true);
            }
            let in_records = |block: &[u8]| {
                pieces_of(block).into_iter().any(|piece| records.brings(piece, &self.patterns))
            };
            if is_log && piece.chunks(BLOCK_BYTES).any(in_records) {
                return Ok(true);
            }
            if piece.len() < PIECE_BYTES {
                break;
            }
        }
        Ok(false)
    }
}

/// A file: another one may have its name later.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct FileId {
    path: PathBuf,
    device: u64,
    number: u64,
}

/// What is there at a time.
#[derive(Default)]
struct Listing {
    files: BTreeSet<FileId>,
    /// What cannot be looked at.
    unread: Vec<FileReport>,
    /// Something has gone while it was made.
    has_changed: bool,
}

fn reports(known: BTreeMap<FileId, FileReport>, unread: Vec<FileReport>) -> Vec<FileReport> {
    let mut reports: Vec<_> = known.into_values().chain(unread).collect();
    reports.sort_by(|one, other| one.path.cmp(&other.path));
    reports
}

/// A sequence of bytes that comes in parts.
#[derive(Default)]
struct Stream {
    /// The end of what came before, too short to hold a pattern.
    end: Vec<u8>,
}

impl Stream {
    /// Whether one of the patterns ends in this part.
    fn brings(&mut self, part: &[u8], patterns: &Patterns) -> bool {
        // Where the parts meet, and then within this one.
        let kept = PayloadMark::BYTES - 1;
        self.end.extend_from_slice(&part[..part.len().min(kept)]);
        if patterns.are_in(&self.end) || patterns.are_in(part) {
            return true;
        }
        if part.len() > kept {
            self.end.clear();
            self.end.extend_from_slice(&part[part.len() - kept..]);
        } else {
            let excess = self.end.len().saturating_sub(kept);
            self.end.drain(..excess);
        }
        false
    }
}

/// All that is looked for.
#[derive(Debug, Clone)]
struct Patterns {
    sorted: Vec<Pattern>,
    /// Whether one begins with these two bytes: most places need no further look, however many
    /// patterns there are.
    begins: Vec<bool>,
}

impl Patterns {
    fn new(mut patterns: Vec<Pattern>) -> Self {
        patterns.sort_unstable();
        let mut begins = vec![false; 1 << u16::BITS];
        for pattern in &patterns {
            begins[beginning(pattern)] = true;
        }
        Self { sorted: patterns, begins }
    }

    fn are_in(&self, bytes: &[u8]) -> bool {
        let is_one = |window: &[u8]| {
            self.begins[beginning(window)]
                && self.sorted.binary_search_by(|pattern| pattern.as_slice().cmp(window)).is_ok()
        };
        bytes.windows(PayloadMark::BYTES).any(is_one)
    }
}

/// The first two of at least two bytes, as a number.
fn beginning(bytes: &[u8]) -> usize {
    usize::from(bytes[0]) << u8::BITS | usize::from(bytes[1])
}

/// The pieces of records in one block of a write-ahead log, without their headers.
fn pieces_of(block: &[u8]) -> Vec<&[u8]> {
    let mut pieces = Vec::new();
    let mut rest = block;
    while let [_, _, _, _, low, high, kind, ..] = rest {
        let header = if LONG_KINDS.contains(kind) { LONG_HEADER_BYTES } else { HEADER_BYTES };
        let end = header + usize::from(u16::from_le_bytes([*low, *high]));
        // The end of a block that no header fits into is filled with zeros.
        let (true, Some(piece)) = (*kind != 0, rest.get(header..end)) else { break };
        pieces.push(piece);
        rest = &rest[end..];
    }
    pieces
}
