//! Engines in memory with explicit durability, for tests and simulation.
//!
//! Every engine has what is durable and what a crash may still take. [`MemoryEngines::crash`]
//! ends all open engines at once and decides, from a seed, how much of the rest survives: whole
//! batches from the front, because a torn batch fails its checksum and is dropped with all behind
//! it. Directories are real, so everything around the engines is the same as with RocksDB; what
//! an engine stores lives under an image number kept in the file `image` of its directory, and
//! goes when that file goes.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use super::durable_files::{read_optional, write_synced};
use super::engine::{Engines, LogEngine, StateEngine};
use super::locking::locked;
use super::memory_log::{LogDisk, MemoryLog};
use super::memory_state::{MemoryState, StateDisk, load_checkpoint};
use crate::error::{StorageError, StorageFailure};

pub(super) const IMAGE_NAME: &str = "image";

/// A failure that is injected once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemoryFault {
    /// The next write to a log fails, and nothing of it is kept.
    LogWrite(StorageFailure),
    /// The next write to a log takes effect, but its sync fails.
    LogSync(StorageFailure),
    /// The next commit to a state fails.
    StateCommit(StorageFailure),
    /// The next look for damage in a state finds this.
    StateScrub(StorageFailure),
}

#[derive(Default)]
struct Images {
    logs: BTreeMap<u64, LogDisk>,
    states: BTreeMap<u64, StateDisk>,
    last: u64,
    /// Counts crashes; an engine of an earlier life does nothing any more.
    life: u64,
    fault: Option<MemoryFault>,
}

#[derive(Default)]
struct Gate {
    closed: bool,
    waiting: usize,
}

/// All disks of one machine. Clones share them; what was durable outlives every engine.
#[derive(Clone, Default)]
pub struct MemoryEngines {
    machine: Arc<Machine>,
}

#[derive(Default)]
pub(super) struct Machine {
    images: Mutex<Images>,
    gate: Mutex<Gate>,
    changed: Condvar,
}

/// One engine's place on the machine's disks.
pub(super) struct Place {
    machine: Arc<Machine>,
    image: u64,
    life: u64,
}

impl MemoryEngines {
    /// A machine with empty disks.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the power away: every open engine is dead, and of what was not durable a part
    /// survives that depends on the seed.
    pub fn crash(&self, seed: u64) {
        let mut images = locked(&self.machine.images);
        let Images { logs, states, life, .. } = &mut *images;
        *life += 1;
        let mut random = seed;
        for disk in logs.values_mut() {
            disk.crash(pick(&mut random, disk.unsynced()));
        }
        for disk in states.values_mut() {
            disk.crash(pick(&mut random, disk.unflushed()));
        }
    }

    /// Injects a failure into the next operation that it concerns.
    pub fn fail_next(&self, fault: MemoryFault) {
        locked(&self.machine.images).fault = Some(fault);
    }

    /// Makes every sync of a log wait from now on, as on a stalled disk.
    pub fn stall_syncs(&self) {
        locked(&self.machine.gate).closed = true;
    }

    /// Lets syncs go on.
    pub fn release_syncs(&self) {
        locked(&self.machine.gate).closed = false;
        self.machine.changed.notify_all();
    }

    /// Blocks until a sync waits at the stalled disk.
    pub fn wait_for_stalled_sync(&self) {
        let mut gate = locked(&self.machine.gate);
        while gate.waiting == 0 {
            gate = self.machine.changed.wait(gate).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn place(&self, directory: &Path) -> Result<(Place, bool), StorageError> {
        let path = directory.join(IMAGE_NAME);
        let stored = read_optional(&path)?;
        let known = stored.as_deref().and_then(|text| std::str::from_utf8(text).ok());
        let known = known.and_then(|text| text.parse().ok());
        let mut images = locked(&self.machine.images);
        let life = images.life;
        let machine = Arc::clone(&self.machine);
        if let Some(image) = known {
            return Ok((Place { machine, image, life }, false));
        }
        images.last += 1;
        let image = images.last;
        drop(images);
        write_synced(&path, image.to_string().as_bytes())?;
        Ok((Place { machine, image, life }, true))
    }
}

/// A number in `0..=max`, and the next state of the generator (splitmix64).
fn pick(state: &mut u64, max: usize) -> usize {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^= mixed >> 31;
    usize::try_from(mixed % (max as u64 + 1)).unwrap_or(max)
}

impl Engines for MemoryEngines {
    fn open_log(&self, directory: &Path) -> Result<Arc<dyn LogEngine>, StorageError> {
        let (place, fresh) = self.place(directory)?;
        if fresh {
            locked(&self.machine.images).logs.insert(place.image, LogDisk::default());
        }
        Ok(Arc::new(MemoryLog::new(place)))
    }

    fn open_state(&self, directory: &Path) -> Result<Arc<dyn StateEngine>, StorageError> {
        let (place, fresh) = self.place(directory)?;
        if fresh {
            let disk = StateDisk::of(load_checkpoint(directory)?);
            locked(&self.machine.images).states.insert(place.image, disk);
        }
        Ok(Arc::new(MemoryState::new(place)))
    }
}

impl Place {
    /// Works on the log's disk; fails for an engine that did not live through a crash.
    pub(super) fn on_log<R>(
        &self,
        work: impl FnOnce(&mut LogDisk) -> R,
    ) -> Result<R, StorageError> {
        let mut images = self.alive()?;
        images.logs.get_mut(&self.image).map(work).ok_or_else(no_image)
    }

    /// As [`Self::on_log`], for the state's disk.
    pub(super) fn on_state<R>(
        &self,
        work: impl FnOnce(&mut StateDisk) -> R,
    ) -> Result<R, StorageError> {
        let mut images = self.alive()?;
        images.states.get_mut(&self.image).map(work).ok_or_else(no_image)
    }

    fn alive(&self) -> Result<std::sync::MutexGuard<'_, Images>, StorageError> {
        let images = locked(&self.machine.images);
        if images.life == self.life {
            return Ok(images);
        }
        let cause = std::io::Error::other("the machine has lost its power");
        Err(StorageError::io("use a disk in memory", &cause))
    }

    /// Takes the injected failure if `concerns` picks it.
    pub(super) fn take_fault(
        &self,
        concerns: impl FnOnce(MemoryFault) -> Option<StorageFailure>,
    ) -> Result<(), StorageError> {
        let mut images = locked(&self.machine.images);
        let Some(failure) = images.fault.and_then(concerns) else { return Ok(()) };
        images.fault = None;
        let message = "injected".to_owned();
        Err(StorageError { failure, context: "use a disk in memory".to_owned(), message })
    }

    /// Waits while syncs are stalled.
    pub(super) fn pass_gate(&self) {
        let mut gate = locked(&self.machine.gate);
        if gate.closed {
            gate.waiting += 1;
            self.machine.changed.notify_all();
            while gate.closed {
                gate = self.machine.changed.wait(gate).unwrap_or_else(PoisonError::into_inner);
            }
            gate.waiting -= 1;
        }
    }
}

fn no_image() -> StorageError {
    StorageError::corrupt("use a disk in memory", "there is no such image")
}
