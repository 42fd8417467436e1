//! What the nemesis tells, written into the history, into a file of its own, and counted.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use anyhow::Result;

use crate::cluster::observe::NodeView;
use crate::cluster::switch::LinkRule;
use crate::history::fault::{self, Edge, FaultOutcome};
use crate::history::ids::{FaultId, NodeId};
use crate::history::recorder::{RecordError, Recorder};
use crate::nemesis::action::{Action, KmsTrouble, SyncTrouble};
use crate::nemesis::class::FaultClass;
use crate::nemesis::event::{FaultEvent, FaultFile, FaultLog, Outcome};
use crate::plan::PlannedFault;

/// What came of the faults.
#[derive(Debug, Default, Clone)]
pub struct FaultSummary {
    /// By class: installed, skipped, indeterminate.
    pub faults: BTreeMap<FaultClass, [usize; 3]>,
    /// Reasons of what was not installed, with how often.
    pub reasons: BTreeMap<String, usize>,
}

impl fmt::Display for FaultSummary {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let heading = ("class", "installed", "skipped", "indeterminate");
        let (class, installed, skipped, indeterminate) = heading;
        writeln!(out, "{class:<16} {installed:>9} {skipped:>7} {indeterminate:>13}")?;
        for (class, [installed, skipped, indeterminate]) in &self.faults {
            let name = class.name();
            writeln!(out, "{name:<16} {installed:>9} {skipped:>7} {indeterminate:>13}")?;
        }
        for (reason, count) in &self.reasons {
            writeln!(out, "{count} × {reason}")?;
        }
        Ok(())
    }
}

/// See the file.
pub struct RecordedFaults {
    recorder: Arc<Recorder>,
    file: FaultFile,
    actions: BTreeMap<u32, Action>,
    /// As it was told last; faults end before their nodes are ready.
    majority: AtomicBool,
    summary: Mutex<FaultSummary>,
    /// The first event that could not be recorded.
    failure: Mutex<Option<RecordError>>,
}

impl RecordedFaults {
    /// Records the faults of a plan, into `file` as well. `began` is the beginning of the history.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn new(
        recorder: Arc<Recorder>,
        file: &Path,
        began: Instant,
        faults: &[PlannedFault],
    ) -> Result<Self> {
        Ok(Self {
            recorder,
            file: FaultFile::create(file, began)?,
            actions: faults.iter().map(|fault| (fault.number, fault.action)).collect(),
            majority: AtomicBool::new(true),
            summary: Mutex::default(),
            failure: Mutex::default(),
        })
    }

    /// What came of them so far.
    #[must_use]
    pub fn summary(&self) -> FaultSummary {
        lock(&self.summary).clone()
    }

    /// Whether everything was recorded.
    ///
    /// # Errors
    /// Why not.
    pub fn recorded(&self) -> Result<(), RecordError> {
        lock(&self.failure).take().map_or(Ok(()), Err)
    }

    fn record(
        &self,
        edge: Edge,
        outcome: FaultOutcome,
        event: &FaultEvent,
        majority_reachable: bool,
    ) {
        let action = self.actions.get(&event.number);
        let detail = action.and_then(|action| serde_json::to_string(action).ok());
        let written = self.recorder.fault(|at| fault::FaultEvent {
            id: FaultId(event.number.into()),
            at,
            edge,
            class: class_of(event.class, action),
            variant: detail.unwrap_or_else(|| event.target.clone()),
            target: nodes_of(&event.target),
            outcome,
            leader: event.leader.map(|id| NodeId(id.into())),
            majority_reachable,
        });
        self.keep(written);
    }

    fn keep(&self, written: Result<(), RecordError>) {
        if let Err(error) = written {
            lock(&self.failure).get_or_insert(error);
        }
    }

    fn count(&self, event: &FaultEvent) {
        let (column, reason) = match &event.outcome {
            Outcome::Installed => (0, None),
            Outcome::Skipped(reason) => (1, Some(reason)),
            Outcome::Indeterminate(reason) => (2, Some(reason)),
        };
        let mut summary = lock(&self.summary);
        if let Some(count) = summary.faults.entry(event.class).or_default().get_mut(column) {
            *count += 1;
        }
        if let Some(reason) = reason {
            *summary.reasons.entry(format!("{}: {reason}", event.class)).or_default() += 1;
        }
    }
}

impl FaultLog for RecordedFaults {
    fn began(&self, event: &FaultEvent) {
        self.file.began(event);
        // It is in force, as far as it could be done; its end says what was seen of it.
        self.record(Edge::Begin, FaultOutcome::Installed, event, event.majority_reachable);
    }

    fn ended(&self, event: &FaultEvent) {
        self.file.ended(event);
        let outcome = outcome_of(&event.outcome);
        // What was skipped never began, and has no end.
        let edge = match outcome {
            FaultOutcome::Skipped { .. } => Edge::Begin,
            FaultOutcome::Installed | FaultOutcome::Indeterminate { .. } => Edge::End,
        };
        self.record(edge, outcome, event, self.majority.load(Ordering::Relaxed));
        self.count(event);
    }

    fn majority(&self, at: Instant, reachable: bool) {
        self.file.majority(at, reachable);
        self.majority.store(reachable, Ordering::Relaxed);
        self.keep(self.recorder.majority(reachable));
    }

    fn observed(&self, at: Instant, views: &[NodeView]) {
        // The history has looks of its own, at more than this shows.
        self.file.observed(at, views);
    }

    fn unexpected_end(&self, at: Instant, server: &str, last_words: &str) {
        // It ends the run, and is recorded as what ended it.
        self.file.unexpected_end(at, server, last_words);
    }
}

fn lock<T>(held: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing under the lock can be left half done.
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

fn outcome_of(outcome: &Outcome) -> FaultOutcome {
    match outcome.clone() {
        Outcome::Installed => FaultOutcome::Installed,
        Outcome::Skipped(why) => FaultOutcome::Skipped { why },
        Outcome::Indeterminate(why) => FaultOutcome::Indeterminate { why },
    }
}

/// The nodes that a text for people names, as `node-3`.
fn nodes_of(target: &str) -> Vec<NodeId> {
    let words = target.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'));
    let mut nodes: Vec<NodeId> =
        words.filter_map(|word| word.strip_prefix("node-")?.parse().ok()).map(NodeId).collect();
    nodes.sort_unstable();
    nodes.dedup();
    nodes
}

/// The history's class: finer than the plan's, where what was drawn decides.
#[must_use]
pub fn class_of(class: FaultClass, action: Option<&Action>) -> fault::FaultClass {
    match (class, action) {
        (FaultClass::Kill, _) => fault::FaultClass::Kill,
        (FaultClass::Pause, _) => fault::FaultClass::Pause,
        (FaultClass::Partition, _) => fault::FaultClass::Partition,
        (FaultClass::ClientCut, _) => fault::FaultClass::ClientPartition,
        (FaultClass::SlowLink, Some(Action::SlowLink { rule, .. })) => class_of_rule(rule),
        (FaultClass::SlowLink, _) => fault::FaultClass::LinkDelay,
        (FaultClass::ClockStep, _) => fault::FaultClass::ClockStep,
        (FaultClass::DiskFull, _) => fault::FaultClass::DiskFull,
        (FaultClass::SyncFault, Some(Action::SyncFault { trouble: SyncTrouble::Slow(_), .. })) => {
            fault::FaultClass::FsyncSlow
        }
        (FaultClass::SyncFault, _) => fault::FaultClass::FsyncError,
        (FaultClass::PowerLoss, _) => fault::FaultClass::PowerLoss,
        (FaultClass::BitFlip, _) => fault::FaultClass::Corruption,
        (FaultClass::Membership, _) => fault::FaultClass::Membership,
        (FaultClass::SnapshotStorm, _) => fault::FaultClass::SnapshotStorm,
        (FaultClass::TransferStorm, _) => fault::FaultClass::LeaderTransfer,
        (FaultClass::Kms, Some(Action::Kms { trouble })) => class_of_kms(*trouble),
        (FaultClass::Kms, _) => fault::FaultClass::KmsDown,
        (FaultClass::RollingRestart, _) => fault::FaultClass::RollingRestart,
        (FaultClass::Restore, _) => fault::FaultClass::Restore,
    }
}

fn class_of_rule(rule: &LinkRule) -> fault::FaultClass {
    match rule {
        LinkRule { drop_percent: 1.., .. } => fault::FaultClass::LinkLoss,
        LinkRule { duplicate_percent: 1.., .. } => fault::FaultClass::LinkDuplication,
        LinkRule { reorder_percent: 1.., .. } => fault::FaultClass::LinkReorder,
        LinkRule { rate_bytes: 1.., .. } => fault::FaultClass::LinkBandwidth,
        LinkRule { .. } => fault::FaultClass::LinkDelay,
    }
}

const fn class_of_kms(trouble: KmsTrouble) -> fault::FaultClass {
    match trouble {
        KmsTrouble::Kill | KmsTrouble::KillBeforeAnswer => fault::FaultClass::KmsKilled,
        KmsTrouble::Stop => fault::FaultClass::KmsDown,
        KmsTrouble::Pause => fault::FaultClass::KmsPause,
        KmsTrouble::Slow(_) | KmsTrouble::Lossy(_) | KmsTrouble::CutOff => {
            fault::FaultClass::KmsDegraded
        }
    }
}

/// The history's classes that this fault may be recorded as.
#[must_use]
pub fn recorded_class(fault: &PlannedFault) -> fault::FaultClass {
    class_of(fault.action.class(), Some(&fault.action))
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::BufReader;

    use super::*;
    use crate::history::event::Header;
    use crate::history::jsonl::read;
    use crate::moment::now;

    #[test]
    fn nodes_are_found_in_what_people_read() {
        assert_eq!(nodes_of("node-2, node-1→kms (node-2)"), [NodeId(1), NodeId(2)]);
        assert_eq!(nodes_of("kms"), []);
    }

    #[test]
    fn a_fault_has_two_edges_and_one_that_was_skipped_has_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("history.jsonl");
        let header = Header { format: 0, seed: 1, nodes: vec![NodeId(1)], started_at_ns: 0 };
        let ticks = Arc::new(|| 1);
        let recorder = Recorder::start(header, File::create(&path).unwrap(), ticks).unwrap();
        let recorder = Arc::new(recorder);
        let file = directory.path().join("nemesis.jsonl");
        let faults = RecordedFaults::new(Arc::clone(&recorder), &file, now(), &[]).unwrap();
        let event = |number, outcome| FaultEvent {
            number,
            class: FaultClass::Kill,
            target: "node-1".to_owned(),
            begin: now(),
            end: None,
            outcome,
            leader: None,
            majority_reachable: true,
        };
        faults.began(&event(1, Outcome::Indeterminate("not looked at".to_owned())));
        faults.ended(&event(1, Outcome::Indeterminate("it runs".to_owned())));
        faults.ended(&event(2, Outcome::Skipped("it is taken".to_owned())));
        faults.recorded().unwrap();
        drop(faults);
        Arc::into_inner(recorder).unwrap().finish().unwrap();
        let history = read(BufReader::new(File::open(&path).unwrap())).unwrap();
        let edges = history.faults.iter().map(|fault| (fault.id.0, fault.edge, &fault.outcome));
        let (runs, taken) = ("it runs".to_owned(), "it is taken".to_owned());
        assert_eq!(
            edges.collect::<Vec<_>>(),
            [
                (1, Edge::Begin, &FaultOutcome::Installed),
                (1, Edge::End, &FaultOutcome::Indeterminate { why: runs }),
                (2, Edge::Begin, &FaultOutcome::Skipped { why: taken }),
            ]
        );
    }

    #[test]
    fn a_class_is_as_fine_as_what_was_drawn() {
        let trouble = SyncTrouble::Slow(5);
        let who = crate::nemesis::action::Victims::One;
        let slow = Action::SyncFault { who, trouble };
        let class = |action: &Action| class_of(action.class(), Some(action));
        assert_eq!(class(&slow), fault::FaultClass::FsyncSlow);
        let kms = |trouble| class(&Action::Kms { trouble });
        assert_eq!(kms(KmsTrouble::Pause), fault::FaultClass::KmsPause);
        assert_eq!(kms(KmsTrouble::Kill), fault::FaultClass::KmsKilled);
        assert_eq!(kms(KmsTrouble::Stop), fault::FaultClass::KmsDown);
    }
}
