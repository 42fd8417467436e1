//! Items 18 and 19: one record for each call, no value in any of them, and what is counted.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::api::{Api, code, text, texts};
use crate::programs;

/// Every call leaves one record, a refused one too; no value, password or token is in anything
/// that the servers write.
pub(super) async fn audit(api: Api) {
    let canary = format!("canary{}", api.unique("value").replace('-', ""));
    let id = api.secret(&[("k", &canary)]).await;
    api.entries(&id, "").await;
    let stranger = api.robot(&[]).await;
    let private_key = stranger.key.private_key.expose().clone();
    let nobody = api.log_in(&stranger).await;
    let read = "lockbox.v1.PayloadService/Get";
    nobody.refused(code::PERMISSION_DENIED, read, json!({ "secretId": id })).await;
    let spec = json!({ "passwordPayloadSpecification": { "passwordKey": "p" } });
    let generated = text(&api.create(spec).await["response"]["id"]);
    let password = api.entries(&generated, "").await[0].1.clone();
    let wrong = json!({ "secretId": id, "payloadEntries": texts(&[("wrong key", &canary)]) });
    let add = "lockbox.v1.SecretService/AddVersion";
    let refusal = api.refused(code::INVALID_ARGUMENT, add, wrong).await;
    assert!(!refusal.status.to_string().contains(&canary), "an error repeats a value");

    let records = records(&api.target.data);
    let of_secret: Vec<_> =
        records.iter().filter(|record| record["details"]["secret_id"] == json!(id)).collect();
    let shown: Vec<(String, String)> = of_secret
        .iter()
        .map(|record| {
            let event = text(&record["event_type"]);
            let event = event.rsplit('.').next().unwrap_or_default().to_owned();
            (event, text(&record["event_status"]))
        })
        .collect();
    let expected = [
        ("CreateSecret", "DONE"),
        ("GetPayload", "DONE"),
        ("GetPayload", "ERROR"),
        ("AddVersion", "ERROR"),
    ];
    let expected: Vec<_> = expected
        .iter()
        .map(|(event, status)| ((*event).to_owned(), (*status).to_owned()))
        .collect();
    assert_eq!(shown, expected);
    let line = private_key.lines().nth(1).unwrap();
    let secrets = [canary.as_str(), &password, line, &api.target.token];
    // The token is in the connection file, which is for clients.
    for file in files(&api.target.directory).iter().filter(|file| !file.ends_with("env")) {
        let Ok(bytes) = std::fs::read(file) else { continue };
        for secret in secrets {
            let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "a secret is in {}", file.display());
        }
    }
}

fn records(data: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(data.join("audit.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut waiting = vec![directory.to_owned()];
    while let Some(directory) = waiting.pop() {
        let Ok(entries) = std::fs::read_dir(&directory) else { continue };
        for entry in entries.flatten() {
            let path = entry.path();
            if path.is_dir() { waiting.push(path) } else { found.push(path) }
        }
    }
    found
}

/// What the KMS has billed of this key so far.
fn billed(api: &Api, key: &str) -> u64 {
    let config = api.target.directory.join("kms.toml");
    let output = Command::new(programs::kms_sim())
        .args(["billing", "report", "--format", "json", "--config"])
        .arg(config)
        .env_clear()
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let lines = report["lines"].as_array().cloned().unwrap();
    let of_key = lines.iter().filter(|line| line["key_id"] == json!(key));
    of_key.filter_map(|line| line["billed"].as_u64()).sum()
}

/// Payload reads are counted when they succeeded, and with an own key each is one operation of the
/// KMS; failed ones are not.
pub(super) async fn metering(api: Api) {
    let key = api.kms_key().await;
    let fields = json!({ "kmsKeyId": key, "versionPayloadEntries": texts(&[("k", "v")]) });
    let id = text(&api.create(fields).await["response"]["id"]);
    let on = json!({ "secretId": id });
    let before = billed(&api, &key);
    assert_eq!(before, 1, "its version was one operation");
    for _ in 0..3 {
        api.entries(&id, "").await;
    }
    assert_eq!(billed(&api, &key), before + 3, "each read is one operation");
    api.get(&id).await;
    api.must("lockbox.v1.SecretService/ListVersions", on.clone()).await;
    assert_eq!(billed(&api, &key), before + 3, "metadata costs nothing");
    api.must("lockbox.v1.SecretService/Deactivate", on.clone()).await;
    let read = "lockbox.v1.PayloadService/Get";
    api.refused(code::FAILED_PRECONDITION, read, on).await;
    assert_eq!(billed(&api, &key), before + 3, "a failed read costs nothing");
}
