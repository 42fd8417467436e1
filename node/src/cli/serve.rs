//! `lockbox serve`: one node of a cluster, until it is told to stop.

use std::path::PathBuf;

use clap::Args;
use lockbox_platform::data_directory::{self, Holder};
use lockbox_platform::exit::ExitCode;
use lockbox_platform::otlp::messages::Resource;
use lockbox_platform::service_manager::ServiceManager;
use lockbox_platform::tasks::TaskKind;
use lockbox_platform::telemetry::{self, LogFormat};
use lockbox_platform::trace;

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
    let filter = config.log.filter.as_deref();
    let spans = match trace::recorder(&config.traces) {
        Some((layer, spans)) => {
            telemetry::init_with_traces(format, filter, layer).map_err(Failure::usage)?;
            Some(spans)
        }
        None => {
            telemetry::init(format, filter).map_err(Failure::usage)?;
            None
        }
    };
    #[cfg(feature = "mutants")]
    crate::cli::mutants::begin(&[lockbox_core::mutants::Program::Node], environment)?;
    if config.lock_memory {
        // Before there is a key in it.
        supervise::lock()?;
    }
    data_directory::demand_own(&config.data_dir, Holder::Node)
        .map_err(|foreign| Failure::server(ExitCode::IdentityMismatch, foreign))?;
    supervise::confine_data(&config.data_dir)?;
    let manager = ServiceManager::of_environment(environment.all());
    supervise::run(serve(config, spans, manager))?
}

async fn serve(
    config: Config,
    spans: Option<trace::Finished>,
    manager: ServiceManager,
) -> Result<(), Failure> {
    let mut process = Process::new()?;
    let node_id = config.node_id;
    if let Some(spans) = spans {
        let resource = Resource::of("lockbox", &format!("node-{node_id}"));
        let exported = spans.export(&config.traces, resource, &process.tasks);
        exported.map_err(Failure::usage)?;
    }
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
    // Up, not ready: it may have to wait for `cluster init`, which comes after its start.
    manager.up();
    let until_told = process.tasks.token().child_token();
    let telling = manager.clone().keep_told(node.readiness().clone(), until_told.clone());
    process.tasks.spawn(TaskKind::Background, "service manager", telling);
    let watched = manager.clone().keep_watched(process.tasks.token());
    process.tasks.spawn(TaskKind::Background, "watchdog", watched);
    process.until_told().await;
    until_told.cancel();
    manager.stopping();
    let stopped = Box::pin(supervise::in_time(node.stop())).await;
    // A fault that ended it says more than how it ended.
    process.end().await.and(stopped)
}
