//! The state machine: applies committed entries, takes and installs snapshots.
//!
//! One chunk of entries is one atomic batch with `last_applied` and the membership in it. Nothing
//! is applied before it is durable in this node's own log (`openraft.md §3.3`): the state never
//! gets ahead of it. Clients are answered after the batch.

use std::io;
use std::sync::Arc;

use futures::{Stream, TryStreamExt};
use lockbox_core::{Mutant, mutant};
use openraft::storage::{ApplyResponder, EntryResponder, RaftSnapshotBuilder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend};
use tokio::sync::watch;

use super::blocking::Blocking;
use super::codec;
use super::durable_files::remove_directory;
use super::faults::Faults;
use super::install::Installer;
use super::log::DurabilityBarrier;
use super::own_hash::{OwnHash, StateHasher};
use super::owned_directory::OwnedDirectory;
use super::snapshot::{SnapshotHandle, SnapshotShelf, seal};
use super::state_handle::{Applied, last_applied, membership_of, on_view};
use crate::apply::{EntryPosition, apply_entry, register_members};
use crate::domain::Outcome;
use crate::error::StorageError;
use crate::state::{Overlay, Space, StateRead, Write, keys, tables};
use crate::types::{LogEntry, LogId, Snapshot, SnapshotMeta, StoredMembership, TypeConfig};

/// How much is applied in one batch.
#[derive(Debug, Clone, Copy)]
pub(super) struct ChunkLimits {
    pub(super) entries: usize,
    pub(super) bytes: usize,
}

/// The state machine; openraft's worker owns it.
pub struct StateMachine {
    installer: Installer,
    barrier: DurabilityBarrier,
    limits: ChunkLimits,
    blocking: Blocking,
    faults: Faults,
    hasher: StateHasher,
    last_applied: Option<LogId>,
    membership: StoredMembership,
}

type Responder = ApplyResponder<TypeConfig>;

#[derive(Default)]
struct Chunk {
    entries: Vec<LogEntry>,
    responders: Vec<Option<Responder>>,
}

struct Effects {
    writes: Vec<Write>,
    outcomes: Vec<Outcome>,
    membership: Option<StoredMembership>,
    applied: Applied,
    last: Option<LogId>,
    /// The last of the entries asks for the hash of the state as it leaves it.
    hash_asked: bool,
}

impl StateMachine {
    pub(super) fn open(
        installer: Installer,
        barrier: DurabilityBarrier,
        limits: ChunkLimits,
        blocking: Blocking,
        faults: Faults,
    ) -> Result<Self, StorageError> {
        let engine = &installer.state.generation().engine;
        let (last_applied, membership) = on_view(engine.as_ref(), |state| {
            Ok::<_, StorageError>((last_applied(state)?, membership_of(state)?))
        })??;
        let last_applied = match last_applied {
            Some(last) if mutant(Mutant::ReappliedAfterCrash) => {
                barrier.some_entries_before(last)?
            }
            last => last,
        };
        let hasher = StateHasher::new(blocking, faults.clone());
        Ok(Self { installer, barrier, limits, blocking, faults, hasher, last_applied, membership })
    }

    /// Follows the hashes of this node's state that entries have asked for.
    pub(super) fn hashes(&self) -> watch::Receiver<Option<OwnHash>> {
        self.hasher.subscribe()
    }

    /// Takes entries until the stream ends or one batch is full.
    async fn next_chunk<S>(&self, entries: &mut S) -> Result<Chunk, io::Error>
    where
        S: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + OptionalSend,
    {
        let mut chunk = Chunk::default();
        let mut bytes = 0;
        while chunk.entries.len() < self.limits.entries && bytes < self.limits.bytes {
            let Some((entry, responder)) = entries.try_next().await? else { break };
            if let EntryPayload::Normal(proposal) = &entry.payload {
                bytes += proposal.0.len();
            }
            chunk.entries.push(entry);
            chunk.responders.push(responder);
        }
        Ok(chunk)
    }

    async fn apply_chunk(&mut self, chunk: Chunk, last: LogId) -> Result<(), StorageError> {
        self.barrier.durable(last.index).await?;
        let generation = self.installer.state.generation();
        let engine = generation.engine.as_ref();
        let mut entries = chunk.entries.as_slice();
        let mut responders = chunk.responders.into_iter();
        // Once, unless an entry asks for the hash of the state as it leaves it.
        while !entries.is_empty() {
            let behind = self.last_applied;
            let effects = on_view(engine, |state| effects(state, entries, behind))??;
            engine.commit(&effects.writes)?;
            self.last_applied = effects.last;
            if let Some(membership) = effects.membership {
                self.membership = membership;
            }
            // ORDER: published before anyone is answered: whoever has an answer can read its
            // effect.
            self.installer.state.publish(effects.applied);
            entries = &entries[effects.outcomes.len()..];
            for (outcome, responder) in effects.outcomes.into_iter().zip(responders.by_ref()) {
                if let Some(responder) = responder {
                    responder.send(outcome);
                }
            }
            if effects.hash_asked {
                self.hasher.hash(effects.applied.at.index, Arc::clone(&generation)).await;
            }
        }
        Ok(())
    }

    /// Takes the checkpoint; the builder does the rest beside the next entries.
    async fn prepare_snapshot(&self) -> Result<Prepared, StorageError> {
        let meta = SnapshotMeta {
            last_log_id: self.last_applied,
            last_membership: self.membership.clone(),
        };
        let shelf = &self.installer.shelf;
        // ORDER: before the checkpoint: what is erased later is not missing in it.
        let renewal = shelf.renewal();
        if let Some(current) = shelf.current()
            && current.meta() == &meta
            && current.renewal() >= renewal
        {
            return Ok(Prepared::Current(current));
        }
        let directory = shelf.unfinished("build");
        let generation = self.installer.state.generation();
        let checkpoint = move || {
            remove_directory(directory.path())?;
            generation.engine.checkpoint(directory.path())?;
            Ok(Prepared::Checkpoint { directory, meta, renewal })
        };
        self.blocking.run(checkpoint).await
    }
}

/// What applying the entries to a view comes to; no further than to one that asks for a hash.
fn effects(
    state: &dyn StateRead,
    entries: &[LogEntry],
    mut behind: Option<LogId>,
) -> Result<Effects, StorageError> {
    let mut overlay = Overlay::new(state);
    let mut outcomes = Vec::with_capacity(entries.len());
    let mut membership = None;
    for entry in entries {
        let index = entry.log_id.index;
        if behind.is_some_and(|behind| behind >= entry.log_id) {
            let message = format!("entry {index} was applied before");
            return Err(StorageError::corrupt("apply a log entry", message));
        }
        behind = Some(entry.log_id);
        outcomes.push(match &entry.payload {
            EntryPayload::Blank => Outcome::Nothing,
            EntryPayload::Normal(proposal) => {
                let at = EntryPosition { index, term: codec::term_of(&entry.log_id) };
                apply_entry(&mut overlay, &proposal.0, at)?
            }
            EntryPayload::Membership(new) => {
                let id = Some(entry.log_id);
                let stores = new.nodes().map(|(id, member)| (*id, *member.store_id.as_bytes()));
                register_members(&mut overlay, &stores.collect(), index)?;
                membership = Some(openraft::StoredMembership::new(id, new.clone()));
                Outcome::Nothing
            }
        });
        if overlay.is_hash_asked() {
            break;
        }
    }
    let hash_asked = overlay.is_hash_asked();
    let applied = Applied { at: behind.into(), log_time: tables::log_time(&overlay)? };
    let mut writes = overlay.into_writes();
    let mut system = |key: &[u8], value: Vec<u8>| {
        writes.push(Write { space: Space::System, key: key.to_vec(), value: Some(value) });
    };
    if let Some(id) = &behind {
        system(keys::SYSTEM_LAST_APPLIED, codec::encode_log_id(id));
    }
    if let Some(membership) = &membership {
        system(keys::SYSTEM_MEMBERSHIP, codec::encode_membership(membership));
    }
    Ok(Effects { writes, outcomes, membership, applied, last: behind, hash_asked })
}

enum Prepared {
    /// The current snapshot is already of this state.
    Current(SnapshotHandle),
    /// A checkpoint that lacks its manifest.
    Checkpoint { directory: OwnedDirectory, meta: SnapshotMeta, renewal: u64 },
}

impl Prepared {
    fn finish(self, shelf: &SnapshotShelf) -> Result<SnapshotHandle, StorageError> {
        match self {
            Self::Current(snapshot) => Ok(snapshot),
            Self::Checkpoint { directory, meta, renewal } => {
                let manifest = seal(directory.path(), meta, shelf.current().as_ref())?;
                shelf.publish(SnapshotHandle::new(directory, manifest).taken_after(renewal))
            }
        }
    }
}

/// Makes a snapshot out of a checkpoint, in its own task.
pub struct SnapshotBuilder {
    prepared: Option<Result<Prepared, StorageError>>,
    shelf: Arc<SnapshotShelf>,
    blocking: Blocking,
    faults: Faults,
}

impl RaftSnapshotBuilder<TypeConfig> for SnapshotBuilder {
    type SnapshotData = SnapshotHandle;

    async fn build_snapshot(&mut self) -> Result<Snapshot, io::Error> {
        let Some(prepared) = self.prepared.take() else {
            return Err(io::Error::other("a snapshot builder builds once"));
        };
        let built = match prepared {
            Ok(prepared) => {
                let shelf = Arc::clone(&self.shelf);
                self.blocking.run(move || prepared.finish(&shelf)).await
            }
            Err(error) => Err(error),
        };
        self.faults.watch(built).map(|handle| handle.into_snapshot())
    }
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotData = SnapshotHandle;
    type SnapshotBuilder = SnapshotBuilder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        Ok((self.last_applied, self.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> Result<(), io::Error>
    where
        S: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + OptionalSend,
    {
        loop {
            let chunk = self.next_chunk(&mut entries).await?;
            let Some(last) = chunk.entries.last().map(|entry| entry.log_id) else { return Ok(()) };
            let applied = self.apply_chunk(chunk, last).await;
            self.faults.watch(applied)?;
        }
    }

    async fn try_create_snapshot_builder(&mut self, _force: bool) -> Option<SnapshotBuilder> {
        Some(self.get_snapshot_builder().await)
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder {
        SnapshotBuilder {
            prepared: Some(self.prepare_snapshot().await),
            shelf: Arc::clone(&self.installer.shelf),
            blocking: self.blocking,
            faults: self.faults.clone(),
        }
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: SnapshotHandle,
    ) -> Result<(), io::Error> {
        let installer = self.installer.clone();
        let owned = meta.clone();
        let installed = self.blocking.run(move || installer.install(&owned, snapshot)).await;
        self.faults.watch(installed)?;
        self.last_applied = meta.last_log_id;
        self.membership = meta.last_membership.clone();
        if mutant(Mutant::SnapshotOmitsMembership) {
            self.membership = StoredMembership::default();
        }
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, io::Error> {
        Ok(self.installer.shelf.current().map(SnapshotHandle::into_snapshot))
    }
}

/// Takes a snapshot of the present state at once. Blocks; for the start of a node.
pub(super) fn snapshot_now(
    installer: &Installer,
    meta: SnapshotMeta,
) -> Result<SnapshotHandle, StorageError> {
    let directory = installer.shelf.unfinished("build");
    let renewal = installer.shelf.renewal();
    installer.state.generation().engine.checkpoint(directory.path())?;
    Prepared::Checkpoint { directory, meta, renewal }.finish(&installer.shelf)
}
