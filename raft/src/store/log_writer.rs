//! The log writer: the only one that writes to the log.
//!
//! Drains everything queued, writes it as one batch, syncs once if anything in it must be durable,
//! and only then completes callbacks, in order. While it is inside the sync, new work piles up:
//! batches form by themselves, without a timer. The first error poisons it: everything queued and
//! everything that comes later fails with that error. Nothing is retried, because a failed sync
//! may have marked its pages clean (`openraft.md §3.2`).

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

use lockbox_core::{Mutant, mutant};
use tokio::sync::{Notify, watch};

use super::engine::{LogEngine, LogOp};
use super::faults::Faults;
use super::locking::locked;
use super::log_stats::LogWriterStats;
use super::write_queue::{Batch, WriteCommand, WriteQueue};
use crate::error::StorageError;

/// How far the log is durable, by sequence number of the write.
#[derive(Debug, Clone)]
enum Durability {
    Upto(u64),
    Poisoned(StorageError),
}

/// A batch that the engine has taken or refused, and nobody was told of.
struct Written {
    batch: Batch,
    sync: bool,
    result: Result<(), StorageError>,
}

impl Batch {
    /// Writes it, with one sync if anything in it must be durable.
    fn write(mut self, engine: &dyn LogEngine, stats: &LogWriterStats) -> Written {
        let sync = self.commands.iter().any(|command| command.completion.needs_sync());
        let ops: Vec<LogOp> =
            self.commands.iter_mut().flat_map(|command| command.ops.drain(..)).collect();
        let started = tokio::time::Instant::now();
        let result = engine.write(&ops, sync && !mutant(Mutant::AckBeforeFsync));
        if result.is_ok() {
            stats.record_write(sync, started.elapsed());
        }
        Written { batch: self, sync, result }
    }
}

/// Where the writer runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriterHost {
    /// On its own OS thread.
    Thread,
    /// As a task of the runtime in which the store is opened: for engines that do not block, and
    /// for simulation, where threads would make runs differ.
    Task,
    /// Wherever the caller calls [`LogWriter::drain_once`]: for tests and simulation.
    Caller,
}

struct Shared {
    engine: Arc<dyn LogEngine>,
    queue: Mutex<WriteQueue>,
    /// Held from taking a batch until it is written: they reach the engine in order, whoever
    /// drains.
    turn: Mutex<()>,
    /// Wakes the thread.
    work: Condvar,
    /// Wakes the task.
    work_for_task: Notify,
    drained: Notify,
    durable: AtomicU64,
    durability: watch::Sender<Durability>,
    stats: Arc<LogWriterStats>,
    faults: Faults,
}

impl Shared {
    fn drain_once(&self) -> bool {
        let Some(written) = self.write_queued() else { return false };
        self.settle(written);
        true
    }

    /// Writes what is queued as one batch.
    fn write_queued(&self) -> Option<Written> {
        let _turn = locked(&self.turn);
        let batch = locked(&self.queue).take_batch()?;
        self.drained.notify_waiters();
        Some(batch.write(self.engine.as_ref(), &self.stats))
    }

    /// Tells what a batch came to.
    fn settle(&self, written: Written) {
        let Written { batch, sync, result } = written;
        if let Err(error) = result {
            self.poison(&error, batch.commands);
            return;
        }
        if sync {
            // ORDER: durable first, then tell: whoever is told may look.
            self.durable.store(batch.sequence, Ordering::Release);
            self.durability.send_replace(Durability::Upto(batch.sequence));
        }
        for command in batch.commands {
            command.completion.complete(Ok(()));
        }
    }

    fn poison(&self, error: &StorageError, failed: Vec<WriteCommand>) {
        self.faults.report(error);
        self.abandon(error, failed);
    }

    /// Fails what was taken and what is queued, what will come, and every wait for durability.
    fn abandon(&self, error: &StorageError, taken: Vec<WriteCommand>) {
        // ORDER: the queue refuses before anybody learns of the failure; else a caller who has
        // seen it could still get a write accepted.
        let queued = locked(&self.queue).poison(error.clone());
        self.durability.send_replace(Durability::Poisoned(error.clone()));
        for command in taken.into_iter().chain(queued) {
            command.completion.complete(Err(error.clone()));
        }
        self.drained.notify_waiters();
    }

    fn run(&self) {
        let _poison = PoisonOnPanic(self);
        loop {
            let mut queue = locked(&self.queue);
            while queue.is_empty() {
                if queue.is_closed() {
                    return;
                }
                queue = self.work.wait(queue).unwrap_or_else(PoisonError::into_inner);
            }
            drop(queue);
            self.drain_once();
        }
    }

    /// The thread's loop as a task, which waits where the engine says that its disk would.
    async fn run_as_task(&self) {
        let _poison = PoisonOnPanic(self);
        loop {
            let more = self.work_for_task.notified();
            if locked(&self.queue).is_empty() {
                if locked(&self.queue).is_closed() {
                    return;
                }
                more.await;
                continue;
            }
            self.pass_latency().await;
            let Some(written) = self.write_queued() else { continue };
            self.pass_latency().await;
            self.settle(written);
        }
    }

    async fn pass_latency(&self) {
        let latency = self.engine.latency();
        // Even a sleep of no length would wait for the timer's next tick.
        if !latency.is_zero() {
            tokio::time::sleep(latency).await;
        }
    }

    fn wake(&self) {
        self.work.notify_one();
        self.work_for_task.notify_one();
    }

    fn close(&self) {
        locked(&self.queue).close();
        self.wake();
        self.drained.notify_waiters();
    }
}

/// Fails everything when the writer panics, so that nobody waits for it forever.
struct PoisonOnPanic<'a>(&'a Shared);

impl Drop for PoisonOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let cause = std::io::Error::other("the log writer panicked");
            self.0.poison(&StorageError::io("write to the log", &cause), Vec::new());
        }
    }
}

/// What carries the writer.
enum Host {
    Thread(JoinHandle<()>),
    Task(tokio::task::JoinHandle<()>),
    Caller,
}

/// Owns the writer. Dropping it drains what is queued (thread) or fails it (task, caller).
pub struct LogWriter {
    shared: Arc<Shared>,
    host: Host,
}

impl LogWriter {
    /// Starts the writer over an engine that nobody else writes to.
    pub(super) fn start(
        engine: Arc<dyn LogEngine>,
        host: WriterHost,
        faults: Faults,
    ) -> Result<Self, StorageError> {
        let shared = Arc::new(Shared {
            engine,
            queue: Mutex::new(WriteQueue::new()),
            turn: Mutex::new(()),
            work: Condvar::new(),
            work_for_task: Notify::new(),
            drained: Notify::new(),
            durable: AtomicU64::new(0),
            durability: watch::Sender::new(Durability::Upto(0)),
            stats: Arc::default(),
            faults,
        });
        let runner = Arc::clone(&shared);
        let host = match host {
            WriterHost::Caller => Host::Caller,
            WriterHost::Task => Host::Task(tokio::spawn(async move { runner.run_as_task().await })),
            WriterHost::Thread => {
                let builder = std::thread::Builder::new().name("log-writer".to_owned());
                let spawned = builder.spawn(move || runner.run());
                Host::Thread(
                    spawned.map_err(|error| StorageError::io("start the log writer", &error))?,
                )
            }
        };
        Ok(Self { shared, host })
    }

    pub(super) fn handle(&self) -> LogWriterHandle {
        LogWriterHandle { shared: Arc::clone(&self.shared) }
    }

    /// Its counters.
    #[must_use]
    pub fn stats(&self) -> Arc<LogWriterStats> {
        Arc::clone(&self.shared.stats)
    }

    /// Writes what is queued now as one batch; false when nothing was.
    ///
    /// Thread and task do nothing else. Call it only with [`WriterHost::Caller`].
    pub fn drain_once(&self) -> bool {
        self.shared.drain_once()
    }

    /// Accepts nothing more, writes what is queued and ends the thread or task.
    pub fn stop(mut self) {
        self.shared.close();
        self.join();
        while self.drain_once() {}
    }

    /// Ends what carries the writer. A task that waits with a batch has written it: whoever would
    /// be told of that has stopped before.
    fn join(&mut self) {
        match std::mem::replace(&mut self.host, Host::Caller) {
            Host::Caller => {}
            Host::Task(task) => task.abort(),
            Host::Thread(thread) => {
                if thread.join().is_err() {
                    // `PoisonOnPanic` has failed everything and the fault is reported.
                    tracing::error!("the log writer panicked");
                }
            }
        }
    }
}

impl Drop for LogWriter {
    fn drop(&mut self) {
        self.shared.close();
        self.join();
        // Only without a thread is anything left: as after a crash, it is lost. Nobody may go on
        // waiting for it.
        let gone = std::io::Error::other("the log writer was dropped");
        self.shared.abandon(&StorageError::io("write to the log", &gone), Vec::new());
    }
}

/// Puts commands before the writer.
#[derive(Clone)]
pub(super) struct LogWriterHandle {
    shared: Arc<Shared>,
}

impl LogWriterHandle {
    /// Waits until an append may be queued.
    pub(super) async fn admit_append(&self) -> Result<(), StorageError> {
        loop {
            let mut drained = std::pin::pin!(self.shared.drained.notified());
            // ORDER: listen first, then look, or a drain between the two is missed.
            drained.as_mut().enable();
            if locked(&self.shared.queue).admits_append()? {
                return Ok(());
            }
            drained.await;
        }
    }

    /// Queues a command and wakes the writer. Returns its sequence number.
    pub(super) fn queue(&self, command: WriteCommand) -> Result<u64, StorageError> {
        let sequence = self.queue_silently(command)?;
        self.shared.wake();
        Ok(sequence)
    }

    /// Queues a command that rides with the next one.
    pub(super) fn queue_silently(&self, command: WriteCommand) -> Result<u64, StorageError> {
        locked(&self.shared.queue).push(command)
    }

    /// The last sequence number that is durable with all before it.
    pub(super) fn durable(&self) -> u64 {
        self.shared.durable.load(Ordering::Acquire)
    }

    /// Waits until a write is durable; fails once it never will be.
    pub(super) async fn wait_durable(&self, sequence: u64) -> Result<(), StorageError> {
        let mut durability = self.shared.durability.subscribe();
        let settled = durability.wait_for(|durability| match durability {
            Durability::Upto(durable) => *durable >= sequence,
            Durability::Poisoned(_) => true,
        });
        match settled.await.as_deref() {
            Ok(Durability::Upto(_)) => Ok(()),
            // The writer may have ended after this write became durable.
            Ok(Durability::Poisoned(_)) if self.durable() >= sequence => Ok(()),
            Ok(Durability::Poisoned(error)) => Err(error.clone()),
            Err(_closed) => {
                let gone = std::io::Error::other("the log writer is gone");
                Err(StorageError::io("wait for the log", &gone))
            }
        }
    }

    /// Commands that wait to be written.
    pub(super) fn queued(&self) -> usize {
        locked(&self.shared.queue).len()
    }

    pub(super) fn stats(&self) -> &LogWriterStats {
        &self.shared.stats
    }
}
