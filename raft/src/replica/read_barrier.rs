//! The read barrier: an actor that confirms leadership once for all reads that wait.
//!
//! A round serves the reads that arrived before it began, and only those: its read point then
//! covers everything acknowledged before each of them. The mailbox is bounded, and one round is
//! under way at a time: the next one gathers meanwhile. With two, each carried half as many reads
//! and the messages between nodes cost a tenth of the node's CPU.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::clock::ClusterClock;
use super::error::ReadError;
use super::forward::Forwarder;
use super::leadership::{LeadershipWatch, Place};
use super::read_point::{ReadPoint, ReadPoints};
use super::seeded;
use crate::network::Target;
use crate::store::StateHandle;

/// Reads that one round takes from the mailbox.
const READS_PER_ROUND_MAX: usize = 4096;

/// Why a round gave no read point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RoundFailure {
    /// No leader, or none that a quorum confirmed.
    NoLeader,
    /// This node has not applied the read point in time.
    Behind,
}

type Answer = Result<ReadPoint, RoundFailure>;

/// What the barrier has done since the start: reads for each round show how well it batches.
#[derive(Debug, Default)]
struct Counts {
    rounds: AtomicU64,
    reads: AtomicU64,
}

/// A handle on the actor. Cheap to clone.
#[derive(Clone)]
pub(super) struct ReadBarrier {
    mailbox: mpsc::Sender<oneshot::Sender<Answer>>,
    counts: Arc<Counts>,
}

impl ReadBarrier {
    /// A barrier with its actor, which the caller runs.
    pub(super) fn new(confirmer: Confirmer, reads_waiting_max: usize) -> (Self, ReadRounds) {
        let (sender, mailbox) = mpsc::channel(reads_waiting_max);
        let counts = Arc::new(Counts::default());
        let handle = Self { mailbox: sender, counts: Arc::clone(&counts) };
        (handle, ReadRounds { confirmer, mailbox, counts })
    }

    /// Rounds begun so far, and the reads that they serve.
    pub(super) fn rounds_and_reads(&self) -> (u64, u64) {
        let counts = &self.counts;
        (counts.rounds.load(Ordering::Relaxed), counts.reads.load(Ordering::Relaxed))
    }

    /// Reads that wait, and how many may.
    pub(super) fn waiting(&self) -> (usize, usize) {
        let max = self.mailbox.max_capacity();
        (max.saturating_sub(self.mailbox.capacity()), max)
    }

    /// Waits until this node has applied everything that was acknowledged before the call, and
    /// knows the time.
    pub(super) async fn pass(&self, deadline: Instant) -> Result<Answer, ReadError> {
        let (answer, answered) = oneshot::channel();
        self.mailbox.try_send(answer).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => ReadError::QueueFull,
            mpsc::error::TrySendError::Closed(_) => ReadError::Draining,
        })?;
        match tokio::time::timeout_at(deadline, answered).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_actor_gone)) => Err(ReadError::Draining),
            Err(_elapsed) => Err(ReadError::Deadline),
        }
    }
}

/// The actor.
pub(super) struct ReadRounds {
    confirmer: Confirmer,
    mailbox: mpsc::Receiver<oneshot::Sender<Answer>>,
    counts: Arc<Counts>,
}

impl ReadRounds {
    /// Runs rounds until `stop`; the reads that still wait then learn that the actor is gone.
    pub(super) async fn run(self, stop: CancellationToken) {
        // Whatever a round waits for: its readers are let go when the replica stops.
        stop.run_until_cancelled_owned(self.rounds()).await;
    }

    async fn rounds(mut self) {
        let mut readers = Vec::new();
        loop {
            let received = self.mailbox.recv_many(&mut readers, READS_PER_ROUND_MAX).await;
            if received == 0 {
                return;
            }
            self.counts.rounds.fetch_add(1, Ordering::Relaxed);
            self.counts.reads.fetch_add(received as u64, Ordering::Relaxed);
            let answer = self.confirmer.read_point().await;
            for reader in readers.drain(..) {
                // A reader that is gone has met its deadline.
                let _reader_gone = reader.send(answer).is_err();
            }
        }
    }
}

/// Gets read points and waits until they are applied here.
pub(super) struct Confirmer {
    pub(super) read_points: Arc<ReadPoints>,
    pub(super) leadership: LeadershipWatch,
    pub(super) forwarder: Forwarder,
    pub(super) clock: Arc<ClusterClock>,
    pub(super) state: StateHandle,
    /// For one round: longer than that, and the leader is asked anew.
    pub(super) round_timeout: Duration,
}

impl Confirmer {
    async fn read_point(&self) -> Answer {
        let by = Instant::now() + self.round_timeout;
        let point = match self.leadership.place() {
            Place::There(_) if seeded::answers_as_follower(&self.clock) => Some(self.own_point()),
            Place::Here => self.read_points.give(by).await,
            Place::There(leader) => self.read_index_there(&leader, by).await,
            Place::Nowhere => None,
        };
        let point = point.ok_or(RoundFailure::NoLeader)?;
        self.clock.confirmed(point.log_time);
        let mut applied = self.state.applied();
        let reached = applied.wait_for(|applied| applied.at.index >= point.index);
        match tokio::time::timeout_at(by, reached).await {
            Ok(Ok(_)) => Ok(point),
            Ok(Err(_)) | Err(_) => Err(RoundFailure::Behind),
        }
    }

    /// Asks the leader, and does not wait for one that was succeeded: it may be frozen, and all
    /// reads of this node wait with the round.
    async fn read_index_there(&self, leader: &Target, by: Instant) -> Option<ReadPoint> {
        tokio::select! {
            point = self.forwarder.read_index(leader, by) => point,
            () = self.leadership.another_than(leader.id) => None,
        }
    }
}
