//! `lockbox secret`: secrets and their versions, without values.
//!
//! Each command is a file with its flags and what it does. What can be wrong on this side is
//! looked at before anything is sent.

mod add_version;
mod create;
mod labels;
mod list;
mod mutation;
mod payload_flag;
mod read;
mod set_current_version;
pub(crate) mod target;

use clap::{Args, Subcommand};

use crate::cli::connect::{ConnectionFlags, Context};
use crate::cli::environment::Environment;
use crate::cli::failure::Failure;
use crate::cli::output;

/// `lockbox secret`.
#[derive(Debug, Args)]
pub(crate) struct SecretArgs {
    #[command(flatten)]
    connection: ConnectionFlags,
    #[command(subcommand)]
    command: SecretCommand,
}

#[derive(Debug, Subcommand)]
enum SecretCommand {
    /// Creates a secret, with a first version when a payload is given.
    Create(create::Create),
    /// Shows a secret.
    Get(read::Get),
    /// Lists the secrets of the folder.
    List(read::List),
    /// Adds a version and makes it current.
    AddVersion(add_version::AddVersion),
    /// Makes an existing version current.
    SetCurrentVersion(set_current_version::SetCurrentVersion),
    /// Lists the versions of a secret, newest first.
    #[command(alias = "list-version")]
    ListVersions(read::ListVersions),
}

/// Runs `lockbox secret`.
pub(crate) fn run(arguments: SecretArgs, environment: &Environment) -> Result<(), Failure> {
    let context = Context::new(&arguments.connection, environment)?;
    let text = match arguments.command {
        SecretCommand::Create(command) => command.run(&context),
        SecretCommand::Get(command) => command.run(&context),
        SecretCommand::List(command) => command.run(&context),
        SecretCommand::AddVersion(command) => command.run(&context),
        SecretCommand::SetCurrentVersion(command) => command.run(&context),
        SecretCommand::ListVersions(command) => command.run(&context),
    };
    output::write(text?.as_bytes())
}
