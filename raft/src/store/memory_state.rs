//! The state in memory: what is flushed, and commits behind it that a crash may take.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use minicbor::{Decode, Encode};

use super::durable_files::{create_directory, read_optional, sync_directory, write_synced};
use super::engine::StateEngine;
use super::memory::{MemoryFault, Place};
use super::pace::Pace;
use crate::domain::codec;
use crate::error::StorageError;
use crate::state::{Direction, Row, Scan, Space, StateRead, Write};

/// The one file of a checkpoint.
pub(super) const CHECKPOINT_NAME: &str = "state.bin";
/// Commits after which a flush happens by itself, as RocksDB's full memtable makes one.
const UNFLUSHED_MAX: usize = 1_024;

type Image = BTreeMap<(Space, Vec<u8>), Vec<u8>>;

#[derive(Encode, Decode)]
struct StoredRow {
    #[n(0)]
    space: String,
    #[cbor(n(1), with = "minicbor::bytes")]
    key: Vec<u8>,
    #[cbor(n(2), with = "minicbor::bytes")]
    value: Vec<u8>,
}

/// One state's disk.
pub(super) struct StateDisk {
    flushed: Image,
    unflushed: Vec<Vec<Write>>,
    committed: Arc<Image>,
}

impl StateDisk {
    pub(super) fn of(image: Image) -> Self {
        Self { committed: Arc::new(image.clone()), flushed: image, unflushed: Vec::new() }
    }

    /// Commits that are not durable.
    pub(super) fn unflushed(&self) -> usize {
        self.unflushed.len()
    }

    /// Keeps so many of them.
    pub(super) fn crash(&mut self, kept: usize) {
        self.unflushed.truncate(kept);
        self.flush();
        self.committed = Arc::new(self.flushed.clone());
    }

    fn flush(&mut self) {
        for write in self.unflushed.drain(..).flatten() {
            apply(&mut self.flushed, &write);
        }
    }

    fn commit(&mut self, writes: &[Write]) {
        // Views hold the image that they began with.
        let committed = Arc::make_mut(&mut self.committed);
        writes.iter().for_each(|write| apply(committed, write));
        self.unflushed.push(writes.to_vec());
        if self.unflushed.len() > UNFLUSHED_MAX {
            self.flush();
        }
    }
}

fn apply(image: &mut Image, write: &Write) {
    let place = (write.space, write.key.clone());
    match &write.value {
        Some(value) => drop(image.insert(place, value.clone())),
        None => drop(image.remove(&place)),
    }
}

/// The state that a checkpoint left in this directory; empty when there is none.
pub(super) fn load_checkpoint(directory: &Path) -> Result<Image, StorageError> {
    let Some(content) = read_optional(&directory.join(CHECKPOINT_NAME))? else {
        return Ok(Image::new());
    };
    let unreadable = |message: String| StorageError::corrupt("open the state", message);
    let rows: Vec<StoredRow> =
        codec::decode(&content).map_err(|error| unreadable(error.to_string()))?;
    let row = |row: StoredRow| {
        let space = Space::ALL.into_iter().find(|space| space.name() == row.space);
        let space = space.ok_or_else(|| unreadable("it has an unknown space".to_owned()))?;
        Ok(((space, row.key), row.value))
    };
    rows.into_iter().map(row).collect()
}

/// The in-memory state engine.
pub(super) struct MemoryState {
    place: Place,
}

impl MemoryState {
    pub(super) const fn new(place: Place) -> Self {
        Self { place }
    }
}

impl StateEngine for MemoryState {
    fn with_view(&self, read: &mut dyn FnMut(&dyn StateRead)) {
        read(&MemoryView(self.place.on_state(|disk| Arc::clone(&disk.committed))));
    }

    fn commit(&self, writes: &[Write]) -> Result<(), StorageError> {
        self.place.take_fault(|fault| match fault {
            MemoryFault::StateCommit(failure) => Some(failure),
            MemoryFault::LogWrite(_) | MemoryFault::LogSync(_) | MemoryFault::StateScrub(_) => None,
        })?;
        self.place.on_state(|disk| disk.commit(writes))
    }

    fn flush(&self) -> Result<(), StorageError> {
        self.place.on_state(StateDisk::flush)
    }

    fn checkpoint(&self, directory: &Path) -> Result<(), StorageError> {
        let image = self.place.on_state(|disk| {
            disk.flush();
            Arc::clone(&disk.committed)
        })?;
        let row = |((space, key), value): (&(Space, Vec<u8>), &Vec<u8>)| StoredRow {
            space: space.name().to_owned(),
            key: key.clone(),
            value: value.clone(),
        };
        let rows: Vec<StoredRow> = image.iter().map(row).collect();
        create_directory(directory)?;
        write_synced(&directory.join(CHECKPOINT_NAME), &codec::encode(&rows))?;
        sync_directory(directory)
    }

    fn scrub(&self, pace: &mut Pace) -> Result<bool, StorageError> {
        self.place.take_fault(|fault| match fault {
            MemoryFault::StateScrub(failure) => Some(failure),
            MemoryFault::LogWrite(_) | MemoryFault::LogSync(_) | MemoryFault::StateCommit(_) => {
                None
            }
        })?;
        Ok(pace.spend(0))
    }
}

/// A view, or why there is none.
struct MemoryView(Result<Arc<Image>, StorageError>);

impl StateRead for MemoryView {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        let image = self.0.as_ref().map_err(Clone::clone)?;
        Ok(image.get(&(space, key.to_vec())).cloned())
    }

    fn scan(&self, scan: &Scan) -> Result<Vec<Row>, StorageError> {
        let image = self.0.as_ref().map_err(Clone::clone)?;
        if scan.from >= scan.to {
            return Ok(Vec::new());
        }
        let range = (scan.space, scan.from.clone())..(scan.space, scan.to.clone());
        let rows = image.range(range).map(|((_, key), value)| (key.clone(), value.clone()));
        Ok(match scan.direction {
            Direction::Ascending => rows.take(scan.limit).collect(),
            Direction::Descending => rows.rev().take(scan.limit).collect(),
        })
    }
}
