//! Acknowledged writes, noted one by one in a file that outlives whatever happens to the cluster.
//!
//! `contend` keeps what was acknowledged in memory, for as long as it runs. A drill destroys disks,
//! restores backups and exchanges all nodes; its writers begin and end meanwhile. So here each
//! acknowledgement is a line of a file, with the log index that the answer named: by that it can be
//! said afterwards which writes had to survive, and which had to be lost.

mod book;
mod check;
mod verdict;
mod write;
mod writer;

use anyhow::Result;
use clap::{Args, Subcommand};

use check::CheckArguments;
use write::WriteArguments;

/// Options of `ledger`.
#[derive(Debug, Args)]
pub struct LedgerArguments {
    #[command(subcommand)]
    command: LedgerCommand,
}

#[derive(Debug, Subcommand)]
enum LedgerCommand {
    /// Writes until it is told to end (SIGTERM, SIGINT), and notes what was acknowledged.
    Write(WriteArguments),
    /// Reads everything that was noted, through each member.
    Check(CheckArguments),
}

/// Writes, or checks.
///
/// # Errors
/// When the ledger cannot be read or written, when a call is refused for good, and when what was
/// acknowledged is not as it should be.
pub async fn run(arguments: &LedgerArguments) -> Result<()> {
    match &arguments.command {
        LedgerCommand::Write(arguments) => write::run(arguments).await,
        LedgerCommand::Check(arguments) => check::run(arguments).await,
    }
}
