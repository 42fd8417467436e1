//! What of the audit is on disk: the thread that syncs beside the writer, and what it has to say.
//!
//! Promises: the head that is told of is on disk, and so is every record before it. While a sync
//! fails, or does not end, nothing more is written (`design §10`, fail closed).

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lockbox_core::Clock;
use tokio::sync::watch;

use crate::audit::chain::ChainHead;
use crate::audit::file::AuditFile;
use crate::metrics::AuditMetrics;

/// The pause before a sync, so that many writes share one. With the sync itself: under 100 ms.
const SYNC_PAUSE: Duration = Duration::from_millis(50);
/// The pause before a sync that failed is tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(100);
/// A sync that takes longer is one of a disk that hangs: what is written meanwhile is only in
/// memory, and more and more of it.
const SYNC_TIME_MAX: Duration = Duration::from_secs(10);

/// How far writer and syncer are. The writer's part of it never waits for the disk.
pub(super) struct Progress {
    clock: Arc<dyn Clock>,
    /// The last record that the kernel has.
    written: Mutex<Option<ChainHead>>,
    /// The last record that the disk has.
    synced: watch::Sender<Option<ChainHead>>,
    /// The last sync failed.
    failed: AtomicBool,
    /// When the sync that is under way began: milliseconds on the monotonic clock and one more;
    /// zero while there is none.
    began: AtomicU64,
}

impl Progress {
    /// Everything up to this record is on disk.
    pub(super) fn new(clock: Arc<dyn Clock>, head: Option<ChainHead>) -> Self {
        Self {
            clock,
            written: Mutex::new(head),
            synced: watch::Sender::new(head),
            failed: AtomicBool::new(false),
            began: AtomicU64::new(0),
        }
    }

    /// Follows what is on disk.
    pub(super) fn synced(&self) -> watch::Receiver<Option<ChainHead>> {
        self.synced.subscribe()
    }

    /// The kernel has everything up to this record.
    pub(super) fn note_written(&self, head: Option<ChainHead>) {
        *self.written.lock().unwrap_or_else(PoisonError::into_inner) = head;
    }

    /// Whether more may be written.
    ///
    /// # Errors
    /// When what was written before does not get to the disk.
    pub(super) fn check(&self) -> io::Result<()> {
        if self.failed.load(Ordering::Acquire) {
            return Err(io::Error::other("the last sync of the audit file failed"));
        }
        let began = self.began.load(Ordering::Acquire);
        let lasts_ms = self.now_ms().saturating_sub(began);
        if began != 0 && Duration::from_millis(lasts_ms) > SYNC_TIME_MAX {
            return Err(io::Error::other("a sync of the audit file does not end"));
        }
        Ok(())
    }

    /// Syncs, and tells what is on disk then.
    pub(super) fn sync(&self, file: &dyn AuditFile, metrics: &AuditMetrics) -> io::Result<()> {
        // ORDER: read before the sync, which covers at least this.
        let head = *self.written.lock().unwrap_or_else(PoisonError::into_inner);
        self.began.store(self.now_ms(), Ordering::Release);
        let timer = metrics.sync.with_label_values::<&str>(&[]).start_timer();
        let synced = file.sync();
        timer.observe_duration();
        self.began.store(0, Ordering::Release);
        synced?;
        self.synced.send_replace(head);
        Ok(())
    }

    fn now_ms(&self) -> u64 {
        let ms = u64::try_from(self.clock.monotonic().as_millis()).unwrap_or(u64::MAX);
        ms.saturating_add(1)
    }
}

/// Syncs beside the writer, so that no read waits for the disk.
pub(super) struct Syncer {
    pub(super) file: Arc<dyn AuditFile>,
    pub(super) progress: Arc<Progress>,
    pub(super) metrics: AuditMetrics,
}

impl Syncer {
    /// Syncs after each signal until the writer is gone; then the last signal has been served.
    pub(super) fn run(self, dirty: &Receiver<()>) {
        while dirty.recv().is_ok() {
            std::thread::sleep(SYNC_PAUSE);
            while !self.sync() {
                // Calls are refused meanwhile. The kernel may have given up what it could not
                // write: then a crash of the machine loses it, and the heads tell.
                std::thread::sleep(RETRY_PAUSE);
                if matches!(dirty.try_recv(), Err(TryRecvError::Disconnected)) {
                    return;
                }
            }
        }
    }

    fn sync(&self) -> bool {
        let synced = self.progress.sync(self.file.as_ref(), &self.metrics);
        if let Err(error) = &synced {
            tracing::error!(%error, "the audit file cannot be synced; calls are refused");
            self.metrics.healthy.set(0);
        }
        self.progress.failed.store(synced.is_err(), Ordering::Release);
        synced.is_ok()
    }
}
