//! A running node, and a client that is logged in as its administrator.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lockbox::app::App;
use lockbox::authn::Authenticator;
use lockbox::bootstrap::{FirstNames, Initialised, initialise};
use lockbox::config::Config;
use lockbox::keyring::Keyring;
use lockbox::kms::{KmsClient, KmsIdentity};
use lockbox::read_meter::ReadMeter;
use lockbox::rotation::Rotation;
use lockbox::sealer::Sealer;
use lockbox::streams::Streams;
use lockbox::{rotation, router, unseal};
use lockbox_core::{Clock, CloudId, Randomness, SensitiveString};
use lockbox_platform::audit::{self, AuditFile, AuditSync};
use lockbox_platform::authorized_key::{
    AuthorizedKeyFile, GeneratedKeyPair, KeyAlgorithm, generate_key_pair, sign_jwt,
};
use lockbox_platform::exit::FatalExit;
use lockbox_platform::grpc_services::GrpcServices;
use lockbox_platform::health::Readiness;
use lockbox_platform::jwt::AcceptedAudiences;
use lockbox_platform::listener::{ListenerLimits, Security, bind};
use lockbox_platform::metrics::{Metrics, Prefix};
use lockbox_platform::rate::RateLimits;
use lockbox_platform::system::{SystemClock, SystemRandom};
use lockbox_platform::tasks::{TaskKind, Tasks};
use lockbox_proto::lockbox::kms::v1::audit_head_service_server::AuditHeadServiceServer;
use lockbox_proto::lockbox::kms::v1::key_access_service_server::KeyAccessServiceServer;
use lockbox_proto::yandex::cloud::iam::v1::CreateIamTokenRequest;
use lockbox_proto::yandex::cloud::iam::v1::create_iam_token_request::Identity;
use lockbox_proto::yandex::cloud::iam::v1::iam_token_service_client::IamTokenServiceClient;
use lockbox_proto::yandex::cloud::kms::v1::symmetric_crypto_service_server::SymmetricCryptoServiceServer;
use lockbox_proto::yandex::cloud::lockbox::v1::payload_service_client::PayloadServiceClient;
use lockbox_proto::yandex::cloud::lockbox::v1::secret_service_client::SecretServiceClient;
use lockbox_proto::yandex::cloud::operation::operation_service_server::OperationServiceServer;
use lockbox_raft::Replica;
use lockbox_raft::network::{AllowAllPeers, PlaintextConnector};
use lockbox_raft::replica::{ReplicaConfig, ReplicaParts};
use lockbox_raft::store::RocksEngines;
use lockbox_raft::types::Member;
use tempfile::TempDir;
use tokio::time::Instant;
use tonic::Request;
use tonic::metadata::MetadataValue;

use tonic::transport::{Channel, Endpoint};

use crate::fake_kms::FakeKms;

/// The system key that a node is configured with unless told otherwise.
pub(crate) const SYSTEM_KEY: &str = lockbox_kms_sim::SYSTEM_KEY_ID;
const AUDIENCE: &str = "https://iam.api.cloud.yandex.net/iam/v1/tokens";
/// How long a test waits for what has to happen.
pub(crate) const WAIT: Duration = Duration::from_secs(30);

/// The file of the token in the node's directory, where it is beside another KMS.
const KMS_TOKEN: &str = "kms-token";

/// The id of the first cloud of [`Node::limited`].
pub(crate) const LIMITED_CLOUD: &str = "b1glimited";

/// One node with its data, its fake KMS and what initialisation made.
pub(crate) struct Node {
    pub(crate) app: Arc<App>,
    pub(crate) kms: FakeKms,
    pub(crate) made: Initialised,
    pub(crate) data: TempDir,
    /// The administrator's pair; the node has only seen its public half.
    pub(crate) pair: GeneratedKeyPair,
    pub(crate) channel: Channel,
    pub(crate) tasks: Tasks,
    pub(crate) metrics: Metrics,
    clock: Arc<LaterClock>,
    token: String,
}

/// A node that nobody has initialised yet.
pub(crate) struct Fresh {
    pub(crate) app: Arc<App>,
    pub(crate) kms: FakeKms,
    pub(crate) data: TempDir,
    pub(crate) tasks: Tasks,
    pub(crate) metrics: Metrics,
    clock: Arc<LaterClock>,
}

/// The machine's clocks, after a downtime and with jumps that the tests do not wait for.
struct LaterClock {
    system: SystemClock,
    downtime: Duration,
    passed_ms: AtomicU64,
}

impl LaterClock {
    fn passed(&self) -> Duration {
        Duration::from_millis(self.passed_ms.load(Ordering::Relaxed))
    }
}

impl Clock for LaterClock {
    fn wall_ms(&self) -> u64 {
        let ahead = self.downtime + self.passed();
        self.system.wall_ms() + u64::try_from(ahead.as_millis()).unwrap()
    }

    fn monotonic(&self) -> Duration {
        self.system.monotonic() + self.passed()
    }
}

pub(crate) fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

fn connect(address: SocketAddr) -> Channel {
    Endpoint::from_shared(format!("http://{address}")).unwrap().connect_lazy()
}

fn config(data: &TempDir, limits: &str) -> Config {
    let text = format!(
        "node_id = 1\ndata_dir = {:?}\n\
         [api]\nlisten = \"127.0.0.1:0\"\nadvertise = \"localhost:1\"\n\
         certificate = \"unused\"\nkey = \"unused\"\n\
         [peer]\nlisten = \"127.0.0.1:0\"\nadvertise = \"localhost:1\"\n\
         certificate = \"unused\"\nkey = \"unused\"\nca = \"unused\"\n\
         [metrics]\nlisten = \"127.0.0.1:0\"\n[kms]\naddress = \"localhost:2\"\n\
         [audit]\nhead_interval_seconds = 1\n\
         [keyring]\nclose_after_seconds = 0\n\
         [limits]\nversions_per_secret = 4\nsecrets_per_cloud = 9\n{limits}",
        data.path()
    );
    let path = data.path().join("node.toml");
    std::fs::write(&path, text).unwrap();
    let token = data.path().join(KMS_TOKEN);
    let name_token = || ("LOCKBOX_CONFIG_KMS__TOKEN_FILE".to_owned(), token.display().to_string());
    let overrides: Vec<_> = token.exists().then(name_token).into_iter().collect();
    Config::load(&path, &overrides).unwrap()
}

/// A request with this token.
pub(crate) fn bearing<T>(token: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    let bearer = format!("Bearer {token}").parse().unwrap();
    request.metadata_mut().insert("authorization", bearer);
    request
}

/// The members of a cluster of one.
pub(crate) fn members() -> BTreeMap<u64, Member> {
    let address = || "localhost:1".to_owned();
    BTreeMap::from([(1, Member::at(address(), address()))])
}

impl Fresh {
    /// Starts a node with an empty directory.
    pub(crate) async fn start() -> Self {
        Self::open(TempDir::new().unwrap(), FakeKms::default(), Duration::ZERO).await
    }

    /// Starts a node with this directory, as late as a downtime makes it.
    async fn open(data: TempDir, kms: FakeKms, downtime: Duration) -> Self {
        Self::open_with(data, kms, downtime, "").await
    }

    /// The same with more lines of the table of limits.
    async fn open_with(data: TempDir, kms: FakeKms, downtime: Duration, limits: &str) -> Self {
        Self::open_on(data, kms, downtime, limits, None).await
    }

    /// The same, with its audit on something else than a file.
    async fn open_on(
        data: TempDir,
        kms: FakeKms,
        downtime: Duration,
        limits: &str,
        audit_file: Option<Arc<dyn AuditFile>>,
    ) -> Self {
        let config = Arc::new(config(&data, limits));
        let passed_ms = AtomicU64::new(0);
        let later = Arc::new(LaterClock { system: SystemClock::new(), downtime, passed_ms });
        let clock: Arc<dyn Clock> = Arc::clone(&later) as Arc<dyn Clock>;
        let random: Arc<dyn Randomness> = Arc::new(SystemRandom);
        let tasks = Tasks::new(FatalExit::new());
        let metrics = Metrics::new(Prefix::Lockbox).unwrap();

        let kms_services = GrpcServices::new()
            .with(SymmetricCryptoServiceServer::new(kms.clone()))
            .with(KeyAccessServiceServer::new(kms.clone()))
            .with(AuditHeadServiceServer::new(kms.clone()))
            .with(OperationServiceServer::new(kms.clone()))
            .into_service();
        let bound = bind("kms", loopback(), Security::PlaintextLoopback).await.unwrap();
        let kms_address = bound.local_addr();
        bound.start(kms_services, &tasks, ListenerLimits::default(), metrics.tls.clone());

        let parts = ReplicaParts {
            engines: Arc::new(RocksEngines::new()),
            connector: Arc::new(PlaintextConnector),
            authorizer: Arc::new(AllowAllPeers),
            clock: Arc::clone(&clock),
            random: Arc::clone(&random),
        };
        let replica = start_replica(&data, parts).await;
        let (of_audit, sync) = (metrics.audit.clone(), AuditSync::Batched);
        // No disk has kept a record waiting for the hours that a test lets pass.
        let disk_clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let auditor = match audit_file {
            Some(file) => audit::open_on(file, sync, disk_clock, &tasks, of_audit),
            None => {
                let audit_config = config.audit.of_writer(config.audit_path());
                audit::open(&audit_config, disk_clock, &tasks, of_audit).unwrap()
            }
        };
        let keyring = Keyring::default();
        let calls = config.limits.calls(&metrics).unwrap();
        let identity = KmsIdentity::by(config.kms.token_file.as_ref());
        let kms_client = KmsClient::new(move || connect(kms_address), Arc::clone(&random));
        let kms_client = kms_client.identified_by(identity);
        let app = Arc::new(App {
            replica,
            keyring: keyring.clone(),
            authenticator: Authenticator::default(),
            sealer: Sealer::new(keyring, kms_client.clone(), Arc::clone(&random)),
            kms: kms_client,
            auditor,
            audiences: AcceptedAudiences::new(&["localhost:1".to_owned()], &[]),
            rate: RateLimits::new(config.limits.rate()),
            read_meter: ReadMeter::new(config.node_id, random.as_ref()),
            config,
            clock,
            random,
            readiness: Readiness::new(),
            turns: lockbox::turns::Turns::default(),
            catching_up: lockbox::consistency::waiting_room(),
            calls,
            streams: Streams::default(),
            rotation: Rotation::default(),
            backups: lockbox::backup::make::Turn::default(),
            payload_reads: lockbox::usage::PayloadReads::default(),
        });
        let sealed = app.readiness.component(unseal::COMPONENT);
        let unsealing = unseal::keep_unsealed(Arc::clone(&app), sealed, tasks.token());
        tasks.spawn(TaskKind::Critical, "unseal", unsealing);
        let rotating = rotation::keep_rotating(Arc::clone(&app), tasks.token());
        tasks.spawn(TaskKind::Critical, "keyring rotation", rotating);
        Self { app, kms, data, tasks, metrics, clock: later }
    }

    /// Serves clients once the node is ready.
    pub(crate) async fn serve(
        self,
        made: Initialised,
        pair: GeneratedKeyPair,
        token: String,
    ) -> Node {
        let Self { app, kms, data, tasks, metrics, clock } = self;
        tokio::time::timeout(WAIT, app.readiness.wait_ready()).await.unwrap();

        let router = router::public(&app, metrics.rpc.clone()).unwrap();
        let bound = bind("api", loopback(), Security::PlaintextLoopback).await.unwrap();
        let address = bound.local_addr();
        bound.start(router, &tasks, ListenerLimits::default(), metrics.tls.clone());
        let channel = connect(address);
        Node { app, kms, made, data, pair, channel, tasks, metrics, clock, token }
    }

    pub(crate) async fn stop(self) {
        shut_down(self.app, self.tasks).await;
    }
}

impl Node {
    /// Starts a node of its own cluster and logs in.
    pub(crate) async fn start() -> Self {
        Self::of(Fresh::start().await).await
    }

    /// The same with more lines of the table of limits in its configuration, which can name the
    /// first cloud: [`LIMITED_CLOUD`].
    pub(crate) async fn limited(limits: &str) -> Self {
        let data = TempDir::new().unwrap();
        let fresh = Fresh::open_with(data, FakeKms::default(), Duration::ZERO, limits).await;
        let cloud_id = CloudId::parse(LIMITED_CLOUD).ok();
        Self::named(fresh, FirstNames { cloud_id, ..FirstNames::default() }).await
    }

    /// The same beside a KMS of another maker, to which this token names the node.
    pub(crate) async fn beside_another_kms(token: &str) -> Self {
        let data = TempDir::new().unwrap();
        let path = data.path().join(KMS_TOKEN);
        std::fs::write(&path, token).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        Self::of(Fresh::open(data, FakeKms::default(), Duration::ZERO).await).await
    }

    /// The same with its audit on something else than a file.
    pub(crate) async fn with_audit(file: Arc<dyn AuditFile>) -> Self {
        let (data, kms) = (TempDir::new().unwrap(), FakeKms::default());
        Self::of(Fresh::open_on(data, kms, Duration::ZERO, "", Some(file)).await).await
    }

    async fn of(fresh: Fresh) -> Self {
        Self::named(fresh, FirstNames::default()).await
    }

    async fn named(fresh: Fresh, names: FirstNames) -> Self {
        let pair = generate_key_pair(KeyAlgorithm::Rsa2048).unwrap();
        let made = initialise(&fresh.app, SYSTEM_KEY, members(), names, &pair.public_key_pem);
        let made = made.await.unwrap();
        let mut node = fresh.serve(made, pair, String::new()).await;
        node.renew_token().await;
        node
    }

    /// Lets time pass for the node at once: both of its clocks go on, and nobody calls meanwhile.
    pub(crate) fn pass(&self, time: Duration) {
        let ms = u64::try_from(time.as_millis()).unwrap();
        self.clock.passed_ms.fetch_add(ms, Ordering::Relaxed);
    }

    /// Stops the node and starts it again after a downtime. Keeps the token that it has.
    pub(crate) async fn restart_after(self, downtime: Duration) -> Self {
        let Self { app, kms, made, data, pair, token, tasks, .. } = self;
        shut_down(app, tasks).await;
        Fresh::open(data, kms, downtime).await.serve(made, pair, token).await
    }

    /// Stops the node and starts it again; it need not become ready.
    pub(crate) async fn restart(self) -> Fresh {
        let Self { app, kms, data, tasks, .. } = self;
        shut_down(app, tasks).await;
        Fresh::open(data, kms, Duration::ZERO).await
    }

    /// Logs the administrator in again.
    pub(crate) async fn renew_token(&mut self) {
        let (account, key) = (self.made.admin_id.to_string(), self.made.admin_key_id.to_string());
        let private_key = self.pair.private_key_pem.clone();
        self.token = self.log_in(&account, &key, private_key).await.unwrap();
    }

    /// Exchanges a JWT that this key signs for a token.
    pub(crate) async fn log_in(
        &self,
        account: &str,
        key: &str,
        private_key: SensitiveString,
    ) -> Result<String, tonic::Status> {
        let identity = Some(Identity::Jwt(self.signed(account, key, private_key)));
        let request = CreateIamTokenRequest { identity };
        Ok(self.tokens().create(request).await?.into_inner().iam_token)
    }

    fn signed(&self, account: &str, key: &str, private_key: SensitiveString) -> String {
        let file = AuthorizedKeyFile {
            id: key.to_owned(),
            service_account_id: account.to_owned(),
            created_at: String::new(),
            key_algorithm: KeyAlgorithm::Rsa2048,
            public_key: String::new(),
            private_key,
        };
        let now_ms = self.app.clock.wall_ms();
        let jwt = sign_jwt(&file, AUDIENCE, now_ms, Duration::from_secs(3600)).unwrap();
        jwt.expose().clone()
    }

    pub(crate) fn secrets(&self) -> SecretServiceClient<Channel> {
        SecretServiceClient::new(self.channel.clone())
    }

    pub(crate) fn payloads(&self) -> PayloadServiceClient<Channel> {
        PayloadServiceClient::new(self.channel.clone())
    }

    pub(crate) fn tokens(&self) -> IamTokenServiceClient<Channel> {
        IamTokenServiceClient::new(self.channel.clone())
    }

    /// What the administrator signs to log in.
    pub(crate) fn jwt(&self) -> String {
        let (account, key) = (self.made.admin_id.to_string(), self.made.admin_key_id.to_string());
        self.signed(&account, &key, self.pair.private_key_pem.clone())
    }

    /// A request of the administrator.
    pub(crate) fn request<T>(&self, message: T) -> Request<T> {
        bearing(&self.token, message)
    }

    /// The same with an idempotency key.
    pub(crate) fn keyed<T>(&self, key: &'static str, message: T) -> Request<T> {
        let mut request = self.request(message);
        request.metadata_mut().insert("idempotency-key", MetadataValue::from_static(key));
        request
    }

    /// Goes on with another token.
    pub(crate) fn use_token(&mut self, token: String) {
        self.token = token;
    }

    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    pub(crate) fn audit(&self) -> String {
        std::fs::read_to_string(self.app.config.audit_path()).unwrap()
    }

    /// Every file under the data directory.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        let mut open = vec![self.data.path().to_owned()];
        while let Some(directory) = open.pop() {
            for entry in std::fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() { open.push(path) } else { files.push(path) }
            }
        }
        files
    }

    pub(crate) async fn stop(self) -> TempDir {
        assert!(self.app.readiness.is_ready());
        shut_down(self.app, self.tasks).await;
        self.data
    }
}

async fn shut_down(app: Arc<App>, tasks: Tasks) {
    app.streams.end(WAIT).await;
    app.calls.close();
    app.calls.wait().await;
    app.replica.shutdown().await;
    tasks.shutdown(WAIT).await.unwrap();
}

/// Starts a replica; again, while tasks of the directory's last user still end.
async fn start_replica(data: &TempDir, parts: ReplicaParts) -> Replica {
    let until = Instant::now() + WAIT;
    loop {
        let config = ReplicaConfig::new(1, data.path().to_owned());
        match Replica::start(config, parts.clone()).await {
            Ok(replica) => return replica,
            Err(error) if Instant::now() > until => panic!("{error}"),
            Err(_still_open) => tokio::task::yield_now().await,
        }
    }
}
