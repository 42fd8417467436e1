//! Assembles the server: engine, services, listener, metrics port.
//!
//! The same whether it is a process of its own or a part of `lockbox dev`: always TLS, always the
//! same services. Promises an orderly end: no new calls, then the calls in flight, then the ledger.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use lockbox_core::{Clock, LogTime, Randomness};
use lockbox_platform::audit::shipping::{self, Origin, Shipping};
use lockbox_platform::audit::{self, AuditFiles, AuditOpenError};
use lockbox_platform::body_budget::BodyBudget;
use lockbox_platform::certificate_expiry;
use lockbox_platform::detach::Calls;
use lockbox_platform::exit::{ExitCode, FatalExit};
use lockbox_platform::grpc_services::GrpcServices;
use lockbox_platform::health::{self, Readiness};
use lockbox_platform::http_service::HttpService;
use lockbox_platform::listener::{self, ListenError, ListenerLimits, Security, Serving};
use lockbox_platform::metrics::{Metrics, MetricsError};
use lockbox_platform::rate::RateLimits;
use lockbox_platform::request_layer::RequestLayer;
use lockbox_platform::rest::{RestError, RestGateway};
use lockbox_platform::tasks::{TaskKind, Tasks};
use lockbox_platform::tls::{ClientTlsFiles, IdentityFiles, ServerTls, TlsError};
use lockbox_platform::{disk_metrics, process_metrics};
use lockbox_proto::FILE_DESCRIPTOR_SET;
use lockbox_proto::lockbox::kms::v1::audit_head_service_server::AuditHeadServiceServer;
use lockbox_proto::lockbox::kms::v1::key_access_service_server::KeyAccessServiceServer;
use lockbox_proto::lockbox::kms::v1::key_admin_service_server::KeyAdminServiceServer;
use lockbox_proto::yandex::cloud::kms::v1::{
    symmetric_crypto_service_server as crypto_server, symmetric_key_service_server as key_server,
};
use lockbox_proto::yandex::cloud::operation::operation_service_server::OperationServiceServer;
use tokio_util::sync::CancellationToken;
use tonic::server::NamedService;

use crate::audit_head::AuditHeads;
use crate::authn::Authenticator;
use crate::authn::introspect::{ClusterIntrospector, Introspector};
use crate::authn::policy::{Policy, PolicyError};
use crate::backup;
use crate::config::{ClusterConfig, KmsConfig};
use crate::engine::{Engine, EngineParts, OpenError};
use crate::grpc::access::AccessService;
use crate::grpc::admin::AdminService;
use crate::grpc::audit_head::HeadService;
use crate::grpc::crypto::CryptoService;
use crate::grpc::keys::KeysService;
use crate::grpc::operation::OperationsService;
use crate::grpc::unread;
use crate::grpc::{Edge, automatic};
use crate::ledger::audited;
use crate::metrics::{KmsMetrics, LedgerMetrics};
use crate::root_key::RootKey;
use crate::store::StoreError;
use crate::usage::{self, KeyOperations};
use crate::witness::{self, ClusterWitness, Keeper, SettleError, Witness, settle};
use crate::{kms_metrics, schedule};

type AccessServer = KeyAccessServiceServer<AccessService>;
type AdminServer = KeyAdminServiceServer<AdminService>;
type CryptoServer = crypto_server::SymmetricCryptoServiceServer<CryptoService>;
type KeysServer = key_server::SymmetricKeyServiceServer<KeysService>;
type HeadServer = AuditHeadServiceServer<HeadService>;
type OperationsServer = OperationServiceServer<OperationsService>;

/// What the server takes from the process that it runs in.
pub struct KmsDeps {
    /// Runs and joins its tasks.
    pub tasks: Tasks,
    /// A registry with the prefix `kms_`, for this server alone.
    pub metrics: Metrics,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Keys, nonces and ids.
    pub random: Arc<dyn Randomness>,
}

/// Why the server does not start; one sentence each.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A certificate, key or address is wrong.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A port cannot be taken.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The data directory cannot be used, or not with this root key.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The store was restored, and cannot learn what happened since.
    #[error(transparent)]
    Settle(#[from] SettleError),
    /// The audit file cannot be used.
    #[error(transparent)]
    Audit(#[from] AuditOpenError),
    /// The static policy is wrong.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// No key for heads comes of the store's secret: a fault of the build.
    #[error("the audit's heads cannot be signed")]
    HeadSigner,
    /// The registry is used by another server too.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    /// A route cannot be served: a fault of the build.
    #[error(transparent)]
    Rest(#[from] RestError),
    /// Reflection cannot be served: a fault of the build.
    #[error("reflection cannot be served: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
}

impl StartError {
    /// What the process exits with.
    #[must_use]
    pub const fn exit_code(&self) -> ExitCode {
        match self {
            Self::Listen(error) => error.exit_code(),
            Self::Settle(SettleError::Open(error)) => open_exit_code(error),
            Self::Settle(SettleError::NoCluster { .. } | SettleError::Unknown) => ExitCode::Usage,
            Self::Settle(SettleError::Foreign | SettleError::Replaced { .. }) => {
                ExitCode::IdentityMismatch
            }
            Self::Open(error) => open_exit_code(error),
            Self::Tls(_) | Self::Audit(_) | Self::Policy(_) => ExitCode::Usage,
            Self::HeadSigner | Self::Metrics(_) | Self::Rest(_) | Self::Reflection(_) => {
                ExitCode::Internal
            }
        }
    }
}

/// What the process exits with when the store does not open.
const fn open_exit_code(error: &OpenError) -> ExitCode {
    match error {
        OpenError::WrongRootKey { .. }
        | OpenError::NoPassphrase { .. }
        | OpenError::Store(StoreError::Newer { .. }) => ExitCode::IdentityMismatch,
        OpenError::Store(StoreError::DiskFull(_)) => ExitCode::DiskFull,
        OpenError::Store(StoreError::Damaged { .. }) | OpenError::Derivation(_) => {
            ExitCode::CorruptLog
        }
        OpenError::Store(_) | OpenError::NoKeys { .. } | OpenError::SystemKey(_) => {
            ExitCode::Storage
        }
        OpenError::Directory { .. } | OpenError::Restored { .. } => ExitCode::Usage,
    }
}

/// How long calls whose callers have gone may take at the end, to their records.
const CALLS_END: Duration = Duration::from_secs(10);
/// How long the ledger may take, with what is queued.
const LEDGER_END: Duration = Duration::from_secs(10);
/// A running server.
pub struct KmsSim {
    api: Serving,
    metrics: Option<Serving>,
    calls: Calls,
    engine: Arc<Engine>,
    fatal: FatalExit,
    /// Ends what the server does by itself.
    unscheduled: CancellationToken,
}

impl KmsSim {
    /// Takes the ports, opens the data directory and serves.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(
        config: &KmsConfig,
        root: RootKey,
        deps: KmsDeps,
    ) -> Result<Self, StartError> {
        let KmsDeps { tasks, metrics, clock, random } = deps;
        let tls = ServerTls::load(&config.api_tls())?;
        let authenticator = authenticator(config, Arc::clone(&clock))?;
        // The ports before the data: a second server by mistake must not touch the directory.
        let health = match &config.metrics {
            Some(metrics) => {
                let security = Security::of_metrics(metrics.listen, metrics.plaintext, &tls);
                Some(listener::bind("KMS metrics", metrics.listen, security).await?)
            }
            None => None,
        };
        let api = listener::bind("KMS API", config.api.listen, Security::Tls(tls)).await?;
        let measured = KmsMetrics::register(&metrics)?;
        let readiness = Readiness::new();
        let ledger = readiness.component("ledger");
        // Before the store: one that was restored may have to wait for the cluster, and says so.
        let served = usage::Served::default();
        let health = health.map(|bound| {
            let routes = health::router(metrics.clone(), readiness, tasks.fatal().clone());
            let routes = routes.merge(usage::router(Arc::clone(&served)));
            bound.start(routes, &tasks, ListenerLimits::default(), metrics.tls.clone())
        });
        let witness = cluster_witness(config)?;
        let wall = LogTime::from_ms(clock.wall_ms());
        ledger.not_ready("opening; a store that was restored waits for the cluster");
        settle(&config.data_dir, &root, witness.as_deref(), random.as_ref(), wall).await?;
        let parts = EngineParts {
            root,
            clock: Arc::clone(&clock),
            random: Arc::clone(&random),
            quotas: config.quotas(),
            metrics: measured.ledger.clone(),
            tasks: tasks.clone(),
        };
        let engine = Arc::new(Engine::open(&config.data_dir, parts).await?);
        let audit = config.audit_writer();
        let auditor = audit::open(&audit, Arc::clone(&clock), &tasks, metrics.audit.clone())?;
        let files = AuditFiles::of(&audit.path);
        // ORDER: before the first call, which would take the place of a lost one.
        tell_of_lost_calls(&engine, &files, &measured.ledger);
        let signer = engine.mac_key().head_signer().ok_or(StartError::HeadSigner)?;
        let own_clock = Arc::clone(&clock);
        let audit_heads = AuditHeads::new(auditor.clone(), files, signer, own_clock, tasks.clone());
        let (of_witness, of_backups) = (measured.witness.clone(), measured.backup.clone());
        let shipping = Shipping {
            path: config.audit_path(),
            synced: auditor.synced_head(),
            origin: Origin { program: "kms-sim", host: "kms".to_owned() },
            syslog: config.audit.syslog.clone(),
            otlp: config.audit.otlp.clone(),
        };
        shipping::start(shipping, &tasks, &metrics.audit.shipping)?;
        let calls = Calls::default();
        register_metrics(&metrics, config, &engine, (&calls, clock.as_ref()))?;
        let edge = Arc::new(Edge {
            engine: Arc::clone(&engine),
            authenticator,
            auditor,
            audit_heads,
            metrics: measured,
            key_operations: KeyOperations::default(),
            clock,
            random: Arc::clone(&random),
            calls: calls.clone(),
            fatal: tasks.fatal().clone(),
            operators: config.operators.names.clone(),
            rate: RateLimits::new(config.rate()),
            periods: config.periods(),
        });
        let router = router(config, &edge, random, &metrics).await?;
        let unscheduled = tasks.token().child_token();
        // Nobody else sets it.
        served.set(Arc::clone(&edge)).ok();
        let keeper = witness.map(|witness| {
            let (engine, fatal) = (Arc::clone(&engine), tasks.fatal().clone());
            Arc::new(Keeper::new(engine, witness, of_witness, fatal, unscheduled.clone()))
        });
        if let Some(keeper) = &keeper {
            tasks.spawn(TaskKind::Critical, "kms-witness", witness::run(Arc::clone(keeper)));
        }
        let work = schedule::run(Arc::clone(&engine), keeper, unscheduled.clone());
        tasks.spawn(TaskKind::Critical, "kms-schedule", work);
        let work = automatic::run(Arc::clone(&edge), unscheduled.clone());
        tasks.spawn(TaskKind::Critical, "kms-owed-audit", work);
        if let Some(settings) = config.scheduled_backups() {
            let work = backup::scheduled::run(
                Arc::clone(&engine),
                settings,
                of_backups,
                unscheduled.clone(),
            );
            tasks.spawn(TaskKind::Critical, "kms-backups", work);
        }
        let (certificates, clock) = (metrics.certificates.clone(), Arc::clone(&edge.clock));
        let files = config.certificates();
        let watching = certificate_expiry::watch(files, certificates, clock, tasks.token());
        tasks.spawn(TaskKind::Background, "certificate expiry", watching);
        let of_clients = config.connections.limits();
        let api = api.start(router, &tasks, of_clients, metrics.tls.clone());
        ledger.ready();
        let fatal = tasks.fatal().clone();
        Ok(Self { api, metrics: health, calls, engine, fatal, unscheduled })
    }

    /// Where it serves.
    #[must_use]
    pub const fn addr(&self) -> SocketAddr {
        self.api.local_addr()
    }

    /// Where it serves metrics and health.
    #[must_use]
    pub fn metrics_addr(&self) -> Option<SocketAddr> {
        self.metrics.as_ref().map(Serving::local_addr)
    }

    /// Ends it: no new calls, `grace` for those in flight, their audit records, what it does by
    /// itself, then the ledger. A disk that hangs ends the process all the same, a while later and
    /// with [`ExitCode::Stalled`]. Call this before the tasks are shut down: they include the ledger's
    /// writer, which ends here.
    pub async fn stop(self, grace: Duration) {
        self.api.stop(grace).await;
        if let Some(metrics) = self.metrics {
            metrics.stop(Duration::ZERO).await;
        }
        // What a caller no longer waits for is recorded all the same.
        self.calls.close();
        let what = "calls are still under way: a disk keeps them waiting";
        end(self.calls.wait(), CALLS_END, &self.fatal, what).await;
        self.unscheduled.cancel();
        let what = "the ledger does not end: its disk keeps it waiting";
        end(self.engine.stop(), LEDGER_END, &self.fatal, what).await;
    }
}

/// Waits for an end, but not for ever: whoever told the process to stop would kill it, and nobody
/// would know why.
async fn end(ended: impl Future<Output = ()>, within: Duration, fatal: &FatalExit, what: &str) {
    if tokio::time::timeout(within, ended).await.is_err() {
        fatal.raise(ExitCode::Stalled, what);
    }
}

/// Says so when the ledger ends before what the audit tells of it. It is no reason not to serve: the
/// records are gone either way, and `billing verify` names them.
fn tell_of_lost_calls(engine: &Engine, files: &AuditFiles, metrics: &LedgerMetrics) {
    match audited::compare_latest(&engine.view(), files) {
        Ok(audited) => {
            metrics.lost.set(i64::try_from(audited.missing).unwrap_or(i64::MAX));
            if audited.missing > 0 {
                let missing = audited.missing;
                tracing::error!(
                    missing,
                    "the ledger lacks calls that the audit has: its end was cut"
                );
            }
        }
        Err(error) => tracing::error!(%error, "the end of the ledger cannot be checked"),
    }
}

/// What is read at each scrape.
fn register_metrics(
    metrics: &Metrics,
    config: &KmsConfig,
    engine: &Arc<Engine>,
    (calls, clock): (&Calls, &dyn Clock),
) -> Result<(), MetricsError> {
    kms_metrics::register(metrics, engine, calls)?;
    process_metrics::register(metrics, clock.wall_ms())?;
    let audit = config.audit_path().parent().map_or_else(PathBuf::new, Path::to_owned);
    disk_metrics::register(metrics, vec![("data", config.data_dir.clone()), ("audit", audit)])
}

fn authenticator(config: &KmsConfig, clock: Arc<dyn Clock>) -> Result<Authenticator, StartError> {
    let policy = match &config.policy {
        Some(policy) => Policy::load(&policy.file)?,
        None => Policy::default(),
    };
    let introspector: Option<Arc<dyn Introspector>> = match &config.cluster {
        Some(cluster) => {
            let files = cluster_files(config, cluster);
            Some(Arc::new(ClusterIntrospector::new(&cluster.cluster_nodes(), &files)?))
        }
        None => None,
    };
    Ok(Authenticator::new(config.node_names(), policy, introspector, clock))
}

/// The cluster as a witness, if there is one.
fn cluster_witness(config: &KmsConfig) -> Result<Option<Arc<dyn Witness>>, TlsError> {
    let Some(cluster) = &config.cluster else { return Ok(None) };
    let files = cluster_files(config, cluster);
    Ok(Some(Arc::new(ClusterWitness::new(&cluster.cluster_nodes(), &files)?)))
}

/// What the KMS shows to the nodes, and who vouches for them.
fn cluster_files(config: &KmsConfig, cluster: &ClusterConfig) -> ClientTlsFiles {
    ClientTlsFiles {
        ca: cluster.ca.clone().unwrap_or_else(|| config.api.client_ca.clone()),
        identity: Some(IdentityFiles {
            certificate: config.api.certificate.clone(),
            key: config.api.key.clone(),
        }),
    }
}

async fn router(
    config: &KmsConfig,
    edge: &Arc<Edge>,
    random: Arc<dyn Randomness>,
    metrics: &Metrics,
) -> Result<HttpService, StartError> {
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<AccessServer>().await;
    health.set_serving::<AdminServer>().await;
    health.set_serving::<CryptoServer>().await;
    health.set_serving::<HeadServer>().await;
    health.set_serving::<KeysServer>().await;
    health.set_serving::<OperationsServer>().await;
    // What is served here, and nothing else of the definitions.
    let reflection = |own: &str| {
        let served = [
            CryptoServer::NAME,
            AccessServer::NAME,
            AdminServer::NAME,
            HeadServer::NAME,
            KeysServer::NAME,
            OperationsServer::NAME,
            "grpc.health.v1.Health",
            own,
        ];
        let builder = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET);
        served.into_iter().fold(builder, |builder, name| builder.with_service_name(name))
    };
    let services = GrpcServices::new()
        .with(CryptoServer::new(CryptoService::new(Arc::clone(edge))))
        .with(AccessServer::new(AccessService::new(Arc::clone(edge))))
        .with(AdminServer::new(AdminService::new(Arc::clone(edge))))
        .with(HeadServer::new(HeadService::new(Arc::clone(edge))))
        .with(KeysServer::new(KeysService::new(Arc::clone(edge))))
        .with(OperationsServer::new(OperationsService::new(Arc::clone(edge))))
        .with(health_service)
        .with(reflection("grpc.reflection.v1.ServerReflection").build_v1()?)
        .with(reflection("grpc.reflection.v1alpha.ServerReflection").build_v1alpha()?)
        .into_service();
    let recorded = unread::recorded(Arc::clone(edge), services);
    // Nodes show certificates; to know a token, the cluster would have to be asked.
    let bytes = config.limits.request_bytes_in_memory;
    let budget = BodyBudget::new(bytes, |context| context.peer_identity.is_some());
    let layer = RequestLayer::new(Arc::clone(&random), metrics.rpc.clone());
    let grpc = layer.within(budget.clone()).around(recorded);
    let mounted = [CryptoServer::NAME, KeysServer::NAME, OperationsServer::NAME];
    Ok(RestGateway::new(&mounted, grpc, random)?.within(budget).into_service())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_end_that_does_not_come_is_not_waited_for_and_has_its_own_exit_code() {
        let fatal = FatalExit::new();
        let soon = Duration::from_millis(10);
        end(async {}, soon, &fatal, "the ledger").await;
        assert_eq!(fatal.raised(), None);
        end(std::future::pending(), soon, &fatal, "the ledger").await;
        let raised = fatal.raised().map(|fatal| (fatal.code, fatal.reason));
        assert_eq!(raised, Some((ExitCode::Stalled, "the ledger".to_owned())));
    }
}
