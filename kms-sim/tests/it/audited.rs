//! Every method that is served is on record: refused, unreadable, and also when its caller has gone.

use std::collections::BTreeSet;
use std::time::Duration;

use lockbox_proto::descriptor_pool;
use lockbox_proto::yandex::cloud::kms::v1::{GetSymmetricKeyRequest, SymmetricEncryptRequest};
use tokio::time::Instant;
use tonic::{Code, Request};
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use crate::server_support::{
    CLUSTER_DOWN, CLUSTER_HANGS, ServerFixture, TOKEN, TOKEN_REVOKED, with_token,
};
use crate::unread::{grpc_message, records};

/// The longest that a test waits for anything.
const PATIENCE: Duration = Duration::from_secs(30);
/// No message of any method.
const UNREADABLE: &[u8] = &[0x0a, 0x7f];

/// The paths of all methods that the server says it has, but for health and reflection.
async fn served(server: &ServerFixture) -> Vec<String> {
    let mut client = ServerReflectionClient::new(server.channel(None).await);
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let asked = futures::stream::iter([request]);
    let mut answers = client.server_reflection_info(asked).await.unwrap().into_inner();
    let answer = answers.message().await.unwrap().unwrap();
    let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response else {
        panic!("no list");
    };
    let mut paths = Vec::new();
    for service in list.service.into_iter().map(|service| service.name) {
        if service.starts_with("grpc.") {
            continue;
        }
        let methods = descriptor_pool().get_service_by_name(&service).unwrap();
        paths.extend(methods.methods().map(|method| format!("/{service}/{}", method.name())));
    }
    paths
}

#[tokio::test(flavor = "multi_thread")]
async fn security_s18_every_method_of_the_kms_leaves_one_record() {
    let server = ServerFixture::start(|_| {}).await;
    let paths = served(&server).await;
    assert!(paths.len() >= 23, "{paths:?}");
    for path in paths {
        let is_for_operators = path.contains("KeyAdminService");
        let (identity, token) =
            if is_for_operators { (Some("operator"), None) } else { (None, Some(TOKEN)) };
        let known = || match token {
            Some(token) => with_token((), token),
            None => Request::new(()),
        };
        let mut events = BTreeSet::new();
        for (identity, request, message, expected) in [
            (None, Request::new(()), b"".as_slice(), Code::Unauthenticated),
            (None, Request::new(()), UNREADABLE, Code::Unauthenticated),
            (identity, known(), UNREADABLE, Code::InvalidArgument),
        ] {
            let before = records(&server).len();
            let channel = server.channel(identity).await;
            let status = grpc_message(channel, &path, request, message).await;
            assert_eq!(status.code(), expected, "{path}: {status:?}");
            let written = records(&server).split_off(before);
            let [record] = written.as_slice() else { panic!("{path}: {written:?}") };
            let is_known = expected == Code::InvalidArgument;
            assert_eq!(record["authentication"]["authenticated"], is_known, "{record}");
            assert_eq!(record["error"]["code"], i32::from(expected), "{record}");
            events.insert(record["event_type"].as_str().unwrap().to_owned());
        }
        assert_eq!(events.len(), 1, "{path}: {events:?}");
    }
    server.stop().await;
}

/// What was refused before anybody looked at rights was not allowed.
#[tokio::test(flavor = "multi_thread")]
async fn only_what_was_judged_to_be_allowed_is_on_record_as_that() {
    let server = ServerFixture::start(|_| {}).await;
    let mut crypto = server.crypto(None).await;
    let encrypt = |key_id: &str| SymmetricEncryptRequest {
        key_id: key_id.to_owned(),
        plaintext: b"p".to_vec(),
        ..Default::default()
    };
    for (token, key_id, expected) in [
        (CLUSTER_DOWN, "abjnowhere", Code::Unavailable),
        (TOKEN_REVOKED, "abjnowhere", Code::Unauthenticated),
        (TOKEN, "", Code::InvalidArgument),
        (TOKEN, "abjnowhere", Code::NotFound),
    ] {
        let refused = crypto.encrypt(with_token(encrypt(key_id), token)).await.unwrap_err();
        assert_eq!(refused.code(), expected, "{refused:?}");
        let record = records(&server).pop().unwrap();
        assert_eq!(record["authorization"]["authorized"], false, "{record}");
        assert_eq!(record["authentication"]["authenticated"], token == TOKEN, "{record}");
    }
    server.stop().await;
}

/// Whoever hangs up is on record all the same, also of a call that changes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_read_whose_caller_has_gone_is_on_record() {
    let server = ServerFixture::start(|_| {}).await;
    let mut keys = server.keys(None).await;
    let get = GetSymmetricKeyRequest { key_id: "abjnowhere".to_owned() };
    let asked = async {
        while server.hung() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        answer = keys.get(with_token(get, CLUSTER_HANGS)) => panic!("{answer:?}"),
        asked = tokio::time::timeout(PATIENCE, asked) => asked.expect("in time"),
    }
    drop(keys);
    let deadline = Instant::now() + PATIENCE;
    while records(&server).is_empty() {
        assert!(Instant::now() < deadline, "there is no record");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let written = records(&server);
    assert_eq!(written.len(), 1);
    assert_eq!(written[0]["event_type"], "yandex.cloud.audit.kms.GetSymmetricKey");
    assert_eq!(written[0]["error"]["code"], i32::from(Code::Unavailable));
    server.stop().await;
}
