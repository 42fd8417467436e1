//! A whole run: the cluster, the load under the faults of a plan, the evidence,
//! and the judgement of it all.
//!
//! Promises that the plan is stored before anything is started, and that whatever was recorded is
//! judged, also of a run that failed or was interrupted.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use anyhow::{Context, Result};
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::audits::Against;
use super::books::Planted;
use super::cluster_site;
use super::conduct::{Collect, Conducted, Durations, Score, conduct};
use super::directory::RunDirectory;
use super::facts::Facts;
use super::planned_trouble::PlannedTrouble;
use super::recorded_faults::RecordedFaults;
use super::requirements::required;
use super::wall_clock::since_epoch;
use super::{audits, evidence, keep_data, ledgers, restored};
use crate::check::directory::{REQUIRED_FILE, SEARCH_FILE, check_directory};
use crate::check::export::export_directory;
use crate::check::verdict::{Judgement, SearchBounds, Verdict};
use crate::cluster::part::Part;
use crate::cluster::{Cluster, Programs, Spec};
use crate::history::event::Header;
use crate::history::recorder::{Recorder, Ticks};
use crate::moment::now;
use crate::plan::{Plan, Profile};
use crate::report;
use crate::report::input::{Findings, Input, RunFacts};
use crate::report::of_verdict::Timings;
use crate::workload::Mix;

/// Load after everything is mended, in seconds: longer than operations may take to be judged.
const HEAL_S: u64 = 15;
/// How much longer than planned the faults may last, for their nodes have to come back, in seconds.
const OVERTIME_S: u64 = 120;
/// Threads of the harness: it must leave the machine to the servers.
const THREADS: usize = 2;

/// Runs a plan; the record goes into `out`. Prints what came of it.
///
/// # Errors
/// When the run could not be begun or its record not be written. What fails in between is part of
/// the record.
pub fn run(plan: &Plan, programs: &Programs, out: &Path, scratch: &Path) -> Result<Judgement> {
    let directory = RunDirectory::at(out);
    let mix = plan.mix();
    RunDirectory::write_json(&directory.plan(), plan)?;
    RunDirectory::write_json(&directory.mix(), &mix)?;
    Facts::gather(programs)?.write(&directory.facts())?;
    RunDirectory::write_json(&out.join(REQUIRED_FILE), &required(plan))?;
    RunDirectory::write_json(&out.join(SEARCH_FILE), &SearchBounds::default())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .enable_all()
        .build()
        .context("cannot start the harness")?;
    let interrupt = interrupted_by_signals(&runtime)?;
    let cluster = Cluster::start(spec(plan, programs, &directory, scratch));
    let cluster = Arc::new(cluster.context("the cluster could not be started")?);
    let began = now();
    let header = Header {
        format: 0,
        seed: plan.seed,
        nodes: (1..=u64::from(plan.nodes)).map(crate::history::ids::NodeId).collect(),
        started_at_ns: i64::try_from(since_epoch().as_nanos()).unwrap_or(0),
    };
    let path = directory.growing_history();
    let file = File::create(&path).with_context(|| path.display().to_string())?;
    let recorder = Arc::new(Recorder::start(header, file, ticks_since(began))?);
    let faults = Arc::new(RecordedFaults::new(
        Arc::clone(&recorder),
        &directory.nemesis(),
        began,
        &plan.faults,
    )?);
    let planted = Arc::new(OnceLock::new());
    let staged = Stage { plan, programs, directory: &directory, cluster: &cluster, mix, planted };
    let conducted = staged.conduct(&runtime, &recorder, &faults, &interrupt)?;
    if !conducted.interrupted {
        let planted = staged.planted.get().map_or(&[][..], Vec::as_slice);
        let looked = restored::look(&runtime, &cluster, &directory, &recorder, planted);
        if let Err(error) = looked {
            recorder.failure(format!("restoring a backup: {error:#}"))?;
        }
    }
    print(&faults.summary().to_string())?;
    drop(faults);
    let recorder = Arc::into_inner(recorder).context("somebody still records")?;
    recorder.finish()?;
    print(&format!(
        "the harness took {} % of the machine and was slowed down for {} s",
        conducted.share.mean_percent, conducted.share.seconds_slowed
    ))?;
    let verdict = judge(&directory, began)?;
    if verdict.judgement != Judgement::Valid {
        keep_data::keep(&cluster_site::places(&cluster)?, &directory.data())?;
    }
    Ok(verdict.judgement)
}

struct Stage<'a> {
    plan: &'a Plan,
    programs: &'a Programs,
    directory: &'a RunDirectory,
    cluster: &'a Arc<Cluster>,
    mix: Mix,
    /// The canaries, once they are all planted.
    planted: Arc<OnceLock<Vec<Planted>>>,
}

impl Stage<'_> {
    fn conduct(
        &self,
        runtime: &Runtime,
        recorder: &Arc<Recorder>,
        faults: &Arc<RecordedFaults>,
        interrupt: &CancellationToken,
    ) -> Result<Conducted> {
        let site = cluster_site::of_cluster(self.cluster)?;
        let cluster = Arc::clone(self.cluster);
        let trouble = PlannedTrouble::new(cluster, self.plan.clone(), Arc::clone(faults));
        let phases = &self.plan.phases;
        let durations = Durations {
            quiet_s: phases.quiet_ms / 1000,
            faults_s: phases.faults_ms / 1000 + OVERTIME_S,
            heal_s: HEAL_S,
            recovery_s: phases.recovery_ms / 1000,
        };
        let erased_within_s = self.plan.knobs.erased_within_s();
        let score = Score { seed: self.plan.seed, durations, mix: self.mix, erased_within_s };
        let conducting = conduct(
            &site,
            &score,
            recorder,
            self.directory.log_dumps(),
            Some(Box::new(trouble)),
            self.collect(),
            interrupt,
        );
        runtime.block_on(conducting)
    }

    /// The search for canaries, the ledgers, the bill, and the audits.
    fn collect(&self) -> Collect {
        let cluster = Arc::clone(self.cluster);
        let kms_sim = self.programs.kms_sim.clone();
        let directory = self.directory.clone();
        let profile = self.plan.profile;
        let known = Arc::clone(&self.planted);
        Box::new(move |recorder, planted| {
            // It is collected once.
            known.set(planted.to_vec()).ok();
            evidence::scan(recorder, planted, &cluster_site::places(&cluster)?)?;
            ledgers::collect(recorder, &cluster)?;
            let bill = evidence::bill(&kms_sim, &cluster.files().config(Part::Kms), &directory);
            match bill {
                // Some seeded bugs are such that the program itself sees them: the laws have to, too.
                Err(complaint) if profile == Profile::Mutants => print(&format!("{complaint:#}"))?,
                bill => bill?,
            }
            let is_bill = profile == Profile::Bill;
            let against = if is_bill { Against::Heads } else { Against::Themselves };
            audits::verify(&cluster, against, &directory)?;
            if is_bill {
                keep_data::keep_audits(&cluster, &directory.kept_audits())?;
                let data = cluster.files().data(Part::Kms);
                keep_data::keep_whole(cluster.server(Part::Kms)?, &data, &directory.kms())?;
            }
            if !cluster.backups().is_empty() {
                // Its nodes are stopped for those that are restored: nobody is owed a leader.
                recorder.majority(false)?;
            }
            Ok(())
        })
    }
}

/// Judges the record of a run, and writes what is made of it.
///
/// # Errors
/// When the record cannot be read or something cannot be written.
pub fn judge(directory: &RunDirectory, began: Instant) -> Result<Verdict> {
    directory.unseal_history()?;
    let ticks = ticks_since(began);
    let (verdict, page) = judge_record(directory, &*ticks, &mut std::io::stdout().lock())?;
    print(&format!("the report is {}", page.display()))?;
    directory.seal_history()?;
    Ok(verdict)
}

/// Judges a record whose history is not compressed, prints what is found, and writes the verdict,
/// the projections for other checkers, and the report, whose page is given. `ticks` gives
/// monotonic nanoseconds; if they stand still, the report does not say how long judging took.
///
/// # Errors
/// When the record cannot be read or something cannot be written.
pub fn judge_record(
    directory: &RunDirectory,
    ticks: &dyn Fn() -> u64,
    print: &mut impl Write,
) -> Result<(Verdict, PathBuf)> {
    let before = ticks();
    let verdict = check_directory(directory.path(), ticks, print)?;
    let total = (ticks() - before) as f64 / 1e9;
    export_directory(directory.path())?;
    let page = draw(directory, &verdict, total)?;
    Ok((verdict, page))
}

/// Draws the report; gives its page. `total` is how long judging took, in seconds.
fn draw(directory: &RunDirectory, verdict: &Verdict, total: f64) -> Result<PathBuf> {
    let history = directory.read_history()?;
    let plan = std::fs::read(directory.plan()).context("cannot read the plan")?;
    let plan: Plan = serde_json::from_slice(&plan).context("the plan is none")?;
    let known = Facts::read(&directory.facts())?;
    let profile = serde_json::to_value(plan.profile)?;
    let facts = RunFacts {
        name: directory.path().file_name().unwrap_or_default().to_string_lossy().into_owned(),
        profile: profile.as_str().unwrap_or_default().to_owned(),
        commit: known.commit.clone(),
    };
    let timings = Timings { total, ..Timings::default() };
    let findings = Findings::of(verdict, &timings, known.missing_faults());
    let input = Input { history: &history, run: &facts, findings: &findings };
    Ok(report::write(&input, directory.path())?)
}

fn spec(plan: &Plan, programs: &Programs, directory: &RunDirectory, scratch: &Path) -> Spec {
    Spec {
        programs: programs.clone(),
        enclosed: plan.profile.is_enclosed(),
        directory: scratch.to_owned(),
        logs: directory.logs(),
        nodes: plan.nodes,
        spares: plan.spares,
        knobs: plan.knobs,
        disk_mebibytes: plan.disk_mebibytes,
        forgetful: plan.forgetful,
        seed: plan.seed,
    }
}

fn ticks_since(began: Instant) -> Ticks {
    Arc::new(move || {
        let since = now().saturating_duration_since(began);
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    })
}

/// Is cancelled when the operator ends the run.
fn interrupted_by_signals(runtime: &Runtime) -> Result<CancellationToken> {
    let interrupt = CancellationToken::new();
    let told = interrupt.clone();
    let (mut first, mut second) = {
        let _inside = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    // Ends with the runtime: there is nothing that it could leave undone.
    runtime.handle().spawn(async move {
        tokio::select! {
            _ = first.recv() => {}
            _ = second.recv() => {}
        }
        told.cancel();
    });
    Ok(interrupt)
}

fn print(text: &str) -> Result<()> {
    writeln!(std::io::stdout().lock(), "{}", text.trim_end()).context("cannot write the output")
}
