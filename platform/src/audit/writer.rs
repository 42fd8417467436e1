//! The auditor: an actor on a thread of its own that writes records in batches.
//!
//! Promises: [`AuditorHandle::record`] returns `Ok` only when the record has reached the kernel
//! (or, with [`AuditSync::Each`], the disk); a sync follows within 100 ms; while the file cannot
//! be written or synced every call is refused, until it can (`design §10`, fail closed). Records
//! of one process are numbered without gaps in the order of the file.

use std::convert::Infallible;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{
    Receiver, RecvTimeoutError, SyncSender, TryRecvError, TrySendError, sync_channel,
};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::audit::file::{self, AuditFile, AuditOpenError};
use crate::audit::record::AuditRecord;
use crate::metrics::AuditMetrics;
use crate::status::{ApiError, ErrorKind, Exhausted, Outcome};
use crate::tasks::{TaskKind, Tasks};

/// Records that may wait for the writer; more callers are told to come back.
const MAILBOX_MAX: usize = 4096;
/// When a caller that found the mailbox full should come back.
const BUSY_RETRY: Duration = Duration::from_millis(100);
/// Records that one write carries at most.
const BATCH_MAX: usize = 512;
/// Signals to the syncer: one says all there is to say.
const SYNC_SIGNALS_MAX: usize = 1;
/// The pause before a sync, so that many writes share one. With the sync itself: under 100 ms.
const SYNC_PAUSE: Duration = Duration::from_millis(50);
/// How often the writer lets others run before it sleeps.
const YIELDS: u32 = 4;
/// How often a thread with nothing to do looks whether it should end.
const IDLE_CHECK: Duration = Duration::from_millis(100);

/// When a record counts as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AuditSync {
    /// When the kernel has it: survives the process, not a power loss within 100 ms.
    #[default]
    Batched,
    /// When the disk has it.
    Each,
}

/// Where and how records are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditConfig {
    /// The file; created with mode 0600.
    pub path: PathBuf,
    /// When a record counts as written.
    pub sync: AuditSync,
}

/// Why a record was not written. The call it belongs to must fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuditError {
    /// Too many records wait.
    #[error("the audit queue is full")]
    Busy,
    /// The file cannot be written.
    #[error("the audit record could not be written")]
    Failed,
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
            AuditError::Failed | AuditError::Stopped => {
                ErrorKind::Unavailable { retry_after: None }
            }
        };
        Self::new(kind, error.to_string(), Outcome::Unknown)
    }
}

/// A record on its way to the writer.
struct Submitted {
    /// The record's JSON, which the sequence number is put into.
    json: String,
    reply: oneshot::Sender<Result<(), AuditError>>,
}

/// Writes audit records. Clones share one writer.
#[derive(Debug, Clone)]
pub struct AuditorHandle {
    mailbox: SyncSender<Submitted>,
    metrics: AuditMetrics,
}

/// Opens the file and starts the writer.
///
/// # Errors
/// [`AuditOpenError`] when the file cannot be used.
pub fn open(
    config: &AuditConfig,
    tasks: &Tasks,
    metrics: AuditMetrics,
) -> Result<AuditorHandle, AuditOpenError> {
    let opened = file::open(&config.path)?;
    Ok(start(Arc::new(opened.file), opened.next_sequence, config.sync, tasks, metrics))
}

/// Starts the writer on any file.
pub(crate) fn start(
    file: Arc<dyn AuditFile>,
    next_sequence: u64,
    sync: AuditSync,
    tasks: &Tasks,
    metrics: AuditMetrics,
) -> AuditorHandle {
    let (mailbox, submitted) = sync_channel(MAILBOX_MAX);
    let (dirty, dirty_receiver) = sync_channel(SYNC_SIGNALS_MAX);
    let sync_failed = Arc::new(AtomicBool::new(false));
    metrics.healthy.set(1);
    let writer = Writer {
        file: Arc::clone(&file),
        sync,
        next_sequence,
        dirty,
        sync_failed: Arc::clone(&sync_failed),
        metrics: metrics.clone(),
    };
    let syncer = Syncer { file, sync_failed, metrics: metrics.clone() };
    let stop = tasks.token();
    tasks.spawn_blocking(TaskKind::Critical, "audit writer", move || {
        writer.run(&submitted, || stop.is_cancelled());
        Ok::<(), Infallible>(())
    });
    tasks.spawn_blocking(TaskKind::Critical, "audit syncer", move || {
        syncer.run(&dirty_receiver);
        Ok::<(), Infallible>(())
    });
    AuditorHandle { mailbox, metrics }
}

impl AuditorHandle {
    /// Writes a record. The caller answers its own call only after this returned `Ok`.
    ///
    /// # Errors
    /// [`AuditError`]; the call must then fail.
    pub async fn record(&self, record: &AuditRecord) -> Result<(), AuditError> {
        let result = self.submit(record).await;
        let label = match result {
            Ok(()) => "written",
            Err(AuditError::Busy) => "busy",
            Err(AuditError::Failed | AuditError::Stopped) => "failed",
        };
        self.metrics.records.with_label_values(&[label]).inc();
        result
    }

    async fn submit(&self, record: &AuditRecord) -> Result<(), AuditError> {
        let json = record.to_json().map_err(|_impossible| AuditError::Failed)?;
        let (reply, answered) = oneshot::channel();
        self.mailbox.try_send(Submitted { json, reply }).map_err(|error| match error {
            TrySendError::Full(_) => AuditError::Busy,
            TrySendError::Disconnected(_) => AuditError::Stopped,
        })?;
        answered.await.map_err(|_gone| AuditError::Stopped)?
    }
}

/// Owns the numbering and the appends.
struct Writer {
    file: Arc<dyn AuditFile>,
    sync: AuditSync,
    next_sequence: u64,
    dirty: SyncSender<()>,
    sync_failed: Arc<AtomicBool>,
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
            let result = self.write(&batch);
            for written in batch.drain(..) {
                if written.reply.send(result).is_err() {
                    tracing::debug!("the caller of an audit record gave up; the record stands");
                }
            }
        }
    }

    fn write(&mut self, batch: &[Submitted]) -> Result<(), AuditError> {
        let bytes = batch.iter().map(|one| one.json.len() + 40).sum();
        let mut lines = String::with_capacity(bytes);
        let mut sequence = self.next_sequence;
        for one in batch {
            number(&mut lines, sequence, &one.json);
            sequence += 1;
        }
        let written = self.append(lines.as_bytes(), sequence);
        if let Err(error) = &written {
            tracing::error!(%error, "audit records cannot be written; calls are refused");
        }
        self.metrics.healthy.set(i64::from(written.is_ok()));
        written.map_err(|_refused| AuditError::Failed)?;
        #[allow(clippy::cast_precision_loss, reason = "a batch is at most BATCH_MAX")]
        self.metrics.batch.with_label_values::<&str>(&[]).observe(batch.len() as f64);
        Ok(())
    }

    fn append(&mut self, lines: &[u8], next_sequence: u64) -> io::Result<()> {
        if self.sync_failed.load(Ordering::Acquire) {
            return Err(io::Error::other("the last sync of the audit file failed"));
        }
        self.file.append(lines)?;
        // The numbers are in the file now, whatever becomes of the sync.
        self.next_sequence = next_sequence;
        match self.sync {
            AuditSync::Each => {
                let _timer = self.metrics.sync.with_label_values::<&str>(&[]).start_timer();
                self.file.sync()
            }
            AuditSync::Batched => match self.dirty.try_send(()) {
                // Full: the syncer has a signal to come to already.
                Ok(()) | Err(TrySendError::Full(())) => Ok(()),
                Err(TrySendError::Disconnected(())) => {
                    Err(io::Error::other("the audit syncer has ended"))
                }
            },
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

/// Puts the sequence number before the other fields of a record, and ends the line.
fn number(lines: &mut String, sequence: u64, json: &str) {
    lines.push_str("{\"sequence\":");
    lines.push_str(&sequence.to_string());
    lines.push(',');
    lines.push_str(json.strip_prefix('{').unwrap_or(json));
    lines.push('\n');
}

/// Syncs beside the writer, so that no read waits for the disk.
struct Syncer {
    file: Arc<dyn AuditFile>,
    sync_failed: Arc<AtomicBool>,
    metrics: AuditMetrics,
}

impl Syncer {
    /// Syncs after each signal until the writer is gone; then the last signal has been served.
    fn run(self, dirty: &Receiver<()>) {
        while dirty.recv().is_ok() {
            std::thread::sleep(SYNC_PAUSE);
            while !self.sync() {
                // Data that was not synced stays dirty. Calls are refused meanwhile.
                std::thread::sleep(IDLE_CHECK);
                if matches!(dirty.try_recv(), Err(TryRecvError::Disconnected)) {
                    return;
                }
            }
        }
    }

    fn sync(&self) -> bool {
        let timer = self.metrics.sync.with_label_values::<&str>(&[]).start_timer();
        let synced = self.file.sync();
        timer.observe_duration();
        if let Err(error) = &synced {
            tracing::error!(%error, "the audit file cannot be synced; calls are refused");
            self.metrics.healthy.set(0);
        }
        self.sync_failed.store(synced.is_err(), Ordering::Release);
        synced.is_ok()
    }
}
