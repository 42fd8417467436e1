//! The command line: `serve`, `init-root`, `root`, `billing report|verify|records`, `admin`.
//!
//! Every failure is one sentence on standard error and an exit code of its own.

mod admin;
mod billing;
mod root;

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::{Parser, Subcommand};
use lockbox_platform::confinement::{confine_directory, confine_process, lock_memory};
use lockbox_platform::exit::{ExitCode, FatalExit};
use lockbox_platform::file_limit::raise_file_limit;
use lockbox_platform::metrics::{Metrics, Prefix};
use lockbox_platform::system::{SystemClock, SystemRandom};
use lockbox_platform::tasks::Tasks;
use lockbox_platform::telemetry;
use tokio::signal::unix::{SignalKind, signal};

use self::admin::AdminArgs;
use self::billing::Billing;
use self::root::RootArgs;
use crate::config::{KmsConfig, RootVariables};
use crate::root_key::{self, RootKey};
use crate::server::{KmsDeps, KmsSim, StartError};

/// How long calls in flight may take when the process ends.
const CALLS_GRACE: Duration = Duration::from_secs(3);
/// How long the rest may take.
const TASKS_GRACE: Duration = Duration::from_secs(1);
/// How long their threads may take after that: one that a broken disk holds would never end.
const THREADS_GRACE: Duration = Duration::from_secs(1);

/// The KMS node: symmetric keys, crypto, billing ledger.
#[derive(Debug, Parser)]
#[command(name = "kms-sim", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the server until it is told to stop.
    Serve {
        /// The configuration file.
        #[arg(long)]
        config: PathBuf,
    },
    /// Creates a root key file that only its owner can read.
    InitRoot {
        /// The file; it must not exist.
        #[arg(long)]
        file: PathBuf,
    },
    /// Makes recovery shares of a root key, or gets a lost one back from them.
    Root(RootArgs),
    /// Prints the bill, or checks it against the ledger.
    Billing {
        #[command(subcommand)]
        command: Billing,
    },
    /// Does what only an operator may, at a running server.
    Admin(AdminArgs),
    /// Lists the seeded bugs of this build.
    #[cfg(feature = "mutants")]
    Mutants {
        /// How they are printed: `text` or `json`.
        #[arg(long, default_value = "text")]
        format: lockbox_platform::mutants::ListFormat,
    },
}

/// A command that failed: what to exit with and one sentence.
struct Failure {
    code: ExitCode,
    sentence: String,
}

impl Failure {
    fn new(code: ExitCode, error: impl std::fmt::Display) -> Self {
        Self { code, sentence: format!("{error}") }
    }

    fn usage(error: impl std::fmt::Display) -> Self {
        Self::new(ExitCode::Usage, error)
    }

    fn output(error: &io::Error) -> Self {
        Self::new(ExitCode::Usage, format!("cannot write the output: {error}"))
    }
}

/// Runs the command line and says what to exit with.
#[must_use]
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help goes to standard output and is no mistake; clap knows which is which.
            let code = if error.use_stderr() { ExitCode::Usage } else { ExitCode::Ok };
            return if error.print().is_ok() { code } else { ExitCode::Usage };
        }
    };
    let result = match cli.command {
        Command::Serve { config } => serve(&config),
        Command::InitRoot { file } => init_root(&file),
        Command::Root(arguments) => root::run(arguments),
        Command::Billing { command } => billing::run(command),
        Command::Admin(arguments) => admin::run(arguments),
        #[cfg(feature = "mutants")]
        Command::Mutants { format } => list_mutants(format),
    };
    match result {
        Ok(()) => ExitCode::Ok,
        Err(Failure { code, sentence }) => {
            // Nobody is left to tell when standard error is closed.
            writeln!(io::stderr().lock(), "kms-sim: {sentence}").ok();
            code
        }
    }
}

/// No core file, nobody who reads along, and no file for others: keys are in memory.
fn confine() -> Result<(), Failure> {
    confine_process().map_err(|error| {
        Failure::new(ExitCode::Internal, format!("cannot forbid core files: {error}"))
    })
}

fn init_root(file: &Path) -> Result<(), Failure> {
    confine()?;
    root_key::create_file(file, &SystemRandom).map_err(Failure::usage)?;
    writeln!(io::stdout().lock(), "created {}: keep a copy in a safe place", file.display())
        .map_err(|error| Failure::output(&error))
}

#[cfg(feature = "mutants")]
fn list_mutants(format: lockbox_platform::mutants::ListFormat) -> Result<(), Failure> {
    let list = lockbox_platform::mutants::list(lockbox_core::mutants::Program::Kms, format);
    io::stdout().lock().write_all(list.as_bytes()).map_err(|error| Failure::output(&error))
}

fn serve(config: &Path) -> Result<(), Failure> {
    confine()?;
    raise_file_limit().map_err(|error| {
        let sentence = format!("cannot raise the limit on open files: {error}");
        Failure::new(ExitCode::Internal, sentence)
    })?;
    let (environment, variables) = environment();
    let config = KmsConfig::load(config, &environment).map_err(Failure::usage)?;
    telemetry::init(config.log.format.into(), config.log.filter.as_deref())
        .map_err(Failure::usage)?;
    #[cfg(feature = "mutants")]
    lockbox_platform::mutants::begin(&[lockbox_core::mutants::Program::Kms], &environment)
        .map_err(Failure::usage)?;
    if config.lock_memory {
        // Before there is a key in it.
        lock_memory().map_err(|error| {
            Failure::usage(format_args!("cannot keep the memory out of the swap: {error}"))
        })?;
    }
    let data = &config.data_dir;
    confine_directory(data).map_err(|error| {
        let sentence = format!("cannot close {} to other users: {error}", data.display());
        Failure::new(ExitCode::Storage, sentence)
    })?;
    let secret = config.load_root_secret(variables).map_err(Failure::usage)?;
    let root = secret.open(data, &SystemRandom).map_err(StartError::from);
    let root = root.map_err(|error| Failure::new(error.exit_code(), error))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(ExitCode::Internal, error))?;
    let ended = runtime.block_on(serve_until_told(&config, root));
    runtime.shutdown_timeout(THREADS_GRACE);
    ended
}

async fn serve_until_told(config: &KmsConfig, root: RootKey) -> Result<(), Failure> {
    let fatal = FatalExit::new();
    let tasks = Tasks::new(fatal.clone());
    let internal = |error| Failure::new(ExitCode::Internal, error);
    let metrics = Metrics::new(Prefix::Kms).map_err(internal)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(Failure::usage)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Failure::usage)?;
    let deps = KmsDeps {
        tasks: tasks.clone(),
        metrics,
        clock: Arc::new(SystemClock::new()),
        random: Arc::new(SystemRandom),
    };
    let started = KmsSim::start(config, root, deps).await;
    let kms = started.map_err(|error| Failure::new(error.exit_code(), error))?;
    tracing::info!(address = %kms.addr(), metrics = ?kms.metrics_addr(), "kms-sim is ready");
    tokio::select! {
        _ = terminate.recv() => tracing::info!("asked to stop"),
        _ = interrupt.recv() => tracing::info!("asked to stop"),
        _ = fatal.wait() => {}
    }
    kms.stop(CALLS_GRACE).await;
    if let Err(left) = tasks.shutdown(TASKS_GRACE).await {
        tracing::warn!(%left, "the end was not orderly");
    }
    match fatal.raised() {
        None => Ok(()),
        Some(fatal) => Err(Failure::new(fatal.code, fatal.reason)),
    }
}

/// The environment's variables that are text, and apart from them the root key.
fn environment() -> (Vec<(String, String)>, RootVariables) {
    let text = |(name, value): (OsString, OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    let mut environment = std::env::vars_os().filter_map(text).collect();
    let variables = RootVariables::take_from(&mut environment);
    (environment, variables)
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
