//! The table of an overload, and what of it must hold everywhere.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use super::open_loop::Counts;
use crate::arguments::Operation;
use crate::closed_loop::Measured;
use crate::latency::Percentiles;

/// Shown where nothing was measured.
const NONE: &str = "–";

/// One phase, as a row of the table.
#[derive(Debug, Clone)]
pub(super) struct Phase {
    pub(super) name: &'static str,
    /// Calls that were due in a second; nothing where each waited for the one before.
    pub(super) due_per_second: Option<f64>,
    /// Calls that were sent in a second.
    pub(super) sent_per_second: f64,
    pub(super) accepted_per_second: f64,
    /// How long those took.
    pub(super) accepted: Percentiles,
    pub(super) refused_per_second: f64,
    pub(super) refused: Percentiles,
    /// Refusals that did not say when to come back.
    pub(super) untold: u64,
    /// Calls that were neither answered well nor refused, by code.
    pub(super) failed: BTreeMap<String, u64>,
    /// The largest resident memory of a node, in bytes.
    pub(super) memory: Option<u64>,
    /// The sum of the nodes' terms at the end.
    pub(super) term: Option<f64>,
}

impl Phase {
    /// A phase of the closed loop.
    pub(super) fn carried(
        name: &'static str,
        measured: &Measured,
        memory: Option<u64>,
        term: Option<f64>,
    ) -> Self {
        let per_second = measured.tally.answered as f64 / measured.window.as_secs_f64();
        Self {
            name,
            due_per_second: None,
            sent_per_second: per_second,
            accepted_per_second: per_second,
            accepted: measured.tally.latencies.percentiles(),
            refused_per_second: 0.0,
            refused: Percentiles::default(),
            untold: 0,
            failed: measured.tally.errors.clone(),
            memory,
            term,
        }
    }

    /// A phase of calls that came too often.
    pub(super) fn overloaded(
        name: &'static str,
        due_per_second: f64,
        counts: &Counts,
        duration: Duration,
        memory: Option<u64>,
        term: Option<f64>,
    ) -> Self {
        let per_second = |count: u64| count as f64 / duration.as_secs_f64();
        let (accepted, refused) = (counts.accepted.count(), counts.refused.count());
        let failed: u64 = counts.failed.values().sum();
        Self {
            name,
            due_per_second: Some(due_per_second),
            sent_per_second: per_second(accepted + refused + failed),
            accepted_per_second: per_second(accepted),
            accepted: counts.accepted.percentiles(),
            refused_per_second: per_second(refused),
            refused: counts.refused.percentiles(),
            untold: refused - counts.told_when,
            failed: counts.failed.clone(),
            memory,
            term,
        }
    }

    fn row(&self) -> String {
        let ms = |us: u64| format!("{:.0}", us as f64 / 1000.0);
        let times = |p: &Percentiles| format!("{} / {} / {}", ms(p.p50), ms(p.p99), ms(p.max));
        let failed: Vec<String> = self.failed.iter().map(|(c, n)| format!("{c} {n}")).collect();
        let or_none = |text: Option<String>| text.unwrap_or_else(|| NONE.to_owned());
        let refused = (self.refused_per_second > 0.0).then(|| times(&self.refused));
        [
            self.name.to_owned(),
            or_none(self.due_per_second.map(|due| format!("{due:.0}"))),
            format!("{:.0}", self.sent_per_second),
            format!("{:.0}", self.accepted_per_second),
            times(&self.accepted),
            format!("{:.0}", self.refused_per_second),
            or_none(refused),
            if failed.is_empty() { "none".to_owned() } else { failed.join(", ") },
            or_none(self.memory.map(|bytes| format!("{}", bytes / 1_000_000))),
            or_none(self.term.map(|term| format!("{term:.0}"))),
        ]
        .join(" | ")
    }
}

/// All phases of one operation.
#[derive(Debug, Clone)]
pub(super) struct Run {
    pub(super) operation: Operation,
    pub(super) times: usize,
    pub(super) phases: Vec<Phase>,
}

impl Run {
    /// What does not hold, one sentence each.
    pub(super) fn broken(&self) -> Vec<String> {
        let mut broken = Vec::new();
        let operation = format!("{:?}", self.operation).to_lowercase();
        for phase in &self.phases {
            let name = phase.name;
            let mut say = |what: String| broken.push(format!("{operation}, {name}: {what}"));
            if phase.untold > 0 {
                say(format!("{} refusals do not say when to come back", phase.untold));
            }
            for (code, count) in &phase.failed {
                say(format!("{count} calls ended with {code}"));
            }
        }
        let terms: Vec<f64> = self.phases.iter().filter_map(|phase| phase.term).collect();
        if terms.windows(2).any(|pair| pair[0] < pair[1]) {
            broken.push(format!("{operation}: there was an election"));
        }
        broken
    }

    fn markdown(&self) -> String {
        let operation = format!("{:?}", self.operation).to_lowercase();
        let mut text = format!(
            "### {operation}, {} times what is carried\n\n\
             Times are p50 / p99 / longest in ms, from when a call was sent.\n\n\
             | phase | due/s | sent/s | accepted/s | ms | refused/s | ms | others | MB of the \
             largest node | terms |\n|---|---|---|---|---|---|---|---|---|---|\n",
            self.times
        );
        for phase in &self.phases {
            text += &format!("| {} |\n", phase.row());
        }
        text.push('\n');
        text
    }
}

/// Appends the table to a file, or prints it.
pub(super) fn tell(run: &Run, file: Option<&Path>) -> Result<()> {
    let text = run.markdown();
    match file {
        None => io::stdout().lock().write_all(text.as_bytes()).context("cannot print the table"),
        Some(path) => {
            let file = OpenOptions::new().create(true).append(true).open(path);
            file.and_then(|mut file| file.write_all(text.as_bytes()))
                .with_context(|| format!("cannot write {}", path.display()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phase(name: &'static str, term: f64) -> Phase {
        Phase {
            name,
            due_per_second: Some(1000.0),
            sent_per_second: 900.0,
            accepted_per_second: 100.0,
            accepted: Percentiles { p50: 250_000, p99: 600_000, p999: 700_000, max: 800_000 },
            refused_per_second: 800.0,
            refused: Percentiles { p50: 1000, p99: 2000, p999: 3000, max: 4000 },
            untold: 0,
            failed: BTreeMap::new(),
            memory: Some(250_000_000),
            term: Some(term),
        }
    }

    fn run(phases: Vec<Phase>) -> Run {
        Run { operation: Operation::Put, times: 10, phases }
    }

    #[test]
    fn a_row_tells_what_was_accepted_and_what_was_refused() {
        let text = run(vec![phase("overload", 3.0)]).markdown();
        let row = "| overload | 1000 | 900 | 100 | 250 / 600 / 800 | 800 | 1 / 2 / 4 | none | 250 \
                   | 3 |\n";
        assert!(text.contains(row), "{text}");
        assert!(text.starts_with("### put, 10 times what is carried\n"), "{text}");
    }

    #[test]
    fn what_does_not_hold_is_told_one_by_one() {
        assert_eq!(run(vec![phase("a", 3.0), phase("b", 3.0)]).broken(), Vec::<String>::new());
        let mut worse = phase("b", 4.0);
        worse.untold = 2;
        worse.failed.insert("Unavailable".to_owned(), 5);
        let broken = run(vec![phase("a", 3.0), worse]).broken();
        let expected = [
            "put, b: 2 refusals do not say when to come back",
            "put, b: 5 calls ended with Unavailable",
            "put: there was an election",
        ];
        assert_eq!(broken, expected);
    }
}
