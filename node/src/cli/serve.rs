//! `lockbox serve`: one node of a cluster, until it is told to stop.

use std::path::PathBuf;

use clap::Args;
use lockbox_platform::telemetry::{self, LogFormat};

use crate::cli::environment::Environment;
use crate::cli::failure::Failure;
use crate::cli::supervise::{self, Process};
use crate::config::{Config, LogStyle};
use crate::server::NodeServer;

/// `lockbox serve`.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// The node's configuration. Every key can be overridden by the environment: `api.listen` by
    /// `LOCKBOX_CONFIG_API__LISTEN`.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

/// Runs `lockbox serve`.
pub(crate) fn run(arguments: &ServeArgs, environment: &Environment) -> Result<(), Failure> {
    supervise::confine()?;
    supervise::raise_files()?;
    let config = Config::load(&arguments.config, environment.all()).map_err(Failure::usage)?;
    let format = match config.log.format {
        LogStyle::Json => LogFormat::Json,
        LogStyle::Human => LogFormat::Human,
    };
    telemetry::init(format, config.log.filter.as_deref()).map_err(Failure::usage)?;
    #[cfg(feature = "mutants")]
    crate::cli::mutants::begin(&[lockbox_core::mutants::Program::Node], environment)?;
    if config.lock_memory {
        // Before there is a key in it.
        supervise::lock()?;
    }
    supervise::confine_data(&config.data_dir)?;
    supervise::run(serve(config))?
}

async fn serve(config: Config) -> Result<(), Failure> {
    let mut process = Process::new()?;
    let node_id = config.node_id;
    let deps = process.node_deps()?;
    // Boxed: the start-up future is large and awaited once.
    let started = Box::pin(NodeServer::start(config, deps)).await;
    let node = started.map_err(|error| Failure::server(error.exit_code(), error))?;
    tracing::info!(
        node_id,
        api = %node.api_addr(),
        metrics = %node.metrics_addr(),
        "the node is up"
    );
    process.until_told().await;
    node.stop().await;
    process.end().await
}
