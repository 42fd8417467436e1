//! Secrets under an own key: what the KMS is asked, when, and what its answers become.

use std::collections::BTreeSet;

use lockbox::seal::SealPlace;
use lockbox_core::{CloudId, FolderId, SecretId, VersionId};
use lockbox_proto::yandex::cloud::lockbox::v1 as wire;
use tonic::{Code, Status};

use crate::client::{pairs, response, text};
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

/// Racing callers merge again; the KMS sees the repeats as what they are, and none is billed twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn merges_that_race_lose_no_key_and_repeat_their_kms_requests() {
    let node = Node::start().await;
    let secret = node.create(vec![text("k", "v")], "abjownkey").await;
    // All three have opened the same base when the first of them is proposed.
    node.kms.meet_at_data_keys(3);
    let (a, b, c) = tokio::join!(
        node.add(&secret.id, vec![text("a", "1")]),
        node.add(&secret.id, vec![text("b", "2")]),
        node.add(&secret.id, vec![text("c", "3")]),
    );
    let mut keys: Vec<_> = node.read(&secret.id, "").await.unwrap();
    keys.sort();
    assert_eq!(keys, pairs(&[("a", b"1"), ("b", b"2"), ("c", b"3"), ("k", b"v")]));
    let used = node.kms.used();
    let ids = |operation: &str| -> Vec<_> {
        let of = used.iter().filter(|u| u.operation == operation);
        of.map(|u| u.kms_request_id.clone()).collect()
    };
    let versions = BTreeSet::from([a.id, b.id, c.id]);
    assert_eq!(versions.len(), 3);
    // One for the creation and one for each version, however often each of them was merged; and
    // each loser of the race was merged again.
    let made = ids("generate_data_key");
    assert!(made.len() >= 6, "there was no race: {}", made.len());
    assert_eq!(made.into_iter().collect::<BTreeSet<_>>().len(), 4);
    node.stop().await;
}

/// `design §3`: `not-proposed` stands only where nothing was handed to Raft.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn giving_up_after_a_refused_merge_is_an_observation() {
    let node = Node::start().await;
    let secret = node.create(vec![text("k", "v")], "abjownkey").await;
    // Both callers and this test: nobody goes on before the test has broken what the loser needs.
    node.kms.meet_at_data_keys(3);
    let loses = async {
        let (one, other) =
            tokio::join!(node.try_add(&secret.id, "a"), node.try_add(&secret.id, "b"));
        [one, other].into_iter().find_map(Result::err)
    };
    let breaks = async {
        let asked = || {
            let used = node.kms.used();
            used.iter().filter(|u| u.operation == "generate_data_key").count()
        };
        // The creation's and both callers': both have opened the same base.
        while asked() < 3 {
            tokio::task::yield_now().await;
        }
        node.kms.refuse("decrypt", Code::Unavailable);
        node.kms.meet().await;
    };
    let both = async { tokio::join!(loses, breaks) };
    let (lost, ()) = tokio::time::timeout(WAIT, both).await.unwrap();
    let lost = lost.expect("both callers won");
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
