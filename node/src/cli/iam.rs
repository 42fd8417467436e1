//! `lockbox iam`: who may do what and why, and the keys by which accounts log in.

mod explain;
mod key;
mod key_place;

use clap::{Args, Subcommand};

use crate::cli::connect::{ConnectionFlags, Context};
use crate::cli::environment::Environment;
use crate::cli::failure::Failure;
use crate::cli::output;

/// `lockbox iam`.
#[derive(Debug, Args)]
pub(crate) struct IamArgs {
    #[command(flatten)]
    connection: ConnectionFlags,
    #[command(subcommand)]
    command: IamCommand,
}

#[derive(Debug, Subcommand)]
enum IamCommand {
    /// Says whether somebody may do something with a resource, and why.
    Explain(explain::Explain),
    /// Manages authorized keys, by which service accounts log in.
    Key(key::KeyArgs),
}

/// Runs `lockbox iam`.
pub(crate) fn run(arguments: IamArgs, environment: &Environment) -> Result<(), Failure> {
    let context = Context::new(&arguments.connection, environment)?;
    let text = match arguments.command {
        IamCommand::Explain(command) => command.run(&context),
        IamCommand::Key(command) => command.run(&context),
    };
    output::write(text?.as_bytes())
}
