//! Secrets under an own key: what the KMS is asked, when, and what its answers become.

use std::collections::BTreeSet;

use lockbox::seal::SealPlace;
use lockbox_core::{CloudId, FolderId, SecretId, VersionId};
use lockbox_proto::yandex::cloud::lockbox::v1 as wire;
use tonic::{Code, Status};

use crate::client::{response, text};
use crate::fixture::{Node, WAIT};

fn header<'s>(status: &'s Status, name: &str) -> Option<&'s str> {
    status.metadata().get(name).map(|value| value.to_str().unwrap())
}

impl Node {
    fn empty(&self, kms_key_id: &str) -> wire::CreateSecretRequest {
        wire::CreateSecretRequest {
            folder_id: self.made.folder_id.to_string(),
            kms_key_id: kms_key_id.into(),
            ..Default::default()
        }
    }

    async fn try_add(&self, secret: &str, key: &str) -> Result<wire::Version, Status> {
        let request = wire::AddVersionRequest {
            secret_id: secret.into(),
            payload_entries: vec![text(key, "x")],
            ..Default::default()
        };
        let answer = self.secrets().add_version(self.request(request)).await?;
        Ok(response(&answer.into_inner()))
    }
}

/// `contract §13` no. 19: a key must exist and be the caller's to use, version or not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_creation_without_a_version_asks_about_its_key() {
    let node = Node::start().await;
    let mut client = node.secrets();
    let unknown = client.create(node.request(node.empty("abjnowhere"))).await.unwrap_err();
    assert_eq!(unknown.code(), Code::FailedPrecondition);
    assert_eq!(header(&unknown, "kms-index"), Some("5"));
    let created = client.create(node.request(node.empty("abjownkey"))).await.unwrap();
    assert_eq!(created.metadata().get("kms-index").unwrap(), "4");
    let used = node.kms.used();
    assert_eq!(used.len(), 1);
    assert_eq!((used[0].operation, used[0].key_id.as_str()), ("check_attach", "abjownkey"));
    assert_eq!(used[0].subject_name, "admin");
    assert!(used[0].roles.contains(&"admin".to_owned()), "{:?}", used[0].roles);
    node.kms.refuse("check_attach", Code::PermissionDenied);
    let denied = client.create(node.request(node.empty("abjownkey"))).await.unwrap_err();
    assert_eq!(denied.code(), Code::PermissionDenied);
    // A KMS of another maker does not know the question.
    node.kms.refuse("check_attach", Code::Unimplemented);
    assert!(client.create(node.request(node.empty("abjownkey"))).await.is_ok());
    // With a version, sealing is the question.
    let mut with_version = node.empty("abjnowhere");
    with_version.version_payload_entries = vec![text("k", "v")];
    let unknown = client.create(node.request(with_version)).await.unwrap_err();
    assert_eq!(unknown.code(), Code::FailedPrecondition);
    node.stop().await;
}

/// What `apply` would refuse after the KMS had billed is refused before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_cloud_costs_no_kms_operation() {
    let node = Node::start().await;
    for _ in 0..9 {
        node.create(vec![], "").await;
    }
    let mut request = node.empty("abjownkey");
    request.version_payload_entries = vec![text("k", "v")];
    let refused = node.secrets().create(node.request(request)).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(node.kms.used().is_empty());
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_after_the_kms_carries_its_index() {
    let node = Node::start().await;
    let secret = node.create(vec![text("k", "v")], "abjownkey").await;
    // The base was opened, and then the merge leaves nothing.
    let request = wire::AddVersionRequest {
        secret_id: secret.id.clone(),
        payload_entries: vec![text("k", "")],
        ..Default::default()
    };
    let refused = node.secrets().add_version(node.request(request)).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert_eq!(header(&refused, "kms-index"), Some("4"));
    // The refusal is later than the base, so its index counts.
    node.kms.refuse("generate_data_key", Code::InvalidArgument);
    let refused = node.try_add(&secret.id, "l").await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert_eq!(header(&refused, "kms-index"), Some("5"));
    let mut request = node.empty("abjownkey");
    request.version_payload_entries = vec![text("k", "v")];
    let refused = node.secrets().create(node.request(request)).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("kms_key_id"), "{}", refused.message());
    // The node is refused, not the caller.
    node.kms.refuse("decrypt", Code::Unauthenticated);
    assert_eq!(node.read(&secret.id, "").await.unwrap_err().code(), Code::Unavailable);
    node.stop().await;
}

/// Adds the entry `a` while the current pointer moves back to `to`, between the opening of the
/// base and the proposal; `moved` runs in between as well.
async fn add_while_the_base_moves(
    node: &Node,
    secret: &wire::Secret,
    to: &str,
    moved: impl FnOnce(),
) -> Result<wire::Version, Status> {
    let asked = || node.kms.used().iter().filter(|u| u.operation == "generate_data_key").count();
    let before = asked();
    // The caller and this test: it goes on when the test says so.
    node.kms.meet_at_data_keys(2);
    let moves = async {
        while asked() == before {
            tokio::task::yield_now().await;
        }
        let (secret_id, version_id) = (secret.id.clone(), to.to_owned());
        let request = wire::SetCurrentVersionRequest { secret_id, version_id };
        node.secrets().set_current_version(node.request(request)).await.unwrap();
        moved();
        node.kms.meet().await;
    };
    let both = async { tokio::join!(node.try_add(&secret.id, "a"), moves) };
    tokio::time::timeout(WAIT, both).await.unwrap().0
}

/// The KMS sees the repeat of a merge as what it is, and does not bill it twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_merge_whose_base_moved_is_made_again_and_repeats_its_kms_requests() {
    let node = Node::start().await;
    let secret = node.create(vec![text("k", "v")], "abjownkey").await;
    let first = secret.current_version.as_ref().unwrap().id.clone();
    node.add(&secret.id, vec![text("l", "w")]).await;
    add_while_the_base_moves(&node, &secret, &first, || ()).await.unwrap();
    let mut keys: Vec<_> = node.read(&secret.id, "").await.unwrap();
    keys.sort();
    let keys: Vec<_> = keys.into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, ["a", "k"], "the entries of the base that was current at last, and the new");
    let used = node.kms.used();
    let made = used.iter().filter(|u| u.operation == "generate_data_key");
    let made: Vec<_> = made.map(|u| u.kms_request_id.clone()).collect();
    // The creation's, the second version's, and the third's twice.
    assert_eq!(made.len(), 4);
    assert_eq!(made.into_iter().collect::<BTreeSet<_>>().len(), 3);
    node.stop().await;
}

/// What the node says it asked is what the KMS knows it by, answered or not, each request once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_audit_names_what_the_kms_was_asked() {
    let node = Node::start().await;
    let plain = node.create(vec![text("k", "v")], "").await;
    node.read(&plain.id, "").await.unwrap();
    let secret = node.create(vec![text("k", "v")], "abjownkey").await;
    let first = secret.current_version.as_ref().unwrap().id.clone();
    node.add(&secret.id, vec![text("l", "w")]).await;
    add_while_the_base_moves(&node, &secret, &first, || ()).await.unwrap();
    node.read(&secret.id, "").await.unwrap();
    node.kms.refuse("decrypt", Code::Unavailable);
    node.read(&secret.id, "").await.unwrap_err();

    let audit = node.audit();
    let told: Vec<Vec<(String, bool)>> = audit
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter_map(|record: serde_json::Value| {
            let requests = record["kms_requests"].as_array()?.clone();
            let told = requests.iter().map(|request| {
                assert_eq!(request["key_id"], "abjownkey");
                let id = request["kms_request_id"].as_str().unwrap().to_owned();
                (id, request["answered"].as_bool().unwrap())
            });
            Some(told.collect())
        })
        .collect();
    // Creation, two bases and data keys whereof the merge was made twice, a read, and one in vain.
    let counts: Vec<_> = told.iter().map(Vec::len).collect();
    assert_eq!(counts, [1, 2, 3, 1, 1]);
    let unanswered: Vec<_> = told.iter().flatten().filter(|(_, answered)| !answered).collect();
    assert_eq!(unanswered, [&told[4][0]]);
    let named: BTreeSet<_> = told.iter().take(4).flatten().map(|(id, _)| id.clone()).collect();
    let known = node.kms.used().into_iter().map(|used| hex::encode(used.kms_request_id));
    assert_eq!(named, known.collect::<BTreeSet<_>>());
    node.stop().await;
}

/// `contract §2.6`: they serialise. Each one's KMS calls are made once, on the version before it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_of_one_secret_wait_for_their_turn() {
    const CALLERS: usize = 3;
    let node = Node::start().await;
    let secret = node.create(vec![text("k", "v")], "abjownkey").await;
    let names: Vec<_> = (0..CALLERS).map(|number| format!("n{number:02}")).collect();
    let calls = names.iter().map(|name| node.add(&secret.id, vec![text(name, "1")]));
    let versions: BTreeSet<_> =
        futures::future::join_all(calls).await.into_iter().map(|version| version.id).collect();
    assert_eq!(versions.len(), CALLERS);
    let keys: BTreeSet<_> =
        node.read(&secret.id, "").await.unwrap().into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, names.into_iter().chain(["k".to_owned()]).collect());
    let used = node.kms.used();
    let made = used.iter().filter(|u| u.operation == "generate_data_key").count();
    assert_eq!(made, CALLERS + 1, "somebody merged what could not be stored");
    node.stop().await;
}

/// `design §3`: `not-proposed` stands only where nothing was handed to Raft.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn giving_up_after_a_refused_merge_is_an_observation() {
    let node = Node::start().await;
    let secret = node.create(vec![text("k", "v")], "abjownkey").await;
    let first = secret.current_version.as_ref().unwrap().id.clone();
    node.add(&secret.id, vec![text("l", "w")]).await;
    // What the second try needs breaks.
    let breaks = || node.kms.refuse("decrypt", Code::Unavailable);
    let lost = add_while_the_base_moves(&node, &secret, &first, breaks).await.unwrap_err();
    assert_eq!(lost.code(), Code::Unavailable);
    assert_eq!(header(&lost, "lockbox-outcome"), None);
    assert!(header(&lost, "lockbox-index").is_some());
    node.stop().await;
}

/// A payload of a later build is not lost, and asking for it costs nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payload_of_an_unknown_format_is_not_opened() {
    let node = Node::start().await;
    let secret = node.create(vec![text("k", "v")], "").await;
    let version = secret.current_version.unwrap().id;
    let (secret_id, version_id) =
        (SecretId::parse(&secret.id).unwrap(), VersionId::parse(&version).unwrap());
    let read = node.app.replica.read_stale(|view, _| {
        lockbox_raft::state::tables::payload(view, &secret_id, &version_id).unwrap().unwrap()
    });
    let mut sealed = read.unwrap().value;
    sealed.format = 2;
    let (cloud, folder): (CloudId, FolderId) =
        (node.made.cloud_id.clone(), node.made.folder_id.clone());
    let place =
        SealPlace { cloud: &cloud, folder: &folder, secret: &secret_id, version: &version_id };
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(10);
    let refused = node.app.sealer.open(&place, &sealed, None, deadline).await;
    let refused = refused.err().unwrap();
    assert_eq!(refused.code(), Code::Unimplemented);
    assert!(refused.message().contains("format 2"), "{}", refused.message());
    node.stop().await;
}
