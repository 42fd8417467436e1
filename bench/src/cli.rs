//! The command line.

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};

use crate::certificates::{self, CertificatesArguments};
use crate::contend::{self, ContendArguments};
use crate::echo::{self, EchoArguments, EchoServerArguments};
use crate::etcd::{self, EtcdArguments};
use crate::fill::{self, FillArguments};
use crate::first_read::{self, FirstReadArguments};
use crate::fsync::{self, FsyncArguments};
use crate::kill_switch::{self, KillSwitchArguments, LateReads};
use crate::ledger::{self, LedgerArguments};
use crate::lockbox::{self, LoadArguments};
use crate::overload::{self, OverloadArguments};
use crate::report::{self, ReportArguments};

/// It failed, or does not hold.
const FAILED: u8 = 1;
/// Whether it holds could not be tried.
const NOT_TRIED: u8 = 2;

/// Measures Lockbox, and etcd in the same way. Takes the IAM token from LOCKBOX_TOKEN.
#[derive(Debug, Parser)]
#[command(name = "lockbox-bench", version)]
struct Cli {
    /// Threads of the load generator.
    #[arg(long, default_value_t = 2, global = true)]
    threads: usize,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Reads payloads and adds versions in a closed loop.
    Load(LoadArguments),
    /// Puts the same load on etcd: linearizable ranges, and puts.
    Etcd(EtcdArguments),
    /// Puts the same load on a bare echo server: the ceiling of any gRPC answer.
    Echo(EchoArguments),
    /// The echo server by itself, until its standard input ends.
    EchoServer(EchoServerArguments),
    /// Makes many secrets with several versions each.
    Fill(FillArguments),
    /// Lets many writers add entries to one secret, and looks for lost ones.
    Contend(ContendArguments),
    /// Writes for as long as a drill takes, notes what is acknowledged, and looks for it later.
    Ledger(LedgerArguments),
    /// Asks for many times what a cluster carries, and looks what becomes of the calls.
    Overload(OverloadArguments),
    /// Takes rights away, stops nodes meanwhile, and looks who still reads.
    KillSwitch(KillSwitchArguments),
    /// Waits until each endpoint answers a payload read, and tells how long it took.
    FirstRead(FirstReadArguments),
    /// Measures the syncs of a disk.
    Fsync(FsyncArguments),
    /// Makes certificates for servers on this machine.
    Certificates(CertificatesArguments),
    /// Turns the results of several rounds into a table of ratios.
    Report(ReportArguments),
}

/// Runs the program; a failure is one sentence on standard error.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let Err(error) = run(&cli) else { return ExitCode::SUCCESS };
    // Without standard error there is nobody left to tell.
    drop(writeln!(io::stderr().lock(), "lockbox-bench: {error:#}"));
    exit_code(&cli.command, &error).into()
}

/// Of a kill switch 1 says that somebody read on, and nothing else does: a demonstration that a seeded
/// bug is seen rests on it.
fn exit_code(command: &Command, error: &anyhow::Error) -> u8 {
    match command {
        Command::KillSwitch(_) if !error.is::<LateReads>() => NOT_TRIED,
        Command::KillSwitch(_)
        | Command::Load(_)
        | Command::Etcd(_)
        | Command::Echo(_)
        | Command::EchoServer(_)
        | Command::Fill(_)
        | Command::Contend(_)
        | Command::Ledger(_)
        | Command::Overload(_)
        | Command::FirstRead(_)
        | Command::Fsync(_)
        | Command::Certificates(_)
        | Command::Report(_) => FAILED,
    }
}

fn run(cli: &Cli) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cli.threads.max(1))
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    match &cli.command {
        Command::Load(arguments) => runtime.block_on(lockbox::run(arguments)),
        Command::Etcd(arguments) => runtime.block_on(etcd::run(arguments)),
        Command::Echo(arguments) => runtime.block_on(echo::run(arguments)),
        Command::EchoServer(arguments) => runtime.block_on(echo::serve(arguments)),
        Command::Fill(arguments) => runtime.block_on(fill::run(arguments)),
        Command::Contend(arguments) => runtime.block_on(contend::run(arguments)),
        Command::Ledger(arguments) => runtime.block_on(ledger::run(arguments)),
        Command::Overload(arguments) => runtime.block_on(overload::run(arguments)),
        Command::KillSwitch(arguments) => runtime.block_on(kill_switch::run(arguments)),
        Command::FirstRead(arguments) => runtime.block_on(first_read::run(arguments)),
        Command::Fsync(arguments) => fsync::run(arguments),
        Command::Certificates(arguments) => certificates::run(arguments),
        Command::Report(arguments) => report::run(arguments),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn a_kill_switch_that_could_not_be_tried_is_told_apart() {
        let words = ["lockbox-bench", "kill-switch", "--endpoint", "a", "--kms-endpoint", "k"];
        let more = ["--ca", "c", "--folder-id", "f", "--node-pid", "2"];
        let kill_switch = Cli::parse_from(words.into_iter().chain(more)).command;
        let fsync = Cli::parse_from(["lockbox-bench", "fsync", "--file", "f"]).command;
        let late = || anyhow::Error::from(LateReads(1));
        let other = || anyhow::anyhow!("only 3 reads in a second began");
        assert_eq!(exit_code(&kill_switch, &late().context("again")), FAILED);
        assert_eq!(exit_code(&kill_switch, &other()), NOT_TRIED);
        assert_eq!(exit_code(&fsync, &other()), FAILED);
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
