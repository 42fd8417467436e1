//! A cluster on this machine: its directory, its ports, its files.
//!
//! Owns what `lockbox dev` and `make cluster` have in common: certificates, configuration files,
//! the ids of the first resources, and the file that tells a shell how to connect. Everything is
//! under one directory; nothing here starts a server.

mod env_file;
mod ids;
mod layout;
mod prepare;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::cli::failure::Failure;
use crate::cli::login;
use layout::{DEFAULT_PORT_BASE, MAX_PORT_BASE};

pub(crate) use env_file::EnvFile;
pub(crate) use ids::Ids;
pub(crate) use layout::{Layout, NodePorts, Ports, local_address};
pub(crate) use prepare::{ADMIN_STEM, prepare};

/// `lockbox local`.
#[derive(Debug, Args)]
pub(crate) struct LocalArgs {
    /// The cluster's directory.
    #[arg(long, global = true, default_value = ".lockbox/cluster", value_name = "DIR")]
    dir: PathBuf,
    /// How many nodes it has.
    #[arg(long, global = true, default_value_t = 3, value_name = "N",
        value_parser = clap::value_parser!(u16).range(1..=7))]
    nodes: u16,
    /// Below its ports: node N serves clients on BASE+N and peers on BASE+10+N, the KMS is on
    /// BASE+20; metrics and health are a thousand above the first and the last.
    #[arg(long, global = true, default_value_t = DEFAULT_PORT_BASE, value_name = "BASE",
        value_parser = clap::value_parser!(u16).range(1..=i64::from(MAX_PORT_BASE)))]
    port_base: u16,
    #[command(subcommand)]
    command: LocalCommand,
}

#[derive(Debug, Subcommand)]
enum LocalCommand {
    /// Writes certificates and configuration files; what exists and is still good stays.
    Prepare,
    /// Logs in as the administrator and writes the file `env`, to be sourced by a shell.
    Env {
        /// Process ids of the nodes, in their order.
        #[arg(long, value_delimiter = ' ', value_name = "PIDS")]
        pids: Vec<u32>,
        /// Process id of the KMS.
        #[arg(long, value_name = "PID")]
        kms_pid: u32,
        /// Directory of the programs that run.
        #[arg(long, value_name = "DIR")]
        bin: PathBuf,
    },
}

/// Runs `lockbox local`.
pub(crate) fn run(arguments: LocalArgs) -> Result<(), Failure> {
    let LocalArgs { dir, nodes, port_base, command } = arguments;
    let layout = Layout::new(&dir, Ports::of_cluster(port_base, nodes))?;
    match command {
        LocalCommand::Prepare => {
            prepare(&layout)?;
            Ids::load_or_make(&layout)?;
            Ok(())
        }
        LocalCommand::Env { pids, kms_pid, bin } => {
            EnvFile::remove(&layout.env())?;
            let token = login::log_in(&layout)?;
            let mut env = EnvFile::new(&layout, &Ids::load(&layout)?, &token);
            env.processes(&pids, kms_pid);
            env.programs(&bin);
            env.write(&layout.env())
        }
    }
}
