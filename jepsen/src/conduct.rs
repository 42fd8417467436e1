//! Conducts a run inside the enclosure: the cluster, the load-free beginning, the faults, the end.
//!
//! Promises that the plan is stored before anything is started, that ctrl-C heals and reports
//! what there is, and that what failed is in the summary.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::signal::unix::{SignalKind, signal};

use crate::cluster::observe::NodeView;
use crate::cluster::{Cluster, Programs, Spec};
use crate::moment::now;
use crate::nemesis::class::FaultClass;
use crate::nemesis::event::{FaultEvent, FaultFile, FaultLog, Outcome};
use crate::nemesis::scene::{Ending, Scene};
use crate::nemesis::schedule;
use crate::plan::Plan;

/// What came of a run's faults.
#[derive(Debug, Default)]
pub struct Summary {
    /// By class: installed, skipped, indeterminate.
    pub faults: BTreeMap<FaultClass, [usize; 3]>,
    /// Reasons of what was not installed, with how often.
    pub reasons: BTreeMap<String, usize>,
    /// Why the run is not acceptable; none when it is.
    pub failure: Option<String>,
}

impl fmt::Display for Summary {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "{:<16} {:>9} {:>7} {:>13}",
            "class", "installed", "skipped", "indeterminate"
        )?;
        for (class, [installed, skipped, indeterminate]) in &self.faults {
            let name = class.name();
            writeln!(out, "{name:<16} {installed:>9} {skipped:>7} {indeterminate:>13}")?;
        }
        for (reason, count) in &self.reasons {
            writeln!(out, "{count} × {reason}")?;
        }
        match &self.failure {
            None => writeln!(out, "all faults are healed and every server is ready"),
            Some(failure) => writeln!(out, "FAILED: {failure}"),
        }
    }
}

/// Writes the events, and counts them.
struct Counting {
    file: FaultFile,
    summary: Mutex<Summary>,
}

impl FaultLog for Counting {
    fn began(&self, event: &FaultEvent) {
        self.file.began(event);
    }

    fn ended(&self, event: &FaultEvent) {
        self.file.ended(event);
        let mut summary = self.summary.lock().unwrap_or_else(PoisonError::into_inner);
        let (column, reason) = match &event.outcome {
            Outcome::Installed => (0, None),
            Outcome::Skipped(reason) => (1, Some(reason)),
            Outcome::Indeterminate(reason) => (2, Some(reason)),
        };
        if let Some(count) = summary.faults.entry(event.class).or_default().get_mut(column) {
            *count += 1;
        }
        if let Some(reason) = reason {
            let reason = format!("{}: {reason}", event.class);
            *summary.reasons.entry(reason).or_default() += 1;
        }
    }

    fn majority(&self, at: Instant, reachable: bool) {
        self.file.majority(at, reachable);
    }

    fn observed(&self, at: Instant, views: &[NodeView]) {
        self.file.observed(at, views);
    }

    fn unexpected_end(&self, at: Instant, server: &str, last_words: &str) {
        self.file.unexpected_end(at, server, last_words);
    }
}

/// Conducts the run of a plan. Its record is written into `out`.
///
/// # Errors
/// When the run could not be begun. What fails later is in the summary.
pub fn conduct(plan: &Plan, programs: &Programs, out: &Path, scratch: &Path) -> Result<Summary> {
    fs::write(out.join("plan.json"), serde_json::to_string_pretty(plan)?)?;
    let ending = Arc::new(Ending::default());
    end_by_signal(Arc::clone(&ending))?;
    let spec = Spec {
        programs: programs.clone(),
        network: plan.profile.network(),
        directory: scratch.to_owned(),
        logs: out.join("logs"),
        nodes: plan.nodes,
        spares: plan.spares,
        knobs: plan.knobs,
        disk_mebibytes: plan.disk_mebibytes,
        forgetful: plan.forgetful,
        seed: plan.seed,
    };
    let cluster = Arc::new(Cluster::start(spec).context("the cluster could not be started")?);
    let began = now();
    let file = FaultFile::create(&out.join("nemesis.jsonl"), began)?;
    let log = Arc::new(Counting { file, summary: Mutex::default() });
    let scene = Scene::new(cluster, Arc::clone(&log) as Arc<dyn FaultLog>, ending);
    let recovery = Duration::from_millis(plan.phases.recovery_ms);
    let ran = schedule::run(&scene, &plan.faults, began, recovery);
    let mut summary = log.summary.lock().unwrap_or_else(PoisonError::into_inner);
    let mut summary = std::mem::take(&mut *summary);
    summary.failure = ran.err().map(|error| format!("{error:#}"));
    Ok(summary)
}

/// Ends the run when the operator says so.
fn end_by_signal(ending: Arc<Ending>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut interrupt, mut terminate) = {
        let _inside = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    // Ends with the process: there is nothing that it could leave undone.
    let waiting = std::thread::Builder::new().name("signals".to_owned());
    let wait = move || {
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        });
        ending.tell("the operator ended the run".to_owned());
    };
    waiting.spawn(wait).context("cannot wait for signals")?;
    Ok(())
}
