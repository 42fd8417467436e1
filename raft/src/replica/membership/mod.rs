//! Who is a member: learners are added, caught up, promoted; voters are removed and replaced.
//!
//! One path for all changes, on the leader: one at a time, each tied to the membership that it
//! was decided on, and none that the voters which answer could not finish. A node is asked who it
//! is before it becomes a member, and an id that was removed never comes back. Knows nothing of
//! who may ask for a change.

mod change;
mod error;
mod feature_level;
pub(super) mod finish;
mod rules;
mod token;

use std::collections::BTreeSet;

use lockbox_core::NodeId;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::metrics::RaftMetrics;
use tokio::time::Instant;

pub use error::{ChangeError, ChangeRefusal};
pub use feature_level::{FeatureLevels, MemberFeatures};
pub use token::MembershipToken;

use self::change::Change;
pub(super) use self::change::{leads, not_leader, turn};
use self::rules::Voters;
use super::Replica;
use crate::types::{Member, StoredMembership, TypeConfig};

/// A member counts as caught up when it lacks no more than so many entries: less than a second
/// of heavy writes.
pub(super) const LAG_MAX: u64 = 1_000;

/// What a change came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// Whether this call changed anything: a repeat finds it done.
    pub changed: bool,
    /// The membership that is in force now.
    pub token: MembershipToken,
    /// What the operator should know.
    pub warning: Option<String>,
    /// Entries that the node in question lacks; absent when that does not matter.
    pub lag: Option<u64>,
    /// Whether that is few enough for it to be promoted.
    pub caught_up: bool,
}

/// A membership, and how far each member has come as the leader sees it.
pub(super) struct Seen {
    pub(super) stored: StoredMembership,
    pub(super) committed: bool,
    metrics: RaftMetrics<TypeConfig>,
}

impl Seen {
    pub(super) fn of(replica: &Replica) -> Self {
        let metrics = replica.0.raft.metrics().borrow_watched().clone();
        let stored = StoredMembership::clone(&metrics.membership_config);
        let committed = metrics.committed_membership_config.log_id() == stored.log_id();
        Self { stored, committed, metrics }
    }

    pub(super) fn token(&self) -> MembershipToken {
        MembershipToken::of(&self.stored)
    }

    /// The voters; those of the new side while two configurations are joint.
    fn voters(&self) -> Voters {
        let configs = self.stored.membership().get_joint_config();
        configs.last().cloned().unwrap_or_default()
    }

    pub(super) fn is_joint(&self) -> bool {
        self.stored.membership().get_joint_config().len() > 1
    }

    fn member(&self, id: NodeId) -> Option<&Member> {
        self.stored.membership().get_node(&id)
    }

    /// How far a member has come; absent when this node does not lead.
    ///
    /// It has caught up when it lacks few entries and has the membership that it is judged in:
    /// one that has nothing yet lacks little, too, while the log is short.
    fn progress(&self, id: NodeId, membership: MembershipToken) -> Option<Progress> {
        let matched = self.metrics.replication.as_ref()?.get(&id);
        let matched = matched.and_then(Option::as_ref).map_or(0, |matched| matched.index());
        let lag = self.metrics.last_log_index.unwrap_or(0).saturating_sub(matched);
        Some(Progress { lag, caught_up: lag <= LAG_MAX && matched >= membership.index() })
    }
}

/// How far a member has come.
#[derive(Debug, Clone, Copy)]
struct Progress {
    /// Entries that it lacks.
    lag: u64,
    caught_up: bool,
}

impl Replica {
    /// The membership in force, as a word that a change can be tied to.
    #[must_use]
    pub fn membership_token(&self) -> MembershipToken {
        Seen::of(self).token()
    }

    /// Adds a fresh node as a learner and waits, while there is time, until it has caught up.
    ///
    /// The node is asked who it is, and on which directory it runs; its id must never have been a
    /// member's. `seen` ties the change to a membership; without it, to the one found here.
    ///
    /// # Errors
    /// [`ChangeError`]. A node that was added and has not caught up in time is no error: see
    /// [`Changed::lag`].
    pub async fn add_member(
        &self,
        id: NodeId,
        member: Member,
        seen: Option<MembershipToken>,
        deadline: Instant,
    ) -> Result<Changed, ChangeError> {
        let mut change = Change::begin(self, seen, deadline).await?;
        let added = change.add_learner(id, member).await?;
        let progress = change.catch_up(id).await?;
        Ok(change.done(added, Some(progress)))
    }

    /// Makes a learner that has caught up a voter.
    ///
    /// # Errors
    /// [`ChangeError`].
    pub async fn promote_member(
        &self,
        id: NodeId,
        seen: Option<MembershipToken>,
        deadline: Instant,
    ) -> Result<Changed, ChangeError> {
        let mut change = Change::begin(self, seen, deadline).await?;
        let promoted = change.promote(id).await?;
        Ok(change.done(promoted, None))
    }

    /// Removes a learner or a voter for ever. A leader that is to be removed hands over first and
    /// answers [`ChangeError::NotLeader`]: its successor does the rest.
    ///
    /// # Errors
    /// [`ChangeError`].
    pub async fn remove_member(
        &self,
        id: NodeId,
        seen: Option<MembershipToken>,
        deadline: Instant,
    ) -> Result<Changed, ChangeError> {
        let mut change = Change::begin(self, seen, deadline).await?;
        let removed = change.remove(id).await?;
        Ok(change.done(removed, None))
    }

    /// Puts a fresh node into the place of a voter: adds it as a learner, waits until it has
    /// caught up, then swaps the two in one joint change. The old node may be dead.
    ///
    /// # Errors
    /// [`ChangeError`]. [`ChangeError::StillBehind`] when time was over first: the same call goes
    /// on from there.
    pub async fn replace_member(
        &self,
        old: NodeId,
        new: NodeId,
        member: Member,
        seen: Option<MembershipToken>,
        deadline: Instant,
    ) -> Result<Changed, ChangeError> {
        let mut change = Change::begin(self, seen, deadline).await?;
        let replaced = change.replace(old, new, member).await?;
        Ok(change.done(replaced, None))
    }
}

/// These ids as a set.
fn ids<'a>(nodes: impl IntoIterator<Item = &'a NodeId>) -> BTreeSet<NodeId> {
    nodes.into_iter().copied().collect()
}
