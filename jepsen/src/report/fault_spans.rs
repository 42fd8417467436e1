//! Faults as spans of time, made of their beginnings and ends.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::history::fault::{Edge, FaultClass, FaultEvent, FaultOutcome};
use crate::history::ids::{FaultId, NodeId};
use crate::history::op::Stamp;

use super::quantity::{Duration, Moment};

/// A fault that was tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FaultSpan {
    /// Its class.
    pub(super) class: FaultClass,
    /// Which sort of it.
    pub(super) variant: String,
    /// At which nodes it is aimed.
    pub(super) target: Vec<NodeId>,
    /// When it began.
    pub(super) from_ns: u64,
    /// When it was healed, or the end of the run.
    pub(super) to_ns: u64,
    /// Whether its end was recorded.
    pub(super) ended: bool,
    /// Why it isn't known whether it took effect, or whether it was healed.
    pub(super) doubt: Option<String>,
    /// The leader at its beginning.
    pub(super) leader: Option<NodeId>,
}

impl FaultSpan {
    /// What it was, in one line.
    pub(super) fn describe(&self) -> String {
        let mut words = class_name(self.class).to_owned();
        if !self.variant.is_empty() {
            words.push_str(&format!(" ({})", words_of(&self.variant)));
        }
        if !self.target.is_empty() {
            words.push_str(&format!(" of {}", node_list(&self.target)));
        }
        let lasted = Duration(self.to_ns - self.from_ns);
        words.push_str(&format!(", from {} for {lasted}", Moment(self.from_ns)));
        if let Some(leader) = self.leader {
            words.push_str(&format!(", leader was node {leader}"));
        }
        if !self.ended {
            words.push_str(", its end was not recorded");
        }
        if let Some(doubt) = &self.doubt {
            words.push_str(&format!(", uncertain: {doubt}"));
        }
        words
    }
}

/// What was drawn of a fault, for people: a record of its parts as `grudge bridge, means switch`,
/// without those that are nothing; any other text as it is.
pub(super) fn words_of(variant: &str) -> String {
    let Ok(Value::Object(drawn)) = serde_json::from_str(variant) else {
        return variant.to_owned();
    };
    let mut words = Vec::new();
    add_words(&drawn, &mut words);
    words.join(", ")
}

fn add_words(drawn: &Map<String, Value>, words: &mut Vec<String>) {
    // The class has a column, or a name, of its own.
    for (name, value) in drawn.iter().filter(|(name, _)| *name != "class") {
        let name = name.replace('_', " ");
        match value {
            Value::Object(inner) => add_words(inner, words),
            Value::Null | Value::Bool(false) => {}
            Value::Bool(true) => words.push(name),
            Value::Number(number) if number.as_u64() == Some(0) => {}
            Value::String(text) => words.push(format!("{name} {}", text.replace('_', " "))),
            Value::Number(_) | Value::Array(_) => words.push(format!("{name} {value}")),
        }
    }
}

/// `node 1` or `nodes 1, 3`.
pub(super) fn node_list(nodes: &[NodeId]) -> String {
    let names: Vec<String> = nodes.iter().map(ToString::to_string).collect();
    format!("{} {}", if nodes.len() == 1 { "node" } else { "nodes" }, names.join(", "))
}

/// The faults that were tried, in the order of their beginnings.
pub(super) fn spans(events: &[FaultEvent], end_ns: u64) -> Vec<FaultSpan> {
    let mut spans: Vec<FaultSpan> = Vec::new();
    let mut open: BTreeMap<FaultId, usize> = BTreeMap::new();
    for event in events {
        let doubt = match &event.outcome {
            FaultOutcome::Installed => None,
            FaultOutcome::Indeterminate { why } => Some(why.clone()),
            FaultOutcome::Skipped { .. } => continue,
        };
        match event.edge {
            Edge::Begin => {
                open.insert(event.id, spans.len());
                spans.push(FaultSpan {
                    class: event.class,
                    variant: event.variant.clone(),
                    target: event.target.clone(),
                    from_ns: event.at.ns,
                    to_ns: end_ns.max(event.at.ns),
                    ended: false,
                    doubt,
                    leader: event.leader,
                });
            }
            Edge::End => {
                if let Some(span) = open.remove(&event.id).and_then(|place| spans.get_mut(place)) {
                    span.to_ns = event.at.ns.max(span.from_ns);
                    span.ended = true;
                    span.doubt = span.doubt.take().or(doubt);
                }
            }
        }
    }
    spans
}

/// The spans in which no majority of voters was reachable.
pub(super) fn without_majority(told: &[(Stamp, bool)], end_ns: u64) -> Vec<(u64, u64)> {
    let mut spans = Vec::new();
    let mut since = None;
    for (at, reachable) in told {
        match (since, reachable) {
            (None, false) => since = Some(at.ns),
            (Some(from), true) => {
                spans.push((from, at.ns));
                since = None;
            }
            (None, true) | (Some(_), false) => {}
        }
    }
    spans.extend(since.map(|from| (from, end_ns.max(from))));
    spans
}

/// Its name for readers.
pub(super) const fn class_name(class: FaultClass) -> &'static str {
    match class {
        FaultClass::Kill => "kill",
        FaultClass::Pause => "pause",
        FaultClass::Partition => "partition",
        FaultClass::ClientPartition => "client cut off",
        FaultClass::LinkDelay => "link delay",
        FaultClass::LinkLoss => "link loss",
        FaultClass::LinkDuplication => "link duplication",
        FaultClass::LinkReorder => "link reorder",
        FaultClass::LinkBandwidth => "link bandwidth",
        FaultClass::ConnectionReset => "connection reset",
        FaultClass::ClockStep => "clock step",
        FaultClass::DiskFull => "disk full",
        FaultClass::FsyncError => "fsync error",
        FaultClass::FsyncSlow => "fsync slow",
        FaultClass::DiskSlow => "disk slow",
        FaultClass::DiskFreeze => "disk freeze",
        FaultClass::PowerLoss => "power loss",
        FaultClass::Corruption => "corruption",
        FaultClass::Membership => "membership",
        FaultClass::SnapshotStorm => "snapshot storm",
        FaultClass::LeaderTransfer => "leader transfer",
        FaultClass::KmsDown => "KMS down",
        FaultClass::KmsKilled => "KMS killed",
        FaultClass::KmsPause => "KMS pause",
        FaultClass::KmsDegraded => "KMS degraded",
        FaultClass::RollingRestart => "rolling restart",
        FaultClass::ClientCrash => "client crash",
        FaultClass::Restore => "backup",
    }
}

/// What it acts on; faults of one family share a colour.
pub(super) const fn family(class: FaultClass) -> &'static str {
    match class {
        FaultClass::Kill
        | FaultClass::Pause
        | FaultClass::PowerLoss
        | FaultClass::RollingRestart => "process",
        FaultClass::Partition
        | FaultClass::ClientPartition
        | FaultClass::LinkDelay
        | FaultClass::LinkLoss
        | FaultClass::LinkDuplication
        | FaultClass::LinkReorder
        | FaultClass::LinkBandwidth
        | FaultClass::ConnectionReset
        | FaultClass::ClientCrash => "network",
        FaultClass::DiskFull
        | FaultClass::FsyncError
        | FaultClass::FsyncSlow
        | FaultClass::DiskSlow
        | FaultClass::DiskFreeze
        | FaultClass::Corruption => "disk",
        FaultClass::ClockStep => "clock",
        FaultClass::Membership
        | FaultClass::SnapshotStorm
        | FaultClass::LeaderTransfer
        | FaultClass::Restore => "cluster",
        FaultClass::KmsDown
        | FaultClass::KmsKilled
        | FaultClass::KmsPause
        | FaultClass::KmsDegraded => "kms",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_drawn_is_told_in_words() {
        let drawn = r#"{"class":"slow_link","links":"out_of_leader","rule":{"blocked":false,
            "drop_percent":15,"delay_us":0}}"#;
        assert_eq!(words_of(drawn), "links out of leader, drop percent 15");
        assert_eq!(words_of(r#"{"class":"rolling_restart"}"#), "");
        assert_eq!(words_of("one_way_out"), "one_way_out");
    }
}
