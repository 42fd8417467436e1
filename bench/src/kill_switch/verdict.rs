//! What was read after the end, by kind, and what others document of the same.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

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
    pub(super) fn new(label: &str, window: Duration) -> Self {
        Self {
            label: label.to_owned(),
            window_ms: ms(window),
            kinds: BTreeMap::new(),
            per_second: BTreeMap::new(),
            begun: BTreeMap::new(),
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
            row.began += u64::from(after_ms <= self.window_ms);
            match read.ended {
                Ok(()) => {
                    row.succeeded += 1;
                    row.last_ms = row.last_ms.max(after_ms);
                }
                Err(code) => *row.refused.entry(format!("{code:?}")).or_default() += 1,
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

    /// Reads that began after an acknowledgement and succeeded.
    pub(super) fn successes(&self) -> u64 {
        self.kinds.values().map(|row| row.succeeded).sum()
    }

    /// The rate of the node with the fewest reads.
    pub(super) fn slowest_per_second(&self) -> f64 {
        self.per_second.values().copied().fold(f64::INFINITY, f64::min)
    }

    /// What a person reads of one kind.
    pub(super) fn row(&self, kind: Kind) -> String {
        let Some(row) = self.kinds.get(&kind) else { return String::new() };
        let mut text = format!(
            "{:<24} {:>7} {:>9} {:>9} {:>11.0}",
            kind.name(),
            row.toggles,
            row.began,
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
            "\n{:<24} {:>7} {:>9} {:>9} {:>11}\n",
            "switched off", "toggles", "begun", "succeeded", "ack ms max"
        );
        for kind in self.kinds.keys() {
            writeln!(text, "{}", self.row(*kind)).ok();
        }
        let rates: Vec<_> = self.per_second.values().map(|rate| format!("{rate:.0}")).collect();
        writeln!(
            text,
            "\nreads begun within {:.0} ms after an answer: {}, successes among them and later: \
             {}\nreads begun in a second on each node: {}\n\ndocumented delays of others:",
            self.window_ms,
            self.began_in_windows(),
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

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

#[cfg(test)]
mod tests {
    use tonic::Code;

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
        let mut switched = Switched::new("", WINDOW);
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
    fn a_success_after_the_window_counts_too() {
        let mut switched = Switched::new("", WINDOW);
        switched.add(Kind::KeyDisabled, &toggle(&[(400, Ok(()))]));
        assert_eq!((switched.began_in_windows(), switched.successes()), (0, 1));
    }
}
