//! What a node says its committed log holds (`lockbox admin log-dump`), and all dumps as one log.
//!
//! A file has a first line with the node and the range of indexes, then one line for each entry
//! of the range. Names, ids and times only: the log holds no plaintext, and neither does its dump.

use std::collections::BTreeMap;
use std::io::{self, BufRead};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::ids::{FolderId, IdempotencyKey, NodeId, SecretId, VersionId};

/// The dump of one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogDump {
    /// What it covers.
    pub range: LogRange,
    /// Its entries, ascending and without a gap.
    pub entries: Vec<LogEntry>,
}

/// The first line of a dump.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogRange {
    /// The node.
    pub node: NodeId,
    /// Index of the first entry that is not purged.
    pub first: u64,
    /// Index of the last committed entry; below `first` if there is none.
    pub last: u64,
}

/// One committed entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogEntry {
    /// Its index.
    pub index: u64,
    /// Its term.
    pub term: u64,
    /// What it asks for.
    pub kind: EntryKind,
    /// The secret that it makes or names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<SecretId>,
    /// The folder of the secret that it makes, if that is another one than the run's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<FolderId>,
    /// The version that it makes or names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<VersionId>,
    /// Description of the version that it makes: which operation asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The `idempotency-key` that it was asked for under.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<IdempotencyKey>,
    /// What applying it came to.
    pub outcome: EntryOutcome,
    /// Log time after it, nanoseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_time_ns: Option<i64>,
}

/// What an entry asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EntryKind {
    /// A new secret.
    CreateSecret,
    /// A new version.
    AddVersion,
    /// Another current version.
    SetCurrentVersion,
    /// The destruction of a version, later.
    ScheduleDestruction,
    /// No destruction after all.
    CancelDestruction,
    /// The destruction of a version, now; proposed by the cluster's own timer.
    DestroyVersion,
    /// A secret becomes active.
    Activate,
    /// A secret becomes inactive.
    Deactivate,
    /// A secret goes away.
    DeleteSecret,
    /// Other fields of a secret.
    UpdateSecret,
    /// Other bindings on a secret.
    ChangeBinding,
    /// The end of a token.
    RevokeToken,
    /// A membership of the cluster.
    Membership,
    /// An entry that asks for nothing, such as a leader's first.
    Blank,
    /// Anything that no operation of a run asks for.
    Other,
}

/// What applying an entry came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EntryOutcome {
    /// It took effect.
    Done,
    /// It was refused and changed nothing.
    Refused,
    /// It is a copy of an entry that was applied before, and changed nothing.
    Repeated,
    /// The node does not know any more.
    Unknown,
}

/// Why a file is no dump.
#[derive(Debug, Error)]
pub enum DumpError {
    /// It could not be read.
    #[error("line {line}: {source}")]
    Io {
        /// The line, from 1.
        line: u64,
        /// Why.
        source: io::Error,
    },
    /// A line is not what it should be.
    #[error("line {line}: {source}")]
    Line {
        /// The line, from 1.
        line: u64,
        /// Why.
        source: serde_json::Error,
    },
    /// Indexes leave a gap, go back, or leave the range.
    #[error("line {line}: entry {found} where {expected} was next")]
    Gap {
        /// The line, from 1.
        line: u64,
        /// The index that was next.
        expected: u64,
        /// The index that came.
        found: u64,
    },
    /// There are fewer entries than the range says.
    #[error("the dump ends before entry {expected}")]
    Short {
        /// The index that was next.
        expected: u64,
    },
    /// There is no first line.
    #[error("the file is empty")]
    Empty,
}

impl LogDump {
    /// Reads a dump.
    ///
    /// # Errors
    /// [`DumpError`].
    pub fn read(from: impl BufRead) -> Result<Self, DumpError> {
        let mut lines = (1..).zip(from.lines());
        let (line, first) = lines.next().ok_or(DumpError::Empty)?;
        let first = first.map_err(|source| DumpError::Io { line, source })?;
        let range: LogRange =
            serde_json::from_str(&first).map_err(|source| DumpError::Line { line, source })?;
        let mut entries = Vec::new();
        let mut expected = range.first;
        for (line, text) in lines {
            let text = text.map_err(|source| DumpError::Io { line, source })?;
            let entry: LogEntry =
                serde_json::from_str(&text).map_err(|source| DumpError::Line { line, source })?;
            if entry.index != expected || entry.index > range.last {
                return Err(DumpError::Gap { line, expected, found: entry.index });
            }
            expected += 1;
            entries.push(entry);
        }
        if expected <= range.last {
            return Err(DumpError::Short { expected });
        }
        Ok(Self { range, entries })
    }
}

/// Two nodes whose committed logs differ: the worst that can happen to a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "nodes {} and {} committed different entries at index {index}: {} of term {} and {} of term {}",
    nodes[0], nodes[1], entries[0].0, entries[0].1, entries[1].0, entries[1].1
)]
pub struct Disagreement {
    /// Where.
    pub index: u64,
    /// Who.
    pub nodes: [NodeId; 2],
    /// Kind and term of what each of them has there.
    pub entries: [(String, u64); 2],
}

/// All dumps of a run as one log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommittedLog {
    entries: BTreeMap<u64, (NodeId, LogEntry)>,
    last: u64,
}

impl CommittedLog {
    /// Joins dumps, of several nodes or of several moments.
    ///
    /// # Errors
    /// [`Disagreement`], at the lowest index of the first dump that has one.
    pub fn join(dumps: impl IntoIterator<Item = LogDump>) -> Result<Self, Disagreement> {
        let mut log = Self::default();
        for dump in dumps {
            let node = dump.range.node;
            log.last = log.last.max(dump.range.last);
            for entry in dump.entries {
                match log.entries.get_mut(&entry.index) {
                    None => {
                        log.entries.insert(entry.index, (node, entry));
                    }
                    Some((other, known)) if !same(known, &entry) => {
                        return Err(Disagreement {
                            index: entry.index,
                            nodes: [*other, node],
                            entries: [
                                (format!("{:?}", known.kind), known.term),
                                (format!("{:?}", entry.kind), entry.term),
                            ],
                        });
                    }
                    Some((_, known)) if known.outcome == EntryOutcome::Unknown => *known = entry,
                    Some(_) => {}
                }
            }
        }
        Ok(log)
    }

    /// The entry at an index, if any dump holds it.
    #[must_use]
    pub fn entry(&self, index: u64) -> Option<&LogEntry> {
        self.entries.get(&index).map(|(_, entry)| entry)
    }

    /// All entries, ascending.
    pub fn entries(&self) -> impl DoubleEndedIterator<Item = &LogEntry> {
        self.entries.values().map(|(_, entry)| entry)
    }

    /// Index of the last committed entry that any node knew of.
    #[must_use]
    pub const fn last(&self) -> u64 {
        self.last
    }

    /// The index from which on every entry up to the last one is held.
    #[must_use]
    pub fn whole_from(&self) -> u64 {
        let mut from = self.last + 1;
        for index in self.entries.keys().rev() {
            if index + 1 != from {
                break;
            }
            from = *index;
        }
        from
    }
}

/// Equal in what the log itself holds; what a node remembers of applying it may be gone.
fn same(one: &LogEntry, other: &LogEntry) -> bool {
    let outcomes = one.outcome == other.outcome
        || one.outcome == EntryOutcome::Unknown
        || other.outcome == EntryOutcome::Unknown;
    outcomes
        && one.term == other.term
        && one.kind == other.kind
        && one.secret == other.secret
        && one.version == other.version
}
