//! Whether what a run set out to do is what its seed draws, and what was required of it is what
//! such a plan requires: else a verdict could be had by asking for less.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use crate::check::directory::{REQUIRED_FILE, SEARCH_FILE};
use crate::check::verdict::SearchBounds;
use crate::history::event::Header;
use crate::history::ids::NodeId;
use crate::plan::Plan;
use crate::run::directory::RunDirectory;
use crate::run::requirements::required;

/// Checks the record of a run; gives its plan.
///
/// # Errors
/// The first file that is not what the seed gives.
pub(super) fn check(run: &Path) -> Result<Plan> {
    let directory = RunDirectory::at(run);
    let text = fs::read(directory.plan()).context("plan.json")?;
    let stored: Plan = serde_json::from_slice(&text).context("plan.json")?;
    let plan = Plan::draw(stored.seed, stored.profile);
    same(&directory.plan(), &plan, &plan)?;
    same(&directory.mix(), &plan.mix(), &plan)?;
    same(&run.join(REQUIRED_FILE), &required(&plan), &plan)?;
    same(&run.join(SEARCH_FILE), &SearchBounds::default(), &plan)?;
    Ok(plan)
}

fn same(path: &Path, expected: &impl Serialize, plan: &Plan) -> Result<()> {
    let name = path.file_name().unwrap_or_default().display();
    let stored = fs::read(path).with_context(|| name.to_string())?;
    let expected = serde_json::to_vec_pretty(expected)?;
    let (seed, profile) = (plan.seed, plan.profile);
    ensure!(stored == expected, "{name} is not what seed {seed} gives for a {profile:?} run");
    Ok(())
}

/// Checks that a history is that of a run of this plan.
///
/// # Errors
/// When it is not.
pub(super) fn check_header(plan: &Plan, header: &Header) -> Result<()> {
    let (planned, recorded) = (plan.seed, header.seed);
    ensure!(recorded == planned, "its history is of seed {recorded}, and its plan of {planned}");
    let nodes: Vec<NodeId> = (1..=u64::from(plan.nodes)).map(NodeId).collect();
    ensure!(header.nodes == nodes, "its history began with the nodes {:?}", header.nodes);
    Ok(())
}
