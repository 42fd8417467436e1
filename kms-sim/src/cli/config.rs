//! `kms-sim config check`: everything that is wrong with a configuration, at once.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use lockbox_core::Clock;
use lockbox_platform::system::SystemClock;

use super::{Failure, confine, environment};
use crate::config::KmsConfig;

/// `kms-sim config`.
#[derive(Debug, Args)]
pub(super) struct ConfigArgs {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Tells every mistake in a configuration, with its line, and in the files that it names.
    Check {
        /// The configuration, as `kms-sim serve --config` takes it.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Look at the configuration alone, and not at the files that it names: for another
        /// machine.
        #[arg(long)]
        no_files: bool,
    },
}

/// Runs `kms-sim config`.
pub(super) fn run(arguments: &ConfigArgs) -> Result<(), Failure> {
    let ConfigCommand::Check { file, no_files } = &arguments.command;
    // The root key is looked at.
    confine()?;
    check(file, *no_files)
}

fn check(file: &Path, no_files: bool) -> Result<(), Failure> {
    let name = file.display();
    let text = std::fs::read_to_string(file).map_err(|error| {
        Failure::usage(format_args!("cannot read the configuration {name}: {error}"))
    })?;
    let (environment, variables) = environment();
    // With the environment, as the server reads it: that may have what the file lacks.
    let wrong = match KmsConfig::load(file, &environment) {
        Err(error) => {
            let mistakes = KmsConfig::mistakes(&text).into_iter();
            let mistakes = mistakes.map(|mistake| format!("{name}: {mistake}"));
            let mut mistakes: Vec<String> = mistakes.collect();
            if mistakes.is_empty() {
                // It is the environment that is wrong.
                mistakes.push(error.to_string());
            }
            mistakes
        }
        Ok(_) if no_files => Vec::new(),
        Ok(config) => {
            for warning in config.file_warnings(SystemClock::new().wall_ms()) {
                // Nobody is left to tell when standard error is closed.
                writeln!(io::stderr().lock(), "kms-sim: warning: {warning}").ok();
            }
            config.file_mistakes(variables)
        }
    };
    let mut output = io::stdout().lock();
    let failed = |error: io::Error| Failure::output(&error);
    if wrong.is_empty() {
        return writeln!(output, "{name} is right").map_err(failed);
    }
    for mistake in &wrong {
        writeln!(output, "{mistake}").map_err(failed)?;
    }
    let (count, noun) = (wrong.len(), if wrong.len() == 1 { "mistake" } else { "mistakes" });
    Err(Failure::usage(format_args!("{count} {noun} in {name}")))
}
