//! Backups of a node: made and fetched by the operator, restored, scheduled, and stored in a bucket.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use lockbox::backup::destination::Destination;
use lockbox::backup::destroyed_list::VerifiedList;
use lockbox::backup::metrics::BackupMetrics;
use lockbox::backup::names::{BackupName, DestroyedName};
use lockbox::backup::restore::{restore, since};
use lockbox::backup::schedule::keep_backed_up;
use lockbox::backup::verify::{key_for, verify};
use lockbox::config::{BackupConfig, BucketConfig, Config};
use lockbox_core::{SecretId, VersionId};
use lockbox_platform::sealed_file::RecipientKey;
use lockbox_platform::system::SystemRandom;
use lockbox_platform::tasks::TaskKind;
use lockbox_proto::lockbox::cluster::v1 as wire;
use lockbox_raft::domain::version::VersionStatus;
use lockbox_raft::state::tables;
use lockbox_raft::store::{NodeIdentity, RocksEngines, Store, StoreOptions, open_store};
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use s3s_fs::FileSystem;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tonic::{Code, Status};

use crate::client::text;
use crate::fixture::{Node, WAIT};
use crate::peers::Peers;

const BUCKET: &str = "backups";

/// The configuration of a node that is restored.
pub(crate) fn config_of(node_id: u64, data_dir: &Path) -> Config {
    let place = TempDir::new().unwrap();
    let path = place.path().join("node.toml");
    let text = format!(
        "node_id = {node_id}\ndata_dir = {data_dir:?}\n\
         [api]\nlisten = \"127.0.0.1:0\"\nadvertise = \"localhost:1\"\n\
         certificate = \"unused\"\nkey = \"unused\"\n\
         [peer]\nlisten = \"127.0.0.1:0\"\nadvertise = \"localhost:1\"\n\
         certificate = \"unused\"\nkey = \"unused\"\nca = \"unused\"\n\
         [metrics]\nlisten = \"127.0.0.1:0\"\n[kms]\naddress = \"localhost:2\"\n"
    );
    std::fs::write(&path, text).unwrap();
    Config::load(&path, &[]).unwrap()
}

/// Opens what was restored, as its node would.
pub(crate) fn opened(config: &Config) -> Store {
    let identity = NodeIdentity { node_id: config.node_id, fresh_store_id: [1; 16] };
    let engines = Arc::new(RocksEngines::new());
    open_store(&config.data_dir, engines, &identity, &StoreOptions::default()).unwrap()
}

/// Fetches a backup as the operator does.
pub(crate) async fn fetched(
    peers: &Peers,
    request: wire::MakeBackupRequest,
    to: &Path,
) -> Result<wire::Backup, Status> {
    let mut client = peers.admin("operator");
    let made = client.make_backup(request).await?.into_inner();
    let mut content = Vec::new();
    while (content.len() as u64) < made.bytes {
        let (backup_id, offset) = (made.backup_id.clone(), content.len() as u64);
        let piece = client.read_backup(wire::ReadBackupRequest { backup_id, offset }).await?;
        content.extend(piece.into_inner().data);
    }
    std::fs::write(to, content).unwrap();
    Ok(made)
}

pub(crate) fn request(recipient: &str) -> wire::MakeBackupRequest {
    wire::MakeBackupRequest {
        backup_id: "00112233445566778899aabbccddeeff".to_owned(),
        recipients: vec![recipient.to_owned()],
        ..Default::default()
    }
}

async fn destroy(node: &Node, secret: &str, version: &str) {
    use lockbox_proto::yandex::cloud::lockbox::v1 as lockbox;
    let request = lockbox::ScheduleVersionDestructionRequest {
        secret_id: secret.to_owned(),
        version_id: version.to_owned(),
        pending_period: Some(prost_types::Duration { seconds: 1, nanos: 0 }),
    };
    node.secrets().schedule_version_destruction(node.request(request)).await.unwrap();
    let version = VersionId::parse(version).unwrap();
    until("destruction", async || {
        let read = node.app.replica.read_stale(|view, _now| tables::any_version(view, &version));
        let found = read.unwrap().value.unwrap().unwrap();
        (found.status == VersionStatus::Destroyed).then_some(())
    })
    .await;
}

async fn until<T>(what: &str, look: impl AsyncFn() -> Option<T>) -> T {
    let until = Instant::now() + WAIT;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < until, "no {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_is_fetched_and_restored_without_what_was_destroyed_since() {
    let node = Node::start().await;
    let peers = Peers::start(&node.app, &node.tasks, &node.metrics).await;
    let (kept, gone) =
        (node.create(vec![text("k", "v")], "").await, node.create(vec![text("k", "v")], "").await);
    let gone_version = gone.current_version.clone().unwrap().id;
    let (key, recipient) = RecipientKey::generate().unwrap();
    let place = TempDir::new().unwrap();
    let file = place.path().join("backup");
    let made = fetched(&peers, request(&recipient.to_string()), &file).await.unwrap();
    assert_eq!((made.node_id, made.sealed_for.as_slice()), (1, &[recipient.to_string()][..]));
    assert!(BackupName::parse(&made.name).is_some_and(|name| name.cluster == made.cluster_id));
    let again = fetched(&peers, request(&recipient.to_string()), &file).await.unwrap();
    assert_eq!(again, made, "a repeat makes no second one");

    let late = node.create(vec![text("k", "v")], "").await;
    destroy(&node, &gone.id, &gone_version).await;
    let listing = wire::ListDestroyedRequest { after: made.destroyed };
    let listed = peers.admin("operator").list_destroyed(listing).await.unwrap().into_inner();
    let list = VerifiedList::read(&listed.content).unwrap();
    assert!(DestroyedName::parse(&listed.name).is_some_and(|name| name.last == listed.upto));

    let file_key = key_for(&file, &key).unwrap();
    let verified = verify(&file, &file_key).unwrap();
    verified.check_signer(&hex::decode(&made.signer).unwrap()).unwrap();
    let since = since(&verified, &[list]).unwrap();
    assert_eq!((since.destroyed.len(), since.upto, since.missing), (1, listed.upto, None));
    let config = config_of(9, &place.path().join("data"));
    let restored = restore((&file, &file_key), &verified, &since, &config, &SystemRandom).unwrap();
    assert_eq!(restored.destroyed_again, 1);
    assert_ne!(restored.cluster_id.as_str(), made.cluster_id);
    let store = opened(&config);
    store
        .state
        .read(|view| {
            let secret = |id: &str| tables::secret(view, &SecretId::parse(id).unwrap()).unwrap();
            assert!(secret(&kept.id).is_some() && secret(&late.id).is_none());
            let version = VersionId::parse(&gone_version).unwrap();
            let gone = tables::any_version(view, &version).unwrap().unwrap();
            assert_eq!(gone.status, VersionStatus::Destroyed);
            assert_eq!(tables::cluster(view).unwrap().unwrap().id, restored.cluster_id);
            assert_eq!(tables::member_ids(view).unwrap(), [9]);
        })
        .unwrap();
    let twice = restore((&file, &file_key), &verified, &since, &config, &SystemRandom);
    assert!(twice.is_err(), "a directory that is a node's is left alone");

    let drop = wire::DropBackupRequest { backup_id: made.backup_id.clone() };
    peers.admin("operator").drop_backup(drop).await.unwrap();
    let read = wire::ReadBackupRequest { backup_id: made.backup_id, offset: 0 };
    let away = peers.admin("operator").read_backup(read).await.unwrap_err();
    assert_eq!(away.code(), Code::NotFound);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_else_gets_a_backup_and_wrong_requests_make_none() {
    let node = Node::start().await;
    let peers = Peers::start(&node.app, &node.tasks, &node.metrics).await;
    let (_, recipient) = RecipientKey::generate().unwrap();
    let recipient = recipient.to_string();
    for stem in ["kms", "other-node", "stranger"] {
        let refused = peers.admin(stem).make_backup(request(&recipient)).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied, "{stem}");
    }
    let mut operator = peers.admin("operator");
    for (wrong, code) in [
        (request("nobody"), Code::InvalidArgument),
        // Neither the request nor the configuration names anybody.
        (wire::MakeBackupRequest { recipients: Vec::new(), ..request("") }, Code::InvalidArgument),
        (
            wire::MakeBackupRequest { backup_id: "../x".into(), ..request(&recipient) },
            Code::InvalidArgument,
        ),
    ] {
        let refused = operator.make_backup(wrong).await.unwrap_err();
        assert_eq!(refused.code(), code, "{refused}");
    }
    let refused = operator.list_backups(wire::ListBackupsRequest {}).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
    node.app.keyring.hold();
    let sealed = operator.make_backup(request(&recipient)).await.unwrap_err();
    assert_eq!(sealed.code(), Code::Unavailable, "{sealed}");
    let spool = node.data.path().join("backups");
    let left = std::fs::read_dir(spool).map_or(0, Iterator::count);
    assert_eq!(left, 0, "a half of a backup is left");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leader_stores_backups_and_lists_of_destructions_by_itself() {
    let (_, recipient) = RecipientKey::generate().unwrap();
    let place = TempDir::new().unwrap();
    let directory = place.path();
    let node = Node::limited(&format!(
        "[backup]\nevery_seconds = 3600\ndirectory = {directory:?}\nkeep_newest = 1\n\
         keep_days = 0\nrecipients = [\"{recipient}\"]\ndestroyed_within_seconds = 1\n"
    ))
    .await;
    let metrics = BackupMetrics::new(&node.metrics).unwrap();
    let cancelled = node.tasks.token();
    let backing_up = keep_backed_up(Arc::clone(&node.app), metrics.clone(), cancelled);
    node.tasks.spawn(TaskKind::Critical, "backups", backing_up);
    let named = |suffix: &str| {
        let names = std::fs::read_dir(directory).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.ends_with(suffix)).collect::<Vec<_>>()
    };
    let first = until("first backup", async || named(".backup").pop()).await;
    let secret = node.create(vec![text("k", "v")], "").await;
    destroy(&node, &secret.id, &secret.current_version.unwrap().id).await;
    let list = until("list of destructions", async || named(".destroyed").pop()).await;
    let read = VerifiedList::read(&std::fs::read(directory.join(list)).unwrap()).unwrap();
    assert_eq!(read.list.destroyed().unwrap().len(), 1);
    assert_eq!(named(".backup"), std::slice::from_ref(&first), "the next one is not due");
    // An hour later there is another one, and the first is not among the newest any more.
    node.pass(Duration::from_secs(3_700));
    let second = until("second backup", async || {
        let names = named(".backup");
        (names.len() == 1 && names[0] != first).then(|| names[0].clone())
    });
    assert!(second.await > first);
    assert_eq!(metrics.failures.with_label_values(&["backup"]).get(), 0);
    assert!(metrics.last_success.get() > 0 && metrics.last_bytes.get() > 0);
    node.stop().await;
}

/// An S3 server with one bucket, on files.
struct S3 {
    address: SocketAddr,
    files: TempDir,
    connections: TaskTracker,
}

impl S3 {
    async fn start() -> Self {
        let files = TempDir::new().unwrap();
        std::fs::create_dir(files.path().join(BUCKET)).unwrap();
        let mut builder = S3ServiceBuilder::new(FileSystem::new(files.path()).unwrap());
        builder.set_auth(SimpleAuth::from_single("access", "hunter2"));
        let service = builder.build();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, connections) = (listener.local_addr().unwrap(), TaskTracker::new());
        let tracker = connections.clone();
        connections.spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let service = service.clone();
                tracker.spawn(async move {
                    let server = Builder::new(TokioExecutor::new());
                    server.serve_connection(TokioIo::new(socket), service).await.ok();
                });
            }
        });
        Self { address, files, connections }
    }

    fn config(&self, credentials: &str) -> BackupConfig {
        let credentials_file: PathBuf = self.files.path().join("credentials");
        std::fs::write(&credentials_file, credentials).unwrap();
        let for_us = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(&credentials_file, for_us).unwrap();
        let bucket = BucketConfig {
            endpoint: format!("http://{}", self.address),
            region: "us-east-1".to_owned(),
            name: BUCKET.to_owned(),
            prefix: "of/lockbox".to_owned(),
            credentials_file,
            ca: None,
            plaintext: true,
        };
        BackupConfig { bucket: Some(bucket), ..BackupConfig::default() }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_takes_and_gives_what_a_directory_does() {
    let server = S3::start().await;
    let bucket = Destination::of(&server.config("access\nhunter2\n")).unwrap().unwrap();
    let here = TempDir::new().unwrap();
    // One that goes in parts, and one that does not.
    let large: Vec<u8> = (0..9_000_000_u32).map(|n| (n % 251) as u8).collect();
    let contents = BTreeMap::from([("large", large), ("small", b"content".to_vec())]);
    for (name, content) in &contents {
        let file = here.path().join(name);
        std::fs::write(&file, content).unwrap();
        bucket.store(name, &file).await.unwrap();
    }
    bucket.put("list", b"[]".to_vec()).await.unwrap();
    let stored = bucket.list().await.unwrap();
    let names: Vec<_> = stored.iter().map(|file| (file.name.as_str(), file.bytes)).collect();
    assert_eq!(names, [("large", 9_000_000), ("list", 2), ("small", 7)]);
    for (name, content) in &contents {
        let file = here.path().join("fetched");
        bucket.fetch(name, &file).await.unwrap();
        assert!(std::fs::read(&file).unwrap() == *content, "{name}");
    }
    bucket.remove("small").await.unwrap();
    assert_eq!(bucket.list().await.unwrap().len(), 2);
    let stranger = Destination::of(&server.config("access\nwrong\n")).unwrap().unwrap();
    let refused = stranger.list().await.unwrap_err().to_string();
    assert!(!refused.contains("hunter2") && !refused.contains("wrong\n"), "{refused}");
    server.connections.close();
}
