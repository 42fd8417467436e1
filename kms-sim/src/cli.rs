//! The command line: `serve`, `health`, `init-root`, `root`, `billing report|verify|records`,
//! `backup`, `restore`, `admin`, `version`, `config check`.
//!
//! Every failure is one sentence on standard error and an exit code of its own.

mod admin;
mod backup;
mod billing;
#[cfg(test)]
#[path = "../../platform/core/tests/shared/command_reference.rs"]
mod command_reference;
mod config;
mod health;
mod root;
mod serve;
mod version;

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand};
use lockbox_platform::confinement::confine_process;
use lockbox_platform::exit::ExitCode;
use lockbox_platform::system::SystemRandom;

use self::admin::AdminArgs;
use self::backup::{BackupArgs, RestoreArgs};
use self::billing::Billing;
use self::config::ConfigArgs;
use self::health::HealthArgs;
use self::root::RootArgs;
use self::version::VersionArgs;
use crate::config::RootVariables;
use crate::root_key;

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
    /// Asks a server of this machine whether it serves, for the health check of a container.
    Health(HealthArgs),
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
    /// Looks at backups, without a server.
    Backup(BackupArgs),
    /// Puts the store of a backup into a data directory that has none; the server must be stopped.
    ///
    /// When the server is started next it asks the cluster how far it had been and what it had
    /// destroyed, and serves nobody before it knows. Keys and versions that were made after the
    /// backup are lost, with all that is encrypted under them: restore the newest one.
    Restore(RestoreArgs),
    /// Does what only an operator may, at a running server.
    Admin(AdminArgs),
    /// Says which build this is, and which formats it writes and reads.
    Version(VersionArgs),
    /// Checks a configuration without starting the server.
    Config(ConfigArgs),
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
        Command::Serve { config } => serve::run(&config),
        Command::Health(arguments) => health::run(&arguments),
        Command::InitRoot { file } => init_root(&file),
        Command::Root(arguments) => root::run(arguments),
        Command::Billing { command } => billing::run(command),
        Command::Backup(arguments) => backup::run(arguments),
        Command::Restore(arguments) => backup::restore(&arguments),
        Command::Admin(arguments) => admin::run(arguments),
        Command::Version(arguments) => version::run(&arguments),
        Command::Config(arguments) => config::run(&arguments),
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

    #[test]
    fn the_reference_is_what_the_parser_says() {
        use clap::CommandFactory;
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reference/kms-sim.md");
        command_reference::holds(Cli::command(), Path::new(file));
    }
}
