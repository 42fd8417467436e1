//! Requests that are wrong and hold a value where it does not belong: it is not echoed, not
//! logged and not recorded.

use lockbox_proto::yandex::cloud::iam::v1 as iam;
use lockbox_proto::yandex::cloud::iam::v1::create_iam_token_request::Identity;
use lockbox_proto::yandex::cloud::iam::v1::iam_token_service_client::IamTokenServiceClient;
use lockbox_proto::yandex::cloud::lockbox::v1 as wire;
use tonic::codegen::http::uri::PathAndQuery;
use tonic_prost::ProstCodec;

use super::Run;
use super::paths::ask;
use crate::client::Client;
use crate::cluster::Cluster;
use crate::http1;
use crate::messages::{binary, text};

/// More than a value may have.
const TOO_MUCH: usize = 70_000;

/// A request whose entries are whatever these bytes are.
#[derive(Clone, PartialEq, prost::Message)]
struct Malformed {
    #[prost(string, tag = "1")]
    folder_id: String,
    #[prost(bytes = "vec", tag = "7")]
    entries: Vec<u8>,
}

/// An entry whose text is no UTF-8.
#[derive(Clone, PartialEq, prost::Message)]
struct NoText {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(bytes = "vec", tag = "2")]
    text_value: Vec<u8>,
}

/// Through gRPC.
pub(super) async fn grpc(run: &mut Run, client: &Client) {
    let word = run.text("text of a refused Create");
    let long = word.repeat(TOO_MUCH / word.len());
    let specification =
        wire::PasswordPayloadSpecification { password_key: "p".to_owned(), ..Default::default() };
    let specification =
        wire::create_secret_request::PayloadSpecification::PasswordPayloadSpecification(
            specification,
        );
    let with = |entries| client.new_secret("", entries);
    let requests = [
        with(vec![text("", &word)]),
        with(vec![text("k", &word), text("k", &word)]),
        with(vec![text("k", &long)]),
        with(vec![text(&format!("not a key: {word}"), "v")]),
        with(vec![text("k", &word), wire::PayloadEntryChange { key: "l".into(), value: None }]),
        wire::CreateSecretRequest {
            folder_id: "b1gnowhere".into(),
            ..with(vec![text("k", &word)])
        },
        wire::CreateSecretRequest {
            kms_key_id: "abjnowhere".into(),
            ..with(vec![text("k", &word)])
        },
        wire::CreateSecretRequest {
            payload_specification: Some(specification),
            ..with(vec![text("k", &word)])
        },
    ];
    for (number, request) in requests.into_iter().enumerate() {
        let answer = client.secrets().create(client.request(request)).await;
        let refused = answer.expect_err(&format!("request {number}"));
        run.heard(&format!("Create, request {number}"), &refused);
    }
    for secret in ["e6qnowhere", "", "no id at all"] {
        let blob = run.bytes("bytes of a refused AddVersion");
        let refused = client.add(secret, vec![binary("k", &blob)]).await.unwrap_err();
        run.heard("AddVersion", &refused);
    }
    for token in [run.text("wrong token"), format!("t1.{}.x", run.text("body of a wrong token"))] {
        let refused = client.with_token(&token).add("e6qnowhere", Vec::new()).await.unwrap_err();
        run.heard("a wrong token", &refused);
    }
    for identity in [
        Identity::Jwt(run.text("no JWT")),
        Identity::Jwt(format!("e30.{}.e30", run.text("claims of a wrong JWT"))),
        Identity::YandexPassportOauthToken(run.text("OAuth token")),
    ] {
        let request = iam::CreateIamTokenRequest { identity: Some(identity) };
        let mut tokens = IamTokenServiceClient::new(client.channel.clone());
        run.heard("a wrong login", &tokens.create(request).await.unwrap_err());
    }
    undecodable(run, client).await;
}

/// Bytes that are no message.
async fn undecodable(run: &mut Run, client: &Client) {
    let blob = run.bytes("bytes that are no message");
    let no_text = NoText { key: "k".into(), text_value: [&[0xff], blob.as_slice()].concat() };
    let no_text = prost::Message::encode_to_vec(&no_text);
    for entries in [blob.clone(), [&[0xff; 9], blob.as_slice()].concat(), no_text] {
        let message = Malformed { folder_id: client.folder.clone(), entries };
        let mut raw = tonic::client::Grpc::new(client.channel.clone());
        raw.ready().await.unwrap();
        let path = PathAndQuery::from_static("/yandex.cloud.lockbox.v1.SecretService/Create");
        let codec = ProstCodec::<Malformed, ()>::default();
        let refused = raw.unary(client.request(message), path, codec).await.unwrap_err();
        run.heard("bytes that are no message", &refused);
    }
}

/// Through REST.
pub(super) async fn rest(run: &mut Run, cluster: &Cluster, node: u16) {
    let word = run.text("text of a refused REST request");
    let folder = cluster.variable("LOCKBOX_FOLDER_ID");
    let entries = |entries: &str| {
        format!(r#"{{"folderId": "{folder}", "versionPayloadEntries": {entries}}}"#)
    };
    let bodies = [
        word.clone(),
        format!("\"{word}\""),
        format!("[\"{word}\"]"),
        entries(&format!("\"{word}\"")),
        entries(&format!("[\"{word}\"]")),
        entries(&format!(r#"[{{"key": "k", "textValue": ["{word}"]}}]"#)),
        entries(&format!(r#"[{{"key": "k", "textValue": "{word}""#)),
        entries(&format!(r#"[{{"key": "k", "textValue": "{word}\ud800"}}]"#)),
        entries(&format!(r#"[{{"key": "k", "binaryValue": "{word}*"}}]"#)),
        entries(&format!(r#"[{{"key": "k", "textValue": "{word}", "binaryValue": "AA=="}}]"#)),
        entries(&format!(r#"[{{"key": ["{word}"]}}]"#)),
        entries(&format!(r#"[{{"key": "k", "value": "{word}"}}]"#)),
        entries(&format!(r#"[], "createVersion": "{word}""#)),
        entries(&format!(r#"[], "labels": "{word}""#)),
        entries(&format!(r#"[], "passwordPayloadSpecification": "{word}""#)),
    ];
    for (number, body) in bodies.iter().enumerate() {
        let answer = ask(cluster, node, "POST /lockbox/v1/secrets", body).await;
        assert!((400..500).contains(&answer.status), "body {number}: {}", answer.text());
        run.heard(&format!("REST, body {number}"), &answer.text());
    }
    let word = run.text("credential of a refused REST request");
    for credential in [format!("Bearer {word}"), format!("Basic {word}"), word] {
        let headers = [("authorization", credential.as_str())];
        let head = format!("GET /lockbox/v1/secrets?folderId={folder}");
        let port = cluster.ports().api(node);
        let answer = http1::rest(port, &cluster.ca(), &head, &headers, b"").await;
        assert_eq!(answer.status, 401, "{}", answer.text());
        run.heard("REST with a wrong credential", &answer.text());
    }
    let word = run.text("login over REST");
    let body = format!(r#"{{"jwt": "{word}", "yandexPassportOauthToken": ["{word}"]}}"#);
    for body in [body, format!(r#"{{"jwt": "{word}"}}"#)] {
        let answer = ask(cluster, node, "POST /iam/v1/tokens", &body).await;
        assert!((400..500).contains(&answer.status), "{}", answer.text());
        run.heard("login over REST", &answer.text());
    }
}

/// By the program itself, before anything is sent.
pub(super) fn command_line(run: &mut Run, cluster: &Cluster) {
    let word = run.text("text that the program refuses");
    for input in [
        word.clone(),
        format!("[{{key: a, text_value: [{word}]}}]"),
        format!("[{{key: a, binary_value: '{word}*'}}]"),
        format!("[{{key: [{word}]}}]"),
        format!("[{{key: a, text_value: '{word}"),
        format!("[{{key: a, value: {word}}}]"),
    ] {
        let output = cluster.lockbox(&["secret", "create", "--payload", "-"], input.as_bytes());
        assert_eq!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stderr));
        run.printed("secret create with a wrong payload", &output);
    }
    // What the server refuses is a sentence of the program.
    let input = format!("[{{key: a, text_value: {word}}}, {{key: a, text_value: {word}}}]");
    let output = cluster.lockbox(&["secret", "create", "--payload", "-"], input.as_bytes());
    assert_ne!(output.status.code(), Some(0));
    run.printed("secret create with a payload that the server refuses", &output);
    let bill = cluster.kms_sim(&["billing", "report"]);
    assert_eq!(bill.status.code(), Some(0));
    run.printed("billing report", &bill);
}
