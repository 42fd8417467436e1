//! The end of a file of the audit: its last whole line, and the record that the next one follows.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;

use serde::Deserialize;
use serde::de::IgnoredAny;
use sha2::{Digest, Sha256};

use crate::audit::chain::{Chain, ChainHead, LineHash};
use crate::audit::walk::{LineRead, WalkedFile};

/// How much is read at a time on the way back to a line's begin, in bytes.
const BLOCK_BYTES: usize = 64 << 10;
/// Lines at the end that may be no records: an earlier build left torn lines in place.
const TORN_LINES_MAX: usize = 100;

/// What the next record has to know of the last one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LastRecord {
    /// The number of the last line that is a record.
    sequence: u64,
    /// Of the last line, record or not.
    hash: LineHash,
    /// Whether that record is of a chain.
    chained: bool,
}

impl LastRecord {
    /// The chain that goes on from here; nothing when no number is left.
    pub(crate) fn chain(self) -> Option<Chain> {
        if self.chained {
            return Chain::after(ChainHead { sequence: self.sequence, hash: self.hash });
        }
        Chain::beginning_behind(self.sequence)
    }
}

/// The fields of a record that tell of its place, whatever else it holds.
#[derive(Deserialize)]
struct Placed {
    sequence: u64,
    previous_hash: Option<IgnoredAny>,
    chain: Option<IgnoredAny>,
}

impl Placed {
    const fn last(&self, hash: LineHash) -> LastRecord {
        let chained = self.previous_hash.is_some() || self.chain.is_some();
        LastRecord { sequence: self.sequence, hash, chained }
    }
}

/// Where the last line that ends before `end` does end, its line end included; 0 when none does.
pub(crate) fn line_end_before(file: &File, end: u64) -> io::Result<u64> {
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

/// The hash of a piece of a file, which need not fit into memory.
pub(crate) fn hash_between(file: &File, begin: u64, end: u64) -> io::Result<LineHash> {
    let mut hash = Sha256::new();
    let mut block = vec![0; BLOCK_BYTES];
    let mut at = begin;
    while at < end {
        let wanted = usize::try_from(end - at).map_or(BLOCK_BYTES, |left| left.min(BLOCK_BYTES));
        let part = &mut block[..wanted];
        file.read_exact_at(part, at)?;
        hash.update(&*part);
        at += wanted as u64;
    }
    Ok(LineHash::from_bytes(hash.finalize().into()))
}

/// The last record before `whole_bytes`, where a line ends; nothing when no line is one.
pub(crate) fn last_record(file: &mut File, whole_bytes: u64) -> io::Result<Option<LastRecord>> {
    let mut end = whole_bytes;
    let mut hash = None;
    for _ in 0..TORN_LINES_MAX {
        if end == 0 {
            break;
        }
        let begin = line_end_before(file, end - 1)?;
        let hash = match hash {
            Some(hash) => hash,
            None => *hash.insert(hash_between(file, begin, end - 1)?),
        };
        file.seek(SeekFrom::Start(begin))?;
        // Read as it is parsed: a line need not fit into memory.
        let line = BufReader::new(Read::by_ref(file).take(end - begin));
        match serde_json::from_reader::<_, Placed>(line) {
            Ok(placed) => return Ok(Some(placed.last(hash))),
            Err(error) if error.is_io() => return Err(error.into()),
            Err(_no_record) => end = begin,
        }
    }
    Ok(None)
}

/// The last record of a finished file, which is read from its begin, for it may be compressed;
/// nothing when the last line is none. What is behind the last whole line does not count.
pub(crate) fn last_record_of_finished(file: &mut WalkedFile) -> io::Result<Option<LastRecord>> {
    let (mut last, mut line) = (Vec::new(), Vec::new());
    while file.read_line(&mut line)? == LineRead::Whole {
        std::mem::swap(&mut last, &mut line);
        line.clear();
    }
    let placed = serde_json::from_slice::<Placed>(&last).ok();
    Ok(placed.map(|placed| placed.last(LineHash::of(&last))))
}
