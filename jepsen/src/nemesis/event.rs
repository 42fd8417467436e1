//! What is told of a fault: to the history, the report, and whoever decides about coverage.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context, Result};
use serde::Serialize;

use super::class::FaultClass;
use crate::cluster::observe::NodeView;

/// What came of a fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "outcome", content = "reason")]
pub enum Outcome {
    /// It took effect, and that was seen.
    Installed,
    /// It was not done.
    Skipped(String),
    /// It was done, and whether it took effect could not be seen.
    Indeterminate(String),
}

/// A fault that has begun, or has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FaultEvent {
    /// Its number in the plan.
    pub number: u32,
    /// Its class.
    pub class: FaultClass,
    /// What it hits, for people.
    pub target: String,
    /// When it began.
    pub begin: Instant,
    /// When it was healed; none while it lasts.
    pub end: Option<Instant>,
    /// What came of it.
    pub outcome: Outcome,
    /// Who led when it began.
    pub leader: Option<u16>,
    /// Whether a majority of the voters was up and could talk, once it was in force.
    pub majority_reachable: bool,
}

/// Who is told of faults. Called from several threads, and must not take long.
pub trait FaultLog: Send + Sync {
    /// A fault is in force.
    fn began(&self, event: &FaultEvent);

    /// A fault is over, or was skipped.
    fn ended(&self, event: &FaultEvent);

    /// From now on a majority of the voters is up and can talk, or no longer is.
    fn majority(&self, at: Instant, reachable: bool);

    /// What the nodes say of themselves.
    fn observed(&self, at: Instant, views: &[NodeView]);

    /// A server has ended though no fault may end it. The last lines of its log are with it.
    fn unexpected_end(&self, at: Instant, server: &str, last_words: &str);
}

/// Writes what it is told as a line of JSON each, with nanoseconds since the run began.
pub struct FaultFile {
    file: Mutex<File>,
    began: Instant,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case", tag = "event")]
enum Line<'a> {
    Began(FaultLine<'a>),
    Ended(FaultLine<'a>),
    Majority { time: u128, reachable: bool },
    Observed { time: u128, nodes: &'a [NodeView] },
    UnexpectedEnd { time: u128, server: &'a str, last_words: &'a str },
}

#[derive(Serialize)]
struct FaultLine<'a> {
    number: u32,
    class: FaultClass,
    target: &'a str,
    begin: u128,
    #[serde(skip_serializing_if = "Option::is_none")]
    end: Option<u128>,
    #[serde(flatten)]
    outcome: &'a Outcome,
    leader: Option<u16>,
    majority_reachable: bool,
}

impl FaultFile {
    /// Begins the file. Times are counted from `began`.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn create(path: &Path, began: Instant) -> Result<Self> {
        let file = File::create(path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self { file: Mutex::new(file), began })
    }

    fn time(&self, at: Instant) -> u128 {
        at.saturating_duration_since(self.began).as_nanos()
    }

    fn line<'a>(&self, event: &'a FaultEvent) -> FaultLine<'a> {
        FaultLine {
            number: event.number,
            class: event.class,
            target: &event.target,
            begin: self.time(event.begin),
            end: event.end.map(|end| self.time(end)),
            outcome: &event.outcome,
            leader: event.leader,
            majority_reachable: event.majority_reachable,
        }
    }

    fn write(&self, line: &Line<'_>) {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        // Who reads the file counts its faults against the plan, so a line that is missing is seen.
        let text = serde_json::to_string(line).unwrap_or_default();
        writeln!(file, "{text}").ok();
    }
}

impl FaultLog for FaultFile {
    fn began(&self, event: &FaultEvent) {
        self.write(&Line::Began(self.line(event)));
    }

    fn ended(&self, event: &FaultEvent) {
        self.write(&Line::Ended(self.line(event)));
    }

    fn majority(&self, at: Instant, reachable: bool) {
        self.write(&Line::Majority { time: self.time(at), reachable });
    }

    fn observed(&self, at: Instant, views: &[NodeView]) {
        self.write(&Line::Observed { time: self.time(at), nodes: views });
    }

    fn unexpected_end(&self, at: Instant, server: &str, last_words: &str) {
        self.write(&Line::UnexpectedEnd { time: self.time(at), server, last_words });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::moment::now;

    #[test]
    fn a_line_says_what_happened_when() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("nemesis.jsonl");
        let began = now();
        let file = FaultFile::create(&path, began).unwrap();
        let event = FaultEvent {
            number: 3,
            class: FaultClass::Kill,
            target: "node-2".to_owned(),
            begin: began + Duration::from_nanos(5),
            end: Some(began + Duration::from_nanos(9)),
            outcome: Outcome::Indeterminate("no packet came".to_owned()),
            leader: Some(2),
            majority_reachable: true,
        };
        file.ended(&event);
        file.majority(began, false);
        let expected = "{\"event\":\"ended\",\"number\":3,\"class\":\"kill\",\
            \"target\":\"node-2\",\"begin\":5,\"end\":9,\"outcome\":\"indeterminate\",\
            \"reason\":\"no packet came\",\"leader\":2,\"majority_reachable\":true}\n\
            {\"event\":\"majority\",\"time\":0,\"reachable\":false}\n";
        assert_eq!(std::fs::read_to_string(&path).unwrap(), expected);
    }
}
