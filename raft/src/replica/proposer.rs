//! Proposals: to this node's consensus when it leads, else one hop to the leader, until there is
//! an outcome or the deadline comes.
//!
//! Every try carries the same request id, and `apply` remembers it: trying again is safe even
//! after a try that may have proposed, and takes effect once (`openraft.md §7.3`).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use lockbox_core::{LogTime, Mutant, NodeId, OperationId, Randomness, RequestId, Subject, mutant};
use openraft::errors::{ClientWriteError, ForwardReason, RaftError};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::attempt::{Attempt, NotTaken};
use super::clock::ClusterClock;
use super::error::{NotProposedReason, ProposeError, UnknownReason};
use super::forward::Forwarder;
use super::leadership::{LeadershipWatch, Place};
use super::pause::{self, Awaiting};
use crate::domain::codec;
use crate::domain::command::{Command, Envelope};
use crate::domain::outcome::Outcome;
use crate::network::{DiskRoom, Raft, Target};
use crate::state::tables;
use crate::store::{Faults, StateHandle};
use crate::types::Proposal;

/// How long a leader that was succeeded may still answer for what it was given: one that only
/// stepped down does so at once, and its answer is better than "unknown".
const LAST_WORD_PAUSE: Duration = Duration::from_millis(100);

/// A proposal that was applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// The log index of the entry; the outcome reflects everything up to it.
    pub index: u64,
    /// The term of the entry.
    pub term: u64,
    /// What `apply` answered.
    pub outcome: Outcome,
}

/// Proposes; shared by the callers of this node and by followers that forward.
pub(super) struct Proposer {
    pub(super) raft: Raft,
    pub(super) leadership: LeadershipWatch,
    pub(super) forwarder: Forwarder,
    pub(super) clock: Arc<ClusterClock>,
    pub(super) state: StateHandle,
    pub(super) me: NodeId,
    pub(super) room: Arc<DiskRoom>,
    pub(super) random: Arc<dyn Randomness>,
    pub(super) faults: Faults,
    pub(super) in_flight: Semaphore,
    pub(super) draining: CancellationToken,
}

impl Proposer {
    /// Proposes wherever the leader is.
    pub(super) async fn propose(
        &self,
        mut envelope: Envelope,
        deadline: Instant,
    ) -> Result<Applied, ProposeError> {
        let _permit = self.admit().map_err(ProposeError::NotProposed)?;
        let mut leadership = None;
        let mut maybe_proposed = false;
        loop {
            let attempt = match self.leadership.place() {
                Place::Here => self.propose_here(&mut envelope, deadline).await,
                Place::There(leader) => self.propose_there(&leader, &envelope, deadline).await,
                Place::Nowhere => Attempt::NotTaken(NotTaken::NoLeader),
            };
            let (awaiting, reason) = match attempt {
                // The earlier try may reach the log behind this one and be decided otherwise.
                Attempt::Applied(applied)
                    if maybe_proposed && matches!(applied.outcome, Outcome::Rejected(_)) =>
                {
                    return Err(ProposeError::Unknown(UnknownReason::EarlierTry));
                }
                Attempt::Applied(applied) => return Ok(*applied),
                Attempt::Stopped => return Err(self.stopped()),
                Attempt::Unknown => {
                    maybe_proposed = true;
                    (Some(Awaiting::Leader), NotProposedReason::NoLeader)
                }
                Attempt::NotTaken(why) => (why.awaiting(), why.reason()),
            };
            let again = match awaiting {
                Some(awaiting) => {
                    let leadership = leadership.get_or_insert_with(|| self.leadership.clone());
                    pause::pause(awaiting, leadership, self.random.as_ref(), deadline).await
                }
                // An earlier try may have proposed: only its outcome is an answer.
                None if maybe_proposed => {
                    let leadership = leadership.get_or_insert_with(|| self.leadership.clone());
                    let random = self.random.as_ref();
                    pause::pause(Awaiting::Leader, leadership, random, deadline).await
                }
                None => false,
            };
            if !again {
                let told = maybe_proposed && !mutant(Mutant::TimeoutNotProposed);
                return Err(given_up(told, reason));
            }
        }
    }

    /// Hands the proposal to the leader, and does not wait for one that was succeeded: it may be
    /// frozen or cut off, and its connection takes ten seconds to be found dead.
    async fn propose_there(
        &self,
        leader: &Target,
        envelope: &Envelope,
        deadline: Instant,
    ) -> Attempt {
        if Instant::now() >= deadline {
            return Attempt::NotTaken(NotTaken::TooLate);
        }
        let succeeded = async {
            self.leadership.another_than(leader.id).await;
            tokio::time::sleep(LAST_WORD_PAUSE).await;
        };
        tokio::select! {
            attempt = self.forwarder.propose(leader, envelope, deadline) => attempt,
            () = succeeded => Attempt::Unknown,
        }
    }

    /// Proposes for a follower: here or not at all (`design §5`, one hop).
    pub(super) async fn propose_for_peer(
        &self,
        mut envelope: Envelope,
        deadline: Instant,
    ) -> Result<Attempt, NotProposedReason> {
        let _permit = self.admit()?;
        let mut leadership = self.leadership.clone();
        loop {
            let attempt = match self.leadership.place() {
                Place::Here => self.propose_here(&mut envelope, deadline).await,
                Place::There(_) | Place::Nowhere => Attempt::NotTaken(NotTaken::NoLeader),
            };
            if !matches!(attempt, Attempt::NotTaken(NotTaken::LeaseNotYet)) {
                return Ok(attempt);
            }
            let random = self.random.as_ref();
            if !pause::pause(Awaiting::Lease, &mut leadership, random, deadline).await {
                return Ok(attempt);
            }
        }
    }

    /// Puts the time into the log, as leader or not at all. Takes no place among the proposals:
    /// reads wait for it, however many clients write.
    pub(super) async fn propose_time(&self, deadline: Instant) -> Attempt {
        self.propose_own(Command::AdvanceTime, deadline).await
    }

    /// Puts a command of the cluster's own into the log, as leader or not at all.
    pub(super) async fn propose_own(&self, command: Command, deadline: Instant) -> Attempt {
        let random = self.random.as_ref();
        let mut envelope = Envelope {
            request_id: RequestId::generate(random),
            subject: Subject::internal(),
            token: None,
            operation_id: OperationId::generate(random),
            idempotency: None,
            if_version: None,
            proposed_at: LogTime::default(),
            command,
        };
        self.propose_here(&mut envelope, deadline).await
    }

    /// A place among the proposals under way.
    fn admit(&self) -> Result<SemaphorePermit<'_>, NotProposedReason> {
        if self.draining.is_cancelled() {
            return Err(NotProposedReason::Draining);
        }
        self.in_flight.try_acquire().map_err(|_| NotProposedReason::QueueFull)
    }

    /// Stamps the time and hands the proposal to this node's consensus.
    async fn propose_here(&self, envelope: &mut Envelope, deadline: Instant) -> Attempt {
        if Instant::now() >= deadline {
            return Attempt::NotTaken(NotTaken::TooLate);
        }
        if !self.is_understood(&envelope.command) {
            return Attempt::NotTaken(NotTaken::FeatureLevel);
        }
        if self.room.is_tight()
            && envelope.command.grows()
            && self.room.refuses_growth(self.me, &self.leadership.voters())
        {
            return Attempt::NotTaken(NotTaken::NoRoom);
        }
        envelope.proposed_at = self.clock.stamp();
        let proposal = Proposal(Bytes::from(codec::encode(envelope)));
        let span = tracing::trace_span!(target: "lockbox_trace", "commit_and_apply");
        let write = self.raft.client_write(proposal).instrument(span);
        let Ok(written) = tokio::time::timeout_at(deadline, write).await else {
            return Attempt::Unknown;
        };
        match written {
            Ok(response) => Attempt::Applied(Box::new(Applied {
                index: response.log_id.index(),
                term: response.log_id.committed_leader_id().term,
                outcome: response.data,
            })),
            Err(RaftError::Fatal(_)) => Attempt::Stopped,
            Err(RaftError::APIError(error)) => match error {
                ClientWriteError::ForwardToLeader(forward) => match forward.reason {
                    ForwardReason::LeaseExpired => Attempt::NotTaken(NotTaken::LeaseNotYet),
                    ForwardReason::NotLeader | ForwardReason::LeadershipTransfer => {
                        Attempt::NotTaken(NotTaken::NoLeader)
                    }
                },
                // Another leader may have committed the entry all the same.
                ClientWriteError::LogEntryDiscarded(_) => Attempt::Unknown,
                // Answers to membership changes, which a proposal never is.
                ClientWriteError::ChangeMembershipError(_)
                | ClientWriteError::PreconditionFailed(_) => Attempt::NotTaken(NotTaken::Refused),
            },
        }
    }

    /// Whether every member understands a command, as far as this node has applied the log: one
    /// that does not would end at it.
    fn is_understood(&self, command: &Command) -> bool {
        let needed = command.feature_level();
        // What was in the first release costs no look.
        needed == 0 || {
            let level = self.state.read(|view| tables::feature_level(view));
            matches!(level, Ok(Ok(level)) if level >= needed)
        }
    }

    /// Consensus has stopped here: by a broken disk, or by a shutdown.
    pub(super) fn stopped(&self) -> ProposeError {
        match self.faults.current() {
            Some(error) => ProposeError::Storage(error),
            None => ProposeError::Unknown(UnknownReason::Stopped),
        }
    }
}

const fn given_up(maybe_proposed: bool, reason: NotProposedReason) -> ProposeError {
    if maybe_proposed {
        ProposeError::Unknown(UnknownReason::Deadline)
    } else {
        ProposeError::NotProposed(reason)
    }
}
