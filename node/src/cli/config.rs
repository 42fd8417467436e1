//! `lockbox config`: profiles, and what they say; and the check of a node's configuration.

mod check;
mod profile;
mod values;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::cli::environment::Environment;
use crate::cli::failure::Failure;
use crate::cli::output;
use crate::cli::profiles;
use crate::cli::settings;

/// `lockbox config`.
#[derive(Debug, Args)]
#[command(after_help = ORDER)]
pub(crate) struct ConfigArgs {
    /// The profile to show or to change, instead of the active one [env: LOCKBOX_PROFILE].
    #[arg(long, global = true, value_name = "NAME", help_heading = "Connection")]
    profile: Option<String>,
    #[command(subcommand)]
    command: ConfigCommand,
}

/// What people ask first.
const ORDER: &str = "\
A flag goes before its variable, that before the profile, and that before the default. The file is
LOCKBOX_CONFIG, else lockbox/config.toml in XDG_CONFIG_HOME, else in ~/.config. It holds no secret,
only the paths of files that hold one.";

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Names a server, who calls it and where; one of the names is active.
    Profile {
        #[command(subcommand)]
        command: profile::ProfileCommand,
    },
    /// Sets a value of the profile; without any profile, makes one named default.
    Set(values::Set),
    /// Removes a value of the profile.
    Unset(values::Unset),
    /// Prints one value of the profile.
    Get(values::Get),
    /// Prints the values of the profile.
    List,
    /// Tells every mistake in a node's configuration, with its line, and in the files it names.
    Check(check::Check),
}

/// Runs `lockbox config`.
pub(crate) fn run(arguments: ConfigArgs, environment: &Environment) -> Result<(), Failure> {
    output::write(text(arguments, environment)?.as_bytes())
}

/// What there is to print.
fn text(arguments: ConfigArgs, environment: &Environment) -> Result<String, Failure> {
    match arguments.command {
        ConfigCommand::Profile { command } => command.run(&file(environment)?),
        ConfigCommand::Set(set) => {
            set.run(&file(environment)?, arguments.profile.as_deref(), environment)
        }
        ConfigCommand::Unset(unset) => {
            unset.run(&file(environment)?, arguments.profile.as_deref(), environment)
        }
        ConfigCommand::Get(get) => get.run(arguments.profile.as_deref(), environment),
        ConfigCommand::List => values::list(arguments.profile.as_deref(), environment),
        ConfigCommand::Check(check) => check.run(environment),
    }
}

fn file(environment: &Environment) -> Result<PathBuf, Failure> {
    profiles::path(environment).ok_or_else(settings::no_file)
}

#[cfg(test)]
mod tests;
