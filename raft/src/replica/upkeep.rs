//! What a leader proposes from time to time: the cap on what is kept, and comparisons of states.
//!
//! Both are decided on what the state says, so that a new leader goes on from there.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::attempt::Attempt;
use super::clock::ClusterClock;
use super::config::IntegritySettings;
use super::leadership::LeadershipWatch;
use super::proposer::Proposer;
use crate::domain::command::Command;
use crate::error::StorageError;
use crate::state::tables;
use crate::store::{Faults, StateHandle};

/// Between two looks.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);
/// One proposal may take this long: without a quorum it would wait for ever.
const TRY_TIMEOUT: Duration = Duration::from_secs(10);

/// The task.
pub(super) struct Upkeep {
    pub(super) proposer: Arc<Proposer>,
    pub(super) leadership: LeadershipWatch,
    pub(super) clock: Arc<ClusterClock>,
    pub(super) state: StateHandle,
    pub(super) settings: IntegritySettings,
    pub(super) faults: Faults,
}

impl Upkeep {
    /// Runs until `stop`.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let IntegritySettings { state_check_interval, retained_bytes_max, .. } = self.settings;
        if state_check_interval.is_none() && retained_bytes_max.is_none() {
            return stop.cancelled().await;
        }
        tokio::select! {
            () = stop.cancelled() => {}
            // Consensus has stopped: nothing to propose any more, but the task ends when told to.
            () = self.keep() => stop.cancelled().await,
        }
    }

    /// Returns when consensus has stopped.
    async fn keep(&mut self) {
        loop {
            if self.leadership.current().is_leader && self.clock.is_known() {
                for command in self.due() {
                    let kind = command.name();
                    let by = Instant::now() + TRY_TIMEOUT;
                    let attempt = self.proposer.propose_own(command, by).await;
                    if !matches!(attempt, Attempt::Applied(_)) {
                        tracing::debug!(kind, "not proposed now; the next look decides anew");
                    }
                }
            }
            let goes_on = tokio::select! {
                () = tokio::time::sleep(LOOK_INTERVAL) => true,
                changes = self.leadership.changed() => changes,
            };
            if !goes_on {
                return;
            }
        }
    }

    /// What is to be proposed now.
    fn due(&self) -> Vec<Command> {
        let read = self.state.read(|view| {
            if tables::cluster(view)?.is_none() {
                return Ok::<_, StorageError>(None);
            }
            Ok(Some((tables::retention(view)?, tables::state_check(view)?)))
        });
        let found = read.and_then(std::convert::identity);
        let found = found.inspect_err(|error| self.faults.report(error));
        let Ok(Some((retention, check))) = found else { return Vec::new() };
        let mut due = Vec::new();
        if let Some(bytes_max) = self.settings.retained_bytes_max
            && retention.is_none_or(|known| known.bytes_max != bytes_max)
        {
            due.push(Command::SetRetention { bytes_max });
        }
        if let Some(interval) = self.settings.state_check_interval
            && check.is_none_or(|last| self.clock.stamp().since(last.begun_at) >= interval)
        {
            due.push(Command::BeginStateCheck);
        }
        due
    }
}
