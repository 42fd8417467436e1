//! The seeded bugs of the node bite: each test runs healthy and as the mutant (`crate::trial`).

use std::io;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lockbox::payload::{EntryValue, Payload, PayloadEntry};
use lockbox::seal::SealPlace;
use lockbox_core::{
    LogTime, Mutant, OperationId, RequestId, SecretId, Sensitive, Subject, TokenId, VersionId,
};
use lockbox_proto::yandex::cloud::access::SetAccessBindingsRequest;
use lockbox_proto::yandex::cloud::lockbox::v1 as wire;
use lockbox_proto::yandex::cloud::resourcemanager::v1::folder_service_client::FolderServiceClient;
use lockbox_raft::domain::command::{Command as Change, Envelope, TokenRef};
use lockbox_raft::domain::outcome::Outcome;
use lockbox_raft::domain::secret::SecretStatus;
use tokio::time::Instant;
use tonic::Code;

use crate::client::{binary, text};
use crate::fixture::{Node, WAIT, bearing};
use crate::messages::binding;
use crate::trial::Trial;

const CANARY: &str = "canary-7c0ffee5-d00d-4b1d-8f00";

impl Node {
    /// Proposes as if another node had received the request.
    async fn propose_elsewhere(&self, command: Change) {
        let random = self.app.random.as_ref();
        let envelope = Envelope {
            request_id: RequestId::generate(random),
            subject: Subject::service_account(&self.made.admin_id),
            token: Some(TokenRef {
                token_id: TokenId::parse("aitelsewhere").unwrap(),
                credential_id: None,
                expires_at: LogTime::from_ms(u64::MAX),
                maker: None,
            }),
            operation_id: OperationId::generate(random),
            idempotency: None,
            if_version: None,
            proposed_at: LogTime::default(),
            command,
        };
        let applied = self.app.replica.propose(envelope, Instant::now() + WAIT).await.unwrap();
        assert!(matches!(applied.outcome, Outcome::Done(_)), "{:?}", applied.outcome);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deactivate_in_cache() {
    let trial = Trial::of(Mutant::DeactivateInCache);
    let node = Node::start().await;
    let secret = node.create(vec![text("k", "v")], "").await;
    node.read(&secret.id, "").await.unwrap();
    let secret_id = SecretId::parse(&secret.id).unwrap();
    let off = Change::SetSecretStatus { secret_id, status: SecretStatus::Inactive };
    node.propose_elsewhere(off).await;
    let read = node.read(&secret.id, "").await;
    node.stop().await;
    trial.end(read.is_ok());
}

/// A reader by a role on the folder, and what it reads after the role or its key is taken away.
async fn read_after_revocation(of_the_key: bool) -> Result<(), Code> {
    let node = Node::start().await;
    let secret = node.create(vec![text("k", "v")], "").await;
    let account = node.create_account("robot").await;
    let key = node.create_key(&account.id).await;
    let token = node.token_of(&account.id, &key).await;
    node.bind(binding("lockbox.payloadViewer", "serviceAccount", &account.id)).await;
    let get = || wire::GetPayloadRequest { secret_id: secret.id.clone(), ..Default::default() };
    let read = async || node.payloads().get(bearing(&token, get())).await.map(drop);
    read().await.unwrap();
    if of_the_key {
        node.delete_key(&key).await;
    } else {
        let nobody = SetAccessBindingsRequest {
            resource_id: node.made.folder_id.to_string(),
            access_bindings: Vec::new(),
        };
        let mut folders = FolderServiceClient::new(node.channel.clone());
        folders.set_access_bindings(node.request(nobody)).await.unwrap();
    }
    let read = read().await;
    node.stop().await;
    read.map_err(|status| status.code())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bindings_cached() {
    let trial = Trial::of(Mutant::BindingsCached);
    let read = read_after_revocation(false).await;
    trial.end(read != Err(Code::PermissionDenied));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revoked_token_cached() {
    let trial = Trial::of(Mutant::RevokedTokenCached);
    let read = read_after_revocation(true).await;
    trial.end(read != Err(Code::Unauthenticated));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_current_versions() {
    let trial = Trial::of(Mutant::TwoCurrentVersions);
    let node = Node::start().await;
    let secret = node.create(vec![text("k", "old")], "").await;
    let first = secret.current_version.clone().unwrap().id;
    node.add(&secret.id, vec![text("k", "new")]).await;
    let (secret_id, version_id) = (secret.id.clone(), first.clone());
    let set = wire::SetCurrentVersionRequest { secret_id, version_id };
    node.secrets().set_current_version(node.request(set)).await.unwrap();
    let get = wire::GetSecretRequest { secret_id: secret.id.clone() };
    let shown = node.secrets().get(node.request(get)).await.unwrap().into_inner();
    assert_eq!(shown.current_version.unwrap().id, first);
    let read = node.read(&secret.id, "").await.unwrap();
    node.stop().await;
    trial.end(read[0].1 == b"new");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ids_reused() {
    let trial = Trial::of(Mutant::IdsReused);
    let node = Node::start().await;
    let kept = node.create(vec![text("k", "kept")], "").await;
    let first = node.create(vec![text("k", "v")], "").await;
    let delete = wire::DeleteSecretRequest { secret_id: first.id.clone() };
    node.secrets().delete(node.request(delete)).await.unwrap();
    let second = node.create(vec![text("k", "w")], "").await;
    assert_eq!(node.read(&kept.id, "").await.unwrap()[0].1, b"kept");
    node.stop().await;
    let version = |secret: &wire::Secret| secret.current_version.as_ref().unwrap().id.clone();
    let same = first.id == second.id;
    assert_eq!(same, version(&first) == version(&second));
    trial.end(same);
}

/// The ids of some secrets as they were made, and as pages of two show them; with `deleted`, this
/// one goes away behind the first page.
async fn walked(count: usize, deleted: Option<usize>) -> (Vec<String>, Vec<String>) {
    let node = Node::start().await;
    let (mut made, mut shown) = (Vec::new(), Vec::new());
    for _ in 0..count {
        made.push(node.create(Vec::new(), "").await.id);
    }
    let mut page_token = String::new();
    loop {
        let folder_id = node.made.folder_id.to_string();
        let request = wire::ListSecretsRequest { folder_id, page_size: 2, page_token };
        let page = node.secrets().list(node.request(request)).await.unwrap().into_inner();
        shown.extend(page.secrets.into_iter().map(|secret| secret.id));
        if let Some(deleted) = deleted.filter(|_| shown.len() == 2) {
            let secret_id = made[deleted].clone();
            let delete = wire::DeleteSecretRequest { secret_id };
            node.secrets().delete(node.request(delete)).await.unwrap();
        }
        page_token = page.next_page_token;
        if page_token.is_empty() || shown.len() > 2 * count {
            break;
        }
    }
    node.stop().await;
    (made, shown)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn page_by_offset() {
    let trial = Trial::of(Mutant::PageByOffset);
    let (made, shown) = walked(4, Some(0)).await;
    trial.end(made != shown);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn page_by_time() {
    let trial = Trial::of(Mutant::PageByTime);
    let (made, shown) = walked(8, None).await;
    trial.end(made != shown);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn page_restarts() {
    let trial = Trial::of(Mutant::PageRestarts);
    let (made, shown) = walked(4, Some(1)).await;
    trial.end(made != shown);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plaintext_at_rest() {
    let trial = Trial::of(Mutant::PlaintextAtRest);
    let node = Node::start().await;
    let secret = node.create(vec![text("k", CANARY)], "").await;
    node.add(&secret.id, vec![binary("b", CANARY.as_bytes())]).await;
    assert_eq!(node.read(&secret.id, "").await.unwrap()[0].1, CANARY.as_bytes());
    let holds = |bytes: Vec<u8>| bytes.windows(CANARY.len()).any(|w| w == CANARY.as_bytes());
    let found = node.files().iter().any(|file| holds(std::fs::read(file).unwrap()));
    node.stop().await;
    trial.end(found);
}

/// What was logged.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plaintext_in_log() {
    let trial = Trial::of(Mutant::PlaintextInLog);
    let node = Node::start().await;
    let written = Written::default();
    let made = written.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::DEBUG)
        .with_writer(move || made.clone())
        .finish();
    let entry = PayloadEntry {
        key: "k".to_owned(),
        value: EntryValue::Text(Sensitive::new(CANARY.to_owned())),
    };
    let payload = Payload { entries: vec![entry] };
    let (secret, version) = (SecretId::parse("e6qs").unwrap(), VersionId::parse("e6qv").unwrap());
    let (cloud, folder) = (&node.made.cloud_id, &node.made.folder_id);
    let place = SealPlace { cloud, folder, secret: &secret, version: &version };
    let by = Instant::now() + Duration::from_secs(10);
    {
        // The future runs on this thread, which is the one that is listened to.
        let _listening = tracing::subscriber::set_default(subscriber);
        node.app.sealer.seal(&place, &payload, None, by).await.unwrap();
        tracing::debug!("the end");
    }
    node.stop().await;
    let log = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("the end"), "nothing was listened to: {log}");
    trial.end(log.contains(CANARY));
}

/// What the jepsen suite reads, which does not link the servers.
#[test]
fn the_program_lists_its_mutants() {
    let mut lockbox = Command::new(env!("CARGO_BIN_EXE_lockbox"));
    let listed = lockbox.args(["mutants", "--format", "json"]).output().unwrap();
    let list: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap();
    let names = list["mutants"].as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap());
    assert!(names.clone().count() >= 20);
    assert!(names.clone().any(|name| name == "lost-tail"));
    assert!(list["missing"].as_array().unwrap().iter().all(|row| row["reason"].is_string()));
}

#[test]
fn an_unknown_mutant_does_not_start() {
    let directory = tempfile::tempdir().unwrap();
    let mut lockbox = Command::new(env!("CARGO_BIN_EXE_lockbox"));
    lockbox.args(["dev", "--ephemeral", "--dir"]).arg(directory.path());
    let refused = lockbox.env("LOCKBOX_MUTANT", "no-such").output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
    let text = String::from_utf8(refused.stderr).unwrap();
    assert!(text.contains("no mutant \"no-such\""), "{text}");
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "it has begun");
}
