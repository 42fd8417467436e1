//! Reads all files of this node again, from time to time and slowly: what the disk has changed is
//! found before somebody asks for it, and while the other members have it whole.

use std::sync::Arc;
use std::time::Duration;

use lockbox_core::Clock;
use tokio_util::sync::CancellationToken;

use super::config::IntegritySettings;
use super::integrity::Integrity;
use crate::error::{StorageError, StorageFailure};
use crate::store::{Blocking, DamageMark, Faults, LogReader, Pace, SnapshotFiles, StateHandle};

/// The first reading begins so long after the start, or after a usual pause if that is less: a node
/// that is started often is read, too.
const FIRST_PAUSE_MAX: Duration = Duration::from_secs(120);

/// A reading that was cut short begins again so long after, or after a usual pause if that is less.
const AGAIN_PAUSE_MAX: Duration = Duration::from_secs(600);

/// The task.
pub(super) struct Scrubber {
    pub(super) state: StateHandle,
    pub(super) log: LogReader,
    pub(super) snapshot_files: SnapshotFiles,
    pub(super) settings: IntegritySettings,
    pub(super) wall: Arc<dyn Clock>,
    pub(super) integrity: Arc<Integrity>,
    pub(super) damage: DamageMark,
    pub(super) blocking: Blocking,
    pub(super) faults: Faults,
}

impl Scrubber {
    /// Runs until `stop`.
    pub(super) async fn run(self, stop: CancellationToken) {
        let Some(interval) = self.settings.scrub_interval else { return stop.cancelled().await };
        let mut pause = interval.min(FIRST_PAUSE_MAX);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
            pause = interval;
            // Not dropped by `stop`: the thread that reads sees it, and has ended then.
            match self.scrub(&stop).await {
                Ok(Some(bytes)) => {
                    let at_ms = self.wall.wall_ms();
                    self.integrity.change(|status| {
                        status.scrubbed_at_ms = at_ms;
                        status.scrubbed_bytes = status.scrubbed_bytes.saturating_add(bytes);
                    });
                    tracing::info!(bytes, "all files were read and are whole");
                }
                Ok(None) if stop.is_cancelled() => return,
                // What was being read was replaced meanwhile.
                Ok(None) => pause = interval.min(AGAIN_PAUSE_MAX),
                Err(error) if error.failure == StorageFailure::Corrupt => {
                    // ORDER: the mark first: whoever ends the process may start it again at once.
                    self.damage.set(&error);
                    self.faults.report(&error);
                }
                // A file that went away, as after an installed snapshot: nothing is known of it.
                Err(error) => tracing::warn!(%error, "not all files could be read"),
            }
        }
    }

    /// Reads all files; how much that was, or nothing when it was cut short.
    async fn scrub(&self, stop: &CancellationToken) -> Result<Option<u64>, StorageError> {
        let mut pace = Pace::new(self.settings.scrub_bytes_per_second, stop.clone());
        let (state, log) = (self.state.clone(), self.log.clone());
        let snapshot_files = self.snapshot_files.clone();
        let read = move || {
            let is_done = state.scrub(&mut pace)?
                && log.scrub(&mut pace)?
                && snapshot_files.scrub(&mut pace)?;
            Ok(is_done.then(|| pace.done()))
        };
        self.blocking.run(read).await
    }
}
