//! From the results of several rounds to the table of ratios.
//!
//! Both sides of a ratio were measured in the same round, one after the other; the ratio of a
//! figure is the median over the rounds. A pair during which other processes kept more than
//! `pairs::OTHER_CORES_MAX` processors busy is left out, and told as such.

mod figures;
mod markdown;
mod pairs;

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;

use crate::record::{Record, print};

/// Options of `report`.
#[derive(Debug, Args)]
pub struct ReportArguments {
    /// File with one result a line, as the `--json` of the runs has written it.
    #[arg(long)]
    pub results: PathBuf,
    /// Text file with one fact about the run a line; they stand above the tables.
    #[arg(long)]
    pub facts: Option<PathBuf>,
    /// Heading of the report.
    #[arg(long)]
    pub title: String,
    /// Where the report is written; standard output when absent.
    #[arg(long)]
    pub output: Option<PathBuf>,
}

/// Writes the report.
///
/// # Errors
/// When a file cannot be read or written, or a line is no result.
pub fn run(arguments: &ReportArguments) -> Result<()> {
    let read = |path: &PathBuf| {
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
    };
    let records = parse(&read(&arguments.results)?)?;
    let facts = arguments.facts.as_ref().map(read).transpose()?.unwrap_or_default();
    let text = markdown::report(&arguments.title, &facts, &records);
    match &arguments.output {
        Some(path) => {
            fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
        }
        None => print(&text),
    }
}

fn parse(text: &str) -> Result<Vec<Record>> {
    let record = |(number, line): (usize, &str)| {
        serde_json::from_str(line).with_context(|| format!("line {} is no result", number + 1))
    };
    text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()).map(record).collect()
}
