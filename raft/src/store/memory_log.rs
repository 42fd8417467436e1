//! The log in memory: what is synced, and batches behind it that a crash may take.

use std::collections::BTreeMap;
use std::ops::Range;

use bytes::Bytes;

use super::engine::{LogEngine, LogOp, LogRecord, RecoveredLog};
use super::memory::{MemoryFault, Place};
use crate::error::StorageError;

#[derive(Clone, Default)]
struct Image {
    entries: BTreeMap<u64, Bytes>,
    records: BTreeMap<LogRecord, Vec<u8>>,
}

impl Image {
    fn apply(&mut self, op: &LogOp) {
        match op {
            LogOp::Append { index, encoded } => {
                self.entries.insert(*index, encoded.clone());
            }
            LogOp::TruncateFrom { index } => drop(self.entries.split_off(index)),
            LogOp::Purge { upto, log_id, .. } => {
                self.entries = self.entries.split_off(&upto.saturating_add(1));
                self.records.insert(LogRecord::Purged, log_id.clone());
            }
            LogOp::Record { record, value } => {
                self.records.insert(*record, value.clone());
            }
        }
    }
}

/// One log's disk.
#[derive(Default)]
pub(super) struct LogDisk {
    durable: Image,
    unsynced: Vec<Vec<LogOp>>,
    written: Image,
}

impl LogDisk {
    /// Batches that are not durable.
    pub(super) fn unsynced(&self) -> usize {
        self.unsynced.len()
    }

    /// Keeps so many of them.
    pub(super) fn crash(&mut self, kept: usize) {
        self.unsynced.truncate(kept);
        self.sync();
        self.written = self.durable.clone();
    }

    fn sync(&mut self) {
        for op in self.unsynced.drain(..).flatten() {
            self.durable.apply(&op);
        }
    }

    fn write(&mut self, ops: &[LogOp]) {
        ops.iter().for_each(|op| self.written.apply(op));
        self.unsynced.push(ops.to_vec());
    }
}

/// The in-memory log engine.
pub(super) struct MemoryLog {
    place: Place,
}

impl MemoryLog {
    pub(super) const fn new(place: Place) -> Self {
        Self { place }
    }
}

impl LogEngine for MemoryLog {
    fn write(&self, ops: &[LogOp], sync: bool) -> Result<(), StorageError> {
        self.place.take_fault(|fault| match fault {
            MemoryFault::LogWrite(failure) => Some(failure),
            MemoryFault::LogSync(_) | MemoryFault::StateCommit(_) | MemoryFault::StateScrub(_) => {
                None
            }
        })?;
        self.place.on_log(|disk| disk.write(ops))?;
        if !sync {
            return Ok(());
        }
        self.place.pass_gate();
        self.place.take_fault(|fault| match fault {
            MemoryFault::LogSync(failure) => Some(failure),
            MemoryFault::LogWrite(_) | MemoryFault::StateCommit(_) | MemoryFault::StateScrub(_) => {
                None
            }
        })?;
        self.place.on_log(LogDisk::sync)
    }

    fn read(&self, range: Range<u64>, bytes_max: usize) -> Result<Vec<Bytes>, StorageError> {
        self.place.on_log(|disk| {
            let mut found = Vec::new();
            let mut bytes = 0;
            for index in range {
                let Some(encoded) = disk.written.entries.get(&index) else {
                    let message = format!("entry {index} is missing");
                    return Err(StorageError::corrupt("read the log", message));
                };
                bytes += encoded.len();
                found.push(encoded.clone());
                if bytes > bytes_max {
                    break;
                }
            }
            Ok(found)
        })?
    }

    fn recover(&self) -> Result<RecoveredLog, StorageError> {
        self.place.on_log(|disk| {
            // As RocksDB, which writes what it finds in its log of writes into a synced file.
            disk.sync();
            let Image { entries, records } = disk.written.clone();
            let mut indexes = entries.keys().copied();
            let first = indexes.next().unwrap_or_default();
            let end = indexes.next_back().map_or(first + 1, |last| last + 1);
            let entries = if entries.is_empty() { 0..0 } else { first..end };
            RecoveredLog { entries, records }
        })
    }
}
