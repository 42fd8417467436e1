//! How much of the log goes once a snapshot covers it.
//!
//! openraft would purge as soon as it has a snapshot, also what follows the older one that a peer
//! is just being sent: once that is installed, its peer needs the next snapshot, and so on for as
//! long as clients write (openraft#1706). So openraft purges nothing by itself here, and this task
//! holds the log for a peer on its way back; not for one that is down, and not without bounds.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::Fatal;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::config::SnapshotSettings;
use crate::network::{Raft, SnapshotSends};
use crate::types::{LogId, Metrics, TypeConfig};

/// Between two looks at the log: nothing waits for a purge.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);
/// A peer that has installed a snapshot may take this long to catch up from there.
const CATCH_UP_MAX: Duration = Duration::from_secs(60);

/// The task, and what decides for it.
pub(super) struct Purger {
    pub(super) raft: Raft,
    pub(super) sends: Arc<SnapshotSends>,
    pub(super) settings: SnapshotSettings,
    /// Up to where an operator wants the log to be purged, whatever the settings keep.
    pub(super) asked: AtomicU64,
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
                && self.purge(upto).await.is_err()
            {
                // Consensus has stopped: nothing to purge any more, but the task ends when told to.
                return stop.cancelled().await;
            }
        }
    }

    /// Purges what a snapshot covers up to here, now or as soon as no peer is held for.
    ///
    /// # Errors
    /// When consensus has stopped.
    pub(super) async fn ask(&self, upto: u64) -> Result<(), Fatal<TypeConfig>> {
        self.asked.fetch_max(upto, Ordering::Relaxed);
        match self.due() {
            Some(upto) => self.purge(upto).await,
            None => Ok(()),
        }
    }

    async fn purge(&self, upto: u64) -> Result<(), Fatal<TypeConfig>> {
        self.raft.trigger().purge_log(upto).await
    }

    /// The last entry that should go now.
    fn due(&self) -> Option<u64> {
        let metrics = self.raft.metrics().borrow_watched().clone();
        let (snapshot, purged) = (index(metrics.snapshot.as_ref()), index(metrics.purged.as_ref()));
        let asked = self.asked.load(Ordering::Relaxed).min(snapshot);
        let upto =
            self.allowed(asked.max(snapshot.saturating_sub(self.settings.logs_kept)), &metrics);
        // What somebody waits for is purged in whatever pieces it can be.
        let batch = if asked > purged { 1 } else { self.settings.purge_batch };
        (upto > purged && upto - purged >= batch).then_some(upto)
    }

    /// The last entry up to `wanted` that no peer is held for.
    fn allowed(&self, wanted: u64, metrics: &Metrics) -> u64 {
        let snapshot = index(metrics.snapshot.as_ref());
        let held = self.sends.lowest(|peer, sent| {
            // It ends by itself, and may have begun since the numbers were told.
            let Some(installed) = sent.installed else { return Some(sent.index) };
            // Whoever does not lead any more, or is no peer any more, catches up elsewhere.
            let matched = index(metrics.replication.as_ref()?.get(&peer)?.as_ref());
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
