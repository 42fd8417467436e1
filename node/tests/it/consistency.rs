//! The extensions `x-consistency` and `x-if-version`, where they mean something and where not.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use lockbox::router;
use lockbox_proto::google::rpc;
use lockbox_proto::yandex::cloud::access::{ListAccessBindingsRequest, SetAccessBindingsRequest};
use lockbox_proto::yandex::cloud::iam::v1::CreateIamTokenRequest;
use lockbox_proto::yandex::cloud::iam::v1::create_iam_token_request::Identity;
use lockbox_proto::yandex::cloud::lockbox::v1 as wire;
use prost::Message;
use tokio::time::Instant;
use tonic::{Code, Request};

use crate::client::text;
use crate::fixture::Node;
use crate::messages::binding;

/// Longer than any wait that has a bound of its own.
const LONG: Duration = Duration::from_secs(60);

fn with<T>(mut request: Request<T>, name: &'static str, value: &str) -> Request<T> {
    request.metadata_mut().insert(name, value.parse().unwrap());
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
    // Who may do what is never told from the past.
    let list = ListAccessBindingsRequest { resource_id: secret.id.clone(), ..Default::default() };
    let listed = with(node.request(list), stale, "stale");
    let refused = node.secrets().list_access_bindings(listed).await;
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
    // Nor has a folder any: a condition that nobody looks at is refused.
    let request = SetAccessBindingsRequest {
        resource_id: node.made.folder_id.to_string(),
        access_bindings: Vec::new(),
    };
    let request = with(node.request(request), "x-if-version", "e6qversion");
    let refused = node.folders().set_access_bindings(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("x-if-version"), "{}", refused.message());
    node.stop().await;
}

/// Rights are given on what was seen, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bindings_of_a_secret_are_changed_only_if_the_expected_version_is_current() {
    let node = Node::start().await;
    let secret = node.create(vec![text("k", "v")], "").await;
    let first = secret.current_version.clone().unwrap().id;
    let second = node.add(&secret.id, vec![text("k", "w")]).await.id;
    let set = || SetAccessBindingsRequest {
        resource_id: secret.id.clone(),
        access_bindings: vec![binding("lockbox.viewer", "serviceAccount", "someone")],
    };
    let list =
        || ListAccessBindingsRequest { resource_id: secret.id.clone(), ..Default::default() };
    let refused = with(node.request(set()), "x-if-version", &first);
    let refused = node.secrets().set_access_bindings(refused).await.unwrap_err();
    assert_eq!(refused.code(), Code::Aborted);
    let listed = node.secrets().list_access_bindings(node.request(list())).await.unwrap();
    assert!(listed.into_inner().access_bindings.is_empty());
    let request = with(node.request(set()), "x-if-version", &second);
    node.secrets().set_access_bindings(request).await.unwrap();
    node.stop().await;
}

fn at_least<T>(mut request: Request<T>, index: u64) -> Request<T> {
    let value = index.to_string().parse().unwrap();
    request.metadata_mut().insert("lockbox-min-index", value);
    request
}

/// A freshness token is waited for where the read is stale, within the call's time and a little
/// while; a wrong one is named.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_waits_for_the_index_that_its_caller_has_seen() {
    let node = Node::start().await;
    let secret = node.create(vec![text("k", "v")], "").await;
    let get = || node.request(wire::GetSecretRequest { secret_id: secret.id.clone() });
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

    // Enough that the node's answer comes before the client's own clock ends the call.
    for timeout in [Duration::from_secs(3), LONG] {
        let mut hurried = at_least(stale(), u64::MAX);
        hurried.set_timeout(timeout);
        let begun = Instant::now();
        let late = client.get(hurried).await.unwrap_err();
        assert!(begun.elapsed() < LONG / 2, "{timeout:?}");
        assert_eq!(late.code(), Code::Unavailable);
        assert_eq!(late.metadata().get("lockbox-outcome").unwrap(), "not-proposed");
        assert!(late.message().contains(&u64::MAX.to_string()), "{}", late.message());
    }

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

/// Behind the barrier everything that was ever told is there: what is not was never told, and
/// nobody waits for it, neither a read nor a mutation nor a login.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_that_was_never_told_is_refused_at_once() {
    let node = Node::start().await;
    let secret = node.create(vec![text("k", "v")], "").await;
    let ahead = |refused: tonic::Status| {
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
        assert_eq!(refused.message(), "lockbox-min-index: is ahead of the log");
        assert!(refused.metadata().get("lockbox-index").is_some(), "{refused:?}");
    };
    let begun = Instant::now();
    let get = wire::GetSecretRequest { secret_id: secret.id.clone() };
    let mut patient = at_least(node.request(get), u64::MAX);
    patient.set_timeout(10 * LONG);
    ahead(node.secrets().get(patient).await.unwrap_err());
    let add = || wire::AddVersionRequest {
        secret_id: secret.id.clone(),
        payload_entries: vec![text("k", "w")],
        ..Default::default()
    };
    ahead(node.secrets().add_version(at_least(node.request(add()), u64::MAX)).await.unwrap_err());
    let keyed = node.keyed("0b0c1f9e-6a4f-4a57-8a3c-9d8e7f6a5b4c", add());
    ahead(node.secrets().add_version(at_least(keyed, u64::MAX)).await.unwrap_err());

    let login = |jwt: String| CreateIamTokenRequest { identity: Some(Identity::Jwt(jwt)) };
    let signed = at_least(Request::new(login(node.jwt())), u64::MAX);
    ahead(node.tokens().create(signed).await.unwrap_err());
    // Whoever cannot sign waits for nothing, and learns nothing of the log.
    let jwt = node.jwt();
    let (claims, _signature) = jwt.rsplit_once('.').unwrap();
    let mut forged = at_least(Request::new(login(format!("{claims}.AAAA"))), u64::MAX);
    forged.set_timeout(10 * LONG);
    let refused = node.tokens().create(forged).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    assert!(begun.elapsed() < LONG, "somebody has waited");

    // What was told is there for all of them.
    let answered = node.secrets().add_version(node.request(add())).await.unwrap();
    let told: u64 =
        answered.metadata().get("lockbox-index").unwrap().to_str().unwrap().parse().unwrap();
    let get = wire::GetSecretRequest { secret_id: secret.id.clone() };
    node.secrets().get(at_least(node.request(get), told)).await.unwrap();
    node.secrets().add_version(at_least(node.request(add()), told)).await.unwrap();
    node.tokens().create(at_least(Request::new(login(node.jwt())), told)).await.unwrap();
    node.stop().await;
}

/// Each read that waits is woken by every batch: so many at one time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_so_many_reads_wait_for_an_index() {
    let node = Node::start().await;
    let secret = node.create(vec![text("k", "v")], "").await;
    let mut waiting = Vec::new();
    while let Ok(place) = node.app.catching_up.enter() {
        waiting.push(place);
    }
    assert!(waiting.len() >= 200, "{}", waiting.len());
    let get = || node.request(wire::GetSecretRequest { secret_id: secret.id.clone() });
    let stale = |index| at_least(with(get(), "x-consistency", "stale"), index);
    let refused = node.secrets().get(stale(u64::MAX)).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    let details = rpc::Status::decode(refused.details()).unwrap().details;
    assert!(details.iter().any(|any| any.to_msg::<rpc::RetryInfo>().is_ok()), "{details:?}");
    // Who need not wait needs no place.
    node.secrets().get(stale(1)).await.unwrap();
    node.secrets().get(get()).await.unwrap();
    node.stop().await;
}

/// Which of two values counts would be a guess, over gRPC as over REST.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_header_that_decides_is_refused_when_it_is_there_twice() {
    let node = Node::start().await;
    let secret = node.create(vec![text("k", "v")], "").await;
    let router = router::public(&node.app, node.metrics.rpc.clone()).unwrap();
    let get = || wire::GetSecretRequest { secret_id: secret.id.clone() };
    let login = || CreateIamTokenRequest { identity: Some(Identity::Jwt(node.jwt())) };
    for (name, value) in [
        ("idempotency-key", "0b0c1f9e-6a4f-4a57-8a3c-9d8e7f6a5b4c"),
        ("x-if-version", "e6qversion"),
        ("x-consistency", "linearizable"),
        ("lockbox-min-index", "0"),
    ] {
        let once = with(node.request(get()), name, value);
        node.secrets().get(once).await.unwrap();
        let message = format!("{name}: is given more than once");
        let mut twice = with(node.request(get()), name, value);
        twice.metadata_mut().append(name, value.parse().unwrap());
        let refused = node.secrets().get(twice).await.unwrap_err();
        assert_eq!((refused.code(), refused.message()), (Code::InvalidArgument, &*message));
        let mut twice = with(Request::new(login()), name, value);
        twice.metadata_mut().append(name, value.parse().unwrap());
        let refused = node.tokens().create(twice).await.unwrap_err();
        assert_eq!((refused.code(), refused.message()), (Code::InvalidArgument, &*message));

        for (known, status) in [(true, 400), (false, 401)] {
            let mut request = http::Request::get(format!("/lockbox/v1/secrets/{}", secret.id))
                .header(name, value)
                .header(name, value);
            if known {
                request = request.header("authorization", format!("Bearer {}", node.token()));
            }
            let response = router.answer(request.body(Body::empty()).unwrap()).await;
            assert_eq!(response.status().as_u16(), status, "{name}");
            let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
            let answer: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
            assert_eq!(answer["message"].as_str() == Some(&*message), known, "{answer}");
        }
    }
    node.stop().await;
}
