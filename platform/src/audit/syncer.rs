//! What of the audit is on disk: the thread that syncs beside the writer, and what it has to say.
//!
//! Promises: the head that is told of is on disk, and so is every record before it. While a sync
//! fails, or does not end, nothing more is written (`design §10`, fail closed).

use std::fmt;
use std::io;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lockbox_core::Clock;
use tokio::sync::watch;

use crate::audit::chain::{Chain, ChainHead};
use crate::audit::file::AuditFile;
use crate::metrics::AuditMetrics;

/// The pause before a sync, so that many writes share one. With the sync itself: under 100 ms.
const SYNC_PAUSE: Duration = Duration::from_millis(50);
/// The pause before a sync that failed is tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(100);
/// How long a record may be on its way to the disk. Behind one that takes longer is a disk that
/// hangs: what is written meanwhile is only in memory, and more and more of it.
const AGE_MAX: Duration = Duration::from_secs(10);

/// Why the audit takes nothing, so that nothing may be done that has to be in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Stuck {
    /// The last records were refused, and none was written since.
    #[error("the last audit records could not be written")]
    Unwritten,
    /// What the kernel has does not get to the disk.
    #[error("the last sync of the audit file failed")]
    Unsynced,
    /// A record is on its way for longer than [`AGE_MAX`].
    #[error("the disk does not take an audit record")]
    Stalled,
}

impl From<Stuck> for io::Error {
    fn from(stuck: Stuck) -> Self {
        Self::other(stuck)
    }
}

/// How far writer and syncer are. Neither waits for the disk with it.
pub(super) struct Progress {
    clock: Arc<dyn Clock>,
    standing: Mutex<Standing>,
    /// The last record that the disk has.
    synced: watch::Sender<Option<ChainHead>>,
}

/// Times are of the monotonic clock.
struct Standing {
    /// The last record that the kernel has.
    written: Option<ChainHead>,
    /// When the append that is under way began.
    appending: Option<Duration>,
    /// When the oldest append began that no sync has taken up.
    unsynced: Option<Duration>,
    /// When the oldest append began that the sync under way is for.
    syncing: Option<Duration>,
    /// The last records were refused.
    unrecorded: bool,
    /// The last sync failed.
    sync_failed: bool,
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Progress").finish_non_exhaustive()
    }
}

impl Progress {
    /// Everything up to this record is on disk.
    pub(super) fn new(clock: Arc<dyn Clock>, head: Option<ChainHead>) -> Self {
        let standing = Standing {
            written: head,
            appending: None,
            unsynced: None,
            syncing: None,
            unrecorded: false,
            sync_failed: false,
        };
        Self { clock, standing: Mutex::new(standing), synced: watch::Sender::new(head) }
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Follows what is on disk.
    pub(super) fn synced(&self) -> watch::Receiver<Option<ChainHead>> {
        self.synced.subscribe()
    }

    /// Runs an append, behind which the chain is this one.
    ///
    /// # Errors
    /// Those of the append.
    pub(super) fn append(
        &self,
        chain: Chain,
        append: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<()> {
        self.standing().appending = Some(self.clock.monotonic());
        let appended = append();
        let mut standing = self.standing();
        let began = standing.appending.take();
        if appended.is_ok() {
            standing.written = chain.head();
            standing.unsynced = standing.unsynced.or(began);
        }
        appended
    }

    /// Notes whether the last records are where they have to be before their calls are answered.
    pub(super) fn note_recorded(&self, recorded: bool) {
        self.standing().unrecorded = !recorded;
    }

    /// Whether anything may be done that has to be in the audit.
    ///
    /// # Errors
    /// Why not.
    pub(super) fn check(&self) -> Result<(), Stuck> {
        let standing = self.standing();
        if standing.unrecorded {
            return Err(Stuck::Unwritten);
        }
        self.check_synced(&standing)
    }

    /// Whether more may be appended: also behind an append that failed, for the next one shows
    /// whether the disk is well again.
    ///
    /// # Errors
    /// When what was written before does not get to the disk.
    pub(super) fn check_append(&self) -> Result<(), Stuck> {
        self.check_synced(&self.standing())
    }

    fn check_synced(&self, standing: &Standing) -> Result<(), Stuck> {
        if standing.sync_failed {
            return Err(Stuck::Unsynced);
        }
        let under_way = [standing.appending, standing.unsynced, standing.syncing];
        let Some(oldest) = under_way.into_iter().flatten().min() else { return Ok(()) };
        let age = self.clock.monotonic().saturating_sub(oldest);
        if age > AGE_MAX { Err(Stuck::Stalled) } else { Ok(()) }
    }

    /// Syncs, and tells what is on disk then.
    pub(super) fn sync(&self, file: &dyn AuditFile, metrics: &AuditMetrics) -> io::Result<()> {
        let head = {
            let mut standing = self.standing();
            standing.syncing = standing.unsynced.take();
            // ORDER: read before the sync, which covers at least this.
            standing.written
        };
        let timer = metrics.sync.with_label_values::<&str>(&[]).start_timer();
        let synced = file.sync();
        timer.observe_duration();
        // Also of one that failed: that is told by itself, and until when it is so.
        self.standing().syncing = None;
        synced?;
        self.synced.send_replace(head);
        Ok(())
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
        self.progress.standing().sync_failed = synced.is_err();
        synced.is_ok()
    }
}
