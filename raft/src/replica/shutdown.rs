//! The way down: take nothing new, hand leadership to a voter that has everything, stop in the
//! order in which things depend on each other.

use std::time::Duration;

use lockbox_core::NodeId;
use openraft::async_runtime::watch::WatchReceiver;
use tokio::time::Instant;

use super::Inner;
use crate::network::Raft;

/// What is under way may take this long to finish.
const FINISH_WAIT_MAX: Duration = Duration::from_millis(500);
/// A hand-over that takes longer is left to an election.
const HANDOVER_WAIT_MAX: Duration = Duration::from_secs(2);
/// Another voter may take this long to have the whole log.
const CAUGHT_UP_WAIT_MAX: Duration = Duration::from_millis(300);
/// Between two looks at what is under way.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// Stops a replica; the second call finds nothing to do.
pub(super) async fn shutdown(inner: &Inner) {
    inner.draining.cancel();
    finish_proposals(inner).await;
    hand_over(inner).await;
    if let Err(error) = inner.raft.shutdown().await {
        tracing::error!(%error, "consensus did not stop cleanly");
    }
    stop_storage(inner).await;
}

/// Stops the tasks, then the state, then the log: in this order nothing is still written to.
pub(super) async fn stop_storage(inner: &Inner) {
    inner.stop.cancel();
    inner.tasks.wait().await;
    let state = inner.state.clone();
    let writer = inner.take_writer();
    let stop = move || {
        let flushed = state.flush();
        if let Some(writer) = writer {
            writer.stop();
        }
        flushed
    };
    if let Err(error) = inner.config.store.blocking.run(stop).await {
        tracing::error!(%error, "stopping the stores failed");
    }
}

/// Waits, for a moment, until what was accepted has its answer.
async fn finish_proposals(inner: &Inner) {
    let until = Instant::now() + FINISH_WAIT_MAX;
    let all = inner.config.limits.proposals_in_flight_max;
    while inner.proposer.in_flight.available_permits() < all && Instant::now() < until {
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

/// Asks the voter that has most to lead, and waits until somebody else does.
async fn hand_over(inner: &Inner) {
    let mut leadership = inner.leadership.clone();
    let until = Instant::now() + HANDOVER_WAIT_MAX;
    let caught_up_by = Instant::now() + CAUGHT_UP_WAIT_MAX;
    while leadership.current().is_leader && Instant::now() < until {
        let Some(successor) = successor(&inner.raft) else {
            // The last entry is on its way to it.
            if has_other_voters(&inner.raft) && Instant::now() < caught_up_by {
                tokio::time::sleep(LOOK_INTERVAL).await;
                continue;
            }
            tracing::info!("no other voter has the whole log: leadership is left to an election");
            return;
        };
        tracing::info!(successor, "handing leadership over");
        if inner.raft.trigger().transfer_leader(successor).await.is_err() {
            return;
        }
        let round = Duration::from_millis(inner.config.timing.election_timeout_min_ms);
        let by = (Instant::now() + round).min(until);
        while leadership.current().is_leader {
            match tokio::time::timeout_at(by, leadership.changed()).await {
                Ok(true) => {}
                Ok(false) => return,
                Err(_elapsed) => break,
            }
        }
    }
}

fn has_other_voters(raft: &Raft) -> bool {
    raft.metrics().borrow_watched().membership_config.voter_ids().count() > 1
}

/// The other voter with the longest log on its disk, if that is all of ours.
fn successor(raft: &Raft) -> Option<NodeId> {
    let metrics = raft.metrics().borrow_watched().clone();
    let voters: Vec<NodeId> = metrics.membership_config.voter_ids().collect();
    let (best, matched) = metrics
        .replication?
        .into_iter()
        .filter(|(id, _)| *id != metrics.id && voters.contains(id))
        .filter_map(|(id, matched)| Some((id, matched?)))
        .max_by_key(|(_, matched)| matched.index())?;
    (Some(matched.index()) >= metrics.last_log_index).then_some(best)
}
