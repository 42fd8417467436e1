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
mod export;
mod find_payload;
mod first_members;
mod forward;
mod inspect;
mod integrity;
mod leadership;
mod measures;
mod membership;
mod observer;
mod own_command;
mod pause;
mod proposer;
mod purge;
mod purge_first;
mod read_barrier;
mod read_point;
mod reading;
mod reaper;
mod room;
mod scrubber;
mod seeded;
mod service;
mod shutdown;
mod start;
mod state_checker;
mod status;
mod taken_snapshot;
#[cfg(test)]
pub(crate) mod tests;
mod timekeeper;
mod transfer;
mod upkeep;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use lockbox_core::{Clock, ClusterId, Mutant, NodeId, Randomness, mutant};
use lockbox_proto::lockbox::peer::v1 as wire;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{InitializeError as RaftInitializeError, RaftError};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;
use wire::raft_service_server::RaftServiceServer;
use wire::replica_service_server::ReplicaServiceServer;

pub use config::{
    ConfigError, DestroySettings, IntegritySettings, QueueLimits, ReplicaConfig, SnapshotSettings,
    Timing,
};
pub use erasure::ErasureStatus;
pub use error::{
    InitializeError, NotProposedReason, ProposalOutcome, ProposeError, ReadError, ReplicaFailure,
    StartError, UnknownReason,
};
pub use inspect::{Effect, HashedState, LogPiece, LoggedEntry, LoggedPayload};
pub use integrity::IntegrityStatus;
pub use leadership::{Leadership, LeadershipWatch};
pub use measures::{QueueDepth, StorageStats};
pub use membership::{
    ChangeError, ChangeRefusal, Changed, FeatureLevels, MemberFeatures, MembershipToken,
};
pub use proposer::Applied;
pub use purge_first::PayloadStanding;
pub use reading::Reading;
pub use service::ReplicaRpc;
pub use start::ReplicaParts;
pub use status::{MemberStatus, ReplicaStatus, Role};
pub use taken_snapshot::SnapshotTaken;

use crate::domain::command::Envelope;
use crate::network::{ClusterIdentity, MESSAGE_BYTES_MAX, PeerGate, PeerLinks, Raft, RaftRpc};
use crate::store::{
    Engines, Faults, LogReader, LogWriter, LogWriterStats, SnapshotInbox, StateHandle,
};
use crate::types::Member;
use clock::ClusterClock;
use erasure::ErasureProgress;
use integrity::Integrity;
use measures::Elections;
use proposer::Proposer;
use purge::Purger;
use purge_first::PurgeFirst;
use read_barrier::ReadBarrier;
use read_point::ReadPoints;

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
    integrity: Arc<Integrity>,
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
    /// The turn of whoever copies the state.
    exporting: tokio::sync::Mutex<()>,
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
    elections: Arc<Elections>,
    /// They know what the log and the state share.
    engines: Arc<dyn Engines>,
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
            Arc::clone(inner.links.room()),
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
        let span = tracing::trace_span!(target: "lockbox_trace", "propose");
        self.0.proposer.propose(envelope, deadline).instrument(span).await
    }

    /// What this replica says of itself.
    #[must_use]
    pub fn status(&self) -> ReplicaStatus {
        let beside = status::Beside {
            store_id: self.0.gate.store_id(),
            state_generation: self.0.state.generation_number(),
            cluster_id: self.0.identity.to_wire(),
            applied: self.0.state.applied().borrow().at.index,
            cluster_epoch: self.0.identity.epoch(),
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

    /// Consensus has stopped: by a broken disk, or by a shutdown.
    fn stopped(&self) -> ReadError {
        self.0.faults.current().map_or(ReadError::Draining, ReadError::Storage)
    }
}
