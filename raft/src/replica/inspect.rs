//! What checkers look at from outside: the hash of the state and the log that led to it.

use lockbox_core::NodeId;
use openraft::EntryPayload;
use openraft::storage::RaftLogReader;
use tokio::time::Instant;

use super::Replica;
use super::error::ReadError;
use crate::domain::codec;
use crate::domain::command::Envelope;
use crate::error::StorageError;
use crate::state::{StateRead, tables};
use crate::store::{AppliedIndex, StateHashes, state_hashes};
use crate::types::LogEntry;

/// The hashes of a state, with the point of the log that they are of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HashedState {
    /// The last entry whose effect the state contains.
    pub at: AppliedIndex,
    /// The hashes.
    pub hashes: StateHashes,
}

/// What became of a logged command, as the operations in the state tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// The entry made its operation.
    Applied,
    /// An earlier entry of the same proposal had made it.
    Repeated,
    /// The state refused it, or what it made was forgotten since.
    Refused,
}

/// What an entry of the log holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoggedPayload {
    /// Nothing: a leader's first entry.
    Blank,
    /// A command.
    Command {
        /// The command with all that came with it.
        envelope: Box<Envelope>,
        /// What became of it; absent for one that makes no operation.
        effect: Option<Effect>,
    },
    /// A membership.
    Membership {
        /// The sets of voters; two while they are joint.
        voter_sets: Vec<Vec<NodeId>>,
        /// The members that do not vote.
        learners: Vec<NodeId>,
    },
}

/// One entry of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedEntry {
    /// Its index.
    pub index: u64,
    /// Its term.
    pub term: u64,
    /// What it holds.
    pub payload: LoggedPayload,
}

/// A piece of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogPiece {
    /// The first entry that the log still holds: everything before is purged.
    pub begins_at: u64,
    /// The last entry that this node has applied; nothing behind it is shown.
    pub applied: AppliedIndex,
    /// The entries.
    pub entries: Vec<LoggedEntry>,
    /// Where the next piece begins; absent when this is the last.
    pub next: Option<u64>,
}

impl Replica {
    /// Hashes the state, once `at_index` is applied. Reads all of it, beside everything else.
    ///
    /// # Errors
    /// [`ReadError::Deadline`] when the entry is not applied in time, [`ReadError::QueueFull`]
    /// while another hash is made.
    pub async fn state_hash(
        &self,
        at_index: u64,
        deadline: Instant,
    ) -> Result<HashedState, ReadError> {
        let _turn = self.0.hashing.try_lock().map_err(|_held| ReadError::QueueFull)?;
        self.wait_applied(at_index, deadline).await?;
        let state = self.0.state.clone();
        let hashing = tokio::task::spawn_blocking(move || {
            state.read(|view| {
                let hashes = state_hashes(view)?;
                Ok::<_, StorageError>(HashedState { at: view.applied(), hashes })
            })
        });
        match hashing.await {
            Ok(hashed) => Ok(hashed??),
            Err(panic) => Err(StorageError::io("hash the state", &panic.into()).into()),
        }
    }

    /// Reads what this node has applied of the log from `from` on, at most `limit` entries.
    ///
    /// # Errors
    /// [`ReadError::Storage`] when the log or the state cannot answer.
    pub async fn read_log(&self, from: u64, limit: u64) -> Result<LogPiece, ReadError> {
        let applied = self.0.state.applied().borrow().at;
        let committed = applied.index;
        let mut reader = self.0.log_reader.clone();
        loop {
            let whole = reader.has(applied).map_err(|_unread| self.log_unread())?;
            let begins_at = if whole { reader.first_index() } else { committed + 1 };
            let start = from.max(begins_at);
            let end = start.saturating_add(limit).min(committed.saturating_add(1)).max(start);
            let entries = reader.try_get_log_entries(start..end).await;
            let entries = entries.map_err(|_reported| self.log_unread())?;
            // A purge may have come between; then the log begins later than it did.
            if reader.first_index() > start {
                continue;
            }
            let entries = self.describe(&entries)?;
            let next = (end <= committed).then_some(end);
            return Ok(LogPiece { begins_at, applied, entries, next });
        }
    }

    fn describe(&self, entries: &[LogEntry]) -> Result<Vec<LoggedEntry>, ReadError> {
        let describe = |view: &crate::store::View<'_>| {
            let described = entries.iter().map(|entry| describe(view, entry));
            described.collect::<Result<Vec<_>, StorageError>>()
        };
        Ok(self.0.state.read(describe)??)
    }

    fn log_unread(&self) -> ReadError {
        let unknown = || StorageError::corrupt("read the log", "it does not answer");
        ReadError::Storage(self.0.faults.current().unwrap_or_else(unknown))
    }
}

fn describe(state: &dyn StateRead, entry: &LogEntry) -> Result<LoggedEntry, StorageError> {
    let index = entry.log_id.index;
    let payload = match &entry.payload {
        EntryPayload::Blank => LoggedPayload::Blank,
        EntryPayload::Normal(proposal) => {
            let envelope: Envelope = codec::decode(&proposal.0).map_err(|error| {
                StorageError::corrupt("read the log", format!("entry {index}: {error}"))
            })?;
            let effect = effect(state, &envelope, index)?;
            LoggedPayload::Command { envelope: Box::new(envelope), effect }
        }
        EntryPayload::Membership(membership) => {
            let configs = membership.get_joint_config().iter();
            LoggedPayload::Membership {
                voter_sets: configs.map(|voters| voters.iter().copied().collect()).collect(),
                learners: membership.learner_ids().collect(),
            }
        }
    };
    Ok(LoggedEntry { index, term: entry.log_id.leader_id.term, payload })
}

fn effect(
    state: &dyn StateRead,
    envelope: &Envelope,
    index: u64,
) -> Result<Option<Effect>, StorageError> {
    if !envelope.command.makes_operation() {
        return Ok(None);
    }
    let operation = tables::operation(state, &envelope.operation_id)?;
    Ok(Some(match operation {
        Some(operation) if operation.index == index => Effect::Applied,
        Some(_) => Effect::Repeated,
        None => Effect::Refused,
    }))
}
