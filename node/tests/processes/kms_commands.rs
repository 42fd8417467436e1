//! `lockbox kms` against a cluster whose KMS is a server of its own: found by discovery; keys by id
//! and by name, in the formats and with the exit codes of all commands.

use std::path::Path;

use serde_json::Value;

use crate::cluster::{Cluster, success};

/// A command that goes well; what it prints, as JSON.
fn json(cluster: &Cluster, arguments: &[&str]) -> Value {
    let line = [&["kms", "symmetric-key"], arguments, &["--format", "json"]].concat();
    serde_json::from_slice(success(&cluster.lockbox(&line, b""))).unwrap()
}

/// A command that prints for people.
fn text(cluster: &Cluster, arguments: &[&str]) -> String {
    let line = [&["kms", "symmetric-key"], arguments].concat();
    String::from_utf8(success(&cluster.lockbox(&line, b"")).to_vec()).unwrap()
}

/// A command that fails with this code; its sentence.
fn failure(cluster: &Cluster, code: i32, arguments: &[&str]) -> String {
    let output = cluster.lockbox(&[&["kms"], arguments].concat(), b"");
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {complaint}");
    assert!(output.stdout.is_empty());
    assert_eq!(complaint.lines().count(), 1, "{complaint}");
    complaint
}

fn id_of(value: &Value) -> &str {
    value["id"].as_str().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keys_life_on_the_command_line() {
    let mut cluster = Cluster::start(Vec::new()).await;
    let made = ["create", "--name", "db", "--labels", "env=prod", "--default-algorithm", "aes-128"];
    let key = json(&cluster, &made);
    let id = id_of(&key);
    assert_eq!(key["default_algorithm"], "AES_128");
    let first = id_of(&key["primary_version"]).to_owned();
    for target in [&["db"][..], &["--name", "db"], &["--id", id], &[id]] {
        assert_eq!(json(&cluster, &[&["get"], target].concat()), key, "{target:?}");
    }
    let change = ["update", "db", "--new-name", "cache", "--default-algorithm", "aes-256"];
    assert_eq!(json(&cluster, &change)["name"], "cache");
    let rotated = json(&cluster, &["rotate", "cache"]);
    let second = id_of(&rotated["primary_version"]).to_owned();
    assert_eq!(rotated["primary_version"]["algorithm"], "AES_256");
    let versions = text(&cluster, &["list-versions", "cache"]);
    assert!(versions.contains("| ID ") && versions.contains(" PRIMARY "), "{versions}");
    assert!(versions.find(&second).unwrap() < versions.find(&first).unwrap(), "{versions}");

    everything_is_encrypted_and_opened(&cluster, id, &first, &second);

    let of = |command, version: &'_ str| {
        let line = ["kms", "symmetric-key", command, "cache", "--version-id", version];
        line.map(str::to_owned)
    };
    let run = |line: [String; 6]| -> Value {
        let line: Vec<&str> = line.iter().map(String::as_str).skip(2).collect();
        json(&cluster, &line)
    };
    let scheduled = run(of("schedule-version-destruction", &first));
    assert_eq!(scheduled["status"], "SCHEDULED_FOR_DESTRUCTION");
    assert!(scheduled["destroy_at"].is_string());
    assert_eq!(run(of("cancel-version-destruction", &first))["status"], "ACTIVE");
    let primary = run(of("set-primary-version", &first));
    assert_eq!(id_of(&primary["primary_version"]), first);
    let closed = ["symmetric-key", "schedule-version-destruction", id, "--version-id", &first];
    assert!(failure(&cluster, 1, &closed).contains("FAILED_PRECONDITION"));

    let role = ["--role", "kms.keys.decrypter", "--subject", "serviceAccount:ajenobody"];
    json(&cluster, &[&["add-access-binding", "cache"][..], &role].concat());
    assert!(text(&cluster, &["list-access-bindings", "cache"]).contains("ajenobody"));
    json(&cluster, &[&["remove-access-binding", "cache"][..], &role].concat());
    let binding = "role=kms.viewer,subject=system:allUsers";
    json(&cluster, &["set-access-bindings", "cache", "-y", "--access-binding", binding]);
    let bound = json(&cluster, &["list-access-bindings", "cache"]);
    assert_eq!(bound.as_array().unwrap().len(), 1);
    assert_eq!(bound[0]["role_id"], "kms.viewer");

    json(&cluster, &["update", "cache", "--deletion-protection"]);
    let refused = failure(&cluster, 1, &["symmetric-key", "delete", "cache"]);
    assert!(refused.contains("FAILED_PRECONDITION"), "{refused}");
    json(&cluster, &["update", "cache", "--no-deletion-protection", "--status", "inactive"]);
    let operations = text(&cluster, &["list-operations", "cache"]);
    assert!(operations.contains("Create symmetric key"), "{operations}");
    let unattended = json(&cluster, &["delete", "cache", "--async"]);
    assert_eq!(unattended["done"], true);
    let gone = failure(&cluster, 1, &["symmetric-key", "get", id]);
    assert!(gone.contains("NOT_FOUND"), "{gone}");
    let gone = failure(&cluster, 1, &["symmetric-key", "get", "cache"]);
    assert!(gone.contains("is named"), "{gone}");
    assert!(!text(&cluster, &["list"]).contains("cache"));

    // An address that is said goes before the one that the server names.
    let nowhere = ["symmetric-key", "list", "--kms-endpoint", "localhost:1", "--retry", "0"];
    assert!(failure(&cluster, 3, &nowhere).contains("localhost:1"));
    let there = cluster.variable("KMS_ENDPOINT").to_owned();
    text(&cluster, &["list", "--kms-endpoint", &there]);
    cluster.stop().await;
}

fn everything_is_encrypted_and_opened(cluster: &Cluster, id: &str, first: &str, second: &str) {
    let crypto = |arguments: &[&str], input: &[u8]| {
        let line = [&["kms", "symmetric-crypto"], arguments].concat();
        success(&cluster.lockbox(&line, input)).to_vec()
    };
    let value = [0, 255, b'\n'];
    let from_stdin = ["--plaintext-file", "-"];
    let sealed = crypto(&[&["encrypt", "cache"][..], &from_stdin].concat(), &value);
    assert_eq!(crypto(&["decrypt", id, "--ciphertext-file", "-"], &sealed), value);
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let (plain, context) = (path("plain"), path("context"));
    std::fs::write(&plain, value).unwrap();
    std::fs::write(&context, b"context").unwrap();
    for version in [first, second] {
        let (sealed, opened) = (path("sealed"), path("opened"));
        let encrypt = [
            "encrypt",
            "--name",
            "cache",
            "--version-id",
            version,
            "--plaintext-file",
            &plain,
            "--ciphertext-file",
            &sealed,
            "--aad-context-file",
            &context,
        ];
        assert_eq!(crypto(&encrypt, b""), b"");
        let decrypt = [
            "decrypt",
            "cache",
            "--ciphertext-file",
            &sealed,
            "--plaintext-file",
            &opened,
            "--aad-context-file",
            &context,
        ];
        assert_eq!(crypto(&decrypt, b""), b"");
        assert_eq!(std::fs::read(&opened).unwrap(), value);
        let without = ["symmetric-crypto", "decrypt", "cache", "--ciphertext-file", &sealed];
        let refused = failure(cluster, 1, &without);
        assert!(refused.contains("INVALID_ARGUMENT"), "{refused}");
    }
    let absent = ["symmetric-crypto", "encrypt", "cache", "--plaintext-file", "/nowhere/plain"];
    let absent = failure(cluster, 2, &absent);
    assert!(absent.contains("/nowhere/plain"), "{absent}");
    assert!(!Path::new("/nowhere").exists());
}
