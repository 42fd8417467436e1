//! `lockbox dev`: a whole service in one process, for a laptop or a CI job.
//!
//! The same node and the same KMS as in production, over TLS and mutual TLS on loopback; only the
//! certificates are made here and the root key lies beside the data. Promises that the connection
//! file is there only while everything is ready.

mod profile;

use std::fs::File;
use std::io::{self, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use lockbox_kms_sim::config::RootVariables;
use lockbox_kms_sim::{KmsConfig, KmsDeps, KmsSim, StartError as KmsStartError};
use lockbox_platform::exit::ExitCode;
use lockbox_platform::metrics::{Metrics, Prefix};
use lockbox_platform::system::{SystemClock, SystemRandom};
use lockbox_platform::telemetry::{self, LogFormat};
use tokio::task::spawn_blocking;

use crate::cli::cluster;
use crate::cli::environment::Environment;
use crate::cli::failure::{Exit, Failure};
use crate::cli::local::{EnvFile, Ids, Layout, NodePorts, Ports, prepare};
use crate::cli::login;
use crate::cli::profiles;
use crate::cli::supervise::{self, Process};
use crate::config::Config;
use crate::server::NodeServer;
use profile::Filled;

/// How long calls to the KMS may take when the process ends.
const KMS_GRACE: Duration = Duration::from_millis(500);
/// The only node.
const NODE_ID: u64 = 1;
/// What is logged unless asked for more: the terminal is for people.
const FILTER: &str = "warn";

/// `lockbox dev`.
#[derive(Debug, Args)]
pub(crate) struct DevArgs {
    /// Where data, certificates and the connection file are kept.
    #[arg(long, default_value = ".lockbox/dev", value_name = "DIR")]
    dir: PathBuf,
    /// Keep everything but the connection file in a temporary directory, and remove it at the end.
    ///
    /// No profile is filled then: what it would name is going to be gone.
    #[arg(long)]
    ephemeral: bool,
    /// Leave the configuration of the command line alone: do not fill its profile `dev`.
    #[arg(long)]
    no_profile: bool,
    /// Port for clients; 0 takes a free one, as with the others.
    #[arg(long, default_value_t = 8443, value_name = "PORT")]
    api_port: u16,
    /// Port for the KMS's users.
    #[arg(long, default_value_t = 8445, value_name = "PORT")]
    kms_port: u16,
    /// Port between node, KMS and administrator.
    #[arg(long, default_value_t = 8444, value_name = "PORT")]
    peer_port: u16,
    /// Port of the node's metrics and health.
    #[arg(long, default_value_t = 9464, value_name = "PORT")]
    metrics_port: u16,
    /// Port of the KMS's metrics and health.
    #[arg(long, default_value_t = 9465, value_name = "PORT")]
    kms_metrics_port: u16,
    /// What is logged, as in LOCKBOX_LOG: `info`, `lockbox=debug`, ...
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,
}

/// Runs `lockbox dev`.
pub(crate) fn run(arguments: &DevArgs, environment: &Environment) -> Result<(), Failure> {
    supervise::confine()?;
    supervise::raise_files()?;
    let filter = arguments.log.as_deref().or_else(|| environment.get("LOCKBOX_LOG"));
    telemetry::init(LogFormat::Human, filter.or(Some(FILTER))).map_err(Failure::usage)?;
    #[cfg(feature = "mutants")]
    {
        // Node and KMS are one process here.
        use lockbox_core::mutants::Program;
        crate::cli::mutants::begin(&[Program::Node, Program::Kms], environment)?;
    }
    let _only_one = Held::take(&arguments.dir)?;
    let temporary = arguments.ephemeral.then(tempfile::tempdir).transpose();
    let temporary = temporary.map_err(|error| Failure::new(Exit::Internal, error))?;
    let data = temporary.as_ref().map_or(arguments.dir.as_path(), tempfile::TempDir::path);
    // Everything but the connection file is below it, whose mode is its own.
    supervise::confine_data(data)?;
    let layout = Layout::new(data, ports(arguments)?)?.with_env(&arguments.dir.join("env"))?;
    let env = layout.env();
    EnvFile::remove(&env)?;
    let fills = !arguments.no_profile && !arguments.ephemeral;
    let profiles = fills.then(|| profiles::path(environment)).flatten();
    let ended = supervise::run(dev(layout, profiles, environment));
    let removed = EnvFile::remove(&env);
    ended?.and(removed)
}

/// The directory, held against a second start.
struct Held {
    _lock: File,
}

impl Held {
    fn take(directory: &Path) -> Result<Self, Failure> {
        let cannot = |error: io::Error| {
            Failure::usage(format_args!("cannot use {}: {error}", directory.display()))
        };
        std::fs::create_dir_all(directory).map_err(cannot)?;
        let lock = File::create(directory.join("lock")).map_err(cannot)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { _lock: lock }),
            Err(std::fs::TryLockError::WouldBlock) => Err(Failure::server(
                ExitCode::Storage,
                format_args!("another lockbox dev is using {}", directory.display()),
            )),
            Err(std::fs::TryLockError::Error(error)) => Err(cannot(error)),
        }
    }
}

fn ports(arguments: &DevArgs) -> Result<Ports, Failure> {
    Ok(Ports {
        nodes: vec![NodePorts {
            api: chosen(arguments.api_port)?,
            peer: chosen(arguments.peer_port)?,
            metrics: chosen(arguments.metrics_port)?,
        }],
        kms: chosen(arguments.kms_port)?,
        kms_metrics: chosen(arguments.kms_metrics_port)?,
    })
}

/// The port, or a free one: clients must be told it before the server listens.
fn chosen(port: u16) -> Result<u16, Failure> {
    if port != 0 {
        return Ok(port);
    }
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|held| held.local_addr());
    free.map(|address| address.port()).map_err(|error| Failure::new(Exit::Internal, error))
}

async fn dev(
    layout: Layout,
    profiles: Option<PathBuf>,
    environment: &Environment,
) -> Result<(), Failure> {
    let mut process = Process::new()?;
    prepare(&layout)?;
    let ids = Ids::load_or_make(&layout)?;
    let kms = start_kms(&layout, environment, &process).await?;
    let node = match start_node(&layout, environment, &process).await {
        Ok(node) => node,
        Err(failure) => {
            kms.stop(KMS_GRACE).await;
            // The reason to end is known already.
            process.end().await.ok();
            return Err(failure);
        }
    };
    // A signal or a fault ends the wait at every step.
    let outcome = tokio::select! {
        ready = get_ready(&layout, &ids, profiles, &node) => ready,
        () = process.until_told() => Ok(false),
    };
    if let Ok(true) = outcome {
        process.until_told().await;
    }
    node.stop().await;
    kms.stop(KMS_GRACE).await;
    let ended = process.end().await;
    ended.and(outcome.map(|_| ()))
}

async fn start_kms(
    layout: &Layout,
    environment: &Environment,
    process: &Process,
) -> Result<KmsSim, Failure> {
    let config =
        KmsConfig::load(&layout.kms_config(), environment.all()).map_err(Failure::usage)?;
    // Its configuration names a file, which is made beside it.
    let secret = config.load_root_secret(RootVariables::default()).map_err(Failure::usage)?;
    let root = secret.open(&config.data_dir, &SystemRandom).map_err(KmsStartError::from);
    let root = root.map_err(|error| Failure::server(error.exit_code(), error))?;
    let metrics = Metrics::new(Prefix::Kms);
    let deps = KmsDeps {
        tasks: process.tasks.clone(),
        metrics: metrics.map_err(|error| Failure::new(Exit::Internal, error))?,
        clock: Arc::new(SystemClock::new()),
        random: Arc::new(SystemRandom),
    };
    let started = Box::pin(KmsSim::start(&config, root, deps)).await;
    started.map_err(|error| Failure::server(error.exit_code(), error))
}

async fn start_node(
    layout: &Layout,
    environment: &Environment,
    process: &Process,
) -> Result<NodeServer, Failure> {
    let config =
        Config::load(&layout.node_config(NODE_ID), environment.all()).map_err(Failure::usage)?;
    let started = Box::pin(NodeServer::start(config, process.node_deps()?)).await;
    started.map_err(|error| Failure::server(error.exit_code(), error))
}

/// Forms the cluster if need be, waits until clients are served, and says how to connect.
async fn get_ready(
    layout: &Layout,
    ids: &Ids,
    profiles: Option<PathBuf>,
    node: &NodeServer,
) -> Result<bool, Failure> {
    if !layout.admin_key().exists() {
        let (layout, ids) = (layout.clone(), ids.clone());
        blocking(move || cluster::init_local(&layout, &ids)).await?;
    }
    node.readiness().wait_ready().await;
    let of_login = layout.clone();
    let token = blocking(move || login::log_in(&of_login)).await?;
    let mut env = EnvFile::new(layout, ids, &token);
    if let Some(bin) = std::env::current_exe().ok().as_deref().and_then(Path::parent) {
        env.programs(bin);
    }
    env.write(&layout.env())?;
    let hint = match profiles {
        Some(file) => filled(file, layout, ids).await,
        None => String::new(),
    };
    say_ready(layout, &hint)?;
    Ok(true)
}

/// Fills the profile, and says what came of it. The service runs without it just as well.
async fn filled(file: PathBuf, layout: &Layout, ids: &Ids) -> String {
    let (layout, ids) = (layout.clone(), ids.clone());
    match blocking(move || profile::fill(&file, &layout, &ids)).await {
        Ok(Filled::Active) => {
            "Without the variables, from any directory: lockbox secret list\n\n".to_owned()
        }
        Ok(Filled::Inactive) => format!(
            "Without the variables, from any directory: lockbox --profile {} secret list\n\n",
            profile::NAME
        ),
        Ok(Filled::Kept) => {
            format!("The profile {} is yours and was left as it is.\n\n", profile::NAME)
        }
        Err(failure) => format!("The profile {} was not filled: {failure}.\n\n", profile::NAME),
    }
}

/// Runs a command of the client side, which has a runtime of its own.
async fn blocking<R: Send + 'static>(
    command: impl FnOnce() -> Result<R, Failure> + Send + 'static,
) -> Result<R, Failure> {
    let ended = spawn_blocking(command).await;
    ended.map_err(|error| Failure::new(Exit::Internal, error))?
}

fn say_ready(layout: &Layout, hint: &str) -> Result<(), Failure> {
    let env = layout.env();
    // As short as a person would type it.
    let here = std::env::current_dir().ok();
    let shown = here.as_deref().and_then(|here| env.strip_prefix(here).ok()).unwrap_or(&env);
    let (api, kms) = (layout.ports().nodes.first().map_or(0, |p| p.api), layout.ports().kms);
    let text = format!(
        "Lockbox is ready on localhost:{api}, its KMS on localhost:{kms}.\n\
         In another terminal:\n\n  \
         . {}\n  \
         lockbox secret create --name first --payload '[{{key: password, text_value: hello}}]'\n  \
         lockbox payload get --name first --key password\n\n\
         {hint}Ctrl-C ends it.\n",
        shown.display()
    );
    let mut output = io::stdout().lock();
    let written = output.write_all(text.as_bytes()).and_then(|()| output.flush());
    match written {
        // Whoever started this has stopped listening; the service goes on.
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(Failure::usage(format_args!("cannot write the output: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_held_once() {
        let directory = tempfile::tempdir().unwrap();
        let held = Held::take(directory.path()).unwrap();
        let refused = Held::take(directory.path()).map(|_| ()).unwrap_err();
        assert!(refused.to_string().contains("another lockbox dev"));
        drop(held);
        assert!(Held::take(directory.path()).is_ok());
    }

    #[test]
    fn port_zero_is_a_free_port() {
        assert_ne!(chosen(0).unwrap(), 0);
        assert_eq!(chosen(17).unwrap(), 17);
    }
}
