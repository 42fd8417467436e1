//! The paths on which a value gets in, and out again to who may read it.

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lockbox_proto::yandex::cloud::lockbox::v1 as wire;
use lockbox_proto::yandex::cloud::operation::Operation;
use serde_json::json;
use tonic::{Code, Request};

use super::Run;
use crate::client::Client;
use crate::cluster::{Cluster, NODES, Part, success};
use crate::http1::{self, Answer};
use crate::messages::{binary, pairs, response, text};
use crate::waiting::until;

/// Entries that follow a node's log by more than it keeps.
const TO_MISS: usize = 60;

fn keyed<M>(mut request: Request<M>, key: &str) -> Request<M> {
    request.metadata_mut().insert("idempotency-key", key.parse().unwrap());
    request
}

/// Creation, addition and their repetition, text and binary, through gRPC.
pub(super) async fn grpc(run: &mut Run, client: &Client, kms_key: &str) {
    let (word, blob) = (run.text("text of Create"), run.bytes("bytes of Create"));
    let message = client.new_secret(kms_key, vec![text("t", &word), binary("b", &blob)]);
    let idempotency = format!("create-{}", run.canaries.len());
    let mut secrets = client.secrets();
    let mut create = async |message: &wire::CreateSecretRequest| {
        secrets.create(keyed(client.request(message.clone()), &idempotency)).await
    };
    let made: Operation = create(&message).await.unwrap().into_inner();
    assert_eq!(create(&message).await.unwrap().into_inner().id, made.id);
    // Another request under the same key is refused, with its value.
    let other = run.text("text of another request under the same key");
    let other = client.new_secret(kms_key, vec![text("t", &other)]);
    let refused = create(&other).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    run.heard("Create", &made);
    run.heard("Create of something else", &refused);
    let secret = response::<wire::Secret>(&made).id;
    assert_eq!(client.read(&secret).await.unwrap(), pairs(&[("t", word.as_bytes()), ("b", &blob)]));

    let (word, blob) = (run.text("text of AddVersion"), run.bytes("bytes of AddVersion"));
    let message = wire::AddVersionRequest {
        secret_id: secret.clone(),
        payload_entries: vec![text("t", &word), binary("b", &blob)],
        ..Default::default()
    };
    let idempotency = format!("add-{}", run.canaries.len());
    let mut secrets = client.secrets();
    let mut add = async || {
        let request = keyed(client.request(message.clone()), &idempotency);
        secrets.add_version(request).await.unwrap().into_inner()
    };
    let added: Operation = add().await;
    assert_eq!(add().await.id, added.id);
    run.heard("AddVersion", &added);
    assert_eq!(client.read(&secret).await.unwrap(), pairs(&[("t", word.as_bytes()), ("b", &blob)]));
}

/// A request over REST as the administrator.
pub(super) async fn ask(cluster: &Cluster, node: u16, head: &str, body: &str) -> Answer {
    let bearer = format!("Bearer {}", cluster.variable("LOCKBOX_TOKEN"));
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let port = cluster.ports().api(node);
    http1::rest(port, &cluster.ca(), head, &headers, body.as_bytes()).await
}

/// The same through REST.
pub(super) async fn rest(run: &mut Run, cluster: &Cluster, node: u16) {
    let (word, blob) = (run.text("text over REST"), run.bytes("bytes over REST"));
    let spelled = STANDARD.encode(&blob);
    let entries = json!([{"key": "t", "textValue": word}, {"key": "b", "binaryValue": spelled}]);
    let folder = cluster.variable("LOCKBOX_FOLDER_ID");
    let body = json!({"folderId": folder, "versionPayloadEntries": entries}).to_string();
    let made = ask(cluster, node, "POST /lockbox/v1/secrets", &body).await;
    assert_eq!(made.status, 200, "{}", made.text());
    run.heard("creation over REST", &made.text());
    let operation: serde_json::Value = serde_json::from_slice(&made.body).unwrap();
    let secret = operation["response"]["id"].as_str().unwrap();
    let payload = format!("GET /lockbox/v1/secrets/{secret}/payload");
    let read = ask(cluster, node, &payload, "").await.text();
    assert!(read.contains(&word) && read.contains(&spelled));

    let word = run.text("text added over REST");
    let body = json!({"payloadEntries": [{"key": "t", "textValue": word}]}).to_string();
    let head = format!("POST /lockbox/v1/secrets/{secret}:addVersion");
    let added = ask(cluster, node, &head, &body).await;
    assert_eq!(added.status, 200, "{}", added.text());
    run.heard("addition over REST", &added.text());
    assert!(ask(cluster, node, &payload, "").await.text().contains(&word));
}

/// The same through the program, from its input and from a file.
pub(super) fn command_line(run: &mut Run, cluster: &Cluster) {
    let (word, blob) = (run.text("text of a program's input"), run.bytes("bytes of the same"));
    let spelled = STANDARD.encode(&blob);
    let input = format!("[{{key: t, text_value: '{word}'}}, {{key: b, binary_value: {spelled}}}]");
    let create = ["secret", "create", "--name", "by-program", "--payload", "-"];
    let made = cluster.lockbox(&create, input.as_bytes());
    success(&made);
    run.printed("secret create", &made);
    let read = |key| cluster.lockbox(&["payload", "get", "by-program", "--key", key], b"");
    assert_eq!(success(&read("t")), word.as_bytes());
    assert_eq!(success(&read("b")), blob);

    let word = run.text("text of a file");
    let file = run.files.path().join("payload.json");
    std::fs::write(&file, json!([{"key": "t", "textValue": word}]).to_string()).unwrap();
    let file = format!("@{}", file.display());
    let added = cluster.lockbox(&["secret", "add-version", "by-program", "--payload", &file], b"");
    success(&added);
    run.printed("secret add-version", &added);
    assert_eq!(success(&read("t")), word.as_bytes());
    for command in ["get", "list-versions"] {
        let shown = cluster.lockbox(&["secret", command, "by-program"], b"");
        success(&shown);
        run.printed(command, &shown);
    }
}

/// Values on their way while the leader is killed, and in the snapshots and logs that bring the
/// nodes up to date again.
pub(super) async fn killed(run: &mut Run, cluster: &mut Cluster, leader: u16, away: u16) {
    let client = cluster.admin(Part::Node(leader));
    let secret = client.create("", Vec::new()).await;
    let before = cluster.status(away).await.unwrap().applied_index;
    cluster.kill(Part::Node(away));
    for n in 0..TO_MISS {
        let word = run.text("text that a node missed");
        client.add(&secret, vec![text(&format!("t{}", n % 5), &word)]).await.unwrap();
    }
    // The log no longer has what the node needs: a snapshot brings it.
    until("purged log", async || {
        cluster.status(leader).await.filter(|status| status.purged_index > before)
    })
    .await;
    cluster.launch(Part::Node(away));
    cluster.wait_ready(Part::Node(away)).await;

    let leader = cluster.leader().await;
    let client = cluster.admin(Part::Node(leader));
    let words: Vec<_> = (0..8).map(|_| run.text("text on its way")).collect();
    let on_their_way = words.iter().map(|word| client.add(&secret, vec![text("t", word)]));
    let mut on_their_way: futures::stream::FuturesUnordered<_> = on_their_way.collect();
    // One is answered; the others meet their leader's end.
    use futures::StreamExt;
    let answered = on_their_way.next().await.unwrap();
    run.heard("AddVersion", &answered);
    cluster.kill(Part::Node(leader));
    while let Some(answer) = on_their_way.next().await {
        run.heard("AddVersion of a killed leader", &answer);
    }
    cluster.launch(Part::Node(leader));
    cluster.wait_all_ready().await;
    let mut answers = BTreeSet::new();
    for node in NODES {
        answers.insert(cluster.admin(Part::Node(node)).read(&secret).await.unwrap());
    }
    assert_eq!(answers.len(), 1, "the nodes do not agree");
}

/// Values in the memory of servers that crash: what those leave is searched like all else, and a
/// core file would be among it.
pub(super) async fn crashed(run: &mut Run, cluster: &mut Cluster, node: u16) {
    let client = cluster.admin(Part::Node(node));
    for key in [String::new(), run.own_key.clone()] {
        let word = run.text("text in the memory of a crash");
        let secret = client.create(&key, vec![text("t", &word)]).await;
        assert_eq!(client.read(&secret).await.unwrap(), pairs(&[("t", word.as_bytes())]));
    }
    for part in [Part::Node(node), Part::Kms] {
        let pid = cluster.pid(part).to_string();
        assert!(Command::new("kill").args(["-ABRT", &pid]).status().unwrap().success());
        let status = cluster.crashed(part).await;
        assert!(status.signal().is_some() && !status.core_dumped(), "{part}: {status}");
        cluster.launch(part);
    }
    cluster.wait_all_ready().await;
}
