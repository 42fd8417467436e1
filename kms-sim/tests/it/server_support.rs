//! A server with certificates, clients for it, and a cluster that introspects (a fake one).

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lockbox_core::Clock;
use lockbox_kms_sim::config::{
    ApiConfig, AuditConfig, BackupConfig, ClusterConfig, ClusterNodeConfig, LimitsConfig,
    LogConfig, NodesConfig, OperatorsConfig, RootKeyConfig,
};
use lockbox_kms_sim::root_key::RootKey;
use lockbox_kms_sim::{KmsConfig, KmsDeps, KmsSim, StartError};
use lockbox_platform::certificates::{self, LeafSpec};
use lockbox_platform::exit::FatalExit;
use lockbox_platform::listener::{self, ConnectionsConfig, ListenerLimits, Security, Serving};
use lockbox_platform::metrics::{Metrics, Prefix};
use lockbox_platform::system::{SystemClock, SystemRandom};
use lockbox_platform::tasks::Tasks;
use lockbox_platform::tls::{self, ClientCertificates, ClientTlsFiles, ServerTls, TlsFiles};
use lockbox_platform::trace::TracesConfig;
use lockbox_proto::lockbox::cluster::v1::introspection_service_server::{
    IntrospectionService, IntrospectionServiceServer,
};
use lockbox_proto::lockbox::cluster::v1::{self as cluster, IntrospectRequest, IntrospectResponse};
use lockbox_proto::lockbox::kms::v1::audit_head_service_client::AuditHeadServiceClient;
use lockbox_proto::lockbox::kms::v1::key_access_service_client::KeyAccessServiceClient;
use lockbox_proto::lockbox::kms::v1::key_admin_service_client::KeyAdminServiceClient;
use lockbox_proto::lockbox::kms::v1::{CallerAssertion, FolderPath, Grant};
use lockbox_proto::yandex::cloud::kms::v1::{
    symmetric_crypto_service_client as crypto_client, symmetric_key_service_client as key_client,
};
use lockbox_proto::yandex::cloud::operation::operation_service_client::OperationServiceClient;
use prost::Message;
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

pub(crate) type AccessClient = KeyAccessServiceClient<Channel>;
pub(crate) type AdminClient = KeyAdminServiceClient<Channel>;
pub(crate) type HeadClient = AuditHeadServiceClient<Channel>;
pub(crate) type CryptoClient = crypto_client::SymmetricCryptoServiceClient<Channel>;
pub(crate) type KeyClient = key_client::SymmetricKeyServiceClient<Channel>;

/// A token of this payload, with a signature that nobody has made: only the cluster looks at it.
macro_rules! token {
    ($payload:literal) => {
        concat!(
            "t1.",
            $payload,
            ".AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
        )
    };
}

/// An administrator's token at the fake cluster.
pub(crate) const TOKEN: &str = token!("h3NvZi1hbi1hZG1pbmlzdHJhdG9yAYICZWFkbWlu9gECZ2NsdXN0ZXI");
/// A token that the fake cluster does not know.
pub(crate) const TOKEN_REVOKED: &str =
    token!("h3ByZXZva2VkLWxvbmctYWdvAYICZWFkbWlu9gECZ2NsdXN0ZXI");
/// A token that the fake cluster takes its time for.
pub(crate) const CLUSTER_HANGS: &str = token!("h21jbHVzdGVyLWhhbmdzAYICZWFkbWlu9gECZ2NsdXN0ZXI");
/// A token at which the fake cluster fails.
pub(crate) const CLUSTER_DOWN: &str = token!("h2xjbHVzdGVyLWRvd24BggJlYWRtaW72AQJnY2x1c3Rlcg");

/// The root key of every server.
pub(crate) const ROOT: [u8; 32] = [9; 32];

const GRACE: Duration = Duration::from_secs(5);

/// Certificates of the KMS, of a node, of an operator and of the CA, in a directory of their own.
pub(crate) fn client_tls() -> Arc<TempDir> {
    let directory = tempfile::tempdir().unwrap();
    let leaf = |stem: &str| LeafSpec {
        file_stem: stem.to_owned(),
        dns_names: vec![format!("{stem}.lockbox.internal"), "localhost".to_owned()],
        ips: vec![[127, 0, 0, 1].into()],
    };
    let leaves = [leaf("kms"), leaf("node-1"), leaf("operator")];
    certificates::issue_all(directory.path(), &leaves, &SystemClock::new()).unwrap();
    Arc::new(directory)
}

/// Knows [`TOKEN`]; for tests only.
struct FakeIntrospection {
    /// How often it was asked about [`CLUSTER_HANGS`].
    hung: Arc<AtomicU64>,
}

#[tonic::async_trait]
impl IntrospectionService for FakeIntrospection {
    async fn introspect(
        &self,
        request: Request<IntrospectRequest>,
    ) -> Result<Response<IntrospectResponse>, Status> {
        match request.into_inner().token.as_str() {
            CLUSTER_DOWN => Err(Status::unavailable("no leader")),
            CLUSTER_HANGS => {
                self.hung.fetch_add(1, Ordering::SeqCst);
                std::future::pending().await
            }
            TOKEN => Ok(Response::new(IntrospectResponse {
                active: true,
                subject_type: "serviceAccount".to_owned(),
                subject_id: "admin".to_owned(),
                token_id: "ait1".to_owned(),
                grants: vec![cluster::Grant {
                    resource_type: "resource-manager.cloud".to_owned(),
                    resource_id: "cloud".to_owned(),
                    role_id: "admin".to_owned(),
                }],
                folders: vec![cluster::FolderPath {
                    folder_id: "folder".to_owned(),
                    cloud_id: "cloud".to_owned(),
                    organization_id: "organization".to_owned(),
                }],
                ..IntrospectResponse::default()
            })),
            _ => Ok(Response::new(IntrospectResponse::default())),
        }
    }
}

/// A listener that introspects, and demands the certificate of the KMS.
pub(crate) struct FakeCluster {
    serving: Serving,
    tasks: Tasks,
    certificates: Arc<TempDir>,
    hung: Arc<AtomicU64>,
}

impl FakeCluster {
    pub(crate) const fn addr(&self) -> SocketAddr {
        self.serving.local_addr()
    }

    pub(crate) fn certificates(&self) -> Arc<TempDir> {
        Arc::clone(&self.certificates)
    }

    pub(crate) async fn stop(self) {
        self.serving.stop(GRACE).await;
        self.tasks.shutdown(GRACE).await.unwrap();
    }
}

pub(crate) async fn fake_cluster() -> FakeCluster {
    fake_cluster_with(client_tls()).await
}

async fn fake_cluster_with(certificates: Arc<TempDir>) -> FakeCluster {
    let identity = certificates::leaf_files(certificates.path(), "node-1");
    let tls = ServerTls::load(&TlsFiles {
        certificate: identity.certificate,
        key: identity.key,
        clients: ClientCertificates::Required(certificates.path().join("ca.pem")),
    });
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    let bound = listener::bind("cluster", loopback, Security::Tls(tls.unwrap())).await.unwrap();
    let tasks = Tasks::new(FatalExit::new());
    let metrics = Metrics::new(Prefix::Lockbox).unwrap();
    let hung = Arc::new(AtomicU64::new(0));
    let service = IntrospectionServiceServer::new(FakeIntrospection { hung: Arc::clone(&hung) });
    let router = tonic::service::Routes::new(service).into_axum_router();
    let serving = bound.start(router, &tasks, ListenerLimits::default(), metrics.tls);
    FakeCluster { serving, tasks, certificates, hung }
}

/// A running server, its directory, and the cluster that it asks.
pub(crate) struct ServerFixture {
    kms: KmsSim,
    tasks: Tasks,
    metrics: Metrics,
    directory: TempDir,
    certificates: Arc<TempDir>,
    cluster: Option<FakeCluster>,
}

impl ServerFixture {
    pub(crate) async fn start(change: impl FnOnce(&mut KmsConfig)) -> Self {
        let cluster = fake_cluster().await;
        let address = cluster.addr().to_string();
        let mut server = Self::start_with(cluster.certificates(), |config| {
            let server_name = "node-1.lockbox.internal".to_owned();
            let nodes = vec![ClusterNodeConfig { address, server_name }];
            config.cluster = Some(ClusterConfig { nodes, ca: None });
            change(config);
        })
        .await;
        server.cluster = Some(cluster);
        server
    }

    pub(crate) async fn start_with(
        certificates: Arc<TempDir>,
        change: impl FnOnce(&mut KmsConfig),
    ) -> Self {
        match Self::try_start(certificates, change).await {
            Ok(server) => server,
            Err(error) => panic!("the server does not start: {error}"),
        }
    }

    pub(crate) async fn try_start(
        certificates: Arc<TempDir>,
        change: impl FnOnce(&mut KmsConfig),
    ) -> Result<Self, StartError> {
        let directory = tempfile::tempdir().unwrap();
        let identity = certificates::leaf_files(certificates.path(), "kms");
        let mut config = KmsConfig {
            data_dir: directory.path().join("data"),
            api: ApiConfig {
                listen: SocketAddr::from(([127, 0, 0, 1], 0)),
                certificate: identity.certificate,
                key: identity.key,
                client_ca: certificates.path().join("ca.pem"),
            },
            metrics: None,
            root_key: RootKeyConfig::default(),
            lock_memory: false,
            nodes: NodesConfig::default(),
            operators: OperatorsConfig::default(),
            cluster: None,
            policy: None,
            audit: AuditConfig::default(),
            backup: BackupConfig::default(),
            connections: ConnectionsConfig::default(),
            limits: LimitsConfig::default(),
            log: LogConfig::default(),
            traces: TracesConfig::default(),
        };
        change(&mut config);
        let tasks = Tasks::new(FatalExit::new());
        let metrics = Metrics::new(Prefix::Kms).unwrap();
        let deps = KmsDeps {
            tasks: tasks.clone(),
            metrics: metrics.clone(),
            clock: Arc::new(SystemClock::new()),
            random: Arc::new(SystemRandom),
        };
        let kms = KmsSim::start(&config, RootKey::from_bytes(&ROOT), deps).await?;
        Ok(Self { kms, tasks, metrics, directory, certificates, cluster: None })
    }

    pub(crate) const fn addr(&self) -> SocketAddr {
        self.kms.addr()
    }

    /// Where the certificates are.
    pub(crate) fn certificates(&self) -> &Path {
        self.certificates.path()
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// How often the cluster was asked about [`CLUSTER_HANGS`].
    pub(crate) fn hung(&self) -> u64 {
        self.cluster.as_ref().map_or(0, |cluster| cluster.hung.load(Ordering::SeqCst))
    }

    pub(crate) fn metrics_addr(&self) -> Option<SocketAddr> {
        self.kms.metrics_addr()
    }

    pub(crate) fn metrics_text(&self) -> String {
        self.metrics.text()
    }

    pub(crate) async fn crypto(&self, identity: Option<&str>) -> CryptoClient {
        CryptoClient::new(self.channel(identity).await)
    }

    pub(crate) async fn keys(&self, identity: Option<&str>) -> KeyClient {
        KeyClient::new(self.channel(identity).await)
    }

    pub(crate) async fn operations(&self) -> OperationServiceClient<Channel> {
        OperationServiceClient::new(self.channel(None).await)
    }

    pub(crate) async fn access(&self, identity: Option<&str>) -> AccessClient {
        AccessClient::new(self.channel(identity).await)
    }

    pub(crate) async fn heads(&self, identity: Option<&str>) -> HeadClient {
        HeadClient::new(self.channel(identity).await)
    }

    pub(crate) async fn admin(&self, identity: Option<&str>) -> AdminClient {
        AdminClient::new(self.channel(identity).await)
    }

    pub(crate) async fn channel(&self, identity: Option<&str>) -> Channel {
        let directory: &Path = self.certificates.path();
        let identity = identity.map(|stem| certificates::leaf_files(directory, stem));
        let files = ClientTlsFiles { ca: directory.join("ca.pem"), identity };
        let tls = tls::client_tls(&files, "kms.lockbox.internal").unwrap();
        let endpoint = tls::endpoint(&self.addr().to_string(), Some(tls)).unwrap();
        endpoint.connect().await.unwrap()
    }

    /// Ends everything in order; gives the directory back for a look at what is left.
    pub(crate) async fn stop(self) -> TempDir {
        self.kms.stop(GRACE).await;
        self.tasks.shutdown(GRACE).await.unwrap();
        assert_eq!(self.tasks.fatal().raised(), None);
        if let Some(cluster) = self.cluster {
            cluster.stop().await;
        }
        self.directory
    }
}

/// What a node asserts in a test.
#[derive(Clone)]
pub(crate) struct Asserted {
    pub(crate) subject: &'static str,
    pub(crate) role: &'static str,
    pub(crate) request: Vec<u8>,
    pub(crate) issued_before_ms: u64,
}

impl Asserted {
    pub(crate) fn new(subject: &'static str, role: &'static str) -> Self {
        Self { subject, role, request: vec![1; 32], issued_before_ms: 0 }
    }
}

pub(crate) fn from_node<T>(message: T, asserted: &Asserted) -> Request<T> {
    let issued_at_ms = SystemClock::new().wall_ms() - asserted.issued_before_ms;
    let assertion = CallerAssertion {
        subject_type: "serviceAccount".to_owned(),
        subject_id: asserted.subject.to_owned(),
        grants: vec![Grant {
            resource_type: "resource-manager.folder".to_owned(),
            resource_id: "folder".to_owned(),
            role_id: asserted.role.to_owned(),
        }],
        folders: vec![FolderPath {
            folder_id: "folder".to_owned(),
            cloud_id: "cloud".to_owned(),
            organization_id: "organization".to_owned(),
        }],
        request_id: "client-request".to_owned(),
        issued_at_ms,
        expires_at_ms: issued_at_ms + 5_000,
        kms_request_id: asserted.request.clone(),
        remote_address: "203.0.113.7:4711".to_owned(),
        ..CallerAssertion::default()
    };
    let mut request = Request::new(message);
    let value = MetadataValue::from_bytes(&assertion.encode_to_vec());
    request.metadata_mut().insert_bin("lockbox-assertion-bin", value);
    request
}

pub(crate) fn with_token<T>(message: T, token: &str) -> Request<T> {
    let mut request = Request::new(message);
    let value = format!("Bearer {token}").parse().unwrap();
    request.metadata_mut().insert("authorization", value);
    request
}

/// A policy file in which the token is an administrator's.
pub(crate) fn policy(token: &str) -> String {
    let hash = hex::encode(Sha256::digest(token.as_bytes()));
    format!(
        r#"
        [[folder]]
        id = "folder"
        cloud_id = "cloud"
        [[token]]
        sha256 = "{hash}"
        subject_type = "userAccount"
        subject_id = "operator"
        [[token.roles]]
        role = "kms.admin"
        resource_type = "resource-manager.cloud"
        resource_id = "cloud"
        "#
    )
}
