//! Access to the present state for readers, and the one place where its generation is swapped.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use lockbox_core::LogTime;
use tokio::sync::watch;

use super::codec;
use super::directory_lock::DirectoryLock;
use super::engine::StateEngine;
use super::engine_stats::EngineStats;
use super::faults::Faults;
use super::layout::is_of_generation;
use super::owned_directory::{InUse, OwnedDirectory};
use super::pace::Pace;
use crate::error::StorageError;
use crate::state::{Row, Scan, Space, StateRead, keys, tables};
use crate::types::{LogId, StoredMembership};

/// The last entry whose effect a view contains; zeros when it contains none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct AppliedIndex {
    /// Raft index.
    pub index: u64,
    /// The term in which that entry was proposed.
    pub term: u64,
}

impl From<Option<LogId>> for AppliedIndex {
    fn from(id: Option<LogId>) -> Self {
        id.map_or_else(Self::default, |id| Self { index: id.index, term: codec::term_of(&id) })
    }
}

/// How far this node has applied the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Applied {
    /// Up to which entry.
    pub at: AppliedIndex,
    /// The largest log time so far.
    pub log_time: LogTime,
}

/// One state on disk. Its directory goes with its last user after it was replaced.
pub(super) struct Generation {
    // ORDER: dropped in this order, so the database is closed before its files are removed.
    pub(super) engine: Arc<dyn StateEngine>,
    pub(super) directory: OwnedDirectory,
    pub(super) number: u64,
}

struct Shared {
    generation: ArcSwap<Generation>,
    applied: watch::Sender<Applied>,
    faults: Faults,
    in_use: InUse,
    _directory: Arc<DirectoryLock>,
}

/// Readers' access to the present state. Cheap to clone.
#[derive(Clone)]
pub struct StateHandle {
    shared: Arc<Shared>,
}

/// One consistent view of the state, with the point of the log that it is at.
pub struct View<'a> {
    state: &'a dyn StateRead,
    applied: AppliedIndex,
}

impl View<'_> {
    /// The last entry whose effect this view contains.
    #[must_use]
    pub const fn applied(&self) -> AppliedIndex {
        self.applied
    }
}

impl StateRead for View<'_> {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        self.state.get(space, key)
    }

    fn scan(&self, scan: &Scan) -> Result<Vec<Row>, StorageError> {
        self.state.scan(scan)
    }
}

impl StateHandle {
    pub(super) fn open(
        generation: Generation,
        faults: Faults,
        directory: Arc<DirectoryLock>,
    ) -> Result<Self, StorageError> {
        let applied = on_view(generation.engine.as_ref(), applied_of)??;
        let in_use = generation.directory.in_use();
        let shared = Shared {
            generation: ArcSwap::from_pointee(generation),
            applied: watch::Sender::new(applied),
            faults,
            in_use,
            _directory: directory,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Runs `read` on one view: everything it sees belongs to the same applied index.
    ///
    /// Keep it short: the view pins old data.
    ///
    /// # Errors
    /// [`StorageError`] when the view's own index cannot be read.
    pub fn read<R>(&self, read: impl FnOnce(&View<'_>) -> R) -> Result<R, StorageError> {
        let generation = self.shared.generation.load();
        on_view(generation.engine.as_ref(), |state| {
            let applied = last_applied(state)?.into();
            Ok(read(&View { state, applied }))
        })?
    }

    /// How far the log is applied; changes after each batch and after an installed snapshot.
    #[must_use]
    pub fn applied(&self) -> watch::Receiver<Applied> {
        self.shared.applied.subscribe()
    }

    /// Makes everything applied so far durable, which shortens the next start. Blocks.
    ///
    /// # Errors
    /// [`StorageError`].
    pub fn flush(&self) -> Result<(), StorageError> {
        let flushed = self.shared.generation.load_full().engine.flush();
        flushed.inspect_err(|error| self.shared.faults.report(error))
    }

    /// Takes the payloads that were deleted within these ranges of keys out of the files, as
    /// [`StateEngine::erase_removed`]. Blocks.
    ///
    /// # Errors
    /// [`StorageError`].
    pub(crate) fn erase_removed(
        &self,
        payloads: &[Range<Vec<u8>>],
    ) -> Result<Option<Vec<PathBuf>>, StorageError> {
        let erased = self.shared.generation.load_full().engine.erase_removed(payloads);
        erased.inspect_err(|error| self.shared.faults.report(error))
    }

    /// Looks for damage in the files of the present state, as [`StateEngine::scrub`]. Blocks. Ends
    /// early when another state takes its place: who reads the old one keeps its files, and with
    /// them what may have to be erased.
    ///
    /// # Errors
    /// [`StorageError`].
    pub(crate) fn scrub(&self, pace: &mut Pace) -> Result<bool, StorageError> {
        let generation = self.shared.generation.load_full();
        let (shared, number) = (Arc::clone(&self.shared), generation.number);
        pace.end_when(move || shared.generation.load().number != number);
        let scrubbed = generation.engine.scrub(pace);
        pace.next_object();
        scrubbed
    }

    /// Which of the files that [`Self::erase_removed`] returned are still left, as
    /// [`StateEngine::still_left`]. Blocks.
    ///
    /// # Errors
    /// [`StorageError`].
    pub(crate) fn still_left(&self, files: Vec<PathBuf>) -> Result<Vec<PathBuf>, StorageError> {
        let left = self.shared.generation.load_full().engine.still_left(files);
        left.inspect_err(|error| self.shared.faults.report(error))
    }

    /// The other generations that are still on disk: who reads an old one keeps it there, and one
    /// is being placed. What nobody uses is removed. Blocks.
    ///
    /// # Errors
    /// [`StorageError`].
    pub(crate) fn other_generations(&self) -> Result<Vec<PathBuf>, StorageError> {
        let generation = self.shared.generation.load_full();
        let own = generation.directory.path();
        let Some(all) = own.parent() else { return Ok(Vec::new()) };
        self.shared.in_use.sweep(all, own, is_of_generation)
    }

    /// A place for another generation, not made yet.
    pub(super) fn own(&self, directory: PathBuf) -> OwnedDirectory {
        OwnedDirectory::wanted(directory, &self.shared.in_use)
    }

    /// The last applied membership.
    ///
    /// # Errors
    /// [`StorageError`].
    pub fn membership(&self) -> Result<StoredMembership, StorageError> {
        self.read(|view| membership_of(view))?
    }

    /// What its engine says of itself.
    #[must_use]
    pub fn stats(&self) -> EngineStats {
        self.shared.generation.load().engine.stats()
    }

    /// Which generation of the state this is: one more with each installed snapshot.
    #[must_use]
    pub fn generation_number(&self) -> u64 {
        self.shared.generation.load().number
    }

    pub(super) fn generation(&self) -> Arc<Generation> {
        self.shared.generation.load_full()
    }

    pub(super) fn publish(&self, applied: Applied) {
        self.shared.applied.send_replace(applied);
    }

    /// Makes another generation the present one; the old one goes with its last reader.
    pub(super) fn swap(&self, generation: Generation, applied: Applied) {
        let old = self.shared.generation.swap(Arc::new(generation));
        old.directory.discard();
        self.publish(applied);
    }
}

/// Runs `read` on one view of an engine.
pub(super) fn on_view<R>(
    engine: &dyn StateEngine,
    read: impl FnOnce(&dyn StateRead) -> R,
) -> Result<R, StorageError> {
    let mut read = Some(read);
    let mut result = None;
    engine.with_view(&mut |state| result = read.take().map(|read| read(state)));
    result.ok_or_else(|| StorageError::corrupt("read the state", "the engine gave no view"))
}

/// The id of the last applied entry.
pub(super) fn last_applied(state: &dyn StateRead) -> Result<Option<LogId>, StorageError> {
    let encoded = state.get(Space::System, keys::SYSTEM_LAST_APPLIED)?;
    encoded.as_deref().map(codec::decode_log_id).transpose()
}

/// The last applied membership, or the empty one.
pub(super) fn membership_of(state: &dyn StateRead) -> Result<StoredMembership, StorageError> {
    let encoded = state.get(Space::System, keys::SYSTEM_MEMBERSHIP)?;
    encoded.as_deref().map_or_else(|| Ok(StoredMembership::default()), codec::decode_membership)
}

/// How far a state has come.
pub(super) fn applied_of(state: &dyn StateRead) -> Result<Applied, StorageError> {
    let at = last_applied(state)?.into();
    Ok(Applied { at, log_time: tables::log_time(state)? })
}
