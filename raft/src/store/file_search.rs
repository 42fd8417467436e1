//! Searches every file of a data directory for bytes that should not be there any more.
//!
//! Reads files as they are, live or left over, without asking who owns them: so it finds what no
//! reader of the database is shown. That works because what is sealed is stored uncompressed
//! (`rocks_log.rs`, `rocks_state.rs`). Write-ahead logs cut records into pieces with headers
//! between them, so there it also looks at the pieces put together again.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

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

/// One file that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileReport {
    /// Its path below the directory.
    pub path: String,
    /// How many bytes were read.
    pub bytes: u64,
    /// What they say.
    pub finding: Finding,
}

/// A directory, and what is looked for in it.
#[derive(Debug, Clone)]
pub struct FileSearch {
    root: PathBuf,
    patterns: Vec<Pattern>,
}

impl FileSearch {
    /// A search below `root` for the payload with these marks.
    #[must_use]
    pub fn new(root: &Path, marks: &PayloadMarks) -> Self {
        Self { root: root.to_owned(), patterns: marks.patterns() }
    }

    /// Looks at every file, in the order of their names; nothing when `goes_on` said no. What is
    /// removed meanwhile is left out: it is not there. Blocks.
    #[must_use]
    pub fn run(&self, goes_on: &dyn Fn() -> bool) -> Option<Vec<FileReport>> {
        let mut reports = Vec::new();
        let mut open = vec![self.root.clone()];
        while let Some(directory) = open.pop() {
            let listed = std::fs::read_dir(&directory)
                .and_then(|entries| entries.collect::<io::Result<Vec<_>>>());
            match listed {
                Err(error) => reports.extend(self.unread(&directory, 0, &error)),
                Ok(entries) => {
                    for entry in entries {
                        let path = entry.path();
                        match entry.file_type() {
                            Ok(kind) if kind.is_dir() => open.push(path),
                            Ok(kind) if kind.is_file() => reports.extend(self.look(&path, goes_on)),
                            // Sockets and the like hold nothing, links lead elsewhere.
                            Ok(_) => {}
                            Err(error) => reports.extend(self.unread(&path, 0, &error)),
                        }
                        if !goes_on() {
                            return None;
                        }
                    }
                }
            }
        }
        reports.sort_by(|one, other| one.path.cmp(&other.path));
        Some(reports)
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
        path.strip_prefix(&self.root).unwrap_or(path).display().to_string()
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

/// A sequence of bytes that comes in parts.
#[derive(Default)]
struct Stream {
    /// The end of what came before, too short to hold a pattern.
    end: Vec<u8>,
}

impl Stream {
    /// Whether one of the patterns ends in this part.
    fn brings(&mut self, part: &[u8], patterns: &[Pattern]) -> bool {
        // Where the parts meet, and then within this one.
        let kept = PayloadMark::BYTES - 1;
        self.end.extend_from_slice(&part[..part.len().min(kept)]);
        if holds(&self.end, patterns) || holds(part, patterns) {
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

fn holds(bytes: &[u8], patterns: &[Pattern]) -> bool {
    // Most places need no look at each pattern.
    let mut begins = [false; 256];
    for pattern in patterns {
        begins[usize::from(pattern[0])] = true;
    }
    let is_one = |window: &[u8]| {
        begins[usize::from(window[0])] && patterns.iter().any(|pattern| window == pattern)
    };
    bytes.windows(PayloadMark::BYTES).any(is_one)
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

#[cfg(test)]
mod tests {
    use rocksdb::{DB, Options, WriteOptions};

    use super::*;

    const PATTERN: Pattern = *b"\x93\x01\xfe 4$canary\x00\x07!!";
    const OTHER: Pattern = [0xa5; PayloadMark::BYTES];

    fn searching(root: &Path) -> FileSearch {
        let marks = [OTHER, PATTERN].map(PayloadMark::searching);
        FileSearch::new(root, &PayloadMarks::told(marks.into()).unwrap())
    }

    fn search(root: &Path) -> Vec<(String, Finding)> {
        let search = searching(root);
        let reports = search.run(&|| true).unwrap();
        reports.into_iter().map(|report| (report.path, report.finding)).collect()
    }

    #[test]
    fn every_file_is_told_wherever_the_bytes_are_in_it() {
        let place = tempfile::tempdir().unwrap();
        let root = place.path();
        std::fs::create_dir(root.join("below")).unwrap();
        for before in [0, 1, PIECE_BYTES - 16, PIECE_BYTES - 15, PIECE_BYTES - 1, PIECE_BYTES] {
            let content = [vec![0; before].as_slice(), &PATTERN, &[1; 3]].concat();
            std::fs::write(root.join("below").join(format!("{before:08}")), content).unwrap();
        }
        std::fs::write(root.join("below").join("other"), OTHER).unwrap();
        std::fs::write(root.join("clean"), &PATTERN[..15]).unwrap();
        std::fs::write(root.join("empty"), []).unwrap();
        let reports = search(root);
        assert_eq!(reports.len(), 9);
        for (path, finding) in reports {
            let expected = if path.starts_with("below/") { Finding::Holds } else { Finding::Clean };
            assert_eq!(finding, expected, "{path}");
        }
        assert_eq!(searching(root).run(&|| false), None);
    }

    #[test]
    fn a_stream_is_searched_as_one_whatever_its_parts() {
        let content = [[7; 20].as_slice(), &PATTERN, &[8; 20]].concat();
        for size in 1..content.len() {
            let mut stream = Stream::default();
            let found = content.chunks(size).any(|part| stream.brings(part, &[OTHER, PATTERN]));
            assert!(found, "in parts of {size}");
            let mut stream = Stream::default();
            let broken: Vec<u8> = content.iter().copied().filter(|byte| *byte != b'!').collect();
            assert!(!broken.chunks(size).any(|part| stream.brings(part, &[OTHER, PATTERN])));
        }
    }

    /// A value that is longer than a block is cut, and the header stands somewhere within it.
    #[test]
    fn what_a_write_ahead_log_has_cut_is_found() {
        let place = tempfile::tempdir().unwrap();
        let database = DB::open_default(place.path()).unwrap();
        let mut options = WriteOptions::default();
        options.set_sync(true);
        let value = PATTERN.repeat(3 * BLOCK_BYTES / PATTERN.len());
        database.put_opt(b"k", &value, &options).unwrap();
        let log = std::fs::read_dir(place.path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .find(|path| path.extension().is_some_and(|extension| extension == "log"))
            .unwrap();
        let content = std::fs::read(log).unwrap();
        let pieces: Vec<&[u8]> = content.chunks(BLOCK_BYTES).flat_map(pieces_of).collect();
        assert!(pieces.len() > 2);
        let is_in = |bytes: &[u8]| bytes.windows(value.len()).any(|window| window == value);
        assert!(is_in(&pieces.concat()), "the pieces are what was written");
        assert!(!is_in(&content), "there is something between them");
        drop(database);
        DB::destroy(&Options::default(), place.path()).unwrap();
    }
}
