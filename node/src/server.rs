//! Assembles the node: ports, replica, keyring, services, and their order at start and stop.
//!
//! The same whether it is a process of its own or a part of `lockbox dev`. Promises that every
//! port is taken before the data directory is touched, that peers are served before clients, and
//! that the way down loses nothing: no new calls, the calls in flight, the replica with its
//! leadership handed away, then the rest.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use lockbox_core::{Clock, ClusterId, Randomness};
use lockbox_platform::audit::shipping::{self, Origin, Shipping};
use lockbox_platform::audit::{self, AuditOpenError};
use lockbox_platform::certificate_expiry;
use lockbox_platform::disk_space::FileSystems;
use lockbox_platform::exit::{ExitCode, FatalExit};
use lockbox_platform::health::{self, Readiness};
use lockbox_platform::jwt::AcceptedAudiences;
use lockbox_platform::listener::{
    self, BoundListener, ListenError, ListenerLimits, Security, Serving,
};
use lockbox_platform::metrics::{Metrics, MetricsError};
use lockbox_platform::rate::RateLimits;
use lockbox_platform::rest::RestError;
use lockbox_platform::tasks::{TaskKind, Tasks};
use lockbox_platform::tls::{ClientTlsFiles, IdentityFiles, LastingEndpoint, ServerTls, TlsError};
use lockbox_platform::{disk_metrics, own_certificate, process_metrics};
use lockbox_raft::replica::{ReplicaConfig, ReplicaParts, StartError as ReplicaError};
use lockbox_raft::store::RocksEngines;
use lockbox_raft::{Replica, replica};
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::authn::Authenticator;
use crate::backup::make::Turn as BackupTurn;
use crate::backup::metrics::BackupMetrics;
use crate::backup::schedule;
use crate::config::Config;
use crate::disk_guard::{self, DiskGuard};
use crate::keyring::Keyring;
use crate::kms::{KmsClient, KmsCollector, KmsIdentity, kms_endpoint};
use crate::kms_audit::TurnCounters;
use crate::mutual_tls::{CertificateNames, MutualTlsConnector, node_dns_name};
use crate::read_meter::{self, ReadMeter};
use crate::readiness::LeaderHeard;
use crate::replica_metrics::ReplicaCollector;
use crate::rotation::{self, Rotation};
use crate::sealer::Sealer;
use crate::streams::Streams;
use crate::usage::{self, PayloadReads};
use crate::{audit_heads, consistency, forget, kms_audit, node_metrics, readiness, router, unseal};

/// How long clients' connections may take to finish at a stop.
const CONNECTIONS_GRACE: Duration = Duration::from_millis(1_000);
/// How long calls that lost their connection may take after that, and again once the KMS is no
/// longer waited for.
const CALLS_GRACE: Duration = Duration::from_millis(500);

/// What the node takes from the process that it runs in.
pub struct NodeDeps {
    /// Runs and joins its tasks.
    pub tasks: Tasks,
    /// A registry with the prefix `lockbox_`.
    pub metrics: Metrics,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Keys, nonces and ids.
    pub random: Arc<dyn Randomness>,
}

/// Why the node does not start; one sentence each.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A certificate, key or address is wrong.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A port cannot be taken.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The data directory cannot be used, or a setting of consensus is wrong.
    #[error(transparent)]
    Replica(#[from] ReplicaError),
    /// The disk does not say how much room it has, or the ballast cannot be removed.
    #[error("the room on the disk is not known: {0}")]
    Disk(#[source] std::io::Error),
    /// The audit file cannot be used.
    #[error(transparent)]
    Audit(#[from] AuditOpenError),
    /// The registry is used by another node too.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    /// A route cannot be served: a fault of the build.
    #[error(transparent)]
    Rest(#[from] RestError),
}

impl StartError {
    /// What the process exits with.
    #[must_use]
    pub const fn exit_code(&self) -> ExitCode {
        match self {
            Self::Listen(error) => error.exit_code(),
            Self::Replica(ReplicaError::Storage(error)) => error.exit_code(),
            Self::Replica(ReplicaError::Config(_)) | Self::Tls(_) | Self::Audit(_) => {
                ExitCode::Usage
            }
            Self::Disk(_) => ExitCode::Storage,
            Self::Metrics(_) | Self::Rest(_) => ExitCode::Internal,
        }
    }
}

/// A running node.
pub struct NodeServer {
    app: Arc<App>,
    readiness: Readiness,
    api: Serving,
    peer: Serving,
    metrics: Serving,
}

/// The node's ports, held before anything else is touched.
struct Ports {
    api: BoundListener,
    peer: BoundListener,
    metrics: BoundListener,
}

impl NodeServer {
    /// Takes the ports, opens the data directory and serves. Returns before the node is ready:
    /// it may have to wait for its peers, for `cluster init`, or for the KMS.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(config: Config, deps: NodeDeps) -> Result<Self, StartError> {
        let NodeDeps { tasks, metrics, clock, random } = deps;
        // Peers and the KMS would refuse it one by one, and for ever.
        let (own, ca) = (&config.peer.certificate, &config.peer.ca);
        let now = Duration::from_millis(clock.wall_ms());
        own_certificate::check(own, ca, &node_dns_name(config.node_id), now)?;
        let ports = bind(&config).await?;
        let files = peer_files(&config);
        let kms = kms_client(&config, Arc::clone(&random))?.measured_by(&metrics)?;
        metrics.collector(Box::new(KmsCollector::new(kms.clone())?))?;
        let parts = ReplicaParts {
            engines: Arc::new(RocksEngines::new()),
            connector: Arc::new(MutualTlsConnector::new(files)),
            authorizer: Arc::new(CertificateNames),
            clock: Arc::clone(&clock),
            random: Arc::clone(&random),
        };
        // ORDER: before anything is written, for there may be no room to write.
        let guard = DiskGuard::begin(&config, Arc::new(FileSystems)).map_err(StartError::Disk)?;
        let replica = Replica::start(replica_config(&config), parts).await?;
        let app = app(config, replica.clone(), kms, &tasks, &metrics, clock, random)?;
        let heard = LeaderHeard::default();
        let collector = ReplicaCollector::new(replica.clone(), heard.clone())?;
        metrics.collector(Box::new(collector.with_disk(guard.is_low())))?;
        let keeping = disk_guard::keep_room(Arc::new(guard), replica, tasks.token());
        tasks.spawn(TaskKind::Critical, "disk guard", keeping);
        let backup_metrics = BackupMetrics::new(&metrics)?;
        register_metrics(&metrics, &app)?;
        ship_audit(&app, &tasks, &metrics)?;
        let readiness = app.readiness.clone();
        let (limits, of_clients) = (ListenerLimits::default(), app.config.connections.limits());
        let api_router = router::public(&app, metrics.rpc.clone())?;
        spawn_tasks(&app, &tasks, heard, TurnCounters::register(&metrics)?, backup_metrics);
        let (certificates, clock) = (metrics.certificates.clone(), Arc::clone(&app.clock));
        let files = app.config.certificates();
        let watching = certificate_expiry::watch(files, certificates, clock, tasks.token());
        tasks.spawn(TaskKind::Background, "certificate expiry", watching);
        let tls_metrics = || metrics.tls.clone();
        let peer = ports.peer.start(
            router::peer(&app, metrics.rpc.clone()),
            &tasks,
            router::peer_limits(),
            tls_metrics(),
        );
        let health = health::router(metrics.clone(), readiness.clone(), tasks.fatal().clone());
        let health = health.merge(usage::router(Arc::clone(&app)));
        let health = ports.metrics.start(health, &tasks, limits, tls_metrics());
        let api = ports.api.start(api_router, &tasks, of_clients, tls_metrics());
        Ok(Self { app, readiness, api, peer, metrics: health })
    }

    /// Where clients are served.
    #[must_use]
    pub const fn api_addr(&self) -> SocketAddr {
        self.api.local_addr()
    }

    /// Where metrics and health are served.
    #[must_use]
    pub const fn metrics_addr(&self) -> SocketAddr {
        self.metrics.local_addr()
    }

    /// Whether the node can serve clients, and why not.
    #[must_use]
    pub const fn readiness(&self) -> &Readiness {
        &self.readiness
    }

    /// What the services work with.
    #[must_use]
    pub const fn app(&self) -> &Arc<App> {
        &self.app
    }

    /// Ends the node. Call it before the tasks are shut down: the auditor ends with them.
    pub async fn stop(self) {
        // Whoever asks before they send something goes elsewhere from now on.
        self.readiness.component("shutdown").not_ready("the node is shutting down");
        // ORDER: clients first; peers last, for leadership is handed over through them. Streams
        // before their connections, which would wait for them.
        self.app.streams.end(CALLS_GRACE).await;
        self.api.stop(CONNECTIONS_GRACE).await;
        let calls = &self.app.calls;
        calls.close();
        let mut ended = tokio::time::timeout(CALLS_GRACE, calls.wait()).await;
        if ended.is_err() {
            // Each of them still has to write its audit record.
            self.app.kms.hang_up();
            ended = tokio::time::timeout(CALLS_GRACE, calls.wait()).await;
        }
        let app = &self.app;
        tokio::join!(audit_heads::anchor_last(app), read_meter::report_last(app));
        self.app.replica.shutdown().await;
        // What waited for a leader or for its entry has been let go now.
        if ended.is_err() && tokio::time::timeout(CALLS_GRACE, calls.wait()).await.is_err() {
            tracing::warn!(calls = calls.len(), "calls are still under way at the end");
        }
        self.peer.stop(Duration::ZERO).await;
        self.metrics.stop(Duration::ZERO).await;
    }
}

async fn bind(config: &Config) -> Result<Ports, StartError> {
    let api = ServerTls::load(&config.api_tls())?;
    let peer = ServerTls::load(&config.peer_tls())?;
    let of_metrics = &config.metrics;
    let security = Security::of_metrics(of_metrics.listen, of_metrics.plaintext, &api);
    Ok(Ports {
        api: listener::bind("API", config.api.listen, Security::Tls(api)).await?,
        peer: listener::bind("peer", config.peer.listen, Security::Tls(peer)).await?,
        metrics: listener::bind("metrics", of_metrics.listen, security).await?,
    })
}

fn peer_files(config: &Config) -> ClientTlsFiles {
    ClientTlsFiles {
        ca: config.peer.ca.clone(),
        identity: Some(IdentityFiles {
            certificate: config.peer.certificate.clone(),
            key: config.peer.key.clone(),
        }),
    }
}

/// A client of the KMS as this node is known to it.
///
/// # Errors
/// [`TlsError`] when the address or a file cannot be used.
pub(crate) fn kms_client(
    config: &Config,
    random: Arc<dyn Randomness>,
) -> Result<KmsClient, TlsError> {
    let (address, name) = (&config.kms.address, config.kms.server_name());
    let line = LastingEndpoint::load(address, name, &kms_files(config), kms_endpoint)?;
    let identity = KmsIdentity::by(config.kms.token_file.as_ref());
    Ok(KmsClient::new(move || line.channel(), random).identified_by(identity))
}

fn kms_files(config: &Config) -> ClientTlsFiles {
    let ClientTlsFiles { ca, identity } = peer_files(config);
    // Who has a token shows nothing else.
    let identity = identity.filter(|_| config.kms.token_file.is_none());
    ClientTlsFiles { ca: config.kms.ca().map_or(ca, Path::to_owned), identity }
}

fn replica_config(config: &Config) -> ReplicaConfig {
    let raft = &config.raft;
    let defaults = ReplicaConfig::new(config.node_id, config.data_dir.clone());
    ReplicaConfig {
        // Whether it is one was checked when the configuration was read.
        cluster_id: config.cluster_id.as_deref().and_then(|id| ClusterId::parse(id).ok()),
        timing: replica::Timing {
            heartbeat_ms: raft.heartbeat_ms,
            election_timeout_min_ms: raft.election_min_ms,
            election_timeout_max_ms: raft.election_max_ms,
        },
        snapshots: replica::SnapshotSettings {
            logs_since_last: raft.snapshot_entries,
            logs_kept: raft.entries_kept,
            logs_held_max: raft.entries_held_max,
            // Who asks for frequent snapshots has their entries purged as often.
            purge_batch: defaults.snapshots.purge_batch.min(raft.snapshot_entries),
        },
        destroy: replica::DestroySettings {
            purge_within: Duration::from_secs(config.destroy.purge_within_seconds),
        },
        integrity: replica::IntegritySettings {
            scrub_interval: config.disk.scrub_interval(),
            scrub_bytes_per_second: config.disk.scrub_bytes_per_second,
            state_check_interval: config.disk.state_check_interval(),
            retained_bytes_max: Some(config.disk.retained_bytes_max),
        },
        ..defaults
    }
}

fn app(
    config: Config,
    replica: Replica,
    kms: KmsClient,
    tasks: &Tasks,
    metrics: &Metrics,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Randomness>,
) -> Result<Arc<App>, StartError> {
    let audit_config = config.audit.of_writer(config.audit_path());
    let auditor = audit::open(&audit_config, Arc::clone(&clock), tasks, metrics.audit.clone())?;
    let calls = config.limits.calls(metrics)?;
    let keyring = Keyring::default();
    let advertised = [config.api.advertise.clone()];
    Ok(Arc::new(App {
        replica,
        keyring: keyring.clone(),
        authenticator: Authenticator::default(),
        sealer: Sealer::new(keyring, kms.clone(), Arc::clone(&random)),
        kms,
        auditor,
        audiences: AcceptedAudiences::new(&advertised, &config.identity.accepted_audiences),
        readiness: Readiness::new(),
        rate: RateLimits::new(config.limits.rate()),
        read_meter: ReadMeter::new(config.node_id, random.as_ref()),
        config: Arc::new(config),
        clock,
        random,
        turns: crate::turns::Turns::default(),
        catching_up: consistency::waiting_room(),
        calls,
        streams: Streams::default(),
        rotation: Rotation::default(),
        backups: BackupTurn::default(),
        payload_reads: PayloadReads::default(),
    }))
}

/// Starts what copies the audit to others.
fn ship_audit(app: &App, tasks: &Tasks, metrics: &Metrics) -> Result<(), TlsError> {
    let (node_id, audit) = (app.config.node_id, &app.config.audit);
    let shipping = Shipping {
        path: app.config.audit_path(),
        synced: app.auditor.synced_head(),
        origin: Origin { program: "lockbox", host: format!("node-{node_id}") },
        syslog: audit.syslog.clone(),
        otlp: audit.otlp.clone(),
    };
    shipping::start(shipping, tasks, &metrics.audit.shipping)
}

/// What is read at each scrape.
fn register_metrics(metrics: &Metrics, app: &App) -> Result<(), MetricsError> {
    let config = &app.config;
    node_metrics::register(metrics, app)?;
    process_metrics::register(metrics, app.clock.wall_ms())?;
    let audit = config.audit_path().parent().map_or_else(PathBuf::new, Path::to_owned);
    disk_metrics::register(metrics, vec![("data", config.data_dir.clone()), ("audit", audit)])
}

fn spawn_tasks(
    app: &Arc<App>,
    tasks: &Tasks,
    heard: LeaderHeard,
    of_kms: TurnCounters,
    backups: BackupMetrics,
) {
    let sealed = app.readiness.component("keyring");
    let unsealing = unseal::keep_unsealed(Arc::clone(app), sealed, tasks.token());
    tasks.spawn(TaskKind::Critical, "unseal", unsealing);
    let rotating = rotation::keep_rotating(Arc::clone(app), tasks.token());
    tasks.spawn(TaskKind::Critical, "keyring rotation", rotating);
    let component = app.readiness.component("replica");
    let election = Duration::from_millis(app.config.raft.election_max_ms);
    let replica = app.replica.clone();
    let following = readiness::follow(replica, component, heard, election, tasks.token());
    tasks.spawn(TaskKind::Critical, "replica readiness", following);
    let anchoring = audit_heads::keep_anchored(Arc::clone(app), tasks.token());
    tasks.spawn(TaskKind::Critical, "audit heads", anchoring);
    let reporting = read_meter::keep_reporting(Arc::clone(app), tasks.token());
    tasks.spawn(TaskKind::Critical, "payload reads", reporting);
    let anchoring = kms_audit::keep_kms_anchored(Arc::clone(app), of_kms, tasks.token());
    tasks.spawn(TaskKind::Critical, "KMS audit heads", anchoring);
    let forgetting = forget::forget_destroyed(Arc::clone(app), tasks.token());
    tasks.spawn(TaskKind::Critical, "forget destroyed", forgetting);
    let backing_up = schedule::keep_backed_up(Arc::clone(app), backups, tasks.token());
    tasks.spawn(TaskKind::Critical, "backups", backing_up);
    let watching = watch_replica(app.replica.clone(), tasks.fatal().clone(), tasks.token());
    tasks.spawn(TaskKind::Critical, "replica watch", watching);
}

/// Ends the process when the replica can no longer run (`design §5`).
async fn watch_replica(
    replica: Replica,
    fatal: FatalExit,
    cancelled: CancellationToken,
) -> Result<(), Infallible> {
    tokio::select! {
        () = cancelled.cancelled() => {}
        failure = replica.fatal() => {
            fatal.raise(failure.exit_code(), failure.to_string());
            cancelled.cancelled().await;
        }
    }
    Ok(())
}
