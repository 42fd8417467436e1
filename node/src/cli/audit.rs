//! `lockbox audit`: reads the files of an audit, of a node or of the KMS, and checks them.
//!
//! Everything but the heads is read from files on this machine, beside a server that writes them or
//! without one.

mod files;
mod grep;
mod heads;
mod tail;
mod verify;

use clap::{Args, Subcommand};

use crate::cli::environment::Environment;
use crate::cli::failure::Failure;

/// `lockbox audit`.
#[derive(Debug, Args)]
pub(crate) struct AuditArgs {
    #[command(subcommand)]
    command: AuditCommand,
}

#[derive(Debug, Subcommand)]
enum AuditCommand {
    /// Checks that an audit is what was written: finds every change, loss, repetition and move.
    ///
    /// A cut at the end, and a chain that was made anew, show only against heads that somebody else
    /// has: those that the cluster keeps in its log, or a file of them. Exits with 11 when something is wrong.
    Verify(Box<verify::Verify>),
    /// Prints the last records, and with -f those that follow.
    Tail(tail::Tail),
    /// Prints the records that fit everything that is asked for.
    Grep(grep::Grep),
    /// Lists the heads of audits, of the nodes and of the KMS, that the cluster keeps in its log.
    Heads(Box<heads::Heads>),
}

/// Runs `lockbox audit`.
pub(crate) fn run(arguments: AuditArgs, environment: &Environment) -> Result<(), Failure> {
    match arguments.command {
        AuditCommand::Verify(verify) => verify.run(environment),
        AuditCommand::Tail(tail) => tail.run(),
        AuditCommand::Grep(grep) => grep.run(),
        AuditCommand::Heads(heads) => heads.run(environment),
    }
}
