//! The command line: parsing, dispatch, and what the process exits with.
//!
//! Promises: a failure is one sentence on standard error and an exit code of the table in
//! `man/reference.rs`. A closed pipe on standard output is success. The client commands leave
//! SIGINT as the system has it, so that Ctrl-C ends them at once, whatever they wait for (a shell
//! sees 130).
//!
//! Each command is one variant of `Command` and one arm in `dispatch`; what it takes and does
//! is in a file of its own.

mod admin;
mod audit;
mod billing;
mod cert;
mod cluster;
mod completion;
mod config;
mod connect;
mod dev;
mod duration;
mod environment;
mod failure;
mod filter;
mod folder;
mod health;
mod iam;
mod kms;
mod local;
mod login;
mod man;
mod metadata;
#[cfg(feature = "mutants")]
mod mutants;
mod output;
mod payload;
mod payload_items;
mod peer;
mod period;
mod profiles;
mod secret;
mod serve;
mod session;
mod settings;
mod supervise;
mod version;

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::cli::environment::Environment;
use crate::cli::failure::{Exit, Failure};
use crate::cli::settings::PROFILE_VARIABLE;

/// Lockbox: secrets, replicated.
#[derive(Debug, Parser)]
#[command(name = "lockbox", version, about, after_help = FIRST_STEPS)]
struct Cli {
    /// The profile for what neither flags nor variables say [env: LOCKBOX_PROFILE].
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
    #[command(subcommand)]
    command: Command,
}

/// What somebody looks for who calls the program for the first time.
const FIRST_STEPS: &str = "\
`lockbox dev` runs a service to try things with; `lockbox config` keeps how to reach another one.
Exit status, variables and files are in `lockbox man | man -l -`.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs a whole service in one process, for a laptop or a CI job.
    Dev(dev::DevArgs),
    /// Runs one node of a cluster.
    Serve(serve::ServeArgs),
    /// Asks a node of this machine whether it serves, for the health check of a container.
    ///
    /// The metrics port that the configuration names is asked. Over TLS it must show the certificate
    /// of the configuration and no other.
    Health(health::HealthArgs),
    /// Writes the files of a cluster on this machine.
    Local(local::LocalArgs),
    /// Manages secrets and their versions.
    Secret(Box<secret::SecretArgs>),
    /// Reads the values of secrets.
    Payload(payload::PayloadArgs),
    /// Manages symmetric keys, and encrypts and decrypts with them.
    Kms(Box<kms::KmsArgs>),
    /// Says who may do what and why, and manages the keys of accounts.
    Iam(iam::IamArgs),
    /// Manages profiles: names for a server, who calls it and where; checks a node's configuration.
    Config(config::ConfigArgs),
    /// Gives programs of this machine their tokens, as a virtual machine's metadata does.
    Metadata(metadata::MetadataArgs),
    /// Forms a cluster, says how a node is, and changes who is a member and who leads.
    Cluster(cluster::ClusterArgs),
    /// Backs a cluster up and restores it, looks into its nodes, and rotates its keyring.
    Admin(admin::AdminArgs),
    /// Reads the audit of a node or of the KMS, and checks that it is what was written.
    Audit(audit::AuditArgs),
    /// Tells what is billed of the service itself, and what it costs.
    Billing(billing::BillingArgs),
    /// Makes a private authority, issues certificates, and renews them.
    Cert(cert::CertArgs),
    /// Says which build this is, and which formats it writes and reads.
    Version(version::VersionArgs),
    /// Prints what a shell needs to complete commands and flags.
    Completion(completion::CompletionArgs),
    /// Prints the manual, or writes all its pages.
    Man(man::ManArgs),
    /// Lists the seeded bugs of this build.
    #[cfg(feature = "mutants")]
    Mutants(mutants::MutantsArgs),
}

impl Command {
    const fn takes_a_profile(&self) -> bool {
        matches!(
            self,
            Self::Secret(_)
                | Self::Payload(_)
                | Self::Kms(_)
                | Self::Iam(_)
                | Self::Config(_)
                | Self::Metadata(_)
        )
    }
}

/// The parser.
fn command() -> clap::Command {
    Cli::command()
}

/// Runs the command line and says what to exit with.
#[must_use]
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help goes to standard output and is no mistake; clap knows which is which.
            let code = if error.use_stderr() { Exit::Usage.into() } else { ExitCode::SUCCESS };
            // A reader of the help that has left, as in `--help | head`, is none either.
            error.print().ok();
            return code;
        }
    };
    let environment = Environment::of_process();
    let dispatched = match cli.profile {
        None => dispatch(cli.command, &environment),
        Some(_) if !cli.command.takes_a_profile() => Err(Failure::usage(
            "--profile is for commands that call a server as a client: secret, payload, kms, \
             iam, config, metadata",
        )),
        // Before the command it stands for the variable, which the same flag behind it overrides.
        Some(name) => dispatch(cli.command, &environment.with(PROFILE_VARIABLE, name)),
    };
    match dispatched {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // Nobody is left to tell when standard error is closed.
            writeln!(io::stderr().lock(), "lockbox: {failure}").ok();
            failure.exit().into()
        }
    }
}

fn dispatch(command: Command, environment: &Environment) -> Result<(), Failure> {
    match command {
        Command::Dev(arguments) => dev::run(&arguments, environment),
        Command::Serve(arguments) => serve::run(&arguments, environment),
        Command::Health(arguments) => health::run(&arguments, environment),
        Command::Local(arguments) => local::run(arguments),
        Command::Secret(arguments) => secret::run(*arguments, environment),
        Command::Payload(arguments) => payload::run(&arguments, environment),
        Command::Kms(arguments) => kms::run(*arguments, environment),
        Command::Iam(arguments) => iam::run(arguments, environment),
        Command::Config(arguments) => config::run(arguments, environment),
        Command::Metadata(arguments) => metadata::run(&arguments, environment),
        Command::Cluster(arguments) => cluster::run(arguments, environment),
        Command::Admin(arguments) => admin::run(&arguments, environment),
        Command::Audit(arguments) => audit::run(arguments, environment),
        Command::Billing(arguments) => billing::run(arguments, environment),
        Command::Cert(arguments) => cert::run(&arguments),
        Command::Version(arguments) => version::run(&arguments),
        Command::Completion(arguments) => completion::run(&arguments),
        Command::Man(arguments) => man::run(&arguments),
        #[cfg(feature = "mutants")]
        Command::Mutants(arguments) => mutants::run(&arguments),
    }
}

#[cfg(test)]
mod tests;
