//! What stays on the disk of a node after much was written over: `scripts/churn.sh`.
//!
//! One replica on real files. Secrets get version after version and are then deleted and made anew,
//! while the clock is moved on, so that what is kept for a while also ends. Prints a row for each
//! tenth: what is alive in the state (keys and values as they are, operations and idempotency
//! records inside their retention among them), and what the files take. Fails when that is more
//! than three times what is alive.
//!
//! `CHURN_OVERWRITES` (1000000), `CHURN_HOURS` of log time that they take (48),
//! `CHURN_RETAINED_MIB` for operations (256), `CHURN_VALUE_BYTES` (1024), and `TMPDIR` for where
//! the files are.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lockbox_core::{
    AuthorizedKeyId, Clock, CloudId, ClusterId, FolderId, LogTime, OperationId, OrganizationId,
    Randomness, RequestId, SecretId, ServiceAccountId, Subject, TokenId, VersionId,
};
use lockbox_raft::Replica;
use lockbox_raft::domain::command::{
    AddVersion, CreateAuthorizedKey, CreateSecret, CreateServiceAccount, InitCluster, MergeBase,
    NewVersion,
};
use lockbox_raft::domain::feature_level::FEATURE_LEVEL_MAX;
use lockbox_raft::domain::identity::{ClusterRecord, KeyAlgorithm};
use lockbox_raft::domain::version::{SealedPayload, WrappedDataKey};
use lockbox_raft::domain::{Command, Envelope, IdempotencyClaim, Outcome, TokenRef};
use lockbox_raft::network::{AllowAllPeers, PlaintextConnector};
use lockbox_raft::replica::{ReplicaConfig, ReplicaParts};
use lockbox_raft::state::{Direction, Scan, Space, StateRead, keys};
use lockbox_raft::store::RocksEngines;
use lockbox_raft::types::Member;
use tokio::time::Instant;

/// Secrets that are written over at the same time.
const WRITERS: u64 = 256;
/// Versions of a secret before it is deleted and made anew.
const VERSIONS: u64 = 100;
/// One of so many writes has an idempotency key: 100,000 are remembered for one caller at most.
const KEYED: u64 = 16;
/// 2026-01-01.
const EPOCH_MS: u64 = 1_767_225_600_000;
/// The bound.
const RATIO_MAX: f64 = 3.0;
const MIB: f64 = 1024.0 * 1024.0;
const PATIENCE: Duration = Duration::from_secs(120);

/// A clock that is moved on with the work.
struct MovedClock {
    start: Instant,
    moved_ms: AtomicU64,
}

impl MovedClock {
    fn elapsed_ms(&self) -> u64 {
        let real = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        real.saturating_add(self.moved_ms.load(Ordering::Relaxed))
    }
}

impl Clock for MovedClock {
    fn wall_ms(&self) -> u64 {
        EPOCH_MS + self.elapsed_ms()
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.elapsed_ms())
    }
}

/// Different bytes on every call.
struct Counted(AtomicU64);

impl Randomness for Counted {
    fn fill(&self, bytes: &mut [u8]) {
        for byte in bytes {
            let state = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
            let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            *byte = (mixed ^ (mixed >> 27)).to_be_bytes()[0];
        }
    }
}

/// What is to be done.
#[derive(Clone, Copy)]
struct Plan {
    overwrites: u64,
    hours: u64,
    retained_bytes: u64,
    value_bytes: u64,
}

impl Plan {
    fn of_environment() -> Self {
        let number = |name: &str, default: u64| {
            let given = std::env::var(name).ok().and_then(|text| text.parse().ok());
            given.unwrap_or(default)
        };
        Self {
            overwrites: number("CHURN_OVERWRITES", 1_000_000),
            hours: number("CHURN_HOURS", 48),
            retained_bytes: number("CHURN_RETAINED_MIB", 256) << 20,
            value_bytes: number("CHURN_VALUE_BYTES", 1024),
        }
    }
}

/// What the writers share.
struct Churn {
    replica: Replica,
    clock: Arc<MovedClock>,
    random: Arc<Counted>,
    plan: Plan,
    written: AtomicU64,
}

fn id<T, E: std::fmt::Debug>(parsed: Result<T, E>) -> T {
    parsed.expect("it is an id")
}

fn admin() -> ServiceAccountId {
    id(ServiceAccountId::parse("ajeadmin"))
}

fn folder() -> FolderId {
    id(FolderId::parse("b1gfolder"))
}

impl Churn {
    fn envelope(&self, command: Command, by_admin: bool) -> Envelope {
        let random = self.random.as_ref();
        let token = by_admin.then(|| TokenRef {
            token_id: id(TokenId::parse("aittoken")),
            credential_id: None,
            expires_at: LogTime::MAX,
            maker: None,
        });
        let of_admin = by_admin.then(|| Subject::service_account(&admin()));
        let subject = of_admin.unwrap_or_else(Subject::internal);
        Envelope {
            request_id: RequestId::generate(random),
            subject,
            token,
            operation_id: OperationId::generate(random),
            idempotency: None,
            if_version: None,
            proposed_at: LogTime::default(),
            command,
        }
    }

    async fn done(&self, envelope: Envelope) {
        let applied = self.replica.propose(envelope, Instant::now() + PATIENCE).await;
        let applied = applied.expect("the replica takes it");
        assert!(matches!(applied.outcome, Outcome::Done(_)), "{:?}", applied.outcome);
    }

    async fn initialise(&self) {
        let organization_id = id(OrganizationId::parse("bpforganization"));
        let cluster_id = id(ClusterId::parse("lbcchurn"));
        let address = || "localhost:1".to_owned();
        let members = BTreeMap::from([(1, Member::at(address(), address()))]);
        let formed = self.replica.initialize(cluster_id.clone(), members).await;
        formed.expect("the cluster is formed");
        let init = InitCluster {
            cluster: ClusterRecord {
                id: cluster_id,
                created_at: LogTime::default(),
                organization_id: organization_id.clone(),
                system_key_id: "abjsystem".to_owned(),
                keyring_cluster: None,
            },
            organization_id,
            cloud_id: id(CloudId::parse("b1gcloud")),
            folder_id: folder(),
            folder_name: "default".to_owned(),
            admin: CreateServiceAccount {
                id: admin(),
                folder_id: folder(),
                name: "admin".to_owned(),
                description: String::new(),
                labels: BTreeMap::new(),
                expires_at: None,
            },
            admin_key: CreateAuthorizedKey {
                id: id(AuthorizedKeyId::parse("ajkadmin")),
                service_account_id: admin(),
                description: String::new(),
                algorithm: KeyAlgorithm::Rsa2048,
                public_key_pem: String::new(),
                keys_per_account_max: 0,
            },
            keyring: Vec::new(),
            feature_level: FEATURE_LEVEL_MAX,
        };
        self.done(self.envelope(Command::InitCluster(Box::new(init)), false)).await;
    }

    fn version(&self) -> NewVersion {
        let random = self.random.as_ref();
        let mut ciphertext = vec![0; usize::try_from(self.plan.value_bytes).unwrap_or(usize::MAX)];
        random.fill(&mut ciphertext);
        NewVersion {
            id: VersionId::generate(random),
            description: String::new(),
            entry_keys: vec!["password".to_owned()],
            password_spec: None,
            payload: SealedPayload {
                format: 1,
                commitment: [1; 32],
                nonce: [2; 12],
                ciphertext,
                wrapped_key: WrappedDataKey::Keyring {
                    keyring_key_id: 1,
                    salt: [4; 32],
                    ciphertext: vec![5; 48],
                },
            },
        }
    }

    /// Writes one secret over, again and again, until all overwrites of all writers are made.
    async fn write_over(&self, writer: u64) {
        loop {
            let secret_id = SecretId::generate(self.random.as_ref());
            let first = self.version();
            let mut current = first.id.clone();
            let create = CreateSecret {
                id: secret_id.clone(),
                folder_id: folder(),
                name: format!("secret-{writer}"),
                description: String::new(),
                labels: BTreeMap::new(),
                kms_key_id: None,
                deletion_protection: false,
                password_spec: None,
                version: Some(first),
                secrets_per_cloud_max: u32::MAX,
                unique_name: false,
            };
            self.done(self.envelope(Command::CreateSecret(Box::new(create)), true)).await;
            for _ in 0..VERSIONS {
                let number = self.written.fetch_add(1, Ordering::Relaxed);
                if number >= self.plan.overwrites {
                    return;
                }
                let version = self.version();
                let next = version.id.clone();
                let add = AddVersion {
                    secret_id: secret_id.clone(),
                    version,
                    base: MergeBase::Default(Some(current)),
                    versions_per_secret_max: u32::MAX,
                };
                let mut envelope = self.envelope(Command::AddVersion(Box::new(add)), true);
                if number.is_multiple_of(KEYED) {
                    envelope.idempotency = Some(IdempotencyClaim {
                        method: "AddVersion".to_owned(),
                        key: format!("key-{number}"),
                        request_mac: [7; 32].into(),
                        mac_key_id: 1,
                    });
                }
                self.done(envelope).await;
                current = next;
                let step_ms = self.plan.hours * 3_600_000 / self.plan.overwrites.max(1);
                self.clock.moved_ms.fetch_add(step_ms, Ordering::Relaxed);
            }
            let delete = Command::DeleteSecret { secret_id };
            self.done(self.envelope(delete, true)).await;
        }
    }

    /// Bytes of keys and values that are alive: of secrets, and of what is kept of what was done.
    fn alive(&self) -> (u64, u64) {
        let read = self.replica.read_stale(|view, _| {
            let (mut secrets, mut done) = (0, 0);
            for space in Space::ALL {
                let mut from = Vec::new();
                loop {
                    let scan = Scan {
                        space,
                        from,
                        to: vec![0xff],
                        direction: Direction::Ascending,
                        limit: 4096,
                    };
                    let rows = view.scan(&scan).expect("the state can be read");
                    for (key, value) in &rows {
                        let bytes = (key.len() + value.len()) as u64;
                        match keys::table_name(space, key) {
                            "operations"
                            | "operations_of_resources"
                            | "changes_in_folders"
                            | "idempotency"
                            | "idempotency_counts"
                            | "expiries" => done += bytes,
                            _ => secrets += bytes,
                        }
                    }
                    let Some((mut last, _)) = rows.into_iter().next_back() else { break };
                    last.push(0);
                    from = last;
                }
            }
            (secrets, done)
        });
        read.expect("the state can be read").value
    }
}

/// What the files below a directory take; one with several names counts once, with the first.
fn on_disk(root: &Path) -> BTreeMap<&'static str, u64> {
    let mut seen = BTreeMap::new();
    let mut taken = BTreeMap::new();
    // The state first: snapshots share its files.
    for part in ["state", "raft", "snapshots"] {
        let mut directories = vec![root.join(part)];
        let bytes = taken.entry(part).or_insert(0);
        while let Some(next) = directories.pop() {
            // What goes meanwhile takes nothing any more.
            for entry in std::fs::read_dir(next).into_iter().flatten().flatten() {
                let Ok(metadata) = entry.metadata() else { continue };
                if metadata.is_dir() {
                    directories.push(entry.path());
                } else if seen.insert(metadata.ino(), ()).is_none() {
                    *bytes += metadata.blocks() * 512;
                }
            }
        }
    }
    taken
}

#[expect(clippy::cast_precision_loss, reason = "a table for people")]
fn mib(bytes: u64) -> f64 {
    bytes as f64 / MIB
}

/// Prints a row; gives the ratio.
fn row(churn: &Churn, root: &Path, out: &mut impl Write) -> f64 {
    let (secrets, done) = churn.alive();
    let taken = on_disk(root);
    let total: u64 = taken.values().sum();
    let ratio = mib(total) / mib(secrets + done).max(f64::MIN_POSITIVE);
    let written = churn.written.load(Ordering::Relaxed).min(churn.plan.overwrites);
    let hours = churn.clock.elapsed_ms() / 3_600_000;
    let of = |part: &str| mib(taken.get(part).copied().unwrap_or_default());
    writeln!(
        out,
        "| {written} | {hours} | {:.1} | {:.1} | {:.1} | {:.1} | {:.1} | {:.1} | {ratio:.2} |",
        mib(secrets),
        mib(done),
        of("state"),
        of("raft"),
        of("snapshots"),
        mib(total),
    )
    .expect("standard output takes it");
    ratio
}

#[tokio::main(flavor = "multi_thread")]
async fn main() -> ExitCode {
    let plan = Plan::of_environment();
    let directory = tempfile::tempdir().expect("there is a place for temporary files");
    let clock = Arc::new(MovedClock { start: Instant::now(), moved_ms: AtomicU64::new(0) });
    let random = Arc::new(Counted(AtomicU64::new(1)));
    let mut config = ReplicaConfig::new(1, directory.path().to_owned());
    config.integrity.retained_bytes_max = Some(plan.retained_bytes);
    let parts = ReplicaParts {
        engines: Arc::new(RocksEngines::new()),
        connector: Arc::new(PlaintextConnector),
        authorizer: Arc::new(AllowAllPeers),
        clock: Arc::clone(&clock) as Arc<dyn Clock>,
        random: Arc::clone(&random) as Arc<dyn Randomness>,
    };
    let replica = Box::pin(Replica::start(config, parts)).await.expect("the replica starts");
    let churn = Arc::new(Churn { replica, clock, random, plan, written: AtomicU64::new(0) });
    churn.initialise().await;

    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "| overwrites | hours | secrets MiB | operations MiB | state on disk | log | snapshots \
         alone | all on disk | disk / alive |\n|---|---|---|---|---|---|---|---|---|"
    )
    .expect("standard output takes it");
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let churn = Arc::clone(&churn);
        writers.spawn(async move { churn.write_over(writer).await });
    }
    for tenth in 1..10 {
        while churn.written.load(Ordering::Relaxed) < plan.overwrites / 10 * tenth {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        row(&churn, directory.path(), &mut out);
    }
    while let Some(ended) = writers.join_next().await {
        ended.expect("a writer wrote");
    }
    let taken = churn.replica.take_snapshot(true, Instant::now() + PATIENCE).await;
    taken.expect("a snapshot is taken");
    let ratio = row(&churn, directory.path(), &mut out);
    drop(out);
    churn.replica.shutdown().await;
    if ratio > RATIO_MAX { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
