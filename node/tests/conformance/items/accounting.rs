//! Items 18 and 19: one record for each call, no value in any of them, and what is counted.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::api::{Api, code, text, texts};
use crate::waiting::until;
use crate::{http1, programs};

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

/// The value of a secret's series on the node that is asked (`contract §8`); none without one.
async fn metered(api: &Api, name: &str, secret: &str) -> Option<u64> {
    let answer = http1::get(api.target.metrics, "/metrics/secrets").await.unwrap();
    assert_eq!(answer.status, 200);
    let text = answer.text();
    let of_secret = format!("secret=\"{secret}\"");
    let mut lines = text.lines().filter(|line| line.starts_with(name) && line.contains(&of_secret));
    let line = lines.next()?;
    Some(line.rsplit_once(' ').unwrap().1.parse().unwrap())
}

const READS: &str = "key_payload_operations_rate_created{";
const VERSIONS: &str = "key_active_versions_count{";

/// Payload reads are counted when they succeeded, and with an own key each is one operation of the
/// KMS; failed ones are not. Versions are counted until they are destroyed, those of a deactivated
/// secret too.
pub(super) async fn metering(api: Api) {
    let key = api.kms_key().await;
    let fields = json!({ "kmsKeyId": key, "versionPayloadEntries": texts(&[("k", "v")]) });
    let created = api.create(fields).await;
    let id = text(&created["response"]["id"]);
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
    api.add(&id, json!({ "payloadEntries": texts(&[("k", "w")]) })).await;
    let billed_before_failing = billed(&api, &key);
    api.must("lockbox.v1.SecretService/Deactivate", on.clone()).await;
    let read = "lockbox.v1.PayloadService/Get";
    api.refused(code::FAILED_PRECONDITION, read, on.clone()).await;
    assert_eq!(billed(&api, &key), billed_before_failing, "a failed read costs nothing");
    assert_eq!(metered(&api, READS, &id).await, Some(3), "what succeeded, once each");
    assert_eq!(metered(&api, VERSIONS, &id).await, Some(2), "a deactivated secret is stored");
    let first = text(&created["metadata"]["versionId"]);
    let destroy = json!({ "secretId": id, "versionId": first, "pendingPeriod": "0.001s" });
    api.must("lockbox.v1.SecretService/ScheduleVersionDestruction", destroy).await;
    let stored = async |count: Option<u64>| {
        let seen = async || (metered(&api, VERSIONS, &id).await == count).then_some(());
        until(&format!("count of {count:?} versions"), seen).await;
    };
    stored(Some(1)).await;
    api.must("lockbox.v1.SecretService/Delete", on).await;
    // A deleted secret is not stored.
    stored(None).await;
}
