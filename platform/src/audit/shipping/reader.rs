//! Reads the audit on behind a place in it, a batch at a time.
//!
//! Promises: no record is passed over but those that are gone, and these are counted; a batch is
//! bounded; a record that is not on disk yet is not given out. An audit that is another one than
//! the place was in is read from its begin.

use std::io;

use crate::audit::chain::{ChainHead, LineHash, Link};
use crate::audit::files::AuditFiles;
use crate::audit::tail::Tail;

/// Records in one batch.
pub(super) const BATCH_RECORDS_MAX: usize = 1_000;
/// Bytes in one batch; a single record may be longer.
pub(super) const BATCH_BYTES_MAX: usize = 1 << 20;

/// A record as it is in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shipped {
    /// Its place in the chain.
    pub(super) at: ChainHead,
    /// Its line, without a line end.
    pub(super) line: String,
}

/// What is sent at once.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) records: Vec<Shipped>,
    /// Records before these that are gone.
    pub(super) missed: u64,
    /// Whether more is there already.
    pub(super) is_full: bool,
}

/// Reads one audit.
pub(super) struct Reader<'a> {
    tail: Tail<'a>,
    /// Read, and not given out yet.
    next: Option<Shipped>,
    /// The number of the last record that was given out or was behind the place to begin at.
    last: Option<u64>,
}

impl<'a> Reader<'a> {
    /// Begins behind this record, or with the oldest.
    pub(super) fn behind(files: &'a AuditFiles, place: Option<ChainHead>) -> io::Result<Self> {
        let Some(place) = place else {
            return Ok(Self::on(Tail::behind(files, None), None));
        };
        let finished = files.finished()?;
        // A finished file is named after its last record: those before the place are done with.
        let passed = finished.into_iter().rfind(|last| *last < place.sequence);
        let mut reader = Self::on(Tail::behind(files, passed), None);
        while let Some(read) = reader.read()? {
            if read.at.sequence < place.sequence {
                continue;
            }
            if read.at == place {
                reader.last = Some(place.sequence);
                return Ok(reader);
            }
            if read.at.sequence > place.sequence {
                // What was in between is gone: the first batch says so.
                reader.last = Some(place.sequence);
                reader.next = Some(read);
                return Ok(reader);
            }
            break;
        }
        tracing::warn!(
            sequence = place.sequence,
            "the audit is not the one that was shipped before: it is shipped from its begin"
        );
        Self::behind(files, None)
    }

    const fn on(tail: Tail<'a>, last: Option<u64>) -> Self {
        Self { tail, next: None, last }
    }

    /// The next records up to this one, which is on disk; none when there are none.
    pub(super) fn batch(&mut self, up_to: u64) -> io::Result<Batch> {
        let mut batch = Batch::default();
        let mut bytes = 0;
        loop {
            let next = match self.next.take() {
                Some(next) => next,
                None => match self.read()? {
                    Some(read) => read,
                    None => break,
                },
            };
            let is_full = batch.records.len() >= BATCH_RECORDS_MAX
                || (bytes + next.line.len() > BATCH_BYTES_MAX && !batch.records.is_empty());
            if is_full || next.at.sequence > up_to {
                batch.is_full = is_full;
                self.next = Some(next);
                break;
            }
            let expected = self.last.map_or(next.at.sequence, |last| last.saturating_add(1));
            batch.missed += next.at.sequence.saturating_sub(expected);
            self.last = Some(next.at.sequence);
            bytes += next.line.len();
            batch.records.push(next);
        }
        Ok(batch)
    }

    fn read(&mut self) -> io::Result<Option<Shipped>> {
        while let Some(line) = self.tail.next_line()? {
            let hash = LineHash::of(&line);
            let link = serde_json::from_slice::<Link>(&line);
            match (link, String::from_utf8(line)) {
                (Ok(link), Ok(line)) => {
                    let at = ChainHead { sequence: link.sequence, hash };
                    return Ok(Some(Shipped { at, line }));
                }
                // If it was one, the next number tells that it is missing.
                _ => tracing::warn!("a line of the audit is no record: it is not shipped"),
            }
        }
        Ok(None)
    }
}
