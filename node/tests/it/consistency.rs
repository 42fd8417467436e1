//! The extensions `x-consistency` and `x-if-version`, where they mean something and where not.

use lockbox_proto::yandex::cloud::iam::v1::CreateIamTokenRequest;
use lockbox_proto::yandex::cloud::iam::v1::create_iam_token_request::Identity;
use lockbox_proto::yandex::cloud::lockbox::v1 as wire;
use tonic::metadata::MetadataValue;
use tonic::{Code, Request};

use crate::client::text;
use crate::fixture::Node;

fn with<T>(mut request: Request<T>, name: &'static str, value: &'static str) -> Request<T> {
    request.metadata_mut().insert(name, MetadataValue::from_static(value));
    request
}

/// `design §5`: stale is an explicit choice, on metadata alone, and the answer says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stale_metadata_is_read_without_a_round_and_says_so() {
    let node = Node::start().await;
    let secret = node.create(vec![text("k", "v")], "").await;
    let get = || wire::GetSecretRequest { secret_id: secret.id.clone() };
    let list =
        wire::ListSecretsRequest { folder_id: secret.folder_id.clone(), ..Default::default() };
    let versions = wire::ListVersionsRequest { secret_id: secret.id.clone(), ..Default::default() };
    let mut client = node.secrets();
    let stale = "x-consistency";
    let rounds = || node.app.replica.status().reads_confirmed;

    let before = rounds();
    let got = client.get(with(node.request(get()), stale, "stale")).await.unwrap();
    assert_eq!(got.metadata().get("lockbox-stale").unwrap(), "true");
    assert!(got.metadata().get("lockbox-index").is_some());
    assert_eq!(got.into_inner().id, secret.id);
    let listed = client.list(with(node.request(list), stale, "stale")).await.unwrap();
    assert_eq!(listed.metadata().get("lockbox-stale").unwrap(), "true");
    let listed = client.list_versions(with(node.request(versions), stale, "stale")).await.unwrap();
    assert_eq!(listed.metadata().get("lockbox-stale").unwrap(), "true");
    let missing = wire::GetSecretRequest { secret_id: "e6qnowhere".into() };
    let missing = client.get(with(node.request(missing), stale, "stale")).await.unwrap_err();
    assert_eq!(missing.metadata().get("lockbox-stale").unwrap(), "true");
    assert_eq!(rounds(), before);

    let fresh = client.get(with(node.request(get()), stale, "linearizable")).await.unwrap();
    assert!(fresh.metadata().get("lockbox-stale").is_none());
    assert_eq!(rounds(), before + 1);
    let unknown = client.get(with(node.request(get()), stale, "eventual")).await.unwrap_err();
    assert_eq!(unknown.code(), Code::InvalidArgument);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn payloads_tokens_and_changes_are_never_stale() {
    let node = Node::start().await;
    let secret = node.create(vec![text("k", "v")], "").await;
    let stale = "x-consistency";
    let get = wire::GetPayloadRequest { secret_id: secret.id.clone(), version_id: String::new() };
    let refused = node.payloads().get(with(node.request(get.clone()), stale, "stale")).await;
    assert_eq!(refused.unwrap_err().code(), Code::InvalidArgument);
    let asked = node.payloads().get(with(node.request(get), stale, "linearizable")).await;
    assert!(asked.is_ok());
    let identifier = Some(wire::get_ex_request::Identifier::SecretId(secret.id.clone()));
    let get_ex = wire::GetExRequest { identifier, version_id: String::new() };
    let refused = node.payloads().get_ex(with(node.request(get_ex), stale, "stale")).await;
    assert_eq!(refused.unwrap_err().code(), Code::InvalidArgument);
    let delete = wire::DeleteSecretRequest { secret_id: secret.id.clone() };
    let refused = node.secrets().delete(with(node.request(delete), stale, "stale")).await;
    assert_eq!(refused.unwrap_err().code(), Code::InvalidArgument);
    let request = CreateIamTokenRequest { identity: Some(Identity::Jwt(node.jwt())) };
    let refused = node.tokens().create(with(Request::new(request), stale, "stale")).await;
    assert_eq!(refused.unwrap_err().code(), Code::InvalidArgument);
    assert!(node.read(&secret.id, "").await.is_ok());
    node.stop().await;
}

/// Nothing can be current in a secret that is not there yet.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_creation_takes_no_if_version() {
    let node = Node::start().await;
    let request = wire::CreateSecretRequest {
        folder_id: node.made.folder_id.to_string(),
        ..Default::default()
    };
    let request = with(node.request(request), "x-if-version", "e6qversion");
    let refused = node.secrets().create(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("x-if-version"), "{}", refused.message());
    node.stop().await;
}

/// A freshness token is waited for, within the call's time; a wrong one is named.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_waits_for_the_index_that_its_caller_has_seen() {
    let node = Node::start().await;
    let secret = node.create(vec![text("k", "v")], "").await;
    let get = || node.request(wire::GetSecretRequest { secret_id: secret.id.clone() });
    let at_least = |mut request: Request<wire::GetSecretRequest>, index: u64| {
        let value = index.to_string().parse().unwrap();
        request.metadata_mut().insert("lockbox-min-index", value);
        request
    };
    let index_of = |metadata: &tonic::metadata::MetadataMap| -> u64 {
        metadata.get("lockbox-index").unwrap().to_str().unwrap().parse().unwrap()
    };
    let mut client = node.secrets();
    let seen = index_of(client.get(get()).await.unwrap().metadata());
    let stale = || with(get(), "x-consistency", "stale");
    assert!(index_of(client.get(at_least(stale(), seen)).await.unwrap().metadata()) >= seen);

    // One that is still to come: the answer leaves when it is there, and not before.
    let next = seen + 1;
    let mut waiting = node.secrets();
    let request = at_least(stale(), next);
    let created = node.create(vec![text("k", "w")], "");
    let (answer, created) = tokio::join!(waiting.get(request), created);
    let answer = answer.unwrap();
    assert!(index_of(answer.metadata()) >= next);
    assert_ne!(created.id, secret.id);

    let mut hurried = at_least(get(), u64::MAX);
    hurried.set_timeout(std::time::Duration::from_millis(300));
    let late = client.get(hurried).await.unwrap_err();
    assert_eq!(late.code(), Code::Unavailable);
    assert_eq!(late.metadata().get("lockbox-outcome").unwrap(), "not-proposed");
    assert!(late.message().contains(&u64::MAX.to_string()), "{}", late.message());

    let wrong = client.get(with(get(), "lockbox-min-index", "soon")).await.unwrap_err();
    assert_eq!(wrong.code(), Code::InvalidArgument);
    assert!(wrong.message().contains("lockbox-min-index"), "{}", wrong.message());
    let delete = node.request(wire::DeleteSecretRequest { secret_id: secret.id.clone() });
    let wrong = client.delete(with(delete, "lockbox-min-index", "-1")).await.unwrap_err();
    assert_eq!(wrong.code(), Code::InvalidArgument);
    let request = CreateIamTokenRequest { identity: Some(Identity::Jwt(node.jwt())) };
    let wrong = node.tokens().create(with(Request::new(request), "lockbox-min-index", "x")).await;
    assert_eq!(wrong.unwrap_err().code(), Code::InvalidArgument);
    assert!(client.get(get()).await.is_ok(), "it was deleted all the same");
    node.stop().await;
}
