//! What was read after the end, by kind, and what others document of the same.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;
use tonic::Code;

use super::kind::Kind;
use super::peers::PEERS;
use super::readers::Read;

/// One toggle, and all reads from the moment when the gate was opened before it.
pub(super) struct Toggle {
    /// When every node had given the secret out.
    pub(super) began: Instant,
    /// When the end was asked for.
    pub(super) asked: Instant,
    /// When its acknowledgement had arrived.
    pub(super) acknowledged: Instant,
    /// When the gate was closed.
    pub(super) closed: Instant,
    /// All reads.
    pub(super) reads: Vec<Read>,
}

/// What the toggles of one kind came to.
#[derive(Debug, Clone, Default, Serialize)]
struct Row {
    toggles: u64,
    /// Reads that began in the window after an acknowledgement.
    began: u64,
    /// Of those, the ones that were refused because of what had been taken.
    denied: u64,
    /// Of all reads that began after one, those that succeeded.
    succeeded: u64,
    /// How long after the acknowledgement the last of those began, in milliseconds.
    last_ms: f64,
    /// What the others were told, by code.
    refused: BTreeMap<String, u64>,
    /// From the request to its acknowledgement, in milliseconds, at most: one node stands still.
    acknowledged_ms_max: f64,
}

/// The result.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Switched {
    label: String,
    window_ms: f64,
    kinds: BTreeMap<Kind, Row>,
    /// Reads that began in a second while the gate was open, by the number of the node.
    per_second: BTreeMap<usize, f64>,
    #[serde(skip)]
    begun: BTreeMap<usize, u64>,
    #[serde(skip)]
    open: Duration,
}

impl Switched {
    /// Of so many nodes.
    pub(super) fn new(label: &str, window: Duration, nodes: usize) -> Self {
        Self {
            label: label.to_owned(),
            window_ms: ms(window),
            kinds: BTreeMap::new(),
            per_second: BTreeMap::new(),
            // One that is not read from at all counts, too.
            begun: (0..nodes).map(|node| (node, 0)).collect(),
            open: Duration::ZERO,
        }
    }

    /// Takes a toggle in.
    pub(super) fn add(&mut self, kind: Kind, toggle: &Toggle) {
        let Toggle { began, asked, acknowledged, closed, reads } = toggle;
        let row = self.kinds.entry(kind).or_default();
        row.toggles += 1;
        let took = ms(acknowledged.duration_since(*asked));
        row.acknowledged_ms_max = row.acknowledged_ms_max.max(took);
        for read in reads.iter().filter(|read| read.began > *acknowledged) {
            let after_ms = ms(read.began.duration_since(*acknowledged));
            let is_in_window = after_ms <= self.window_ms;
            row.began += u64::from(is_in_window);
            match read.ended {
                Ok(()) => {
                    row.succeeded += 1;
                    row.last_ms = row.last_ms.max(after_ms);
                }
                Err(code) => {
                    row.denied += u64::from(is_in_window && is_denial(code));
                    *row.refused.entry(format!("{code:?}")).or_default() += 1;
                }
            }
        }
        self.open += closed.duration_since(*began);
        for read in reads.iter().filter(|read| read.began >= *began && read.began <= *closed) {
            *self.begun.entry(read.node).or_default() += 1;
        }
        let seconds = self.open.as_secs_f64().max(f64::MIN_POSITIVE);
        self.per_second =
            self.begun.iter().map(|(node, begun)| (*node, *begun as f64 / seconds)).collect();
    }

    /// Reads that began in the windows.
    pub(super) fn began_in_windows(&self) -> u64 {
        self.kinds.values().map(|row| row.began).sum()
    }

    /// Reads that began in the windows and were told no.
    pub(super) fn denied_in_windows(&self) -> u64 {
        self.kinds.values().map(|row| row.denied).sum()
    }

    /// Whether anybody was told no after this.
    pub(super) fn has_denied(&self, kind: Kind) -> bool {
        self.kinds.get(&kind).is_some_and(|row| row.denied > 0)
    }

    /// Reads that began after an acknowledgement and succeeded.
    pub(super) fn successes(&self) -> u64 {
        self.kinds.values().map(|row| row.succeeded).sum()
    }

    /// Those after this.
    pub(super) fn successes_after(&self, kind: Kind) -> u64 {
        self.kinds.get(&kind).map_or(0, |row| row.succeeded)
    }

    /// The rate of the node with the fewest reads.
    pub(super) fn slowest_per_second(&self) -> f64 {
        self.per_second.values().copied().fold(f64::INFINITY, f64::min)
    }

    /// What a person reads of one kind.
    pub(super) fn row(&self, kind: Kind) -> String {
        let Some(row) = self.kinds.get(&kind) else { return String::new() };
        let mut text = format!(
            "{:<24} {:>7} {:>9} {:>9} {:>9} {:>11.0}",
            kind.name(),
            row.toggles,
            row.began,
            row.denied,
            row.succeeded,
            row.acknowledged_ms_max
        );
        if row.succeeded > 0 {
            // Writing to a string cannot fail.
            write!(text, "  the last began {:.0} ms after", row.last_ms).ok();
        }
        for (code, count) in &row.refused {
            write!(text, "  {code} {count}").ok();
        }
        text
    }

    /// What a person reads.
    pub(super) fn table(&self) -> String {
        let mut text = format!(
            "\n{:<24} {:>7} {:>9} {:>9} {:>9} {:>11}\n",
            "switched off", "toggles", "begun", "told no", "succeeded", "ack ms max"
        );
        for kind in self.kinds.keys() {
            writeln!(text, "{}", self.row(*kind)).ok();
        }
        let rates: Vec<_> = self.per_second.values().map(|rate| format!("{rate:.0}")).collect();
        writeln!(
            text,
            "\nreads begun within {:.0} ms after an answer: {}, of them told no: {}\n\
             successes among them and later: {}\nreads begun in a second on each node: {}\n\n\
             documented delays of others:",
            self.window_ms,
            self.began_in_windows(),
            self.denied_in_windows(),
            self.successes(),
            rates.join(", ")
        )
        .ok();
        for peer in &PEERS {
            writeln!(text, "  {:<22} {} [{}]", peer.name, peer.delay, peer.source).ok();
        }
        text
    }
}

/// Whether a read that ended with this code was refused for a right, a key or a secret's status.
const fn is_denial(code: Code) -> bool {
    matches!(
        code,
        Code::PermissionDenied | Code::FailedPrecondition | Code::Unauthenticated | Code::NotFound
    )
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_millis(50);

    /// Reads that began so many milliseconds after the acknowledgement, and what they ended with.
    fn toggle(reads: &[(i64, Result<(), Code>)]) -> Toggle {
        let base = Instant::now();
        let acknowledged = base + Duration::from_millis(1_000);
        let at = |after_ms: i64| base + Duration::from_millis((1_000 + after_ms).unsigned_abs());
        let read = |(after_ms, ended): &(i64, Result<(), Code>)| Read {
            node: 0,
            began: at(*after_ms),
            ended: *ended,
        };
        Toggle {
            began: base,
            asked: at(-20),
            acknowledged,
            closed: at(1_000),
            reads: reads.iter().map(read).collect(),
        }
    }

    #[test]
    fn what_begins_after_the_answer_must_not_succeed() {
        let refused = Err(Code::PermissionDenied);
        let mut switched = Switched::new("", WINDOW, 1);
        switched.add(Kind::TokenRevoked, &toggle(&[(-5, Ok(())), (0, Ok(())), (1, refused)]));
        assert_eq!((switched.began_in_windows(), switched.successes()), (1, 0));
        switched.add(Kind::TokenRevoked, &toggle(&[(30, Ok(())), (50, refused), (51, refused)]));
        assert_eq!((switched.began_in_windows(), switched.successes()), (3, 1));
        let table = switched.table();
        assert!(table.contains("the last began 30 ms after  PermissionDenied 3"), "{table}");
        assert!(table.contains("up to 3 hours"), "{table}");
        // Six reads in four seconds.
        assert!((switched.slowest_per_second() - 1.5).abs() < 1e-9);
    }

    #[test]
    fn what_fails_for_another_reason_is_no_denial() {
        let mut switched = Switched::new("", WINDOW, 2);
        let busy = (1, Err(Code::Unavailable));
        switched.add(Kind::KeyDeleted, &toggle(&[busy, (2, Err(Code::DeadlineExceeded))]));
        assert_eq!((switched.began_in_windows(), switched.denied_in_windows()), (2, 0));
        assert!(!switched.has_denied(Kind::KeyDeleted));
        switched.add(Kind::KeyDeleted, &toggle(&[busy, (2, Err(Code::FailedPrecondition))]));
        assert_eq!(switched.denied_in_windows(), 1);
        assert!(switched.has_denied(Kind::KeyDeleted) && !switched.has_denied(Kind::KeyDisabled));
        // All of them were from the other node.
        assert!(switched.slowest_per_second() < 1e-9);
    }

    #[test]
    fn a_success_after_the_window_counts_too() {
        let mut switched = Switched::new("", WINDOW, 1);
        switched.add(Kind::KeyDisabled, &toggle(&[(400, Ok(()))]));
        assert_eq!((switched.began_in_windows(), switched.successes()), (0, 1));
    }
}
