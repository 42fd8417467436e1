//! How much of the log goes once a snapshot covers it.
//!
//! openraft would purge as soon as it has a snapshot, also what follows the older one that a peer
//! is just being sent: once that is installed, its peer needs the next snapshot, and so on for as
//! long as clients write (openraft#1706). So openraft purges nothing by itself here, and this task
//! holds the log for a peer on its way back; not for one that is down, and not without bounds.

use std::sync::Arc;
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::config::SnapshotSettings;
use crate::network::{Raft, SnapshotSends};
use crate::types::{LogId, Metrics};

/// Between two looks at the log: nothing waits for a purge.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);
/// A peer that has installed a snapshot may take this long to catch up from there.
const CATCH_UP_MAX: Duration = Duration::from_secs(60);

/// The task, and what decides for it.
pub(super) struct Purger {
    pub(super) raft: Raft,
    pub(super) sends: Arc<SnapshotSends>,
    pub(super) settings: SnapshotSettings,
}

impl Purger {
    /// Runs until `stop`.
    pub(super) async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(LOOK_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            if let Some(upto) = self.due()
                && self.raft.trigger().purge_log(upto).await.is_err()
            {
                // Consensus has stopped: nothing to purge any more, but the task ends when told to.
                return stop.cancelled().await;
            }
        }
    }

    /// The last entry that should go now.
    fn due(&self) -> Option<u64> {
        let metrics = self.raft.metrics().borrow_watched().clone();
        let snapshot = index(metrics.snapshot.as_ref());
        let upto = self.allowed(snapshot.saturating_sub(self.settings.logs_kept), &metrics);
        let purged = index(metrics.purged.as_ref());
        (upto > purged && upto - purged >= self.settings.purge_batch).then_some(upto)
    }

    /// The last entry up to `wanted` that no peer is held for.
    pub(super) fn allowed(&self, wanted: u64, metrics: &Metrics) -> u64 {
        let snapshot = index(metrics.snapshot.as_ref());
        let held = self.sends.lowest(|peer, sent| {
            // Whoever does not lead sends nothing, and one that is no member any more gets nothing.
            let matched = index(metrics.replication.as_ref()?.get(&peer)?.as_ref());
            let Some(installed) = sent.installed else { return Some(sent.index) };
            let caught_up = matched >= snapshot || installed.elapsed() > CATCH_UP_MAX;
            (!caught_up).then(|| sent.index.max(matched))
        });
        let at_least = snapshot.saturating_sub(self.settings.logs_held_max);
        held.map_or(wanted, |held| wanted.min(held.max(at_least)))
    }
}

fn index(id: Option<&LogId>) -> u64 {
    id.map_or(0, LogId::index)
}
