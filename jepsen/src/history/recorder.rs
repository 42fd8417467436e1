//! Takes events from all workers and writes them as they happen.
//!
//! One lock hands out stamps and places in the file together, so the file is in the order of the
//! stamps. The queue to the writing thread is bounded: workers wait when the disk cannot follow,
//! and nothing is ever left out.

use std::io::{self, BufWriter, Write};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use thiserror::Error;

use super::event::{
    Complete, Event, FORMAT_VERSION, HarnessFailure, Header, Invoke, MajorityEvent, Phase,
    PhaseEvent,
};
use super::fault::FaultEvent;
use super::ids::OpId;
use super::jsonl;
use super::key_switch::KeySwitch;
use super::ledger::{CanaryScan, LedgerLine};
use super::op::{Invocation, Outcome, Stamp};
use super::restored::RestoredAnswer;
use super::sample::RaftSample;

/// Events that may wait for the disk.
const QUEUE_EVENTS_MAX: usize = 4096;

/// Monotonic nanoseconds since the run began.
pub type Ticks = Arc<dyn Fn() -> u64 + Send + Sync>;

/// Why an event was not recorded. A run that sees one is invalid.
#[derive(Debug, Error)]
pub enum RecordError {
    /// The writing thread has stopped; [`Recorder::finish`] says why.
    #[error("the history is no longer written")]
    Stopped,
    /// The file could not be written.
    #[error("the history could not be written: {0}")]
    Io(#[from] io::Error),
}

struct Next {
    op: u64,
    stamp: Stamp,
    queue: SyncSender<Event>,
}

/// Records one run. Shared by reference among all workers.
pub struct Recorder {
    next: Mutex<Next>,
    ticks: Ticks,
    writer: JoinHandle<io::Result<()>>,
}

/// What was recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recorded {
    /// Operations.
    pub ops: u64,
    /// Events of all kinds.
    pub events: u64,
}

impl Recorder {
    /// Begins a history; its format is set here.
    ///
    /// # Errors
    /// [`RecordError::Io`] when the thread cannot start or the header cannot be written.
    pub fn start(
        mut header: Header,
        to: impl Write + Send + 'static,
        ticks: Ticks,
    ) -> Result<Self, RecordError> {
        header.format = FORMAT_VERSION;
        let mut to = BufWriter::new(to);
        jsonl::write_line(&mut to, &header)?;
        let (queue, events) = sync_channel(QUEUE_EVENTS_MAX);
        let writer = std::thread::Builder::new()
            .name("history".into())
            .spawn(move || write_all(to, &events))?;
        let stamp = Stamp { order: 0, ns: 0 };
        Ok(Self { next: Mutex::new(Next { op: 0, stamp, queue }), ticks, writer })
    }

    /// Records the beginning of an operation. Call it before the request leaves.
    ///
    /// # Errors
    /// [`RecordError::Stopped`].
    pub fn invoke(&self, asked: Invocation) -> Result<OpId, RecordError> {
        let mut next = self.lock();
        let op = OpId(next.op);
        next.op += 1;
        self.write(next, |at| Event::Invoke(Invoke { op, at, asked }))?;
        Ok(op)
    }

    /// Records the end of an operation. Call it after the answer has arrived.
    ///
    /// # Errors
    /// [`RecordError::Stopped`].
    pub fn complete(&self, op: OpId, outcome: Outcome) -> Result<(), RecordError> {
        self.write(self.lock(), |at| Event::Complete(Complete { op, at, outcome }))
    }

    /// Records the beginning or the end of a fault.
    ///
    /// # Errors
    /// [`RecordError::Stopped`].
    pub fn fault(&self, event: impl FnOnce(Stamp) -> FaultEvent) -> Result<(), RecordError> {
        self.write(self.lock(), |at| Event::Fault(event(at)))
    }

    /// Records that a majority is reachable again, or is not any more.
    ///
    /// # Errors
    /// [`RecordError::Stopped`].
    pub fn majority(&self, reachable: bool) -> Result<(), RecordError> {
        self.write(self.lock(), |at| Event::Majority(MajorityEvent { at, reachable }))
    }

    /// Records a look at a node.
    ///
    /// # Errors
    /// [`RecordError::Stopped`].
    pub fn sample(&self, sample: impl FnOnce(Stamp) -> RaftSample) -> Result<(), RecordError> {
        self.write(self.lock(), |at| Event::Sample(sample(at)))
    }

    /// Records the beginning of a phase.
    ///
    /// # Errors
    /// [`RecordError::Stopped`].
    pub fn phase(&self, phase: Phase) -> Result<(), RecordError> {
        self.write(self.lock(), |at| Event::Phase(PhaseEvent { at, phase }))
    }

    /// Records a step of switching a key of the KMS off or on.
    ///
    /// # Errors
    /// [`RecordError::Stopped`].
    pub fn key_switch(&self, event: impl FnOnce(Stamp) -> KeySwitch) -> Result<(), RecordError> {
        self.write(self.lock(), |at| Event::KeySwitch(event(at)))
    }

    /// Records a line of a ledger.
    ///
    /// # Errors
    /// [`RecordError::Stopped`].
    pub fn ledger(&self, line: impl FnOnce(Stamp) -> LedgerLine) -> Result<(), RecordError> {
        self.write(self.lock(), |at| Event::Ledger(line(at)))
    }

    /// Records a search for canaries.
    ///
    /// # Errors
    /// [`RecordError::Stopped`].
    pub fn scan(&self, scan: impl FnOnce(Stamp) -> CanaryScan) -> Result<(), RecordError> {
        self.write(self.lock(), |at| Event::Scan(scan(at)))
    }

    /// Records an answer of a restored cluster.
    ///
    /// # Errors
    /// [`RecordError::Stopped`].
    pub fn restored(
        &self,
        answer: impl FnOnce(Stamp) -> RestoredAnswer,
    ) -> Result<(), RecordError> {
        self.write(self.lock(), |at| Event::Restored(answer(at)))
    }

    /// Records that the harness failed at something.
    ///
    /// # Errors
    /// [`RecordError::Stopped`].
    pub fn failure(&self, what: String) -> Result<(), RecordError> {
        self.write(self.lock(), |at| Event::HarnessFailure(HarnessFailure { at, what }))
    }

    /// Ends the history and waits until all of it is written.
    ///
    /// # Errors
    /// [`RecordError::Io`] if any of it could not be.
    pub fn finish(self) -> Result<Recorded, RecordError> {
        let next = self.next.into_inner().unwrap_or_else(PoisonError::into_inner);
        let recorded = Recorded { ops: next.op, events: next.stamp.order };
        drop(next.queue);
        match self.writer.join() {
            Ok(written) => written?,
            Err(_) => return Err(RecordError::Stopped),
        }
        Ok(recorded)
    }

    fn lock(&self) -> MutexGuard<'_, Next> {
        // Nothing under the lock can be left half done.
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(
        &self,
        mut next: MutexGuard<'_, Next>,
        event: impl FnOnce(Stamp) -> Event,
    ) -> Result<(), RecordError> {
        // ORDER: under the lock, so that no later stamp overtakes this one on its way to the file.
        let ns = (self.ticks)().max(next.stamp.ns);
        next.stamp = Stamp { order: next.stamp.order + 1, ns };
        let event = event(next.stamp);
        next.queue.send(event).map_err(|_| RecordError::Stopped)
    }
}

fn write_all(mut to: BufWriter<impl Write>, events: &Receiver<Event>) -> io::Result<()> {
    loop {
        let event = match events.try_recv() {
            Ok(event) => event,
            Err(TryRecvError::Disconnected) => return to.flush(),
            Err(TryRecvError::Empty) => {
                // Idle: what was recorded is worth more in the file than in this process.
                to.flush()?;
                match events.recv() {
                    Ok(event) => event,
                    Err(_) => return Ok(()),
                }
            }
        };
        jsonl::write_line(&mut to, &event)?;
    }
}
