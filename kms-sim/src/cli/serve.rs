//! `kms-sim serve`: from the configuration to an orderly end.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use lockbox_platform::confinement::{confine_directory, lock_memory};
use lockbox_platform::data_directory::{self, Holder};
use lockbox_platform::exit::{ExitCode, FatalExit};
use lockbox_platform::file_limit::raise_file_limit;
use lockbox_platform::metrics::{Metrics, Prefix};
use lockbox_platform::otlp::messages::Resource;
use lockbox_platform::service_manager::ServiceManager;
use lockbox_platform::system::{SystemClock, SystemRandom};
use lockbox_platform::tasks::{TaskKind, Tasks};
use lockbox_platform::{telemetry, trace};
use tokio::signal::unix::{SignalKind, signal};

use super::{Failure, confine, environment};
use crate::config::KmsConfig;
use crate::root_key::RootKey;
use crate::server::{KmsDeps, KmsSim, StartError};

/// How long calls in flight may take when the process ends.
const CALLS_GRACE: Duration = Duration::from_secs(3);
/// How long the rest may take.
const TASKS_GRACE: Duration = Duration::from_secs(1);
/// How long their threads may take after that: one that a broken disk holds would never end.
const THREADS_GRACE: Duration = Duration::from_secs(1);

/// Runs `kms-sim serve`.
pub(super) fn run(config: &Path) -> Result<(), Failure> {
    confine()?;
    raise_file_limit().map_err(|error| {
        let sentence = format!("cannot raise the limit on open files: {error}");
        Failure::new(ExitCode::Internal, sentence)
    })?;
    let (environment, variables) = environment();
    let config = KmsConfig::load(config, &environment).map_err(Failure::usage)?;
    let (format, filter) = (config.log.format.into(), config.log.filter.as_deref());
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
    lockbox_platform::mutants::begin(&[lockbox_core::mutants::Program::Kms], &environment)
        .map_err(Failure::usage)?;
    if config.lock_memory {
        // Before there is a key in it.
        lock_memory().map_err(|error| {
            Failure::usage(format_args!("cannot keep the memory out of the swap: {error}"))
        })?;
    }
    let data = &config.data_dir;
    data_directory::demand_own(data, Holder::Kms)
        .map_err(|foreign| Failure::new(ExitCode::IdentityMismatch, foreign))?;
    confine_directory(data).map_err(|error| {
        let sentence = format!("cannot close {} to other users: {error}", data.display());
        Failure::new(ExitCode::Storage, sentence)
    })?;
    let secret = config.load_root_secret(variables).map_err(Failure::usage)?;
    let root = secret.open(data, &SystemRandom).map_err(StartError::from);
    let root = root.map_err(|error| Failure::new(error.exit_code(), error))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(ExitCode::Internal, error))?;
    let manager = ServiceManager::of_environment(&environment);
    let ended = runtime.block_on(serve_until_told(&config, root, spans, &manager));
    runtime.shutdown_timeout(THREADS_GRACE);
    ended
}

async fn serve_until_told(
    config: &KmsConfig,
    root: RootKey,
    spans: Option<trace::Finished>,
    manager: &ServiceManager,
) -> Result<(), Failure> {
    let fatal = FatalExit::new();
    let tasks = Tasks::new(fatal.clone());
    if let Some(spans) = spans {
        let exported = spans.export(&config.traces, Resource::of("kms-sim", "kms"), &tasks);
        exported.map_err(Failure::usage)?;
    }
    let internal = |error| Failure::new(ExitCode::Internal, error);
    let metrics = Metrics::new(Prefix::Kms).map_err(internal)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(Failure::usage)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Failure::usage)?;
    let deps = KmsDeps {
        tasks: tasks.clone(),
        metrics,
        clock: Arc::new(SystemClock::new()),
        random: Arc::new(SystemRandom),
    };
    // A store that was restored waits for the cluster here, and whoever is tired of it may say so.
    let started = tokio::select! {
        started = KmsSim::start(config, root, deps) => Some(started),
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
    };
    let Some(started) = started else {
        tracing::info!("asked to stop before it was ready");
        if let Err(left) = tasks.shutdown(TASKS_GRACE).await {
            tracing::warn!(%left, "the end was not orderly");
        }
        return Ok(());
    };
    let kms = started.map_err(|error| Failure::new(error.exit_code(), error))?;
    tracing::info!(address = %kms.addr(), metrics = ?kms.metrics_addr(), "kms-sim is ready");
    manager.up();
    let watched = manager.clone().keep_watched(tasks.token());
    tasks.spawn(TaskKind::Background, "watchdog", watched);
    tokio::select! {
        _ = terminate.recv() => tracing::info!("asked to stop"),
        _ = interrupt.recv() => tracing::info!("asked to stop"),
        _ = fatal.wait() => {}
    }
    manager.stopping();
    kms.stop(CALLS_GRACE).await;
    if let Err(left) = tasks.shutdown(TASKS_GRACE).await {
        tracing::warn!(%left, "the end was not orderly");
    }
    match fatal.raised() {
        None => Ok(()),
        Some(fatal) => Err(Failure::new(fatal.code, fatal.reason)),
    }
}
