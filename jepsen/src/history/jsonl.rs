//! The history as a file: a header, then one JSON object for each event.
//!
//! Reading is strict: what it does not know it refuses, by line number. A checker that skipped a
//! line would judge another run than the one that happened.

use std::io::{self, BufRead, Write};

use thiserror::Error;

use super::event::{Event, Header};
use super::recorded::{History, HistoryBuilder, HistoryError};

/// Why a file is no history.
#[derive(Debug, Error)]
pub enum ReadError {
    /// It could not be read.
    #[error("line {line}: {source}")]
    Io {
        /// The line, from 1.
        line: u64,
        /// Why.
        source: io::Error,
    },
    /// A line is not what it should be.
    #[error("line {line}: {source}")]
    Line {
        /// The line, from 1.
        line: u64,
        /// Why.
        source: serde_json::Error,
    },
    /// A line cannot follow the ones before it.
    #[error("line {line}: {source}")]
    Event {
        /// The line, from 1.
        line: u64,
        /// Why.
        source: HistoryError,
    },
    /// The last line has no end: whoever wrote the file was stopped in the middle of it.
    #[error("line {line}: is cut off")]
    CutOff {
        /// The line, from 1.
        line: u64,
    },
    /// There is no first line.
    #[error("the file is empty")]
    Empty,
}

/// Writes one line.
///
/// # Errors
/// What the writer says.
pub fn write_line(to: &mut impl Write, line: &impl serde::Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *to, line)?;
    to.write_all(b"\n")
}

/// Reads a whole history.
///
/// # Errors
/// [`ReadError`], with the number of the line.
pub fn read(mut from: impl BufRead) -> Result<History, ReadError> {
    let mut buffer = Vec::new();
    let mut builder: Option<HistoryBuilder> = None;
    let mut line = 0;
    loop {
        line += 1;
        buffer.clear();
        let length =
            from.read_until(b'\n', &mut buffer).map_err(|source| ReadError::Io { line, source })?;
        if length == 0 {
            return builder.map(HistoryBuilder::finish).ok_or(ReadError::Empty);
        }
        if buffer.pop() != Some(b'\n') {
            return Err(ReadError::CutOff { line });
        }
        let wrong = |source| ReadError::Line { line, source };
        let misplaced = |source| ReadError::Event { line, source };
        match &mut builder {
            None => {
                let header: Header = serde_json::from_slice(&buffer).map_err(wrong)?;
                builder = Some(HistoryBuilder::new(header).map_err(misplaced)?);
            }
            Some(builder) => {
                let event: Event = serde_json::from_slice(&buffer).map_err(wrong)?;
                builder.push(event).map_err(misplaced)?;
            }
        }
    }
}
