//! The command line: `doctor`, `plan`, `run`, `check`, `export`, `mutants`, `evidence`,
//! `verify-evidence`.
//!
//! Exit codes: 0 valid, 1 invalid or failed, 2 unknown; of `doctor`: 0 complete, 2 with faults
//! left out; of `mutants`: 0 when all are killed.

use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};

use crate::check::export::export_directory;
use crate::cluster::scratch::Scratch;
use crate::cluster::{Programs, enclosure};
use crate::doctor::examine;
use crate::evidence;
use crate::kill_matrix;
use crate::moment::now;
use crate::plan::{Plan, Profile};
use crate::run::directory::RunDirectory;
use crate::run::whole;

/// The answer is not known.
const UNKNOWN: u8 = 2;
/// Tells the inner process where the servers' files go.
const SCRATCH: &str = "LOCKBOX_JEPSEN_SCRATCH";

/// Real clusters under faults.
#[derive(Debug, Parser)]
#[command(name = "lockbox-jepsen", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Says what this machine can do, and which faults are left out.
    Doctor {
        /// Directory of the programs, to see which of the operator's commands they have.
        #[arg(long, value_name = "DIR")]
        bin: Option<PathBuf>,
        /// Prints JSON.
        #[arg(long)]
        json: bool,
    },
    /// Prints the plan of a seed as JSON.
    Plan {
        /// The kind of run.
        #[arg(long, value_enum)]
        profile: Profile,
        /// What everything is drawn from.
        #[arg(long)]
        seed: u64,
    },
    /// Runs a plan and judges it.
    Run(Run),
    /// Judges the record of a run again, and writes the verdict beside it.
    Check {
        /// The directory of the run.
        directory: PathBuf,
    },
    /// Writes the record of a run as other checkers read it.
    Export {
        /// The directory of the run.
        directory: PathBuf,
    },
    /// Writes the evidence of a commit: the records of its runs, judged again, in one directory.
    Evidence(evidence::Wanted),
    /// Checks such a directory, offline, and changes nothing of it.
    VerifyEvidence {
        /// The directory.
        directory: PathBuf,
    },
    /// Runs seeded bugs until a law sees them, and prints the kill matrix.
    Mutants(kill_matrix::Settings),
}

#[derive(Debug, clap::Args)]
struct Run {
    /// The kind of run.
    #[arg(long, value_enum, default_value = "smoke")]
    profile: Profile,
    /// What everything is drawn from; drawn itself, and printed, when not given.
    #[arg(long)]
    seed: Option<u64>,
    /// A plan to run instead of a drawn one, as `plan` prints it.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["profile", "seed"])]
    plan: Option<PathBuf>,
    /// Directory of the programs `lockbox` and `kms-sim`.
    #[arg(long, value_name = "DIR", env = "LOCKBOX_BIN")]
    bin: PathBuf,
    /// Directory with `lockbox` of another build, such as the last release: nodes change between
    /// the two with each orderly restart.
    #[arg(long, value_name = "DIR", env = "LOCKBOX_OTHER_BIN")]
    other_bin: Option<PathBuf>,
    /// Where the run's record is written; it must not exist, or be empty.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Below this the servers keep their files while the run lasts.
    #[arg(long, value_name = "DIR", default_value = "/tmp/lockbox-jepsen")]
    scratch: PathBuf,
}

/// Runs the command line and returns what to exit with.
///
/// # Errors
/// What kept it from being run.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> Result<u8> {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            error.print()?;
            return Ok(u8::from(error.use_stderr()));
        }
    };
    match cli.command {
        Command::Doctor { bin, json } => doctor(bin.as_deref(), json),
        Command::Plan { profile, seed } => {
            print(&serde_json::to_string_pretty(&Plan::draw(seed, profile))?)?;
            Ok(0)
        }
        Command::Run(arguments) if enclosure::is_inside() => inside(&arguments),
        Command::Run(arguments) => outside(&arguments),
        Command::Check { directory } => {
            let verdict = whole::judge(&RunDirectory::at(&directory), now())?;
            Ok(verdict.judgement.exit_code())
        }
        Command::Export { directory } => export(&RunDirectory::at(&directory)),
        Command::Evidence(wanted) => {
            evidence::write(&wanted, &mut std::io::stdout().lock())?;
            Ok(0)
        }
        Command::VerifyEvidence { directory } => {
            evidence::verify(&directory, &mut std::io::stdout().lock())?;
            Ok(0)
        }
        Command::Mutants(settings) => Ok(u8::from(!kill_matrix::run(&settings)?)),
    }
}

fn print(text: &str) -> Result<()> {
    writeln!(std::io::stdout().lock(), "{}", text.trim_end()).context("cannot write the output")
}

fn doctor(bin: Option<&Path>, json: bool) -> Result<u8> {
    let programs = bin.map(Programs::in_directory).transpose()?;
    let report = examine(programs.as_ref());
    let text = if json { serde_json::to_string_pretty(&report)? } else { report.to_string() };
    print(&text)?;
    Ok(if report.is_complete() { 0 } else { UNKNOWN })
}

/// Makes the places of the run, and the run inside an enclosure.
fn outside(run: &Run) -> Result<u8> {
    let plan = run.plan()?;
    print(&format!("seed {}", plan.seed))?;
    fs::create_dir_all(&run.out).with_context(|| run.out.display().to_string())?;
    let out = run.out.canonicalize()?;
    let is_empty = fs::read_dir(&out)?.next().is_none();
    anyhow::ensure!(is_empty, "{} is not empty", out.display());
    let bin = run.bin.canonicalize().with_context(|| run.bin.display().to_string())?;
    let scratch = Scratch::make(&run.scratch)?;
    if !plan.profile.is_enclosed() {
        // On loopback there is nothing to enclose.
        let programs = Programs::in_directory(&bin)?.beside(run.other_bin.as_deref())?;
        return Ok(whole::run(&plan, &programs, &out, scratch.path())?.exit_code());
    }
    // What the inner process is told; the run keeps a copy of its own.
    let planned = scratch.path().join("plan.json");
    RunDirectory::write_json(&planned, &plan)?;
    let mut arguments: Vec<OsString> = vec![
        "run".into(),
        "--plan".into(),
        planned.into(),
        "--bin".into(),
        bin.into(),
        "--out".into(),
        out.into(),
    ];
    if let Some(other) = &run.other_bin {
        let other = other.canonicalize().with_context(|| other.display().to_string())?;
        arguments.extend(["--other-bin".into(), other.into()]);
    }
    let mut command = enclosure::command(arguments)?;
    command.env(SCRATCH, scratch.path());
    Ok(enclosure::exit_code(enclosure::supervise(command)?))
}

fn inside(run: &Run) -> Result<u8> {
    enclosure::prepare()?;
    let scratch = std::env::var_os(SCRATCH).context("the inner process is told its scratch")?;
    let plan = run.plan()?;
    let programs = Programs::in_directory(&run.bin)?.beside(run.other_bin.as_deref())?;
    Ok(whole::run(&plan, &programs, &run.out, scratch.as_ref())?.exit_code())
}

impl Run {
    /// The plan that it names, or the one of its profile and its seed.
    fn plan(&self) -> Result<Plan> {
        if let Some(path) = &self.plan {
            let text = fs::read(path).with_context(|| path.display().to_string())?;
            return serde_json::from_slice(&text)
                .with_context(|| format!("{} is no plan", path.display()));
        }
        let seed = match self.seed {
            Some(seed) => seed,
            None => fresh_seed()?,
        };
        Ok(Plan::draw(seed, self.profile))
    }
}

fn export(directory: &RunDirectory) -> Result<u8> {
    directory.unseal_history()?;
    for file in export_directory(directory.path())? {
        print(&file.display().to_string())?;
    }
    directory.seal_history()?;
    Ok(0)
}

fn fresh_seed() -> Result<u64> {
    let mut bytes = [0; 8];
    let random = fs::File::open("/dev/urandom").context("cannot draw a seed")?;
    std::io::Read::read_exact(&mut &random, &mut bytes).context("cannot draw a seed")?;
    // Short enough to be typed.
    Ok(u64::from_ne_bytes(bytes) % 1_000_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
