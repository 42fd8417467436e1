//! Keeps log time going while nobody writes: stamps it at the beginning of each term of this
//! node, and again after each while without a stamp.
//!
//! Without it, a cluster that comes back after a night would judge by last evening's time until
//! the first write. Waits for conditions only; on a follower it does nothing.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::attempt::Attempt;
use super::clock::ClusterClock;
use super::leadership::LeadershipWatch;
use super::pause::{self, Awaiting};
use super::proposer::Proposer;
use super::read_point::TimeEntry;

/// A leader stamps the time anew when nothing was stamped for this long: bounds how late a node
/// is that crashes, or whose monotonic clock stood still.
pub(super) const QUIET_MAX: Duration = Duration::from_secs(30);
/// One try may take this long: without a quorum it would wait for ever.
const TRY_TIMEOUT: Duration = Duration::from_secs(10);

/// The task.
pub(super) struct Timekeeper {
    pub(super) proposer: Arc<Proposer>,
    pub(super) leadership: LeadershipWatch,
    pub(super) clock: Arc<ClusterClock>,
    /// [`QUIET_MAX`], or less in tests.
    pub(super) quiet_max: Duration,
    pub(super) stamped: watch::Sender<TimeEntry>,
}

impl Timekeeper {
    /// Runs until `stop`.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            // Consensus has stopped: nothing to stamp any more, but the task ends when told to.
            () = self.keep() => stop.cancelled().await,
        }
    }

    /// Returns when consensus has stopped.
    async fn keep(&mut self) {
        loop {
            let now = self.leadership.current();
            let goes_on = if !now.is_leader {
                self.leadership.changed().await
            } else if self.stamped.borrow().term < now.term {
                self.stamp().await
            } else {
                let quiet_left = self.quiet_max.saturating_sub(self.clock.quiet_for());
                if quiet_left.is_zero() { self.stamp().await } else { self.sleep(quiet_left).await }
            };
            if !goes_on {
                return;
            }
        }
    }

    /// Sleeps, less if the leadership changes; false when consensus has stopped.
    async fn sleep(&mut self, duration: Duration) -> bool {
        tokio::select! {
            () = tokio::time::sleep(duration) => true,
            changes = self.leadership.changed() => changes,
        }
    }

    /// Tries once to put the time into the log; false when consensus has stopped.
    async fn stamp(&mut self) -> bool {
        let deadline = Instant::now() + TRY_TIMEOUT;
        let awaiting = match self.proposer.propose_time(deadline).await {
            Attempt::Applied(applied) => {
                self.clock.stamped();
                self.stamped.send_replace(TimeEntry { index: applied.index, term: applied.term });
                return true;
            }
            Attempt::Stopped => return false,
            Attempt::Unknown => Awaiting::Leader,
            Attempt::NotTaken(why) => why.awaiting().unwrap_or(Awaiting::Leader),
        };
        let random = Arc::clone(&self.proposer.random);
        pause::pause(awaiting, &mut self.leadership, random.as_ref(), deadline).await;
        true
    }
}
