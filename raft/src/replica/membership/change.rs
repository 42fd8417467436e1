//! One change of the membership from its beginning to its end, on the leader.
//!
//! ORDER: leadership is confirmed, everything acknowledged before is applied, and only then is the
//! membership looked at: so the register of node ids that a change is judged by is complete.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::future::join_all;
use lockbox_core::NodeId;
use openraft::ChangeMembers;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{ChangeMembershipError, ClientWriteError, ForwardReason, RaftError};
use openraft::raft::Precondition;
use tokio::sync::MutexGuard;
use tokio::time::Instant;

use super::rules::{Voters, keeps_quorum, warning};
use super::{ChangeError, ChangeRefusal, Changed, MembershipToken, Progress, Seen, ids};
use crate::network::probe;
use crate::replica::error::ReadError;
use crate::replica::leadership::Place;
use crate::replica::pause::{self, Awaiting};
use crate::replica::{Replica, transfer};
use crate::state::tables;
use crate::types::{Member, TypeConfig};

type Members = ChangeMembers<NodeId, Member>;
type SubmitError = RaftError<TypeConfig, ClientWriteError<TypeConfig>>;

/// How long a change waits for the one before it: a leader that has just begun finishes what the
/// last one left, and an operator who asks meanwhile need not be told.
const TURN_WAIT_MAX: Duration = Duration::from_secs(1);

/// Waits a moment for the turn to change the membership or the leadership.
///
/// # Errors
/// [`ChangeError::Busy`] when another change goes on for longer.
pub(in crate::replica) async fn turn(
    replica: &Replica,
    deadline: Instant,
) -> Result<MutexGuard<'_, ()>, ChangeError> {
    let until = deadline.min(Instant::now() + TURN_WAIT_MAX);
    let turn = tokio::time::timeout_at(until, replica.0.changing.lock());
    turn.await.map_err(|_elapsed| ChangeError::Busy)
}

/// A change under way. Holds the turn: there is one at a time.
pub(super) struct Change<'r> {
    pub(super) replica: &'r Replica,
    deadline: Instant,
    pub(super) seen: Seen,
    _turn: MutexGuard<'r, ()>,
}

impl<'r> Change<'r> {
    /// Takes the turn and looks at the membership, which must be the one that `expected` names.
    /// A joint configuration that a leader left over is finished first.
    pub(super) async fn begin(
        replica: &'r Replica,
        expected: Option<MembershipToken>,
        deadline: Instant,
    ) -> Result<Self, ChangeError> {
        let turn = turn(replica, deadline).await?;
        leads(replica)?;
        replica.read(deadline, |_, _| ()).await.map_err(|error| unread(replica, &error))?;
        leads(replica)?;
        let seen = Seen::of(replica);
        if seen.voters().is_empty() {
            return Err(ChangeRefusal::NoCluster.into());
        }
        let actual = seen.token();
        if let Some(expected) = expected
            && expected != actual
        {
            return Err(ChangeError::Conflict { expected, actual });
        }
        if !seen.committed {
            return Err(ChangeError::Busy);
        }
        let mut change = Self { replica, deadline, seen, _turn: turn };
        if change.seen.is_joint() {
            change.finish_joint().await?;
        }
        Ok(change)
    }

    /// Leaves the joint configuration for its new side.
    pub(super) async fn finish_joint(&mut self) -> Result<(), ChangeError> {
        tracing::info!(token = %self.seen.token(), "finishing a change that a leader left over");
        self.submit(ChangeMembers::AddVoterIds(BTreeSet::new()), false).await
    }

    /// Adds a fresh node as a learner; false when it is a member already.
    pub(super) async fn add_learner(
        &mut self,
        id: NodeId,
        mut member: Member,
    ) -> Result<bool, ChangeError> {
        if let Some(known) = self.seen.member(id) {
            let same = known.peer_address == member.peer_address
                && known.api_address == member.api_address;
            if !same {
                let (node_id, address) = (id, known.peer_address.clone());
                return Err(ChangeRefusal::OtherMember { node_id, address }.into());
            }
            if id != self.me() {
                self.ask(id, known).await?;
            }
            return Ok(false);
        }
        self.refuse_taken(id, &member)?;
        let probed = self.ask(id, &member).await?;
        let own = self.replica.0.identity.to_wire();
        if !probed.cluster_id.is_empty() && probed.cluster_id != own {
            let (node_id, cluster_id) = (id, probed.cluster_id);
            return Err(ChangeRefusal::OtherCluster { node_id, cluster_id }.into());
        }
        // With entries and our id it was added before, by a leader whose change came to nothing.
        if !probed.blank && probed.cluster_id.is_empty() {
            return Err(ChangeRefusal::NotFresh(id).into());
        }
        let (level, wanted) = (probed.feature_level, self.feature_level()?);
        if level < wanted {
            return Err(ChangeRefusal::FeatureLevel { node_id: id, level, wanted }.into());
        }
        member.store_id = probed.store_id;
        self.submit(ChangeMembers::AddNodes(BTreeMap::from([(id, member)])), true).await?;
        Ok(true)
    }

    /// Refuses an id that was ever a member's, and an address that is one's now.
    fn refuse_taken(&self, id: NodeId, member: &Member) -> Result<(), ChangeError> {
        if self.registered(id)? {
            return Err(ChangeRefusal::IdUsed(id).into());
        }
        let mut members = self.seen.stored.membership().nodes();
        match members.find(|(_, other)| other.peer_address == member.peer_address) {
            Some((node_id, other)) => {
                let (node_id, address) = (*node_id, other.peer_address.clone());
                Err(ChangeRefusal::AddressTaken { node_id, address }.into())
            }
            None => Ok(()),
        }
    }

    /// Whether the id is, or was, a member's.
    fn registered(&self, id: NodeId) -> Result<bool, ChangeError> {
        let looked = self.replica.read_stale(|view, _| tables::member(view, id));
        let found = looked.and_then(|reading| reading.value);
        found.map(|found| found.is_some()).map_err(|_reported| ChangeError::Stopped)
    }

    async fn ask(
        &self,
        id: NodeId,
        member: &Member,
    ) -> Result<crate::network::Probed, ChangeError> {
        if id == self.me() {
            return Err(ChangeRefusal::OtherMember {
                node_id: id,
                address: member.peer_address.clone(),
            }
            .into());
        }
        Ok(probe(&self.replica.0.links, id, member, self.deadline).await?)
    }

    /// Waits until a member has caught up; how far it has come when time was over first.
    pub(super) async fn catch_up(&self, id: NodeId) -> Result<Progress, ChangeError> {
        if id == self.me() {
            return Ok(Progress { lag: 0, caught_up: true });
        }
        let mut metrics = self.replica.0.raft.metrics();
        loop {
            let progress = self.progress(id)?;
            if progress.caught_up {
                return Ok(progress);
            }
            match tokio::time::timeout_at(self.deadline, metrics.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err(ChangeError::Stopped),
                Err(_elapsed) => return Ok(progress),
            }
        }
    }

    fn progress(&self, id: NodeId) -> Result<Progress, ChangeError> {
        let progress = Seen::of(self.replica).progress(id, self.seen.token());
        progress.ok_or_else(|| not_leader(self.replica))
    }

    /// Makes a learner a voter; false when it is one.
    pub(super) async fn promote(&mut self, id: NodeId) -> Result<bool, ChangeError> {
        let member = self.member(id)?;
        let old = self.seen.voters();
        if old.contains(&id) {
            return Ok(false);
        }
        self.ask(id, &member).await?;
        let Progress { lag: entries, caught_up } = self.progress(id)?;
        if !caught_up {
            return Err(ChangeRefusal::Lags { node_id: id, entries }.into());
        }
        let mut new = old.clone();
        new.insert(id);
        self.require_quorum(&old, &new).await?;
        self.submit(ChangeMembers::AddVoterIds(BTreeSet::from([id])), false).await?;
        Ok(true)
    }

    /// Removes a member for ever; false when it was removed before.
    pub(super) async fn remove(&mut self, id: NodeId) -> Result<bool, ChangeError> {
        if self.seen.member(id).is_none() {
            let was = self.registered(id)?;
            return if was { Ok(false) } else { Err(ChangeRefusal::NotAMember(id).into()) };
        }
        let old = self.seen.voters();
        if !old.contains(&id) {
            self.submit(ChangeMembers::RemoveNodes(BTreeSet::from([id])), true).await?;
            return Ok(true);
        }
        let mut new = old.clone();
        new.remove(&id);
        if new.is_empty() {
            return Err(ChangeRefusal::LastVoter(id).into());
        }
        self.require_quorum(&old, &new).await?;
        self.hand_over_from(id).await?;
        self.submit(ChangeMembers::RemoveVoters(BTreeSet::from([id])), false).await?;
        Ok(true)
    }

    /// Puts a node into a voter's place; false when that was done before.
    pub(super) async fn replace(
        &mut self,
        old: NodeId,
        new: NodeId,
        member: Member,
    ) -> Result<bool, ChangeError> {
        if old == new {
            return Err(ChangeRefusal::Itself(old).into());
        }
        let voters = self.seen.voters();
        if !voters.contains(&old) {
            let left = self.seen.member(old).is_none() && self.registered(old)?;
            return match (left, self.seen.member(old)) {
                (true, _) if voters.contains(&new) => Ok(false),
                (_, Some(_)) => Err(ChangeRefusal::NotAVoter(old).into()),
                (_, None) => Err(ChangeRefusal::NotAMember(old).into()),
            };
        }
        self.add_learner(new, member).await?;
        let Progress { lag: entries, caught_up } = self.catch_up(new).await?;
        if !caught_up {
            return Err(ChangeError::StillBehind { node_id: new, entries });
        }
        let mut replaced = voters.clone();
        replaced.remove(&old);
        replaced.insert(new);
        self.require_quorum(&voters, &replaced).await?;
        self.hand_over_from(old).await?;
        self.submit(ChangeMembers::ReplaceAllVoters(replaced), false).await?;
        Ok(true)
    }

    /// A leader that leaves the voters hands over first; its successor makes the change.
    async fn hand_over_from(&self, leaving: NodeId) -> Result<(), ChangeError> {
        if leaving != self.me() {
            return Ok(());
        }
        transfer::hand_over(self.replica, None, self.deadline).await?;
        Err(not_leader(self.replica))
    }

    /// Asks the voters of both sides who they are, and refuses the change unless those that
    /// answer are a majority of each.
    async fn require_quorum(&self, old: &Voters, new: &Voters) -> Result<(), ChangeError> {
        let others = old.union(new).filter(|id| **id != self.me());
        let asked = others.filter_map(|id| {
            let member = self.seen.member(*id)?.clone();
            Some(async move { self.ask(*id, &member).await.ok().map(|_| *id) })
        });
        let mut reachable = ids(join_all(asked).await.iter().flatten());
        reachable.insert(self.me());
        Ok(keeps_quorum(&[old, new], &reachable)?)
    }

    /// Proposes a change, tied to the membership that this one was decided on.
    async fn submit(&mut self, changes: Members, retain: bool) -> Result<(), ChangeError> {
        let raft = &self.replica.0.raft;
        let last_membership_log_id = self.seen.token().log_id();
        let unless = Precondition::LastMembershipLogId { last_membership_log_id };
        let mut leadership = self.replica.watch_leadership();
        loop {
            let proposed = raft.change_membership_if(changes.clone(), retain, [unless.clone()]);
            let error = match tokio::time::timeout_at(self.deadline, proposed).await {
                Err(_elapsed) => return Err(ChangeError::Unknown("no answer in time".to_owned())),
                Ok(Ok(written)) => {
                    if let Some(membership) = written.membership {
                        let set_by = Some(written.log_id);
                        self.seen = Seen::of(self.replica);
                        self.seen.stored = openraft::StoredMembership::new(set_by, membership);
                    }
                    return Ok(());
                }
                Ok(Err(error)) => error,
            };
            if !is_lease_not_yet(&error) || self.has_changed() {
                return Err(self.not_submitted(error));
            }
            let random = self.replica.0.random.as_ref();
            if !pause::pause(Awaiting::Lease, &mut leadership, random, self.deadline).await {
                return Err(ChangeError::Deadline);
            }
        }
    }

    /// Whether the first of the two steps of this change is in the log.
    fn has_changed(&self) -> bool {
        Seen::of(self.replica).token() != self.seen.token()
    }

    /// Why a change was not made. The same errors are told of its first step, before which nothing
    /// has changed, and of its second, behind which the two configurations stay joint.
    fn not_submitted(&self, error: SubmitError) -> ChangeError {
        let error = match error {
            RaftError::Fatal(_) => return ChangeError::Stopped,
            RaftError::APIError(error) => error,
        };
        let stepped = self.has_changed();
        match error {
            ClientWriteError::PreconditionFailed(_) if !stepped => ChangeError::Busy,
            ClientWriteError::PreconditionFailed(_) => ChangeError::Conflict {
                expected: self.seen.token(),
                actual: Seen::of(self.replica).token(),
            },
            ClientWriteError::ForwardToLeader(_) if !stepped => not_leader(self.replica),
            error @ (ClientWriteError::ForwardToLeader(_)
            | ClientWriteError::LogEntryDiscarded(_)) => ChangeError::Unknown(error.to_string()),
            ClientWriteError::ChangeMembershipError(error) => match error {
                ChangeMembershipError::InProgress(_) => ChangeError::Busy,
                ChangeMembershipError::LearnerNotFound(missing) => {
                    ChangeRefusal::NotAMember(missing.node_id).into()
                }
                // Answers to changes of another form than ours.
                error @ (ChangeMembershipError::EmptyMembership(_)
                | ChangeMembershipError::UnsupportedMembershipTransition(_)
                | ChangeMembershipError::UncommittedLeaderLog(_)
                | ChangeMembershipError::NodeMetadataChanged(_)) => {
                    ChangeError::Unknown(error.to_string())
                }
            },
        }
    }

    /// What this change came to.
    pub(super) fn done(self, changed: bool, progress: Option<Progress>) -> Changed {
        let warning = warning(&self.seen.voters());
        let lag = progress.map(|progress| progress.lag);
        let caught_up = progress.is_some_and(|progress| progress.caught_up);
        Changed { changed, token: self.seen.token(), warning, lag, caught_up }
    }

    fn member(&self, id: NodeId) -> Result<Member, ChangeRefusal> {
        self.seen.member(id).cloned().ok_or(ChangeRefusal::NotAMember(id))
    }

    fn me(&self) -> NodeId {
        self.replica.0.config.node_id
    }
}

/// Right after its election a leader may not write yet.
fn is_lease_not_yet(error: &SubmitError) -> bool {
    let RaftError::APIError(ClientWriteError::ForwardToLeader(forward)) = error else {
        return false;
    };
    matches!(forward.reason, ForwardReason::LeaseExpired)
}

/// Refuses where another node leads, as far as this one knows.
pub(in crate::replica) fn leads(replica: &Replica) -> Result<(), ChangeError> {
    match replica.0.leadership.place() {
        Place::Here => Ok(()),
        Place::There(_) | Place::Nowhere => Err(not_leader(replica)),
    }
}

pub(in crate::replica) fn not_leader(replica: &Replica) -> ChangeError {
    let me = replica.0.config.node_id;
    ChangeError::NotLeader(replica.leader().filter(|(id, _)| *id != me))
}

fn unread(replica: &Replica, error: &ReadError) -> ChangeError {
    match error {
        ReadError::NoLeader | ReadError::Draining => not_leader(replica),
        ReadError::Deadline => ChangeError::Deadline,
        ReadError::QueueFull => ChangeError::Busy,
        ReadError::Storage(_) => ChangeError::Stopped,
    }
}
