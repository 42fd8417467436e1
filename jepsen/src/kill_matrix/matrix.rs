//! The matrix itself: one row for each mutant, and the runs without one that it stands against.

use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::listing::{Listed, Waiting};
use super::naming;
use super::sighting::Sighting;
use crate::check::verdict::Judgement;
use crate::cluster::Programs;
use crate::run::directory::RunDirectory;

/// Version of the format.
const FORMAT: u32 = 2;
/// The file, beside `matrix.md`.
const FILE: &str = "matrix.json";
/// Where the commit of the programs is told.
const COMMIT_VARIABLE: &str = "LOCKBOX_COMMIT";

/// The matrix.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Matrix {
    format: u32,
    /// When it was begun: a date and a time, UTC.
    pub(super) begun: String,
    /// The machine: processors and kernel.
    pub(super) machine: String,
    /// The commit of the programs, if anybody said.
    pub(super) commit: String,
    /// SHA-256 of `lockbox`, of `kms-sim` and of the suite: other laws have to see anew.
    pub(super) programs: [String; 3],
    /// The runs without a mutant.
    pub(super) control: Vec<Control>,
    /// The mutants, in the order of the programs' lists.
    pub(super) rows: Vec<Row>,
    /// How many mutants of these programs are to be run in all.
    pub(super) seeded: Vec<String>,
}

/// A run without a mutant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Control {
    /// The name of its faults.
    pub(super) focus: String,
    pub(super) seed: u64,
    pub(super) judgement: Judgement,
    pub(super) ops: u64,
    pub(super) faults: u64,
    /// Whether something was found, where there is nothing to be found.
    pub(super) cried_out: bool,
    pub(super) summary: String,
}

/// A mutant and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) broken: String,
    /// The laws that should see it.
    pub(super) expected: Vec<String>,
    /// What it takes to be seen, in the registry's words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) needs: String,
    /// What came of it.
    pub(super) fate: Fate,
}

/// What came of a mutant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Fate {
    /// A law saw it.
    Killed {
        /// What was seen.
        sighting: Sighting,
        /// The seed of the run.
        seed: u64,
        /// Runs until then, this one included.
        attempts: u64,
        /// How long all of them took with their judgements.
        wall_seconds: u64,
    },
    /// No law did.
    Survived {
        /// Runs.
        attempts: u64,
        /// How long they took.
        wall_seconds: u64,
        /// What was said of the last one.
        last: String,
    },
    /// It was not run.
    Waiting {
        /// For what.
        reason: String,
    },
}

impl Row {
    /// A mutant that was run.
    pub(super) fn new(listed: &Listed, fate: Fate) -> Self {
        let Listed { name, broken, laws, needs, .. } = listed.clone();
        Self { name, broken, expected: laws, needs, fate }
    }
}

impl From<&Waiting> for Row {
    fn from(waiting: &Waiting) -> Self {
        let Waiting { name, broken, laws, reason } = waiting.clone();
        let fate = Fate::Waiting { reason };
        Self { name, broken, expected: laws, needs: String::new(), fate }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.fate {
            Fate::Killed { sighting, seed, .. } => write!(
                out,
                "{}: KILLED by {} after {:.1} s, seed {seed}",
                self.name,
                sighting.laws.join(", "),
                sighting.after_ms as f64 / 1e3
            ),
            Fate::Survived { attempts, .. } => {
                write!(out, "{}: SURVIVED {attempts} runs", self.name)
            }
            Fate::Waiting { reason } => write!(out, "{}: waits: {reason}", self.name),
        }
    }
}

impl Matrix {
    /// An empty one, in which these wait and the others of these programs are to come.
    ///
    /// # Errors
    /// When a program cannot be read.
    pub(super) fn new(
        programs: &Programs,
        seeded: Vec<String>,
        waiting: &[Waiting],
    ) -> Result<Self> {
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let suite = std::env::current_exe().context("the path of this program")?;
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Self {
            format: FORMAT,
            begun: jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M UTC").to_string(),
            machine: format!("{processors} processors, Linux {}", kernel.trim()),
            commit: std::env::var(COMMIT_VARIABLE).unwrap_or_default(),
            programs: [sha256(&programs.lockbox)?, sha256(&programs.kms_sim)?, sha256(&suite)?],
            control: Vec::new(),
            rows: waiting.iter().map(Row::from).collect(),
            seeded,
        })
    }

    /// The one in a directory, if there is one.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) fn read(directory: &Path) -> Result<Option<Self>> {
        let path = directory.join(FILE);
        match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).with_context(naming(&path)).map(Some),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(naming(&path)),
        }
    }

    /// Stores it.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(super) fn write(&self, directory: &Path) -> Result<()> {
        RunDirectory::write_json(&directory.join(FILE), self)
    }

    /// Whether another one is of the same programs with the same mutants.
    pub(super) fn is_of_the_same(&self, other: &Self) -> bool {
        self.format == other.format
            && self.programs == other.programs
            && self.seeded == other.seeded
    }

    /// Whether a law that is expected of it has seen this mutant. Another one may have seen the
    /// machine.
    pub(super) fn is_killed(&self, name: &str) -> bool {
        let killed = |row: &&Row| match &row.fate {
            Fate::Killed { sighting, .. } => sighting.is_by_one_of(&row.expected),
            Fate::Survived { .. } | Fate::Waiting { .. } => false,
        };
        self.rows.iter().filter(killed).any(|row| row.name == name)
    }

    /// Whether a run without a mutant had these faults.
    pub(super) fn has_control(&self, focus: &str) -> bool {
        self.control.iter().any(|run| run.focus == focus)
    }

    /// Takes in what came of a mutant, in the place of what was known of it before.
    pub(super) fn take(&mut self, row: Row) {
        self.rows.retain(|known| known.name != row.name);
        self.rows.push(row);
        let place = |row: &Row| self.seeded.iter().position(|name| *name == row.name);
        // Those that wait come last.
        self.rows.sort_by_key(|row| place(row).unwrap_or(usize::MAX));
    }

    /// Whether all that can be run were killed, and no law cried out over a run without a mutant.
    pub(super) fn is_complete(&self) -> bool {
        let calm = !self.control.is_empty() && self.control.iter().all(|run| !run.cried_out);
        calm && self.seeded.iter().all(|name| self.is_killed(name))
    }
}

fn sha256(path: &Path) -> Result<String> {
    let bytes = fs::read(path).with_context(naming(path))?;
    Ok(Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeSet;

    use super::*;

    pub(crate) fn row(name: &str, fate: Fate) -> Row {
        let expected = vec!["L10".to_owned(), "L3".to_owned()];
        Row {
            name: name.to_owned(),
            broken: "Is.".to_owned(),
            expected,
            needs: String::new(),
            fate,
        }
    }

    pub(crate) fn killed() -> Fate {
        let sighting = Sighting {
            laws: vec!["L10".to_owned(), "search".to_owned()],
            sentence: "lost".to_owned(),
            after_ms: 12_340,
            in_force: BTreeSet::new(),
            before: BTreeSet::from(["kill".to_owned()]),
        };
        Fate::Killed { sighting, seed: 2, attempts: 2, wall_seconds: 140 }
    }

    pub(crate) fn survived() -> Fate {
        Fate::Survived { attempts: 3, wall_seconds: 300, last: "valid".to_owned() }
    }

    pub(crate) fn matrix(rows: Vec<Row>) -> Matrix {
        let control = Control {
            focus: "calm".to_owned(),
            seed: 1,
            judgement: Judgement::Valid,
            ops: 9_000,
            faults: 12,
            cried_out: false,
            summary: "valid, 9000 operations".to_owned(),
        };
        Matrix {
            format: FORMAT,
            begun: "2026-01-02 03:04 UTC".to_owned(),
            machine: "2 processors, Linux 6.1".to_owned(),
            commit: "abc".to_owned(),
            programs: ["0a", "0b", "0c"].map(str::to_owned),
            control: vec![control],
            rows,
            seeded: vec!["one".to_owned(), "two".to_owned()],
        }
    }

    #[test]
    fn it_is_complete_when_all_are_killed_and_the_control_is_silent() {
        let mut matrix = matrix(vec![row("two", killed()), row("one", survived())]);
        assert!(!matrix.is_complete());
        matrix.take(row("one", killed()));
        assert!(matrix.is_complete());
        let names: Vec<_> = matrix.rows.iter().map(|row| row.name.as_str()).collect();
        assert_eq!(names, ["one", "two"]);
        matrix.control[0].cried_out = true;
        assert!(!matrix.is_complete());
        matrix.control.clear();
        assert!(!matrix.is_complete(), "without a control it proves nothing");
    }

    #[test]
    fn what_only_an_unexpected_law_has_seen_is_not_killed() {
        let unexpected = Row { expected: vec!["L5".to_owned()], ..row("one", killed()) };
        let matrix = matrix(vec![unexpected, row("two", killed())]);
        assert!(!matrix.is_killed("one") && matrix.is_killed("two"));
        assert!(!matrix.is_complete());
    }

    #[test]
    fn it_is_evidence_of_its_commit_as_it_is_written() {
        let directory = tempfile::tempdir().unwrap();
        let matrix = matrix(vec![row("one", killed()), row("two", survived())]);
        matrix.write(directory.path()).unwrap();
        let path = directory.path().join(FILE);
        let says = crate::evidence::matrix::check(&path, "abc").unwrap();
        assert!(says.starts_with("of this commit: 1 of 2 mutants killed"), "{says}");
        let other = crate::evidence::matrix::check(&path, "abd").unwrap_err().to_string();
        assert_eq!(other, "it is of commit \"abc\", and the bundle is of abd");
    }

    #[test]
    fn it_is_read_back_and_only_used_for_the_same_programs() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(Matrix::read(directory.path()).unwrap(), None);
        let matrix = matrix(vec![row("one", killed()), row("two", survived())]);
        matrix.write(directory.path()).unwrap();
        let back = Matrix::read(directory.path()).unwrap().unwrap();
        assert_eq!(back, matrix);
        let programs = ["0a", "0b", "0d"].map(str::to_owned);
        assert!(!back.is_of_the_same(&Matrix { programs, ..matrix }), "the laws have changed");
    }
}
