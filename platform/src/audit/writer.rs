//! The auditor: an actor on a thread of its own that writes records in batches.
//!
//! Promises: [`AuditorHandle::record`] returns `Ok` only when the record has reached the kernel
//! (or, with [`AuditSync::Each`], the disk); a sync follows within 100 ms; while the file cannot
//! be written or synced every call is refused, before it does anything once that is known, until it
//! can, and one that the disk keeps waiting is refused when its time is over (`design §10`, fail
//! closed). Records are numbered without gaps
//! in the order of the files and chained ([`super::chain`]); a file that is long enough is set
//! aside and the chain goes on in the next one.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{
    Receiver, RecvTimeoutError, SyncSender, TryRecvError, TrySendError, sync_channel,
};
use std::time::Duration;

use lockbox_core::{Clock, LogTime};
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;
use tracing::Instrument;

use crate::audit::chain::{Chain, ChainHead};
use crate::audit::config::{AuditConfig, AuditSync, Removal};
use crate::audit::file::{self, AuditFile, AuditOpenError};
use crate::audit::files::AuditFiles;
use crate::audit::finisher::Finisher;
use crate::audit::own;
use crate::audit::record::AuditRecord;
use crate::audit::retention::{Removals, Retention};
use crate::audit::syncer::{Progress, Stuck, Syncer};
use crate::metrics::AuditMetrics;
use crate::status::{ApiError, ErrorKind, Exhausted, Outcome};
use crate::tasks::{TaskKind, Tasks};

/// Records that may wait for the writer; more callers are told to come back.
const MAILBOX_MAX: usize = 4096;
/// When a caller that found the mailbox full should come back.
const BUSY_RETRY: Duration = Duration::from_millis(100);
/// What a call that is out of time waits for its record all the same: the record says why. And any
/// call, while the disk is known to hang.
const LAST_WAIT: Duration = Duration::from_millis(500);
/// Records that one write carries at most.
const BATCH_MAX: usize = 512;
/// What the chain adds to a record, in bytes.
const LINK_BYTES: usize = 120;
/// Signals to the syncer: one says all there is to say.
const SYNC_SIGNALS_MAX: usize = 1;
/// How often the writer lets others run before it sleeps.
const YIELDS: u32 = 4;
/// How often a thread with nothing to do looks whether it should end.
const IDLE_CHECK: Duration = Duration::from_millis(100);
/// A file that could not be set aside grows by this part of its usual length before the next try.
const RETRY_PART: u64 = 16;

/// Why a record was not written. The call it belongs to must fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuditError {
    /// Too many records wait.
    #[error("the audit queue is full")]
    Busy,
    /// The file cannot be written.
    #[error("the audit record could not be written")]
    Failed,
    /// The disk did not take it in the call's time. It may still be written.
    #[error("the audit record was not written in time")]
    Late,
    /// The process is stopping.
    #[error("the auditor has stopped")]
    Stopped,
}

impl From<AuditError> for ApiError {
    /// What the call did before is not known here; a caller that knows says so.
    fn from(error: AuditError) -> Self {
        let kind = match error {
            AuditError::Busy => {
                ErrorKind::ResourceExhausted(Exhausted::Busy { retry_after: BUSY_RETRY })
            }
            AuditError::Failed | AuditError::Late | AuditError::Stopped => {
                ErrorKind::Unavailable { retry_after: None }
            }
        };
        Self::new(kind, error.to_string(), Outcome::Unknown)
    }
}

/// A record on its way to the writer.
struct Submitted {
    /// The record's JSON, which its place in the chain is put into.
    json: String,
    reply: oneshot::Sender<Result<(), AuditError>>,
}

/// Writes audit records. Clones share one writer.
#[derive(Debug, Clone)]
pub struct AuditorHandle {
    mailbox: SyncSender<Submitted>,
    removals: Arc<Removals>,
    progress: Arc<Progress>,
    metrics: AuditMetrics,
}

/// Opens the files and starts the writer.
///
/// # Errors
/// [`AuditOpenError`] when they cannot be used.
pub fn open(
    config: &AuditConfig,
    clock: Arc<dyn Clock>,
    tasks: &Tasks,
    metrics: AuditMetrics,
) -> Result<AuditorHandle, AuditOpenError> {
    let files = AuditFiles::of(&config.path);
    let now = LogTime::from_ms(clock.wall_ms());
    let opened = file::open(&files, now.into())?;
    let finisher = Finisher { files };
    let stop = tasks.token();
    tasks.spawn_blocking(TaskKind::Background, "audit finisher", move || {
        finisher.run(&opened.finished, || stop.is_cancelled());
        Ok::<(), Infallible>(())
    });
    let begin = Begin {
        file: Arc::new(opened.file),
        chain: opened.chain,
        sync: config.sync,
        file_bytes_max: config.file_bytes_max,
        retention: Retention::new(config.finished_files_max, config.removal),
        clock,
    };
    Ok(start(begin, tasks, metrics))
}

/// Starts a writer of a new chain on anything that takes lines, and never sets it aside.
pub fn open_on(
    file: Arc<dyn AuditFile>,
    sync: AuditSync,
    clock: Arc<dyn Clock>,
    tasks: &Tasks,
    metrics: AuditMetrics,
) -> AuditorHandle {
    let chain = Chain::beginning_at(0);
    let (file_bytes_max, retention) = (u64::MAX, Retention::new(None, Removal::AtOnce));
    let begin = Begin { file, chain, sync, file_bytes_max, retention, clock };
    start(begin, tasks, metrics)
}

/// What a writer begins with.
struct Begin {
    file: Arc<dyn AuditFile>,
    chain: Chain,
    sync: AuditSync,
    file_bytes_max: u64,
    retention: Retention,
    clock: Arc<dyn Clock>,
}

fn start(begin: Begin, tasks: &Tasks, metrics: AuditMetrics) -> AuditorHandle {
    let (mailbox, submitted) = sync_channel(MAILBOX_MAX);
    let (dirty, dirty_receiver) = sync_channel(SYNC_SIGNALS_MAX);
    // What there is was synced when it was opened.
    let progress = Arc::new(Progress::new(Arc::clone(&begin.clock), begin.chain.head()));
    let removals = begin.retention.removals();
    metrics.healthy.set(1);
    let syncer = Syncer {
        file: Arc::clone(&begin.file),
        progress: Arc::clone(&progress),
        metrics: metrics.clone(),
    };
    let finish_at = begin.file_bytes_max;
    let writer = Writer {
        begin,
        finish_at,
        dirty,
        progress: Arc::clone(&progress),
        metrics: metrics.clone(),
    };
    let stop = tasks.token();
    tasks.spawn_blocking(TaskKind::Critical, "audit writer", move || {
        writer.run(&submitted, || stop.is_cancelled());
        Ok::<(), Infallible>(())
    });
    tasks.spawn_blocking(TaskKind::Critical, "audit syncer", move || {
        syncer.run(&dirty_receiver);
        Ok::<(), Infallible>(())
    });
    AuditorHandle { mailbox, removals, progress, metrics }
}

impl AuditorHandle {
    /// Demands, before a call does anything, that the audit takes records: what is done while it
    /// does not would be in no audit (`design §10`, fail closed).
    ///
    /// The record of the call that is refused is what finds out that the disk is well again.
    ///
    /// # Errors
    /// UNAVAILABLE, with nothing proposed.
    pub fn demand_writable(&self) -> Result<(), ApiError> {
        self.progress.check().map_err(|stuck| ApiError::unavailable(stuck.to_string()))
    }

    /// Writes a record. The caller answers its own call only after this returned `Ok`.
    ///
    /// `deadline` is the call's own. A call that is out of time already still waits a moment.
    ///
    /// # Errors
    /// [`AuditError`]; the call must then fail.
    pub async fn record(&self, record: &AuditRecord, deadline: Instant) -> Result<(), AuditError> {
        let span = tracing::trace_span!(target: "lockbox_trace", "write_audit");
        let result = self.submit(record, deadline).instrument(span).await;
        let label = match result {
            Ok(()) => "written",
            Err(AuditError::Busy) => "busy",
            Err(AuditError::Late) => {
                // The writer cannot say so itself: the disk holds it. Its next write can.
                self.metrics.healthy.set(0);
                "late"
            }
            Err(AuditError::Failed | AuditError::Stopped) => "failed",
        };
        self.metrics.records.with_label_values(&[label]).inc();
        result
    }

    /// Follows the last record that is on disk; nothing before the first.
    #[must_use]
    pub fn synced_head(&self) -> watch::Receiver<Option<ChainHead>> {
        self.progress.synced()
    }

    /// The last record of the finished files that are too many; nothing before there is one. They
    /// stay until [`Self::permit_removal`], unless the configuration has them go at once.
    #[must_use]
    pub fn removable_through(&self) -> Option<u64> {
        self.removals.due_through()
    }

    /// Lets files go that are too many, up to the one that ends with this record: from now on it is
    /// known elsewhere that they are missing.
    pub fn permit_removal(&self, through: u64) {
        self.removals.permit(through);
    }

    async fn submit(&self, record: &AuditRecord, deadline: Instant) -> Result<(), AuditError> {
        let json = record.to_json().map_err(|_impossible| AuditError::Failed)?;
        let (reply, answered) = oneshot::channel();
        // ORDER: counted before it can be taken out.
        self.metrics.queue.inc();
        self.mailbox.try_send(Submitted { json, reply }).map_err(|error| {
            self.metrics.queue.dec();
            match error {
                TrySendError::Full(_) => {
                    // Nor would the next one be, until the writer goes on.
                    self.progress.note_recorded(false);
                    AuditError::Busy
                }
                TrySendError::Disconnected(_) => AuditError::Stopped,
            }
        })?;
        let soon = Instant::now() + LAST_WAIT;
        // Behind a disk that hangs there is nothing to wait for.
        let until =
            if self.progress.check() == Err(Stuck::Stalled) { soon } else { deadline.max(soon) };
        match tokio::time::timeout_at(until, answered).await {
            Ok(answer) => answer.map_err(|_gone| AuditError::Stopped)?,
            Err(_elapsed) => Err(AuditError::Late),
        }
    }
}

/// Owns the chain and the appends.
struct Writer {
    begin: Begin,
    /// The length at which the file is set aside, in bytes.
    finish_at: u64,
    dirty: SyncSender<()>,
    progress: Arc<Progress>,
    metrics: AuditMetrics,
}

impl Writer {
    /// Writes until every handle is gone, or `stopping` and nothing waits.
    fn run(mut self, submitted: &Receiver<Submitted>, stopping: impl Fn() -> bool) {
        let mut batch = Vec::with_capacity(BATCH_MAX);
        loop {
            match next(submitted) {
                Ok(first) => batch.push(first),
                Err(RecvTimeoutError::Timeout) if stopping() => return,
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => return,
            }
            batch.extend(submitted.try_iter().take(BATCH_MAX - 1));
            self.metrics.queue.sub(i64::try_from(batch.len()).unwrap_or(i64::MAX));
            let result = self.write(&batch);
            for written in batch.drain(..) {
                if written.reply.send(result).is_err() {
                    tracing::debug!("the caller of an audit record gave up; the record stands");
                }
            }
        }
    }

    fn write(&mut self, batch: &[Submitted]) -> Result<(), AuditError> {
        let written = self.write_lines(batch);
        if let Err(error) = &written {
            tracing::error!(%error, "audit records cannot be written; calls are refused");
        }
        self.progress.note_recorded(written.is_ok());
        self.metrics.healthy.set(i64::from(written.is_ok()));
        written.map_err(|_refused| AuditError::Failed)?;
        #[allow(clippy::cast_precision_loss, reason = "a batch is at most BATCH_MAX")]
        self.metrics.batch.with_label_values::<&str>(&[]).observe(batch.len() as f64);
        Ok(())
    }

    fn write_lines(&mut self, batch: &[Submitted]) -> io::Result<()> {
        self.progress.check_append()?;
        self.finish_when_long();
        let removed = self.begin.retention.going();
        let bytes = batch.iter().map(|one| one.json.len() + LINK_BYTES).sum();
        let mut lines = String::with_capacity(bytes);
        let mut chain = self.begin.chain;
        for last_sequence in &removed {
            let now = LogTime::from_ms(self.begin.clock.wall_ms());
            chain.link(&mut lines, &own::file_removed(now.into(), *last_sequence)?)?;
        }
        for one in batch {
            chain.link(&mut lines, &one.json)?;
        }
        self.append(lines.as_bytes(), chain)?;
        // ORDER: behind their records. What a crash leaves is removed, and recorded, once more.
        self.begin.retention.gone(removed.len());
        for last_sequence in removed {
            if let Err(error) = self.begin.file.remove(last_sequence) {
                tracing::warn!(%error, last_sequence, "an old audit file is not removed");
            }
        }
        Ok(())
    }

    fn append(&mut self, lines: &[u8], chain: Chain) -> io::Result<()> {
        self.progress.append(chain, || self.begin.file.append(lines))?;
        // The numbers are in the file now, whatever becomes of the sync.
        self.begin.chain = chain;
        let last = chain.head().map_or(0, |head| head.sequence);
        self.metrics.last_sequence.set(i64::try_from(last).unwrap_or(i64::MAX));
        match self.begin.sync {
            AuditSync::Each => self.progress.sync(self.begin.file.as_ref(), &self.metrics),
            AuditSync::Batched => match self.dirty.try_send(()) {
                // Full: the syncer has a signal to come to already.
                Ok(()) | Err(TrySendError::Full(())) => Ok(()),
                Err(TrySendError::Disconnected(())) => {
                    Err(io::Error::other("the audit syncer has ended"))
                }
            },
        }
    }

    /// Sets the file aside when it is long enough, and looks which finished ones are too many now.
    fn finish_when_long(&mut self) {
        let Begin { file, chain, file_bytes_max, .. } = &self.begin;
        let Some(head) = chain.head().filter(|_| file.length() >= self.finish_at) else { return };
        if let Err(error) = file.finish(head.sequence) {
            // No reason to refuse calls: the file takes them still.
            tracing::warn!(%error, "the audit file grows on: it cannot be set aside");
            self.finish_at = file.length().saturating_add(file_bytes_max / RETRY_PART);
            return;
        }
        self.finish_at = *file_bytes_max;
        let file = Arc::clone(file);
        if let Err(error) = self.begin.retention.look(file.as_ref(), head.sequence) {
            tracing::warn!(%error, "old audit files are not looked for");
        }
    }
}

/// The next record. On a busy machine others run first and their records come along: a thread that
/// sleeps at once is woken for each one, which costs every call as much as its record.
fn next(submitted: &Receiver<Submitted>) -> Result<Submitted, RecvTimeoutError> {
    for _ in 0..YIELDS {
        match submitted.try_recv() {
            Ok(first) => return Ok(first),
            Err(TryRecvError::Empty) => std::thread::yield_now(),
            Err(TryRecvError::Disconnected) => return Err(RecvTimeoutError::Disconnected),
        }
    }
    submitted.recv_timeout(IDLE_CHECK)
}
