//! Whether a run did enough for its verdict to mean anything: a law that held over a run without
//! faults says nothing about faults. What is missing makes the verdict unknown.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::history::History;
use crate::history::fault::{Edge, FaultClass, FaultEvent, FaultOutcome};
use crate::history::ids::{FaultId, IdempotencyKey, NodeId};
use crate::history::key_switch::{KeySwitch, SwitchStep};
use crate::history::log_dump::CommittedLog;
use crate::history::sample::RaftRole;

use super::laws::{Finding, Law, LawReport, deactivation};
use super::room::is_refused_for_room;

/// What a run has to have done. Part of its plan, and stored beside its history.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Required {
    /// Operations that were decided.
    pub ops: u64,
    /// Of each call, by its name, how many succeeded.
    pub successes: BTreeMap<String, u64>,
    /// Faults that took effect, of all classes.
    pub faults: u64,
    /// Of each class, how many took effect.
    pub fault_classes: BTreeMap<FaultClass, u64>,
    /// Kills of a node that led when it was killed.
    pub leaders_killed: u64,
    /// Mutations that were asked for more than once under their idempotency key.
    pub keys_tried_again: u64,
    /// Different leaders, or the same one in different terms, that were seen.
    pub leaderships: u64,
    /// Snapshots that nodes were seen to have, counted by their last index.
    pub snapshots: u64,
    /// Snapshots that nodes were seen to have installed from another one.
    pub installs: u64,
    /// Of a thousand committed entries, how many a dump holds: of the others no law can say whether
    /// they were asked for.
    pub dumped_of_thousand: u64,
    /// How often a key of the KMS was switched off.
    pub keys_off: u64,
    /// Operations that asked for a key while it was certainly off, and were told so.
    pub tried_while_off: u64,
    /// Calls that were refused because disks were low.
    pub refused_for_room: u64,
    /// Clusters that were restored from backups.
    pub restored: u64,
    /// Laws that have to have been looked at.
    pub laws: BTreeSet<Law>,
}

/// One line of the coverage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CoverageRow {
    /// What.
    pub what: String,
    /// How much of it is required.
    pub required: u64,
    /// How much there was.
    pub reached: u64,
}

impl CoverageRow {
    /// Whether there was enough.
    #[must_use]
    pub const fn is_reached(&self) -> bool {
        self.reached >= self.required
    }
}

/// Compares a run with what is required of it.
#[must_use]
pub fn cover(
    history: &History,
    log: Option<&CommittedLog>,
    required: &Required,
    laws: &[LawReport],
) -> Vec<CoverageRow> {
    let row = |what: String, required, reached| CoverageRow { what, required, reached };
    let decided = history.ops.iter().filter(|op| op.reply().is_some()).count() as u64;
    let mut rows = vec![row("decided operations".into(), required.ops, decided)];
    for (call, count) in &required.successes {
        let succeeded = history
            .ops
            .iter()
            .filter(|op| op.asked.call.name() == call && op.success().is_some())
            .count() as u64;
        rows.push(row(format!("successful {call}"), *count, succeeded));
    }
    let faults = installed(history);
    rows.push(row("faults that took effect".into(), required.faults, faults.values().sum()));
    for (class, count) in &required.fault_classes {
        let reached = faults.get(class).copied().unwrap_or(0);
        rows.push(row(format!("faults of class {class:?}"), *count, reached));
    }
    rows.push(row("leaders killed".into(), required.leaders_killed, leaders_killed(history)));
    let again = keys_tried_again(history);
    rows.push(row("idempotency keys tried again".into(), required.keys_tried_again, again));
    rows.push(row("leaderships".into(), required.leaderships, leaderships(history)));
    rows.push(row("snapshots".into(), required.snapshots, snapshots(history)));
    rows.push(row("installed snapshots".into(), required.installs, installs(history)));
    let dumped = log.map_or(0, dumped_of_thousand);
    let what = "of a thousand committed entries, in a dump";
    rows.push(row(what.into(), required.dumped_of_thousand, dumped));
    rows.push(row("keys switched off".into(), required.keys_off, keys_off(history)));
    let tried = tried_while_off(laws);
    rows.push(row(deactivation::TRIED_WHILE_OFF.into(), required.tried_while_off, tried));
    let refused = history.ops.iter().filter(|op| is_refused_for_room(op)).count() as u64;
    rows.push(row("calls refused for want of room".into(), required.refused_for_room, refused));
    let restored: BTreeSet<u64> = history.restored.iter().map(|answer| answer.cluster).collect();
    rows.push(row("restored clusters".into(), required.restored, restored.len() as u64));
    for law in &required.laws {
        let report = laws.iter().find(|report| report.law == *law);
        let checked =
            report.is_some_and(|report| !matches!(report.finding, Finding::NotChecked { .. }));
        rows.push(row(format!("law {law} looked at"), 1, u64::from(checked)));
    }
    rows
}

/// Faults that took effect, by class. Their ends tell: only while one lasts somebody can look at
/// it, so a beginning says that it was tried.
#[must_use]
pub fn installed(history: &History) -> BTreeMap<FaultClass, u64> {
    let mut counts = BTreeMap::new();
    let mut seen: BTreeSet<FaultId> = BTreeSet::new();
    for fault in &history.faults {
        let was_seen = fault.edge == Edge::End && fault.outcome == FaultOutcome::Installed;
        if was_seen && seen.insert(fault.id) {
            *counts.entry(fault.class).or_insert(0) += 1;
        }
    }
    counts
}

/// Of those that took effect. Who led is told at their beginnings.
fn leaders_killed(history: &History) -> u64 {
    let took_effect: BTreeSet<FaultId> = history
        .faults
        .iter()
        .filter(|fault| fault.edge == Edge::End && fault.outcome == FaultOutcome::Installed)
        .map(|fault| fault.id)
        .collect();
    let hit_leader = |fault: &&FaultEvent| {
        fault.class == FaultClass::Kill
            && fault.edge == Edge::Begin
            && fault.leader.is_some_and(|leader| fault.target.contains(&leader))
            && took_effect.contains(&fault.id)
    };
    let killed: BTreeSet<_> = history.faults.iter().filter(hit_leader).map(|f| f.id).collect();
    killed.len() as u64
}

fn keys_tried_again(history: &History) -> u64 {
    let mut attempts: BTreeMap<&IdempotencyKey, u64> = BTreeMap::new();
    for op in history.ops.iter().filter(|op| op.asked.call.is_mutation()) {
        if let Some(key) = &op.asked.idempotency_key {
            *attempts.entry(key).or_default() += 1;
        }
    }
    attempts.values().filter(|count| **count > 1).count() as u64
}

fn leaderships(history: &History) -> u64 {
    let leads = |role| role == RaftRole::Leader;
    let seen: BTreeSet<_> = history
        .samples
        .iter()
        .filter(|sample| leads(sample.role))
        .map(|sample| (sample.term, sample.node))
        .collect();
    seen.len() as u64
}

fn snapshots(history: &History) -> u64 {
    let seen: BTreeSet<_> = history
        .samples
        .iter()
        .filter(|sample| sample.snapshot > 0)
        .map(|sample| (sample.node, sample.snapshot))
        .collect();
    seen.len() as u64
}

/// Each data directory begins with a first state, and each snapshot that takes its place is the
/// next one.
fn installs(history: &History) -> u64 {
    let mut reached: BTreeMap<(NodeId, &str), u64> = BTreeMap::new();
    for sample in &history.samples {
        let reached = reached.entry((sample.node, &sample.store)).or_default();
        *reached = sample.generation.max(*reached);
    }
    reached.values().map(|generation| generation.saturating_sub(1)).sum()
}

fn keys_off(history: &History) -> u64 {
    let off = |event: &&KeySwitch| !event.on && event.step == SwitchStep::Acknowledged;
    history.key_switches.iter().filter(off).count() as u64
}

fn tried_while_off(laws: &[LawReport]) -> u64 {
    let report = laws.iter().find(|report| report.law == Law::L6);
    let counts = report.map_or(&[][..], |report| report.counts.as_slice());
    let count = counts.iter().find(|(name, _)| name == deactivation::TRIED_WHILE_OFF);
    count.map_or(0, |(_, count)| *count)
}

fn dumped_of_thousand(log: &CommittedLog) -> u64 {
    let held = log.entries().count() as u64;
    // The first index is 0, and nobody reads it.
    (held * 1000).checked_div(log.last()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use crate::check::script::{Script, add, dump, get, refused, secret};
    use crate::history::answer::Code;
    use crate::history::event::Event;
    use crate::history::log_dump::{EntryKind, LogDump, LogRange};
    use crate::history::restored::RestoredAnswer;

    use super::*;

    #[test]
    fn what_is_missing_is_told() {
        let mut script = Script::new();
        script.done(get(), secret(None), 1);
        script.done(get(), refused(Code::NotFound), 1);
        script.fault(1, Edge::Begin, true);
        script.fault(1, Edge::End, true);
        // Nobody saw this one in force.
        script.fault(2, Edge::Begin, true);
        // Tried twice under one key, and once under another.
        for key in ["k", "k", "l"] {
            script.key = Some(key);
            script.done(add("d", &[("a", 1)]), refused(Code::NotFound), 1);
        }
        script.sample(1, 1, RaftRole::Leader, 1);
        script.sample(2, 2, RaftRole::Leader, 1);
        // Of the second time nobody was told that it is off.
        for step in [SwitchStep::Asked, SwitchStep::Acknowledged, SwitchStep::Asked] {
            script.key_switch(false, step);
        }
        // One cluster, asked twice.
        for answer in [secret(None), refused(Code::NotFound)] {
            let (cluster, index, call) = (1, 1, get());
            script.push(|at| Event::Restored(RestoredAnswer { at, cluster, index, call, answer }));
        }
        let history = script.history();
        let required = Required {
            ops: 5,
            successes: BTreeMap::from([("get_secret".to_owned(), 2)]),
            faults: 2,
            fault_classes: BTreeMap::from([(FaultClass::Kill, 1), (FaultClass::Pause, 1)]),
            leaders_killed: 2,
            keys_tried_again: 2,
            leaderships: 2,
            snapshots: 0,
            installs: 1,
            dumped_of_thousand: 999,
            keys_off: 2,
            tried_while_off: 2,
            refused_for_room: 1,
            restored: 2,
            laws: BTreeSet::from([Law::L1]),
        };
        let log = dump(1, &[(EntryKind::Blank, None), (EntryKind::Blank, None)]);
        let log = CommittedLog::join([LogDump {
            range: LogRange { last: 2, first: 2, ..log.range },
            entries: log.entries[1..].to_vec(),
        }]);
        let tried = [(deactivation::TRIED_WHILE_OFF, 1)];
        let keys = LawReport::new(Law::L6, None, &tried, "");
        let rows = cover(&history, Some(&log.unwrap()), &required, &[keys]);
        let missing: Vec<String> = rows
            .iter()
            .filter(|row| !row.is_reached())
            .map(|row| format!("{}: {} of {}", row.what, row.reached, row.required))
            .collect();
        let expected = [
            "successful get_secret: 1 of 2",
            "faults that took effect: 1 of 2",
            "faults of class Pause: 0 of 1",
            "leaders killed: 1 of 2",
            "idempotency keys tried again: 1 of 2",
            "installed snapshots: 0 of 1",
            "of a thousand committed entries, in a dump: 500 of 999",
            "keys switched off: 1 of 2",
            "tried while such a key was off: 1 of 2",
            "calls refused for want of room: 0 of 1",
            "restored clusters: 1 of 2",
            "law L1 looked at: 0 of 1",
        ];
        assert_eq!(missing, expected);
    }

    #[test]
    fn installs_are_counted_by_data_directory_and_snapshots_of_its_own_are_none() {
        let mut script = Script::new();
        let mut look = |node: u64, store: &str, generation: u64, purged: u64| {
            script.sample_with(node, |sample| {
                (sample.store, sample.generation) = (store.to_owned(), generation);
                (sample.last, sample.snapshot, sample.purged) = (purged, purged, purged);
            });
        };
        look(1, "a", 1, 0);
        // All of its log, as an operator may ask.
        look(1, "a", 1, 300);
        // It was away, twice.
        look(1, "a", 2, 800);
        look(1, "a", 3, 900);
        look(2, "b", 1, 900);
        // Nobody saw it before its first snapshot.
        look(3, "c", 2, 900);
        // Another disk begins anew.
        look(1, "d", 1, 0);
        assert_eq!(installs(&script.history()), 3);
    }
}
