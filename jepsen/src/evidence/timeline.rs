//! Whether the three accounts of the faults agree: what was planned, what the nemesis told at the
//! time (`nemesis.jsonl`), and what the history has.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::history::fault::{Edge, FaultEvent, FaultOutcome};
use crate::plan::{Plan, PlannedFault};
use crate::run::recorded_faults::recorded_class;

const INSTALLED: &str = "installed";
const SKIPPED: &str = "skipped";

/// A line of the file; other fields are for people.
#[derive(Debug, Deserialize)]
struct Line {
    event: String,
    number: Option<u64>,
    outcome: Option<String>,
    leader: Option<u64>,
    majority_reachable: Option<bool>,
}

/// What one account tells of the faults, by their numbers.
#[derive(Debug, Default, PartialEq, Eq)]
struct Account {
    begun: BTreeSet<u64>,
    /// What came of those that are over or were skipped. What a beginning says is no more than
    /// that it was tried.
    outcomes: BTreeMap<u64, String>,
    /// Who led when each began, and whether a majority could talk.
    scenes: BTreeMap<u64, (Option<u64>, Option<bool>)>,
}

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
    let (history, file) = (of_history(recorded), of_file(file)?);
    for number in planned.keys() {
        let words = |account: &Account| {
            let begun = if account.begun.contains(number) { "begun" } else { "not begun" };
            let outcome = account.outcomes.get(number).map_or("not ended", String::as_str);
            format!("{begun}, {outcome}")
        };
        let (ours, theirs) = (words(&history), words(&file));
        ensure!(
            ours == theirs,
            "fault {number}: {ours} in the history, and {theirs} in nemesis.jsonl"
        );
    }
    for (number, scene) in &history.scenes {
        let theirs = file.scenes.get(number);
        ensure!(
            theirs == Some(scene),
            "fault {number}: {scene:?} is its leader and majority in the history, and \
             {theirs:?} in nemesis.jsonl"
        );
    }
    ensure!(history == file, "nemesis.jsonl tells of faults that the plan does not know");
    Ok(history.outcomes.values().filter(|outcome| *outcome == INSTALLED).count())
}

fn of_history(recorded: &[FaultEvent]) -> Account {
    let mut account = Account::default();
    for event in recorded {
        let number = event.id.0;
        let outcome = match event.outcome {
            FaultOutcome::Installed => INSTALLED,
            FaultOutcome::Skipped { .. } => SKIPPED,
            FaultOutcome::Indeterminate { .. } => "indeterminate",
        };
        // One that was skipped has but one event.
        if event.edge == Edge::End || outcome == SKIPPED {
            account.outcomes.insert(number, outcome.to_owned());
        } else {
            let leader = event.leader.map(|node| node.0);
            account.scenes.insert(number, (leader, Some(event.majority_reachable)));
            account.begun.insert(number);
        }
    }
    account
}

fn of_file(path: &Path) -> Result<Account> {
    let file = File::open(path).context("nemesis.jsonl")?;
    let mut account = Account::default();
    for (number, line) in (1..).zip(BufReader::new(file).lines()) {
        let place = || format!("nemesis.jsonl: line {number}");
        let line: Line = serde_json::from_str(&line.with_context(place)?).with_context(place)?;
        let scene = (line.leader, line.majority_reachable);
        let is_new = match line.event.as_str() {
            "began" => {
                let fault = line.number.with_context(place)?;
                account.scenes.insert(fault, scene);
                account.begun.insert(fault)
            }
            "ended" => {
                let fault = line.number.with_context(place)?;
                let outcome = line.outcome.with_context(place)?;
                account.outcomes.insert(fault, outcome).is_none()
            }
            _ => true,
        };
        ensure!(is_new, "{} tells twice of one fault", place());
    }
    Ok(account)
}
