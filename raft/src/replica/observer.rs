//! Background tasks of a replica: what follows the log, and what makes the state durable.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::clock::ClusterClock;
use super::leadership::LeadershipWatch;
use super::measures::Elections;
use crate::network::ClusterIdentity;
use crate::state::tables;
use crate::store::{Blocking, StateHandle};

/// How much applied state a crash may leave to be applied again (`openraft.md §3.2`).
const FLUSH_INTERVAL: Duration = Duration::from_secs(30);

/// Keeps the clock, the voters and the cluster's id up to date with what is applied.
pub(super) struct Observer {
    pub(super) state: StateHandle,
    pub(super) leadership: LeadershipWatch,
    pub(super) clock: Arc<ClusterClock>,
    pub(super) identity: Arc<ClusterIdentity>,
    pub(super) elections: Arc<Elections>,
}

impl Observer {
    /// Runs until `stop`.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut applied = self.state.applied();
        let mut known = self.leadership.current();
        loop {
            let log_time = applied.borrow_and_update().log_time;
            self.clock.applied(log_time);
            self.learn_identity();
            tokio::select! {
                () = stop.cancelled() => return,
                changes = applied.changed() => if changes.is_err() { return },
                changes = self.leadership.changed() => {
                    if !changes {
                        return;
                    }
                    let now = self.leadership.current();
                    self.elections.note(known, now);
                    known = now;
                    self.clock.set_voters(self.leadership.voters());
                }
            }
        }
    }

    /// Takes the id from the cluster record once that is applied. A view that cannot be read is
    /// the store's to report.
    fn learn_identity(&self) {
        if self.identity.is_confirmed() {
            return;
        }
        if let Ok(Ok(Some(cluster))) = self.state.read(|view| tables::cluster(view)) {
            self.identity.confirm(&cluster.id);
        }
    }
}

/// Flushes the state from time to time; a failure is recorded by the store and ends the process.
pub(super) async fn flush_regularly(
    state: StateHandle,
    blocking: Blocking,
    stop: CancellationToken,
) {
    let mut ticks = tokio::time::interval(FLUSH_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let state = state.clone();
        if let Err(error) = blocking.run(move || state.flush()).await {
            tracing::error!(%error, "flushing the state failed");
        }
    }
}
