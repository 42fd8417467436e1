//! A disk that is low: what the replica is told of it, and a leader that leaves it.

use lockbox_core::NodeId;
use tokio::time::Instant;

use super::Replica;
use super::membership::{ChangeError, ChangeRefusal};

impl Replica {
    /// Says whether this node's disk has little room left. While it is low, or while the disks of
    /// so many voters are that the others are no majority, what makes the data grow is refused
    /// ([`super::NotProposedReason::NoRoom`]); what deletes, destroys and withdraws is not.
    pub fn set_disk_is_low(&self, is_low: bool) {
        self.0.links.room().set_own(is_low);
    }

    /// Whether this node would refuse now what makes the data grow, if it leads.
    #[must_use]
    pub fn refuses_growth(&self) -> bool {
        let inner = &self.0;
        inner.links.room().refuses_growth(inner.config.node_id, &inner.leadership.voters())
    }

    /// Hands leadership to a voter whose disk is not known to be low, as [`Self::transfer_leader`];
    /// the one that has most of the log. Returns who leads then.
    ///
    /// # Errors
    /// [`ChangeError`]; [`ChangeRefusal::LastVoter`] when no other voter has room.
    pub async fn leave_low_disk(&self, deadline: Instant) -> Result<NodeId, ChangeError> {
        let inner = &self.0;
        let me = inner.config.node_id;
        let with_room = inner.links.room().others_with_room(me, &inner.leadership.voters());
        let best = self.status().members.into_iter().filter(|member| {
            // Who has not answered this leader lacks more than any other.
            with_room.contains(&member.node_id) && member.matched.is_some()
        });
        let best = best.max_by_key(|member| member.matched).map(|member| member.node_id);
        let to = best.ok_or(ChangeRefusal::LastVoter(me))?;
        self.transfer_leader(Some(to), deadline).await
    }
}
