//! Proposes the destruction of versions whose time has come, while this node leads.
//!
//! It only proposes: `apply` destroys what is still scheduled for that very time by the entry's
//! own stamp, so a reaper that is late, early or replaced does no harm (`design §5`).

use std::sync::Arc;
use std::time::Duration;

use lockbox_core::{LogTime, Mutant, mutant};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::attempt::Attempt;
use super::clock::ClusterClock;
use super::leadership::LeadershipWatch;
use super::proposer::Proposer;
use crate::apply::destructions_due;
use crate::domain::Outcome;
use crate::domain::command::Command;
use crate::domain::version::Destruction;
use crate::store::{Faults, StateHandle};

/// Between two looks at the queue.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// Destructions of one look: those of a mass deletion must not keep clients waiting.
const DUE_MAX: usize = 64;
/// One proposal may take this long: without a quorum it would wait for ever.
const TRY_TIMEOUT: Duration = Duration::from_secs(10);

/// The task.
pub(super) struct Reaper {
    pub(super) proposer: Arc<Proposer>,
    pub(super) leadership: LeadershipWatch,
    pub(super) clock: Arc<ClusterClock>,
    pub(super) state: StateHandle,
    pub(super) faults: Faults,
}

impl Reaper {
    /// Runs until `stop`.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            // Consensus has stopped: nothing to destroy any more, but the task ends when told to.
            () = self.reap() => stop.cancelled().await,
        }
    }

    /// Returns when consensus has stopped.
    async fn reap(&mut self) {
        loop {
            let leads = self.leadership.current().is_leader && self.clock.is_known();
            let goes_on = if !leads {
                self.pause().await
            } else if self.destroy_due().await {
                true
            } else {
                self.pause().await
            };
            if !goes_on {
                return;
            }
        }
    }

    /// Sleeps, less if the leadership changes; false when consensus has stopped.
    async fn pause(&mut self) -> bool {
        tokio::select! {
            () = tokio::time::sleep(LOOK_INTERVAL) => true,
            changes = self.leadership.changed() => changes,
        }
    }

    /// Destroys what is due; true when there may be more of it.
    pub(super) async fn destroy_due(&self) -> bool {
        let now = self.next_stamp();
        let read = self.state.read(|view| destructions_due(view, now, DUE_MAX));
        let due = match read.and_then(std::convert::identity) {
            Ok(due) => due,
            Err(error) => {
                self.faults.report(&error);
                return false;
            }
        };
        let is_full = due.len() == DUE_MAX;
        let mut destroyed = false;
        for destruction in due {
            match self.destroy(destruction).await {
                Some(done) => destroyed |= done,
                None => return false,
            }
        }
        is_full && destroyed
    }

    /// Proposes one destruction; whether it happened, or nothing when it was not decided: the next
    /// look decides anew. One that is refused, for it was called off meanwhile, does not hold up the
    /// others.
    async fn destroy(&self, destruction: Destruction) -> Option<bool> {
        let (secret, version) = (destruction.secret_id.clone(), destruction.version_id.clone());
        let command = Command::DestroyVersion(Box::new(destruction));
        let deadline = Instant::now() + TRY_TIMEOUT;
        let Attempt::Applied(applied) = self.proposer.propose_own(command, deadline).await else {
            return None;
        };
        let index = applied.index;
        let is_destroyed = matches!(applied.outcome, Outcome::Done(_));
        match applied.outcome {
            Outcome::Done(_) => tracing::info!(%secret, %version, index, "destroyed a version"),
            outcome => tracing::warn!(%secret, %version, index, ?outcome, "did not destroy it"),
        }
        Some(is_destroyed)
    }

    /// What a proposal would be stamped with: before that has reached a schedule, proposing it
    /// would be refused, and again, for as long as log time is ahead of the voters' clocks.
    fn next_stamp(&self) -> LogTime {
        if mutant(Mutant::DestroyByWallClock) {
            return self.clock.own_wall();
        }
        self.clock.applied(self.state.applied().borrow().log_time);
        self.clock.stamp()
    }
}
