//! The leader's side of the read barrier: points that linearizable reads must have reached.
//!
//! A point is given only once the leader has stamped the time in its own term, and carries its
//! log time: however long the cluster was idle or down, who reads there judges by the present.

use std::sync::Arc;

use lockbox_core::{LogTime, Mutant, mutant};
use openraft::ReadPolicy;
use openraft::errors::RaftError;
use tokio::sync::watch;
use tokio::time::Instant;

use super::clock::ClusterClock;
use super::seeded;
use crate::network::Raft;
use crate::store::Applied;

/// A point that a linearizable read must have reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ReadPoint {
    /// The index that must be applied.
    pub(super) index: u64,
    /// The term in which leadership was confirmed.
    pub(super) term: u64,
    /// The leader's log time at the confirmation.
    pub(super) log_time: LogTime,
}

/// The last entry by which this node, as leader, stamped the time. Zeros while there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct TimeEntry {
    /// Its index; it is applied here.
    pub(super) index: u64,
    /// Its term.
    pub(super) term: u64,
}

/// Gives read points while this node leads.
pub(super) struct ReadPoints {
    pub(super) raft: Raft,
    pub(super) clock: Arc<ClusterClock>,
    /// Not the state itself: peers' connections keep this, and must not keep the directory.
    pub(super) applied: watch::Receiver<Applied>,
    /// Written by the [`super::timekeeper::Timekeeper`].
    pub(super) stamped: watch::Receiver<TimeEntry>,
}

impl ReadPoints {
    /// Confirms that this node leads and returns its read point; `None` when it does not.
    pub(super) async fn give(&self, by: Instant) -> Option<ReadPoint> {
        let (index, term) = confirm(&self.raft, by).await?;
        let mut stamped = self.stamped.clone();
        let reached = stamped.wait_for(|entry| entry.term >= term);
        let entry = *tokio::time::timeout_at(by, reached).await.ok()?.ok()?;
        let log_time = self.clock.log_now_at(self.applied.borrow().log_time);
        if mutant(Mutant::ReadIgnoresTransfer) {
            seeded::note_that_it_leads(&self.clock);
        }
        let too_low = u64::from(mutant(Mutant::StaleReadPoint));
        Some(ReadPoint { index: index.max(entry.index) - too_low, term, log_time })
    }
}

/// The index and term up to which this node is confirmed as leader.
///
/// Never by the lease: a restarted voter does not honour one (`openraft.md §4.4`).
async fn confirm(raft: &Raft, by: Instant) -> Option<(u64, u64)> {
    if mutant(Mutant::LeaderSkipsReadIndex) {
        return Some(seeded::unconfirmed(raft));
    }
    let confirmation = raft.get_read_log_id(ReadPolicy::ReadIndex);
    match tokio::time::timeout_at(by, confirmation).await {
        Ok(Ok((read_log_id, _applied))) => {
            Some((read_log_id.index(), read_log_id.committed_leader_id().term))
        }
        Ok(Err(RaftError::APIError(error))) => {
            tracing::debug!(%error, "leadership is not confirmed");
            None
        }
        Ok(Err(RaftError::Fatal(_))) | Err(_) => None,
    }
}
