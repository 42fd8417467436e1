//! Rows of tables one behind the other, as the chunks of a backup hold them.
//!
//! `table | length of key | key | length of value | value`, then the mark of the end and the number
//! of rows: a backup without its end is none.

use std::io::{self, Read};

use super::BackupError;
use super::seal::{ChunkReader, ChunkWriter};
use crate::store::tables::Table;
use crate::store::{StoreError, View, Write};

/// Stands in the place of a table behind the last row.
const END: u8 = u8::MAX;
/// Longest key or value, in bytes: far more than any record has.
const PART_BYTES_MAX: usize = 16 << 20;

/// Why rows are not written.
pub(super) enum Stop {
    Store(StoreError),
    Sink(io::Error),
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Sink(error)
    }
}

/// Writes all rows of a view; says how many.
pub(super) fn write_all(view: &View<'_>, sink: &mut ChunkWriter<'_>) -> Result<u64, Stop> {
    let mut rows = 0_u64;
    for (place, table) in Table::ALL.into_iter().enumerate() {
        let place = u8::try_from(place).unwrap_or(END);
        for row in view.scan(table, b"", b"") {
            let (key, value) = row?;
            sink.push(&[place])?;
            for part in [&key, &value] {
                let length = u32::try_from(part.len()).map_err(|_| io::ErrorKind::InvalidData);
                sink.push(&length.map_err(io::Error::from)?.to_be_bytes())?;
                sink.push(part)?;
            }
            rows += 1;
        }
    }
    sink.push(&[END])?;
    sink.push(&rows.to_be_bytes())?;
    Ok(rows)
}

/// The rows of a backup, in their order.
pub(super) struct Rows<R> {
    source: ChunkReader<R>,
    tables: Vec<Table>,
    rows: u64,
}

impl<R: Read> Rows<R> {
    /// Reads rows of these tables.
    pub(super) fn new(source: ChunkReader<R>, tables: &[String]) -> Result<Self, BackupError> {
        let named = |name: &String| {
            let unknown = || BackupError::Wrong(format!("there is no table {name}"));
            Table::named(name).ok_or_else(unknown)
        };
        Ok(Self { source, tables: tables.iter().map(named).collect::<Result<_, _>>()?, rows: 0 })
    }

    /// The next row; nothing behind the last one, which is told from a file that was cut.
    pub(super) fn row(&mut self) -> Result<Option<Write>, BackupError> {
        let mut place = [0];
        self.source.take(&mut place)?;
        if place == [END] {
            let mut rows = [0; 8];
            self.source.take(&mut rows)?;
            if u64::from_be_bytes(rows) != self.rows || !self.source.is_at_the_end() {
                return Err(BackupError::Altered("it does not end where it should"));
            }
            return Ok(None);
        }
        let unknown = BackupError::Altered("a row is of no table");
        let table = *self.tables.get(usize::from(place[0])).ok_or(unknown)?;
        let key = self.part()?;
        let value = self.part()?;
        self.rows += 1;
        Ok(Some(Write::put(table, key, value)))
    }

    fn part(&mut self) -> Result<Vec<u8>, BackupError> {
        let mut length = [0; 4];
        self.source.take(&mut length)?;
        let length = u32::from_be_bytes(length) as usize;
        if length > PART_BYTES_MAX {
            return Err(BackupError::Altered("a row is too long"));
        }
        let mut part = vec![0; length];
        self.source.take(&mut part)?;
        Ok(part)
    }
}
