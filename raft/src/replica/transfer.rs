//! Handing leadership over to a voter that has, or is about to have, the whole log.
//!
//! While it is under way the leader takes no writes and confirms no reads; should the successor
//! fail, the voters elect one, because the leader has stopped its heartbeats.

use std::time::Duration;

use lockbox_core::NodeId;
use openraft::async_runtime::watch::WatchReceiver;
use tokio::time::Instant;

use super::Replica;
use super::membership::{ChangeError, ChangeRefusal, LAG_MAX, leads, not_leader, turn};
use crate::network::probe;

impl Replica {
    /// Makes another voter the leader: this one, or without a name the one with the longest log.
    /// Returns who leads then.
    ///
    /// # Errors
    /// [`ChangeError`]; [`ChangeError::Unknown`] when nobody was seen to lead in time, in which
    /// case the voters elect someone.
    pub async fn transfer_leader(
        &self,
        to: Option<NodeId>,
        deadline: Instant,
    ) -> Result<NodeId, ChangeError> {
        // A change of the membership under way needs this leader until its end.
        let _turn = turn(self, deadline).await?;
        leads(self)?;
        if to == Some(self.0.config.node_id) {
            return Ok(self.0.config.node_id);
        }
        hand_over(self, to, deadline).await
    }
}

/// Hands over to this voter, or to the best one; returns who leads then.
pub(super) async fn hand_over(
    replica: &Replica,
    to: Option<NodeId>,
    deadline: Instant,
) -> Result<NodeId, ChangeError> {
    let successor = match to {
        Some(id) => id,
        None => best_voter(replica)?,
    };
    check(replica, successor, deadline).await?;
    let inner = &replica.0;
    let me = inner.config.node_id;
    tracing::info!(successor, "handing leadership over");
    inner.raft.trigger().transfer_leader(successor).await.map_err(|_| ChangeError::Stopped)?;
    let mut leadership = inner.leadership.clone();
    loop {
        if let Some(leader) = leadership.current().leader.filter(|leader| *leader != me) {
            return Ok(leader);
        }
        match tokio::time::timeout_at(deadline, leadership.changed()).await {
            Ok(true) => {}
            Ok(false) => return Err(ChangeError::Stopped),
            Err(_elapsed) => return Err(ChangeError::Unknown("nobody leads yet".to_owned())),
        }
    }
}

/// The other voter with the longest log on its disk.
fn best_voter(replica: &Replica) -> Result<NodeId, ChangeError> {
    let metrics = replica.0.raft.metrics().borrow_watched().clone();
    let voters: Vec<NodeId> = metrics.membership_config.voter_ids().collect();
    let Some(replication) = metrics.replication else { return Err(not_leader(replica)) };
    let others = replication.into_iter().filter(|(id, _)| *id != metrics.id && voters.contains(id));
    let best = others.max_by_key(|(_, matched)| matched.as_ref().map(|matched| matched.index()));
    let lone = || ChangeRefusal::LastVoter(metrics.id).into();
    best.map(|(id, _)| id).ok_or_else(lone)
}

/// Refuses a successor that does not vote, does not answer, or lags: a failed hand-over costs an
/// election.
async fn check(replica: &Replica, to: NodeId, deadline: Instant) -> Result<(), ChangeError> {
    let metrics = replica.0.raft.metrics().borrow_watched().clone();
    let membership = metrics.membership_config.membership();
    let Some(member) = membership.get_node(&to) else {
        return Err(ChangeRefusal::NotAMember(to).into());
    };
    if !membership.voter_ids().any(|voter| voter == to) {
        return Err(ChangeRefusal::NotAVoter(to).into());
    }
    let probed_by = deadline.min(Instant::now() + PROBE_WAIT_MAX);
    probe(&replica.0.links, to, member, probed_by).await?;
    let Some(replication) = &metrics.replication else { return Err(not_leader(replica)) };
    let matched = replication.get(&to).and_then(Option::as_ref).map_or(0, |id| id.index());
    let entries = metrics.last_log_index.unwrap_or(0).saturating_sub(matched);
    if entries > LAG_MAX {
        return Err(ChangeRefusal::Lags { node_id: to, entries }.into());
    }
    Ok(())
}

/// A successor that takes longer to answer would not win its election either.
const PROBE_WAIT_MAX: Duration = Duration::from_secs(1);
