//! One run, in a process of its own, and its record.
//!
//! Promises that the operator's wish to end reaches the run, which then heals and ends. Of a
//! mutant's record the servers' data are not kept: they are large, and what broke them is known.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::signal::unix::{SignalKind, signal};

use super::disguise::Disguise;
use super::matrix::Control;
use super::naming;
use super::sighting::{Sighting, sighting};
use crate::check::directory::read_log;
use crate::check::verdict::{Judgement, Verdict};
use crate::history::History;
use crate::plan::Plan;
use crate::run::directory::RunDirectory;

/// A run that is to be.
pub(super) struct Trial<'a> {
    directory: &'a Path,
    disguise: Disguise,
    scratch: &'a Path,
}

/// A run that has come to its verdict.
pub(super) struct Ended {
    verdict: Verdict,
    history: History,
    /// How the nodes' committed logs contradict each other, if they do.
    logs_disagree: Option<String>,
}

impl<'a> Trial<'a> {
    /// One whose record goes into a directory that is there already.
    pub(super) const fn new(directory: &'a Path, disguise: Disguise, scratch: &'a Path) -> Self {
        Self { directory, disguise, scratch }
    }

    /// Runs a plan. None when the operator has ended it.
    ///
    /// # Errors
    /// When there is no verdict afterwards.
    pub(super) fn run(&self, plan: &Plan) -> Result<Option<Ended>> {
        let path = self.directory.join("plan.json");
        RunDirectory::write_json(&path, plan)?;
        let record = RunDirectory::at(&self.directory.join("record"));
        let output = self.directory.join("output.txt");
        let Some(status) = supervise(self.command(&path, record.path(), &output)?)? else {
            return Ok(None);
        };
        let verdict = fs::read(record.verdict());
        let Ok(verdict) = verdict else {
            bail!("the run ended with {status} and no verdict: see {}", output.display());
        };
        let verdict = serde_json::from_slice(&verdict).context("the verdict is none")?;
        let history = record.read_history()?;
        let logs_disagree = read_log(record.path())?.err().map(|found| found.to_string());
        if self.disguise.is_a_mutant() {
            remove(&record.data())?;
        }
        Ok(Some(Ended { verdict, history, logs_disagree }))
    }

    fn command(&self, plan: &Path, record: &Path, output: &Path) -> Result<Command> {
        let program = std::env::current_exe().context("the path of this program")?;
        let output = fs::File::create(output).with_context(naming(output))?;
        let mut command = Command::new("setpriv");
        command
            // Dies with us.
            .args(["--pdeathsig", "KILL", "--"])
            .arg(program)
            .arg("run")
            .arg("--plan")
            .arg(plan)
            .arg("--bin")
            .arg(self.disguise.path())
            .arg("--out")
            .arg(record)
            .arg("--scratch")
            .arg(self.scratch)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            // Signals of the terminal come to us alone, and we pass them on once.
            .process_group(0);
        Ok(command)
    }
}

/// Waits for the run, telling it to end when we are told so; then there is no status.
fn supervise(mut command: Command) -> Result<Option<ExitStatus>> {
    // One thread: the run is told of our death when the thread that made it ends.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut ended = signal(SignalKind::child())?;
        let mut child = command.spawn().context("cannot start setpriv")?;
        let mut told = false;
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok((!told).then_some(status));
            }
            tokio::select! {
                _ = interrupt.recv() => told = true,
                _ = terminate.recv() => told = true,
                _ = ended.recv() => continue,
            }
            if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
                // It may have ended this moment.
                kill_process(pid, Signal::INT).ok();
            }
        }
    })
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(naming(path))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

impl Ended {
    /// What of it kills a mutant of which these laws are expected.
    pub(super) fn sighting(&self, expected: &[String]) -> Option<Sighting> {
        sighting(&self.verdict, &self.history, self.logs_disagree.as_deref(), expected)
    }

    /// The verdict in a line.
    pub(super) fn summary(&self) -> String {
        let Verdict { judgement, ops, reasons, .. } = &self.verdict;
        let why = reasons.first().map(|reason| format!(": {}", reason.sentence));
        format!("{judgement}, {ops} operations{}", why.unwrap_or_default())
    }

    /// It as a run of the programs as they should be.
    pub(super) fn as_control(&self, focus: &str, seed: u64) -> Control {
        let Verdict { judgement, ops, .. } = self.verdict;
        let faults: std::collections::BTreeSet<_> =
            self.history.faults.iter().map(|event| event.id).collect();
        let faults = faults.len() as u64;
        let cried_out = judgement == Judgement::Invalid;
        let (focus, summary) = (focus.to_owned(), self.summary());
        Control { focus, seed, judgement, ops, faults, cried_out, summary }
    }
}
