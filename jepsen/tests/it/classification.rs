//! Each row of the table of `verification §3.4`, played by a fake node.

use std::time::Duration;

use lockbox_jepsen::client::request::{Change, Plaintext, Request};
use lockbox_jepsen::history::answer::{Answer, Code};
use lockbox_jepsen::history::call::{
    AddVersion, Call, GetPayload, ListSecrets, OnSecret, ReadSecret,
};
use lockbox_jepsen::history::ids::{NodeId, ValueHash};
use lockbox_jepsen::history::op::Outcome;
use lockbox_proto::any::pack;
use lockbox_proto::google;
use lockbox_proto::yandex::cloud::lockbox::v1 as wire;
use lockbox_proto::yandex::cloud::operation::{Operation, operation};
use prost_types::Timestamp;
use tokio::net::TcpListener;

use crate::fake_node::{FakeNode, Headers, Says};

const PLACE: Headers =
    &[("lockbox-index", "12"), ("lockbox-term", "3"), ("lockbox-served-by", "1")];
const REFUSED_EARLY: Headers = &[("lockbox-outcome", "not-proposed"), ("lockbox-served-by", "1")];
const SERVED: Headers = &[("lockbox-served-by", "1")];
const BOTH: Headers = &[
    ("lockbox-index", "12"),
    ("lockbox-term", "3"),
    ("lockbox-served-by", "1"),
    ("lockbox-outcome", "not-proposed"),
];

fn added(values: Vec<Change>) -> Request {
    Request::with_values(values, |changes| {
        Call::AddVersion(AddVersion {
            secret: "secret-1".into(),
            base: Some("version-0".into()),
            changes,
            description: "op-7".to_owned(),
            if_version: Some("version-0".into()),
        })
    })
}

fn mutation() -> Request {
    let value = Plaintext::Text("a value".to_owned().into());
    added(vec![Change { key: "k".into(), value: Some(value) }])
}

fn payload_read() -> Request {
    Request::new(Call::GetPayload(GetPayload { secret: "secret-1".into(), version: None }))
}

fn metadata_read() -> Request {
    Request::new(Call::GetSecret(ReadSecret { secret: "secret-1".into() }))
}

fn at() -> Option<Timestamp> {
    Some(Timestamp { seconds: 1, nanos: 5 })
}

fn version() -> wire::Version {
    wire::Version {
        id: "version-1".to_owned(),
        secret_id: "secret-1".to_owned(),
        created_at: at(),
        description: "op-7".to_owned(),
        status: wire::version::Status::Active as i32,
        payload_entry_keys: vec!["k".to_owned()],
        ..Default::default()
    }
}

fn secret() -> wire::Secret {
    wire::Secret {
        id: "secret-1".to_owned(),
        folder_id: "folder-1".to_owned(),
        created_at: at(),
        status: wire::secret::Status::Active as i32,
        current_version: Some(version()),
        ..Default::default()
    }
}

fn done(version: &wire::Version) -> Operation {
    let metadata = wire::AddVersionMetadata {
        secret_id: "secret-1".to_owned(),
        version_id: version.id.clone(),
    };
    Operation {
        done: true,
        metadata: Some(pack(&metadata)),
        result: Some(operation::Result::Response(pack(version))),
        ..Default::default()
    }
}

async fn outcome(request: &Request, says: Says) -> Outcome {
    let node = FakeNode::start().await;
    node.will_say(says);
    node.client().call(request).await
}

async fn outcome_of(request: &Request, code: tonic::Code, headers: Headers) -> Outcome {
    outcome(request, Says::Status(code, headers)).await
}

fn code(outcome: &Outcome) -> (&'static str, Code) {
    match outcome {
        Outcome::Ok(reply) => match &reply.answer {
            Answer::Refused(refusal) => ("ok", refusal.code),
            _ => ("ok", Code::Ok),
        },
        Outcome::Fail(failure) => ("fail", failure.code),
        Outcome::Info(failure) => ("info", failure.code),
        Outcome::Unexpected(failure) => ("unexpected", failure.code),
    }
}

#[tokio::test]
async fn a_success_with_its_place_is_ok_and_sent_as_it_was_asked() {
    let node = FakeNode::start().await;
    node.will_say(Says::Operation(done(&version()), PLACE));
    let Outcome::Ok(reply) = node.client().call(&mutation()).await else { panic!("not ok") };
    assert_eq!((reply.index, reply.term, reply.served_by), (12, 3, NodeId(1)));
    let Answer::Version(view) = reply.answer else { panic!("no version") };
    assert_eq!((view.id.as_str(), view.created_at_ns), ("version-1", 1_000_000_005));

    let arrived = node.arrived();
    let [call] = arrived.as_slice() else { panic!("{} calls arrived", arrived.len()) };
    let header = |name: &str| call.metadata.get(name).map(|value| value.to_str().unwrap());
    assert_eq!(header("authorization"), Some("Bearer a-token"));
    assert_eq!(header("x-if-version"), Some("version-0"));
    assert_eq!(header("idempotency-key"), None);
    assert!(header("grpc-timeout").is_some());
    let sent = call.added.as_ref().unwrap();
    assert_eq!((sent.base_version_id.as_str(), sent.description.as_str()), ("version-0", "op-7"));
    let value = wire::payload_entry_change::Value::TextValue("a value".to_owned());
    assert_eq!(sent.payload_entries[0].value, Some(value));
}

#[tokio::test]
async fn a_page_of_another_folder_is_asked_for_and_read() {
    let node = FakeNode::start().await;
    let there = wire::Secret { folder_id: "folder-2".to_owned(), ..secret() };
    let page = wire::ListSecretsResponse {
        secrets: vec![there, secret()],
        next_page_token: "next".to_owned(),
    };
    node.will_say(Says::Secrets(page, PLACE));
    node.will_say(Says::Secrets(wire::ListSecretsResponse::default(), PLACE));
    node.will_say(Says::Nothing);
    let request = |token: Option<&str>| {
        Request::new(Call::ListSecrets(ListSecrets {
            folder: "folder-2".into(),
            walk: "walk".into(),
            page_size: 7,
            token: token.map(Into::into),
        }))
    };
    let mut client = node.client();
    let Outcome::Ok(reply) = client.call(&request(None)).await else { panic!("not ok") };
    let Answer::Secrets(page) = reply.answer else { panic!("no page") };
    let folders: Vec<_> = page.secrets.iter().map(|view| view.folder.clone()).collect();
    assert_eq!(folders, [Some("folder-2".into()), None], "the run's own is not named");
    assert_eq!(page.next, Some("next".into()));
    let Outcome::Ok(reply) = client.call(&request(Some("next"))).await else { panic!("not ok") };
    let Answer::Secrets(page) = reply.answer else { panic!("no page") };
    assert_eq!((page.secrets.len(), page.next), (0, None));
    let asked: Vec<_> = node.arrived().into_iter().map(|call| call.listed.unwrap()).collect();
    let token = |place: usize| asked[place].page_token.as_str();
    assert_eq!((token(0), token(1)), ("", "next"));
    assert_eq!((asked[0].folder_id.as_str(), asked[0].page_size), ("folder-2", 7));
    // As every read of metadata it leaves no trace when nobody answers.
    assert_eq!(code(&client.call(&request(None)).await).0, "fail");
}

#[tokio::test]
async fn values_come_back_as_hashes_of_their_kind() {
    use wire::payload::entry::Value::{BinaryValue, TextValue};
    let entry = |key: &str, value| wire::payload::Entry { key: key.to_owned(), value };
    let payload = wire::Payload {
        version_id: "version-1".to_owned(),
        entries: vec![
            entry("t", Some(TextValue("canary".to_owned()))),
            entry("b", Some(BinaryValue(b"canary".to_vec()))),
        ],
    };
    let outcome = outcome(&payload_read(), Says::Payload(payload, PLACE)).await;
    assert!(!format!("{outcome:?}").contains("canary"));
    let Outcome::Ok(reply) = outcome else { panic!("not ok") };
    let Answer::Payload(view) = reply.answer else { panic!("no payload") };
    let hashes: Vec<ValueHash> = view.entries.iter().map(|entry| entry.value).collect();
    let text = Plaintext::Text("canary".to_owned().into());
    let binary = Plaintext::Binary(b"canary".to_vec().into());
    assert_eq!(hashes, [text.hash(), binary.hash()]);
}

#[tokio::test]
async fn a_refusal_of_the_state_is_an_observation() {
    for (wire, expected) in [
        (tonic::Code::NotFound, Code::NotFound),
        (tonic::Code::PermissionDenied, Code::PermissionDenied),
        (tonic::Code::FailedPrecondition, Code::FailedPrecondition),
        (tonic::Code::AlreadyExists, Code::AlreadyExists),
        (tonic::Code::Aborted, Code::Aborted),
        (tonic::Code::ResourceExhausted, Code::ResourceExhausted),
    ] {
        let with_place = outcome_of(&mutation(), wire, PLACE).await;
        assert_eq!(code(&with_place), ("ok", expected));
        let early = outcome_of(&mutation(), wire, REFUSED_EARLY).await;
        assert_eq!(code(&early), ("fail", expected));
        // It claims to know the state and does not say which.
        let nowhere = outcome_of(&mutation(), wire, SERVED).await;
        assert_eq!(code(&nowhere), ("unexpected", expected));
    }
}

#[tokio::test]
async fn what_was_never_proposed_failed() {
    for wire in [tonic::Code::Unavailable, tonic::Code::Internal, tonic::Code::DeadlineExceeded] {
        let early = outcome_of(&mutation(), wire, REFUSED_EARLY).await;
        assert_eq!(code(&early).0, "fail");
    }
    for wire in [tonic::Code::InvalidArgument, tonic::Code::Unauthenticated] {
        assert_eq!(code(&outcome_of(&mutation(), wire, SERVED).await).0, "fail");
    }
    let caller = outcome_of(&mutation(), tonic::Code::Unauthenticated, PLACE).await;
    assert_eq!(code(&caller), ("fail", Code::Unauthenticated));
}

#[tokio::test]
async fn what_nobody_decided_is_unknown_but_of_a_metadata_read() {
    for wire in [
        tonic::Code::DeadlineExceeded,
        tonic::Code::Cancelled,
        tonic::Code::Unavailable,
        tonic::Code::Internal,
        tonic::Code::Unknown,
    ] {
        assert_eq!(code(&outcome_of(&mutation(), wire, SERVED).await).0, "info");
        assert_eq!(code(&outcome_of(&payload_read(), wire, SERVED).await).0, "info");
        assert_eq!(code(&outcome_of(&metadata_read(), wire, SERVED).await).0, "fail");
        // An earlier try was refused there, and the last one has no outcome.
        assert_eq!(code(&outcome_of(&mutation(), wire, PLACE).await).0, "info");
    }
}

#[tokio::test]
async fn what_the_contract_does_not_know_is_unexpected() {
    for wire in [tonic::Code::Unimplemented, tonic::Code::OutOfRange, tonic::Code::DataLoss] {
        assert_eq!(code(&outcome_of(&mutation(), wire, SERVED).await).0, "unexpected");
    }
    let contradiction = outcome_of(&mutation(), tonic::Code::NotFound, BOTH).await;
    assert_eq!(code(&contradiction), ("unexpected", Code::NotFound));
    for headers in [SERVED, REFUSED_EARLY] {
        let says = Says::Operation(done(&version()), headers);
        assert_eq!(code(&outcome(&mutation(), says).await), ("unexpected", Code::Ok));
    }
}

#[tokio::test]
async fn an_answer_that_cannot_be_is_unexpected() {
    let other = wire::Version { secret_id: "secret-2".to_owned(), ..version() };
    let unfinished = Operation { done: false, ..done(&version()) };
    let nameless = Operation { metadata: None, ..done(&version()) };
    let wrong_type = Operation {
        result: Some(operation::Result::Response(pack(&secret()))),
        ..done(&version())
    };
    for operation in [done(&other), unfinished, nameless, wrong_type] {
        let outcome = outcome(&mutation(), Says::Operation(operation, PLACE)).await;
        assert_eq!(code(&outcome), ("unexpected", Code::Ok));
    }
    let creating = wire::Secret { status: wire::secret::Status::Creating as i32, ..secret() };
    let another = wire::Secret { id: "secret-2".to_owned(), current_version: None, ..secret() };
    for secret in [creating, another] {
        let outcome = outcome(&metadata_read(), Says::Secret(Box::new(secret), PLACE)).await;
        assert_eq!(code(&outcome), ("unexpected", Code::Ok));
    }
    assert_eq!(
        code(&outcome(&metadata_read(), Says::Secret(Box::new(secret()), PLACE)).await).0,
        "ok"
    );
}

#[tokio::test]
async fn an_operation_that_failed_is_judged_by_its_code() {
    let error = google::rpc::Status { code: 9, ..Default::default() };
    let failed =
        || Operation { result: Some(operation::Result::Error(error.clone())), ..done(&version()) };
    let decided = outcome(&mutation(), Says::Operation(failed(), PLACE)).await;
    assert_eq!(code(&decided), ("ok", Code::FailedPrecondition));
    let nowhere = outcome(&mutation(), Says::Operation(failed(), SERVED)).await;
    assert_eq!(code(&nowhere), ("unexpected", Code::FailedPrecondition));
}

#[tokio::test]
async fn a_refused_connection_is_a_failure_and_so_is_one_that_does_not_come_up() {
    let node = FakeNode::start().await;
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = free.local_addr().unwrap();
    // Nobody accepts: the kernel does, and TLS goes nowhere, as with a paused process.
    assert_eq!(code(&node.client_at(address).call(&mutation()).await).0, "fail");
    drop(free);
    assert_eq!(code(&node.client_at(address).call(&mutation()).await).0, "fail");
    assert!(node.arrived().is_empty());
}

#[tokio::test]
async fn a_broken_connection_is_unknown_and_the_next_attempt_connects_again() {
    let mut node = FakeNode::start().await;
    let mut client = node.client();
    node.will_say(Says::Nothing);
    let request = mutation();
    let broken = {
        let asked = client.call(&request);
        tokio::pin!(asked);
        tokio::select! {
            outcome = &mut asked => panic!("it was answered: {outcome:?}"),
            () = node.until_arrived(1) => node.cut(),
        }
        asked.await
    };
    assert_eq!(code(&broken).0, "info");
    // One attempt was made, and the wire is cut for the next one.
    assert_eq!(code(&client.call(&request).await).0, "fail");
    assert_eq!(node.arrived().len(), 1);
    node.lay_wire().await;
    node.will_say(Says::Operation(done(&version()), PLACE));
    assert_eq!(code(&node.client().call(&request).await).0, "ok");
}

#[tokio::test]
async fn a_silent_node_is_unknown_when_time_is_over() {
    let node = FakeNode::start().await;
    let mut client = node.client();
    node.will_say(Says::Nothing);
    assert_eq!(code(&client.call(&mutation()).await).0, "info");
    node.will_say(Says::Nothing);
    assert_eq!(code(&client.call(&metadata_read()).await).0, "fail");
    node.will_say(Says::Nothing);
    let request =
        Request::new(Call::Deactivate(OnSecret { secret: "secret-1".into(), if_version: None }));
    let left = client.call_and_leave(&request, Duration::from_millis(50)).await;
    assert_eq!(code(&left), ("info", Code::DeadlineExceeded));
    assert_eq!(node.arrived().len(), 3);
}
