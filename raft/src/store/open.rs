//! Opening a data directory: lock, identity, log, state, snapshots, in that order.

use std::path::Path;
use std::sync::Arc;

use lockbox_core::{Mutant, mutant};
use tokio::sync::watch;

use super::blocking::Blocking;
use super::damage::DamageMark;
use super::directory_lock::DirectoryLock;
use super::durable_files::{create_directory, is_directory, names, remove_directory};
use super::engine::{Engines, LogEngine, LogOp, LogRecord, RecoveredLog, StateEngine};
use super::epoch_file::EpochFile;
use super::erased_record::ErasedRecord;
use super::faults::Faults;
use super::identity::{self, Current, Found, NodeIdentity, StoreIdentity};
use super::install::Installer;
use super::layout::{FIRST_GENERATION, Layout, is_of_generation};
use super::log::LogStore;
use super::log_writer::{LogWriter, WriterHost};
use super::own_hash::OwnHash;
use super::owned_directory::{InUse, OwnedDirectory};
use super::restore::refuse_half_restored;
use super::seeded;
use super::snapshot::SnapshotShelf;
use super::snapshot_files::SnapshotFiles;
use super::snapshot_receive::SnapshotInbox;
use super::snapshot_renewal::SnapshotRenewal;
use super::state_handle::{Generation, StateHandle, last_applied, membership_of, on_view};
use super::state_machine::{ChunkLimits, StateMachine, snapshot_now};
use crate::domain::feature_level::FEATURE_LEVEL_MAX;
use crate::error::StorageError;
use crate::state::{StateRead, tables};
use crate::types::{LogId, SnapshotMeta, StoreId};

/// Bounds and hosts of a store.
#[derive(Debug, Clone, Copy)]
pub struct StoreOptions {
    /// Bytes of recent entries kept in memory.
    pub tail_cache_bytes_max: usize,
    /// Entries applied in one batch.
    pub apply_entries_max: usize,
    /// Bytes of proposals applied in one batch.
    pub apply_bytes_max: usize,
    /// Where the log writer runs.
    pub writer: WriterHost,
    /// Where long file work runs.
    pub blocking: Blocking,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            tail_cache_bytes_max: 32 << 20,
            apply_entries_max: 1_024,
            apply_bytes_max: 4 << 20,
            writer: WriterHost::Thread,
            blocking: Blocking::Pool,
        }
    }
}

/// An open data directory, in the parts that go to different owners.
pub struct Store {
    /// For openraft's core.
    pub log: LogStore,
    /// For openraft's state machine worker.
    pub state_machine: StateMachine,
    /// For readers.
    pub state: StateHandle,
    /// For the receiving side of a snapshot transfer.
    pub snapshots: SnapshotInbox,
    /// For whoever replaces the snapshots that hold what was destroyed.
    pub renewal: SnapshotRenewal,
    /// For the same: how far that has come.
    pub erased: ErasedRecord,
    /// For whoever compares states: what this node's was when an entry asked.
    pub hashes: watch::Receiver<Option<OwnHash>>,
    /// For whoever looks for damage: the files of the newest snapshot.
    pub snapshot_files: SnapshotFiles,
    /// For the same, when there is some.
    pub damage: DamageMark,
    /// For whoever speaks to other nodes.
    pub epoch: EpochFile,
    /// For whoever ends the process.
    pub faults: Faults,
    /// For the owner of the life cycle: stop it after openraft, or drop it.
    pub writer: LogWriter,
    /// Names this directory.
    pub store_id: StoreId,
}

/// Opens or creates the data directory of a node. Blocks.
///
/// # Errors
/// [`StorageError`]: wrong identity when the directory is another node's, in use, or has lost a
/// part; corrupt when what is there is damaged.
pub fn open_store(
    directory: &Path,
    engines: Arc<dyn Engines>,
    identity: &NodeIdentity,
    options: &StoreOptions,
) -> Result<Store, StorageError> {
    let layout = Layout::new(directory);
    create_directory(directory)?;
    let lock = Arc::new(DirectoryLock::acquire(directory)?);
    refuse_half_restored(&layout)?;
    let damage = DamageMark { path: layout.damaged() };
    damage.check()?;
    let epoch = EpochFile { path: layout.epoch() };
    let (log_engine, recovered, store, current) = claim(&layout, engines.as_ref(), identity)?;
    let shelf = Arc::new(SnapshotShelf::open(layout.snapshots())?);
    let generation = open_generation(&layout, engines.as_ref(), current.generation)?;
    let faults = Faults::new();
    let state = StateHandle::open(generation, faults.clone(), Arc::clone(&lock))?;
    state.read(|view| understood(view))??;
    let writer = LogWriter::start(Arc::clone(&log_engine), options.writer, faults.clone())?;
    let cache_bytes_max = options.tail_cache_bytes_max;
    let handle = writer.handle();
    let log =
        LogStore::open(log_engine, &recovered, handle, cache_bytes_max, faults.clone(), lock)?;
    let erased = ErasedRecord { path: layout.erased() };
    let installer = Installer {
        engines,
        layout,
        store_id: store.store_id,
        shelf: Arc::clone(&shelf),
        state: state.clone(),
    };
    cover_purged_log(&installer, &log)?;
    let limits = ChunkLimits { entries: options.apply_entries_max, bytes: options.apply_bytes_max };
    let state_machine =
        StateMachine::open(installer, log.barrier(), limits, options.blocking, faults.clone())?;
    let hashes = state_machine.hashes();
    let renewal = SnapshotRenewal { shelf: Arc::clone(&shelf) };
    let snapshot_files = SnapshotFiles { shelf: Arc::clone(&shelf) };
    let snapshots = SnapshotInbox { shelf, blocking: options.blocking };
    let store_id = StoreId::from_bytes(store.store_id);
    Ok(Store {
        log,
        state_machine,
        state,
        snapshots,
        renewal,
        erased,
        hashes,
        snapshot_files,
        damage,
        epoch,
        faults,
        writer,
        store_id,
    })
}

/// Refuses a state in which there may be what this build does not know.
pub(super) fn understood(state: &dyn StateRead) -> Result<(), StorageError> {
    let level = tables::feature_level(state)?;
    if level > FEATURE_LEVEL_MAX {
        return Err(StorageError::newer_build(level, FEATURE_LEVEL_MAX));
    }
    Ok(())
}

type Claimed = (Arc<dyn LogEngine>, RecoveredLog, StoreIdentity, Current);

/// Checks whose directory this is, and makes it this node's if it is nobody's.
fn claim(
    layout: &Layout,
    engines: &dyn Engines,
    node: &NodeIdentity,
) -> Result<Claimed, StorageError> {
    let marker = identity::read_marker(&layout.identity())?;
    if let Some(marker) = marker
        && marker.node_id == node.node_id
        && !layout.log().exists()
    {
        // Before the engine makes an empty one.
        return Err(identity::wiped(layout, "the log in raft/ was removed"));
    }
    let found_current = identity::read_current(&layout.current())?;
    create_directory(&layout.log())?;
    let log = engines.open_log(&layout.log())?;
    if mutant(Mutant::LostTail) {
        seeded::lose_tail(log.as_ref())?;
    }
    let recovered = log.recover()?;
    let in_log = recovered.records.get(&LogRecord::Identity);
    let in_log = in_log.map(|encoded| identity::decode(encoded)).transpose()?;
    let log_in_use =
        !recovered.entries.is_empty() || recovered.records.contains_key(&LogRecord::Vote);
    let found = Found { marker, in_log, current: found_current, log_in_use };
    let store = found.settle(layout, node)?;
    // ORDER: the log first, the marker last: what is missing after a crash tells how far it came.
    if found.in_log.is_none() {
        let value = identity::encode(&store);
        log.write(&[LogOp::Record { record: LogRecord::Identity, value }], true)?;
    }
    let current = match found.current {
        Some(current) => current,
        None => create_state(layout, &store)?,
    };
    if found.marker.is_none() {
        identity::write_marker(&layout.identity(), &store)?;
    }
    Ok((log, recovered, store, current))
}

fn create_state(layout: &Layout, store: &StoreIdentity) -> Result<Current, StorageError> {
    create_directory(&layout.states())?;
    create_directory(&layout.state(FIRST_GENERATION))?;
    let current = Current { generation: FIRST_GENERATION, store_id: store.store_id };
    identity::write_current(&layout.current(), &current)?;
    Ok(current)
}

/// Opens the generation that counts and removes every other one; what else is there is not ours.
fn open_generation(
    layout: &Layout,
    engines: &dyn Engines,
    number: u64,
) -> Result<Generation, StorageError> {
    let path = layout.state(number);
    if !path.exists() {
        return Err(identity::wiped(layout, "the state that CURRENT names was removed"));
    }
    for name in names(&layout.states())? {
        let other = layout.states().join(&name);
        if name != number.to_string() && is_of_generation(&name) && is_directory(&other) {
            remove_directory(&other)?;
        }
    }
    let engine = engines.open_state(&path)?;
    let directory = OwnedDirectory::wanted(path, &InUse::default());
    Ok(Generation { engine, directory, number })
}

/// Makes sure that a snapshot covers whatever is purged, or will be when openraft starts.
///
/// openraft keeps an older snapshot when it purges the log at start (`openraft.md §2.6`); as
/// leader this node could then serve a follower neither log nor snapshot.
fn cover_purged_log(installer: &Installer, log: &LogStore) -> Result<(), StorageError> {
    let engine: Arc<dyn StateEngine> = Arc::clone(&installer.state.generation().engine);
    let (applied, last_membership) = on_view(engine.as_ref(), |state| {
        Ok::<_, StorageError>((last_applied(state)?, membership_of(state)?))
    })??;
    let (purged, last) = log.bounds();
    let hole = last < applied;
    let to_cover: Option<LogId> = if hole { applied } else { purged };
    let covered = installer.shelf.current().and_then(|current| current.meta().last_log_id);
    if covered >= to_cover {
        return Ok(());
    }
    if applied < to_cover {
        return Err(identity::wiped(
            &installer.layout,
            "the state ends before the log begins, and no snapshot lies between",
        ));
    }
    snapshot_now(installer, SnapshotMeta { last_log_id: applied, last_membership })?;
    Ok(())
}
