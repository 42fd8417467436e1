//! Whether the three accounts of the faults agree: what was planned, what the nemesis told at the
//! time (`nemesis.jsonl`), and what the history has.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::history::fault::{Edge, FaultEvent, FaultOutcome};
use crate::plan::{Plan, PlannedFault};
use crate::run::recorded_faults::recorded_class;

/// A line of the file; other fields are for people.
#[derive(Debug, Deserialize)]
struct Line {
    event: String,
    number: Option<u64>,
    outcome: Option<String>,
}

/// A beginning or an end of a fault, as both accounts tell of it: the number, whether it is the
/// end, and what came of it.
type Told = (u64, bool, String);

/// Checks the faults of a run; gives how many took effect.
///
/// # Errors
/// The first contradiction.
pub(super) fn check(plan: &Plan, recorded: &[FaultEvent], file: &Path) -> Result<usize> {
    let planned: BTreeMap<u64, &PlannedFault> =
        plan.faults.iter().map(|fault| (u64::from(fault.number), fault)).collect();
    for event in recorded {
        let number = event.id.0;
        let fault = planned.get(&number);
        let fault = fault.with_context(|| format!("the plan knows no fault {number}"))?;
        let (class, action) = (recorded_class(fault), serde_json::to_string(&fault.action)?);
        ensure!(
            event.class == class && event.variant == action,
            "fault {number} is {class:?} {action} in the plan, and {:?} {} in the history",
            event.class,
            event.variant
        );
    }
    let (mut in_history, mut in_file) = (of_history(recorded), of_file(file)?);
    in_history.sort_unstable();
    in_file.sort_unstable();
    let pairs = in_history.iter().zip(&in_file);
    if let Some((history, file)) = pairs.into_iter().find(|(history, file)| history != file) {
        anyhow::bail!("the history has {}, and nemesis.jsonl {}", words(history), words(file));
    }
    let (history, file) = (in_history.len(), in_file.len());
    ensure!(
        history == file,
        "the history tells of {history} beginnings and ends of faults, and nemesis.jsonl of {file}"
    );
    let installed = recorded
        .iter()
        .filter(|event| event.edge == Edge::Begin && event.outcome == FaultOutcome::Installed);
    Ok(installed.count())
}

fn of_history(recorded: &[FaultEvent]) -> Vec<Told> {
    let told = |event: &FaultEvent| {
        let outcome = match event.outcome {
            FaultOutcome::Installed => "installed",
            FaultOutcome::Skipped { .. } => "skipped",
            FaultOutcome::Indeterminate { .. } => "indeterminate",
        };
        (event.id.0, event.edge == Edge::End, outcome.to_owned())
    };
    recorded.iter().map(told).collect()
}

fn of_file(path: &Path) -> Result<Vec<Told>> {
    let file = File::open(path).context("nemesis.jsonl")?;
    let mut told = Vec::new();
    for (number, line) in (1..).zip(BufReader::new(file).lines()) {
        let place = || format!("nemesis.jsonl: line {number}");
        let line: Line = serde_json::from_str(&line.with_context(place)?).with_context(place)?;
        if line.event != "began" && line.event != "ended" {
            continue;
        }
        let fault = line.number.with_context(place)?;
        told.push((fault, line.event == "ended", line.outcome.with_context(place)?));
    }
    Ok(told)
}

fn words((number, is_end, outcome): &Told) -> String {
    let edge = if *is_end { "end" } else { "beginning" };
    format!("the {edge} of fault {number}, {outcome}")
}
