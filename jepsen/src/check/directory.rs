//! Checks the directory of a run: reads what is there, judges, writes the verdict beside it.
//!
//! | file | what |
//! |---|---|
//! | `history.jsonl` | the history; needed |
//! | `required.json` | what the run has to have done ([`Required`]); needed |
//! | `search.json` | which secrets are searched ([`SearchBounds`]); all if absent |
//! | `log/*.jsonl` | dumps of committed logs; optional |
//! | `verdict.json` | written here |

use std::fs::File;
use std::io::{self, BufReader, Write};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::history::log_dump::{CommittedLog, Disagreement, DumpError, LogDump};
use crate::history::{History, jsonl};

use super::coverage::Required;
use super::laws::Finding;
use super::verdict::{SearchBounds, Verdict, check_laws, conclude, search_all};

/// The history.
pub const HISTORY_FILE: &str = "history.jsonl";
/// What is required of the run.
pub const REQUIRED_FILE: &str = "required.json";
/// Bounds of the search.
pub const SEARCH_FILE: &str = "search.json";
/// Directory of log dumps.
pub const LOG_DIRECTORY: &str = "log";
/// The verdict.
pub const VERDICT_FILE: &str = "verdict.json";

/// Why a directory cannot be judged. Such a run is not valid.
#[derive(Debug, Error)]
pub enum CheckError {
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The history is none.
    #[error("{}: {source}", path.display())]
    History {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: jsonl::ReadError,
    },
    /// A dump is none.
    #[error("{}: {source}", path.display())]
    Dump {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: DumpError,
    },
    /// A settings file is not what it should be.
    #[error("{}: {source}", path.display())]
    Json {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
}

/// Judges the run in a directory, prints laws, counts and seconds, and writes the verdict there.
///
/// The same directory gives the same `verdict.json`, byte for byte, on every machine; seconds are
/// printed and not written. `ticks` gives monotonic nanoseconds.
///
/// # Errors
/// [`CheckError`].
pub fn check_directory(
    directory: &Path,
    ticks: &dyn Fn() -> u64,
    print: &mut impl Write,
) -> Result<Verdict, CheckError> {
    let began = ticks();
    let history = read_history(directory)?;
    let required: Required = read_json(&directory.join(REQUIRED_FILE))?;
    let search_file = directory.join(SEARCH_FILE);
    let bounds =
        if search_file.exists() { read_json(&search_file)? } else { SearchBounds::default() };
    let log = read_log(directory)?;
    let read = ticks();
    let laws = check_laws(&history, log.as_ref().ok().and_then(Option::as_ref));
    let judged = ticks();
    let search = search_all(&history, bounds);
    let searched = ticks();
    let verdict = conclude(&history, log.as_ref().map(Option::as_ref), &required, laws, search);
    let path = directory.join(VERDICT_FILE);
    let failed = |source| CheckError::Io { path: path.clone(), source };
    let mut file = File::create(&path).map_err(failed)?;
    let written = serde_json::to_writer_pretty(&mut file, &verdict).map_err(io::Error::from);
    written.and_then(|()| file.write_all(b"\n")).map_err(failed)?;
    print_verdict(&verdict, print).map_err(failed)?;
    let [reading, laws, search] =
        [(began, read), (read, judged), (judged, searched)].map(|(from, to)| seconds(from, to));
    writeln!(print, "seconds: reading {reading}, laws {laws}, search {search}").map_err(failed)?;
    Ok(verdict)
}

/// Reads the history of a run.
///
/// # Errors
/// [`CheckError`].
pub fn read_history(directory: &Path) -> Result<History, CheckError> {
    let path = directory.join(HISTORY_FILE);
    let file = open(&path)?;
    jsonl::read(BufReader::new(file)).map_err(|source| CheckError::History { path, source })
}

/// Reads all dumps of a run and joins them; absent if there are none.
///
/// # Errors
/// [`CheckError`]; that nodes disagree is not an error but a finding.
pub fn read_log(
    directory: &Path,
) -> Result<Result<Option<CommittedLog>, Disagreement>, CheckError> {
    let path = directory.join(LOG_DIRECTORY);
    if !path.exists() {
        return Ok(Ok(None));
    }
    let failed = |source| CheckError::Io { path: path.clone(), source };
    let mut files: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(&path).map_err(failed)? {
        files.push(entry.map_err(failed)?.path());
    }
    files.retain(|file| file.extension().is_some_and(|extension| extension == "jsonl"));
    files.sort();
    let mut dumps = Vec::new();
    for path in files {
        let file = open(&path)?;
        let dump = LogDump::read(BufReader::new(file));
        dumps.push(dump.map_err(|source| CheckError::Dump { path, source })?);
    }
    if dumps.is_empty() {
        return Ok(Ok(None));
    }
    Ok(CommittedLog::join(dumps).map(Some))
}

fn seconds(from_ns: u64, to_ns: u64) -> String {
    let millis = to_ns.saturating_sub(from_ns) / 1_000_000;
    format!("{}.{:03}", millis / 1000, millis % 1000)
}

fn open(path: &Path) -> Result<File, CheckError> {
    File::open(path).map_err(|source| CheckError::Io { path: path.to_owned(), source })
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, CheckError> {
    let file = open(path)?;
    serde_json::from_reader(BufReader::new(file))
        .map_err(|source| CheckError::Json { path: path.to_owned(), source })
}

/// Writes a verdict for people.
///
/// # Errors
/// What the writer says.
pub fn print_verdict(verdict: &Verdict, to: &mut impl Write) -> io::Result<()> {
    for report in &verdict.laws {
        let finding = match &report.finding {
            Finding::Holds => "holds",
            Finding::Violated { .. } => "VIOLATED",
            Finding::NotChecked { .. } => "not checked",
        };
        let counts: Vec<String> =
            report.counts.iter().map(|(what, count)| format!("{what} {count}")).collect();
        let law = report.law;
        writeln!(to, "{:<4} {finding:<12} {}", law.to_string(), law.title())?;
        writeln!(to, "     {}", counts.join(", "))?;
        match &report.finding {
            Finding::Violated { sentence, .. } => writeln!(to, "     {sentence}")?,
            Finding::NotChecked { why } => writeln!(to, "     {why}")?,
            Finding::Holds => {}
        }
    }
    let search = &verdict.search;
    writeln!(
        to,
        "search: {} operations on {} secrets, {} illegal, {} unknown",
        search.ops,
        search.secrets,
        search.illegal.len(),
        search.unknown.len()
    )?;
    for row in verdict.coverage.iter().filter(|row| row.required > 0) {
        let short = if row.is_reached() { "" } else { "  SHORT" };
        writeln!(to, "coverage: {}: {} of {}{short}", row.what, row.reached, row.required)?;
    }
    writeln!(to, "operations: {} begun, {} decided", verdict.ops, verdict.decided)?;
    for reason in &verdict.reasons {
        writeln!(to, "{}: {}", reason.judgement, reason.sentence)?;
    }
    writeln!(to, "verdict: {}", verdict.judgement)
}
