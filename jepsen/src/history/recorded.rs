//! A whole history in memory, and the rules that make a list of events one.

use std::collections::BTreeMap;

use thiserror::Error;

use super::event::{
    Complete, Event, FORMAT_VERSION, HarnessFailure, Header, Invoke, MajorityEvent, PhaseEvent,
};
use super::fault::FaultEvent;
use super::ids::{OpId, ProcessId};
use super::key_switch::KeySwitch;
use super::ledger::{CanaryScan, LedgerLine};
use super::op::{Op, Stamp};
use super::restored::RestoredAnswer;
use super::sample::RaftSample;

/// All that a run recorded, each kind in the order of its stamps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    /// What the file says of the run.
    pub header: Header,
    /// The operations; the one at place `n` has the id `n`.
    pub ops: Vec<Op>,
    /// Beginnings and ends of faults.
    pub faults: Vec<FaultEvent>,
    /// Changes of whether a majority is reachable; see [`Self::majority`].
    pub majorities: Vec<MajorityEvent>,
    /// Looks at nodes.
    pub samples: Vec<RaftSample>,
    /// Beginnings of phases.
    pub phases: Vec<PhaseEvent>,
    /// Keys of the KMS that were switched off and on.
    pub key_switches: Vec<KeySwitch>,
    /// Lines of ledgers.
    pub ledger: Vec<LedgerLine>,
    /// Searches for canaries.
    pub scans: Vec<CanaryScan>,
    /// Answers of clusters that were restored from backups.
    pub restored: Vec<RestoredAnswer>,
    /// What the harness could not do.
    pub failures: Vec<HarnessFailure>,
    /// The last stamp; zeros if nothing was recorded.
    pub end: Stamp,
}

/// Why an event cannot follow the ones before it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum HistoryError {
    /// The file is of another format.
    #[error("format {found} is not the format {FORMAT_VERSION} that this build reads")]
    Format {
        /// Its format.
        found: u32,
    },
    /// The order counter did not go up, or time went back.
    #[error("stamp {found:?} does not come after {before:?}")]
    Order {
        /// The stamp before.
        before: Stamp,
        /// The stamp of the event.
        found: Stamp,
    },
    /// Ids of operations are dense.
    #[error("operation {found} begins where {expected} was next")]
    NotDense {
        /// The id that was next.
        expected: OpId,
        /// The id of the event.
        found: OpId,
    },
    /// A worker does one thing at a time.
    #[error("process {process} begins operation {op} while its operation {open} is open")]
    Busy {
        /// The worker.
        process: ProcessId,
        /// What it begins.
        op: OpId,
        /// What it has not ended.
        open: OpId,
    },
    /// A worker dies with an operation of unknown outcome.
    #[error("process {process} begins operation {op} after operation {last} of unknown outcome")]
    Dead {
        /// The worker.
        process: ProcessId,
        /// What it begins.
        op: OpId,
        /// What it died of.
        last: OpId,
    },
    /// An operation ended that had not begun.
    #[error("operation {0} ends and never began")]
    Unknown(OpId),
    /// An operation ended twice.
    #[error("operation {0} ends a second time")]
    Twice(OpId),
}

/// Makes a history of events, one by one.
#[derive(Debug)]
pub struct HistoryBuilder {
    history: History,
    /// The last operation of each process.
    last_of: BTreeMap<ProcessId, OpId>,
    empty: bool,
}

impl HistoryBuilder {
    /// A history without events.
    ///
    /// # Errors
    /// [`HistoryError::Format`].
    pub fn new(header: Header) -> Result<Self, HistoryError> {
        if header.format != FORMAT_VERSION {
            return Err(HistoryError::Format { found: header.format });
        }
        let history = History {
            header,
            ops: Vec::new(),
            faults: Vec::new(),
            majorities: Vec::new(),
            samples: Vec::new(),
            phases: Vec::new(),
            key_switches: Vec::new(),
            ledger: Vec::new(),
            scans: Vec::new(),
            restored: Vec::new(),
            failures: Vec::new(),
            end: Stamp { order: 0, ns: 0 },
        };
        Ok(Self { history, last_of: BTreeMap::new(), empty: true })
    }

    /// Takes the next event.
    ///
    /// # Errors
    /// Every [`HistoryError`] but the first.
    pub fn push(&mut self, event: Event) -> Result<(), HistoryError> {
        let (before, found) = (self.history.end, event.at());
        let later = self.empty || (found.order > before.order && found.ns >= before.ns);
        if !later {
            return Err(HistoryError::Order { before, found });
        }
        match event {
            Event::Invoke(event) => {
                self.may_begin(event.op, event.asked.process)?;
                self.last_of.insert(event.asked.process, event.op);
                let (id, asked, invoked) = (event.op, event.asked, event.at);
                self.history.ops.push(Op { id, asked, invoked, completed: None });
            }
            Event::Complete(event) => {
                let place = usize::try_from(event.op.0).ok();
                let op = place.and_then(|place| self.history.ops.get_mut(place));
                let op = op.ok_or(HistoryError::Unknown(event.op))?;
                if op.completed.is_some() {
                    return Err(HistoryError::Twice(event.op));
                }
                op.completed = Some((event.at, event.outcome));
            }
            Event::Fault(event) => self.history.faults.push(event),
            Event::Majority(event) => self.history.majorities.push(event),
            Event::Sample(sample) => self.history.samples.push(sample),
            Event::Phase(event) => self.history.phases.push(event),
            Event::KeySwitch(event) => self.history.key_switches.push(event),
            Event::Ledger(line) => self.history.ledger.push(line),
            Event::Scan(scan) => self.history.scans.push(scan),
            Event::Restored(answer) => self.history.restored.push(answer),
            Event::HarnessFailure(failure) => self.history.failures.push(failure),
        }
        self.history.end = found;
        self.empty = false;
        Ok(())
    }

    fn may_begin(&self, op: OpId, process: ProcessId) -> Result<(), HistoryError> {
        let expected = OpId(self.history.ops.len() as u64);
        if op != expected {
            return Err(HistoryError::NotDense { expected, found: op });
        }
        let Some(last) = self.last_of.get(&process) else { return Ok(()) };
        let last = self.history.op(*last);
        if last.completed.is_none() {
            return Err(HistoryError::Busy { process, op, open: last.id });
        }
        if last.is_uncertain() {
            return Err(HistoryError::Dead { process, op, last: last.id });
        }
        Ok(())
    }

    /// The history of all events that were taken.
    #[must_use]
    pub fn finish(self) -> History {
        self.history
    }
}

impl History {
    /// Makes a history of a list of events.
    ///
    /// # Errors
    /// [`HistoryError`].
    pub fn from_events(
        header: Header,
        events: impl IntoIterator<Item = Event>,
    ) -> Result<Self, HistoryError> {
        let mut builder = HistoryBuilder::new(header)?;
        for event in events {
            builder.push(event)?;
        }
        Ok(builder.finish())
    }

    /// The events that it was made of, in their order.
    #[must_use]
    pub fn events(&self) -> Vec<Event> {
        let mut events = Vec::new();
        for op in &self.ops {
            let (id, asked, at) = (op.id, op.asked.clone(), op.invoked);
            events.push(Event::Invoke(Invoke { op: id, at, asked }));
            if let Some((at, outcome)) = op.completed.clone() {
                events.push(Event::Complete(Complete { op: id, at, outcome }));
            }
        }
        events.extend(self.faults.iter().cloned().map(Event::Fault));
        events.extend(self.majorities.iter().copied().map(Event::Majority));
        events.extend(self.samples.iter().cloned().map(Event::Sample));
        events.extend(self.phases.iter().cloned().map(Event::Phase));
        events.extend(self.key_switches.iter().cloned().map(Event::KeySwitch));
        events.extend(self.ledger.iter().cloned().map(Event::Ledger));
        events.extend(self.scans.iter().cloned().map(Event::Scan));
        events.extend(self.restored.iter().cloned().map(Event::Restored));
        events.extend(self.failures.iter().cloned().map(Event::HarnessFailure));
        events.sort_by_key(|event| event.at().order);
        events
    }

    /// The operation of an id of this history.
    #[must_use]
    pub fn op(&self, id: OpId) -> &Op {
        &self.ops[usize::try_from(id.0).unwrap_or(usize::MAX)]
    }

    /// Whether a majority was reachable, as it was told with each fault and between them, in the
    /// order of time.
    #[must_use]
    pub fn majority(&self) -> Vec<(Stamp, bool)> {
        let by_faults = self.faults.iter().map(|event| (event.at, event.majority_reachable));
        let between = self.majorities.iter().map(|event| (event.at, event.reachable));
        let mut told: Vec<_> = by_faults.chain(between).collect();
        told.sort_by_key(|(at, _)| at.order);
        told
    }

    /// When a phase began, if it did.
    #[must_use]
    pub fn phase(&self, phase: super::event::Phase) -> Option<Stamp> {
        self.phases.iter().find(|event| event.phase == phase).map(|event| event.at)
    }
}
