//! The handle on replication: propose, read, follow, shut down.
//!
//! Owns the life of the stores, of consensus and of the tasks between them. Promises that an
//! acknowledged proposal is applied on a quorum, that a read reflects everything acknowledged
//! before it began, and that an error says whether a proposal may have taken effect. Knows
//! neither what a command means nor who asks for it.

mod attempt;
mod clock;
mod config;
mod eraser;
mod erasure;
mod error;
mod find_payload;
mod first_members;
mod forward;
mod inspect;
mod leadership;
mod membership;
mod observer;
mod own_command;
mod pause;
mod proposer;
mod purge;
mod purge_first;
mod read_barrier;
mod read_point;
mod reaper;
mod seeded;
mod service;
mod shutdown;
mod start;
mod status;
mod taken_snapshot;
#[cfg(test)]
pub(crate) mod tests;
mod timekeeper;
mod transfer;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use lockbox_core::{Clock, ClusterId, LogTime, Mutant, NodeId, Randomness, mutant};
use lockbox_proto::lockbox::peer::v1 as wire;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{InitializeError as RaftInitializeError, RaftError};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wire::raft_service_server::RaftServiceServer;
use wire::replica_service_server::ReplicaServiceServer;

pub use config::{
    ConfigError, DestroySettings, QueueLimits, ReplicaConfig, SnapshotSettings, Timing,
};
pub use erasure::ErasureStatus;
pub use error::{
    InitializeError, NotProposedReason, ProposalOutcome, ProposeError, ReadError, ReplicaFailure,
    StartError, UnknownReason,
};
pub use inspect::{Effect, HashedState, LogPiece, LoggedEntry, LoggedPayload};
pub use leadership::{Leadership, LeadershipWatch};
pub use membership::{ChangeError, ChangeRefusal, Changed, MembershipToken};
pub use proposer::Applied;
pub use purge_first::PayloadStanding;
pub use service::ReplicaRpc;
pub use start::ReplicaParts;
pub use status::{MemberStatus, ReplicaStatus, Role};
pub use taken_snapshot::SnapshotTaken;

use crate::domain::command::Envelope;
use crate::error::StorageError;
use crate::network::{ClusterIdentity, MESSAGE_BYTES_MAX, PeerGate, PeerLinks, Raft, RaftRpc};
use crate::store::{
    Faults, LogReader, LogWriter, LogWriterStats, SnapshotInbox, StateHandle, View,
};
use crate::types::Member;
use clock::ClusterClock;
use erasure::ErasureProgress;
use pause::Awaiting;
use proposer::Proposer;
use purge::Purger;
use purge_first::PurgeFirst;
use read_barrier::{ReadBarrier, RoundFailure};
use read_point::ReadPoints;

/// What a read saw, and at which point of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading<R> {
    /// What the reader returned.
    pub value: R,
    /// The index that the view reflects.
    pub index: u64,
    /// The term in which the view was confirmed; for a stale read, that of the index.
    pub term: u64,
}

/// The tonic services of the peer listener, with their message sizes set.
pub struct PeerServices {
    /// Consensus.
    pub raft: RaftServiceServer<RaftRpc>,
    /// Forwarding.
    pub replica: ReplicaServiceServer<ReplicaRpc>,
}

/// A replica of the state. Cheap to clone; all clones are one replica.
#[derive(Clone)]
pub struct Replica(Arc<Inner>);

struct Inner {
    config: ReplicaConfig,
    raft: Raft,
    proposer: Arc<Proposer>,
    barrier: ReadBarrier,
    read_points: Arc<ReadPoints>,
    links: Arc<PeerLinks>,
    purger: Arc<Purger>,
    erasure: Arc<ErasureProgress>,
    purge_first: Arc<PurgeFirst>,
    leadership: LeadershipWatch,
    clock: Arc<ClusterClock>,
    identity: Arc<ClusterIdentity>,
    gate: Arc<PeerGate>,
    state: StateHandle,
    inbox: SnapshotInbox,
    /// For who looks at the log from outside.
    log_reader: LogReader,
    /// The turn of whoever changes the membership or the leadership.
    changing: tokio::sync::Mutex<()>,
    /// The turn of whoever hashes the state.
    hashing: tokio::sync::Mutex<()>,
    /// The turn of whoever searches the files.
    searching: tokio::sync::Mutex<()>,
    faults: Faults,
    wall: Arc<dyn Clock>,
    random: Arc<dyn Randomness>,
    /// Nothing new is taken.
    draining: CancellationToken,
    /// The tasks end.
    stop: CancellationToken,
    /// A task has ended.
    ended: CancellationToken,
    tasks: TaskTracker,
    log_stats: Arc<LogWriterStats>,
    writer: Mutex<Option<LogWriter>>,
}

impl Inner {
    /// The log writer, for the one who stops it.
    fn take_writer(&self) -> Option<LogWriter> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Replica {
    /// Opens the stores and starts consensus. Returns before a leader is known: the peers find
    /// one by calling [`Self::peer_services`], which the caller serves next.
    ///
    /// # Errors
    /// [`StartError`] when a setting or the directory cannot be used.
    pub async fn start(config: ReplicaConfig, parts: ReplicaParts) -> Result<Self, StartError> {
        start::start(config, parts).await
    }

    /// The services that this node offers to its peers.
    #[must_use]
    pub fn peer_services(&self) -> PeerServices {
        let inner = &self.0;
        let raft = RaftRpc::new(
            inner.raft.clone(),
            Arc::clone(&inner.gate),
            inner.inbox.clone(),
            Arc::clone(&inner.wall),
        );
        let replica = ReplicaRpc::new(
            Arc::clone(&inner.gate),
            Arc::clone(&inner.proposer),
            Arc::clone(&inner.read_points),
        );
        PeerServices {
            raft: RaftServiceServer::new(raft)
                .max_decoding_message_size(MESSAGE_BYTES_MAX)
                .max_encoding_message_size(MESSAGE_BYTES_MAX),
            replica: ReplicaServiceServer::new(replica)
                .max_decoding_message_size(MESSAGE_BYTES_MAX)
                .max_encoding_message_size(MESSAGE_BYTES_MAX),
        }
    }

    /// Makes the first membership. To be followed by the proposal of
    /// [`crate::domain::Command::InitCluster`] with the same cluster id.
    ///
    /// Each member is asked who it is and on which directory it runs; one that does not answer
    /// yet is waited for a while.
    ///
    /// # Errors
    /// [`InitializeError`]; nothing has changed.
    pub async fn initialize(
        &self,
        cluster_id: ClusterId,
        members: BTreeMap<NodeId, Member>,
    ) -> Result<(), InitializeError> {
        let members = first_members::ask(&self.0, members).await?;
        let initialised = self.0.raft.initialize(members).await;
        initialised.map_err(|error| match error {
            RaftError::APIError(RaftInitializeError::NotAllowed(_)) => {
                InitializeError::AlreadyInitialised
            }
            RaftError::APIError(RaftInitializeError::NotInMembers(_)) => {
                InitializeError::NotAMember(self.0.config.node_id)
            }
            RaftError::Fatal(_) => InitializeError::Stopped,
        })?;
        self.0.identity.adopt(cluster_id);
        Ok(())
    }

    /// Waits until this node has applied what it had in its log when it started, and more: the
    /// point from which it is of use to clients.
    ///
    /// # Errors
    /// [`ReadError`], [`ReadError::NoLeader`] when the deadline comes first.
    pub async fn wait_ready(&self, deadline: Instant) -> Result<(), ReadError> {
        let left = deadline.saturating_duration_since(Instant::now());
        match self.0.raft.wait_for_recovery(Some(left)).await {
            Ok(_) => Ok(()),
            Err(openraft::metrics::WaitError::Timeout(..)) => Err(ReadError::NoLeader),
            Err(openraft::metrics::WaitError::ShuttingDown) => Err(self.stopped()),
        }
    }

    /// Proposes a command and waits for its outcome, wherever the leader is.
    ///
    /// Retries within the deadline keep the envelope's request id, so that the command takes
    /// effect at most once.
    ///
    /// # Errors
    /// [`ProposeError`], which says whether the command may take effect.
    pub async fn propose(
        &self,
        envelope: Envelope,
        deadline: Instant,
    ) -> Result<Applied, ProposeError> {
        if mutant(Mutant::AckBeforeCommit) {
            return seeded::answer_first(self, envelope, deadline).await;
        }
        self.0.proposer.propose(envelope, deadline).await
    }

    /// Reads a view that reflects everything acknowledged, by any node, before this call.
    ///
    /// With the view comes the time to judge by: log time after the barrier, so never behind that
    /// of the leader who confirmed the read.
    ///
    /// # Errors
    /// [`ReadError`]; trying again is always safe.
    pub async fn read<R>(
        &self,
        deadline: Instant,
        read: impl FnOnce(&View<'_>, LogTime) -> R,
    ) -> Result<Reading<R>, ReadError> {
        let term = self.pass_barrier(deadline).await?;
        let read = |view: &View<'_>| (read(view, self.log_now()), view.applied());
        let (value, at) = self.0.state.read(read)?;
        Ok(Reading { value, index: at.index, term })
    }

    /// Reads a view as it is here, however old (`design §5`: an explicit choice of the caller).
    ///
    /// The time is [`Self::log_time`]: a reader that has to judge by it and gets none must not
    /// judge, but pass the barrier.
    ///
    /// # Errors
    /// [`StorageError`] when the store cannot answer.
    pub fn read_stale<R>(
        &self,
        read: impl FnOnce(&View<'_>, Option<LogTime>) -> R,
    ) -> Result<Reading<R>, StorageError> {
        let read = |view: &View<'_>| (read(view, self.log_time()), view.applied());
        let (value, at) = self.0.state.read(read)?;
        Ok(Reading { value, index: at.index, term: at.term })
    }

    /// Whether this node has applied an index.
    #[must_use]
    pub fn has_applied(&self, index: u64) -> bool {
        self.0.state.applied().borrow().at.index >= index
    }

    /// Waits until this node has applied an index.
    ///
    /// # Errors
    /// [`ReadError::Deadline`] when the deadline comes first.
    pub async fn wait_applied(&self, index: u64, deadline: Instant) -> Result<(), ReadError> {
        let mut applied = self.0.state.applied();
        let reached = applied.wait_for(|applied| applied.at.index >= index);
        match tokio::time::timeout_at(deadline, reached).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(self.stopped()),
            Err(_elapsed) => Err(ReadError::Deadline),
        }
    }

    /// The log's time now: the last applied stamp plus the time since (`design §5`).
    ///
    /// Nothing until this process has passed its first read barrier: what it finds in its store
    /// may be late by as long as it was not running. Never ahead of what a view behind a later
    /// barrier is judged by: what is past its time by this is dead.
    #[must_use]
    pub fn log_time(&self) -> Option<LogTime> {
        self.0.clock.is_known().then(|| self.log_now())
    }

    fn log_now(&self) -> LogTime {
        self.0.clock.log_now_at(self.0.state.applied().borrow().log_time)
    }

    /// What this replica says of itself.
    #[must_use]
    pub fn status(&self) -> ReplicaStatus {
        let beside = status::Beside {
            store_id: self.0.gate.store_id(),
            state_generation: self.0.state.generation_number(),
            cluster_id: self.0.identity.to_wire(),
            applied: self.0.state.applied().borrow().at.index,
            clock_skew_ms: self.0.clock.skew_ms(),
            rounds_and_reads: self.0.barrier.rounds_and_reads(),
        };
        status::of(&self.0.raft, beside)
    }

    /// What the log writer has done since the start: syncs, their duration, what they covered.
    #[must_use]
    pub fn log_stats(&self) -> &LogWriterStats {
        &self.0.log_stats
    }

    /// The leader that this node knows, with its addresses.
    #[must_use]
    pub fn leader(&self) -> Option<(NodeId, Member)> {
        self.0.leadership.leader()
    }

    /// Follows the leadership, for tasks that run on the leader only.
    #[must_use]
    pub fn watch_leadership(&self) -> LeadershipWatch {
        self.0.leadership.clone()
    }

    /// Asks for a snapshot of the state; returns before it is made.
    ///
    /// # Errors
    /// [`ReadError`] when consensus has stopped.
    pub async fn trigger_snapshot(&self) -> Result<(), ReadError> {
        self.0.raft.trigger().snapshot().await.map_err(|_fatal| self.stopped())
    }

    /// Waits until this replica can no longer run. The process then ends with
    /// [`ReplicaFailure::exit_code`]; a shutdown is no failure, and this waits for ever.
    pub async fn fatal(&self) -> ReplicaFailure {
        let inner = &self.0;
        let mut faults = inner.faults.subscribe();
        let mut metrics = inner.raft.metrics();
        let consensus_ended = metrics.wait_until(|metrics| metrics.running_state.is_err());
        let failure = tokio::select! {
            biased;
            Ok(fault) = faults.wait_for(Option::is_some) => {
                fault.clone().map(ReplicaFailure::Storage)
            }
            () = inner.ended.cancelled() => Some(ReplicaFailure::Ended("a task ended".to_owned())),
            ended = consensus_ended => {
                let reason = ended.ok().and_then(|metrics| metrics.running_state.err());
                let reason = reason.map_or_else(|| "stopped".to_owned(), |fatal| fatal.to_string());
                Some(ReplicaFailure::Ended(reason))
            }
        };
        // Consensus ends because of a storage error a moment before or after that is recorded.
        match (inner.faults.current(), failure) {
            (Some(error), _) => ReplicaFailure::Storage(error),
            (None, Some(failure)) if !inner.draining.is_cancelled() => failure,
            (None, _) => std::future::pending().await,
        }
    }

    /// Stops the replica: takes nothing new, hands leadership over, makes everything durable.
    pub async fn shutdown(&self) {
        shutdown::shutdown(&self.0).await;
    }

    /// Passes the read barrier, again and again until the deadline; returns the term.
    async fn pass_barrier(&self, deadline: Instant) -> Result<u64, ReadError> {
        let inner = &self.0;
        let mut leadership = None;
        loop {
            let generation = inner.state.generation_number();
            if inner.draining.is_cancelled() {
                return Err(ReadError::Draining);
            }
            let failure = match inner.barrier.pass(deadline).await? {
                Ok(point) => {
                    let confirmed = inner.purge_first.confirmed(generation, &inner.state);
                    confirmed.map_err(|error| {
                        inner.faults.report(&error);
                        ReadError::Storage(error)
                    })?;
                    return Ok(point.term);
                }
                Err(failure) => failure,
            };
            if let Some(error) = inner.faults.current() {
                return Err(ReadError::Storage(error));
            }
            let leadership = leadership.get_or_insert_with(|| inner.leadership.clone());
            let random = inner.random.as_ref();
            if !pause::pause(Awaiting::Leader, leadership, random, deadline).await {
                return Err(match failure {
                    RoundFailure::NoLeader => ReadError::NoLeader,
                    RoundFailure::Behind => ReadError::Deadline,
                });
            }
        }
    }

    /// Consensus has stopped: by a broken disk, or by a shutdown.
    fn stopped(&self) -> ReadError {
        self.0.faults.current().map_or(ReadError::Draining, ReadError::Storage)
    }
}
