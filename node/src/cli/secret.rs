//! `lockbox secret`: secrets and their versions, without values.
//!
//! Each command is a file with its flags and what it does. What can be wrong on this side is
//! looked at before anything is sent.

pub(crate) mod access;
mod add_version;
mod create;
mod destruction;
pub(crate) mod labels;
mod lifecycle;
pub(crate) mod list;
pub(crate) mod mutation;
pub(crate) mod operations;
mod payload_flag;
mod read;
mod set_current_version;
pub(crate) mod subject;
pub(crate) mod target;
mod update;
mod watch;

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
    /// Changes a secret's name, description, labels or protection.
    Update(update::Update),
    /// Deletes a secret with all its versions, for good.
    Delete(lifecycle::Whole),
    /// Makes a secret's payloads readable again.
    Activate(lifecycle::Whole),
    /// Makes a secret's payloads unreadable until it is activated.
    Deactivate(lifecycle::Whole),
    /// Adds a version and makes it current.
    AddVersion(add_version::AddVersion),
    /// Makes an existing version current.
    SetCurrentVersion(set_current_version::SetCurrentVersion),
    /// Makes a version unreadable now and destroys it later.
    ScheduleVersionDestruction(destruction::ScheduleVersionDestruction),
    /// Makes a version that was to be destroyed readable again.
    CancelVersionDestruction(destruction::CancelVersionDestruction),
    /// Lists the versions of a secret, newest first.
    #[command(alias = "list-version")]
    ListVersions(read::ListVersions),
    /// Lists what was done to a secret, newest first.
    ListOperations(operations::ListOperations),
    /// Lists who has which role on a secret itself, or on one of its versions.
    #[command(alias = "list-access-binding")]
    ListAccessBindings(access::ListAccessBindings),
    /// Gives somebody a role on a secret, or on one of its versions.
    AddAccessBinding(access::OneBinding),
    /// Takes a role on a secret, or on one of its versions, from somebody.
    RemoveAccessBinding(access::OneBinding),
    /// Replaces all roles on a secret.
    SetAccessBindings(access::SetAccessBindings),
    /// Follows what happens to the secrets of the folder, a line for each change.
    Watch(watch::Watch),
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
        SecretCommand::Update(command) => command.run(&context),
        SecretCommand::Delete(command) => command.delete(&context),
        SecretCommand::Activate(command) => command.activate(&context),
        SecretCommand::Deactivate(command) => command.deactivate(&context),
        SecretCommand::ScheduleVersionDestruction(command) => command.run(&context),
        SecretCommand::CancelVersionDestruction(command) => command.run(&context),
        SecretCommand::ListOperations(command) => command.run(&context),
        SecretCommand::ListAccessBindings(command) => command.run(&context),
        SecretCommand::AddAccessBinding(command) => command.add(&context),
        SecretCommand::RemoveAccessBinding(command) => command.remove(&context),
        SecretCommand::SetAccessBindings(command) => command.run(&context),
        SecretCommand::Watch(command) => command.run(&context),
    };
    output::write(text?.as_bytes())
}
