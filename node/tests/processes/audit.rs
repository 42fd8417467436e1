//! The audits of real processes: whole through kills, rotation and compression, and checked, read
//! and searched by the command line.

use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::Value;

use crate::cluster::{Cluster, NODES, Part, success};
use crate::messages::text;
use crate::waiting::until;

/// Some twenty records.
const FILE_BYTES: &str = "20000";
const READS: usize = 60;

fn environment() -> Vec<(&'static str, String)> {
    let set = |name, value: &str| (name, value.to_owned());
    vec![
        set("LOCKBOX_CONFIG_AUDIT__FILE_BYTES_MAX", FILE_BYTES),
        set("LOCKBOX_CONFIG_AUDIT__HEAD_INTERVAL_SECONDS", "1"),
        set("KMS_CONFIG_AUDIT__FILE_BYTES_MAX", FILE_BYTES),
    ]
}

fn output(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// The numbers of the records in a file that is written to.
fn numbers(path: &PathBuf) -> Vec<u64> {
    let text = std::fs::read_to_string(path).unwrap();
    let records = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    records.map(|record| record["sequence"].as_u64().unwrap()).collect()
}

/// Heads that were changed on their way from the cluster are refused, and those of another key do
/// not count.
fn signatures_are_judged(cluster: &Cluster, verify: &[&str], file: &Path, node: u16) {
    let text = std::fs::read(file).unwrap();
    let mut heads: Vec<Value> = serde_json::from_slice(&text).unwrap();
    let newest = heads.iter().rposition(|head| head["node_id"] == node).unwrap();
    let signer = heads[newest]["signer"].as_str().unwrap().to_owned();
    let with = |signer: &str| {
        let arguments = [verify, &["--signer", signer]].concat();
        cluster.lockbox(&arguments, b"")
    };
    success(&with(&signer));
    let other = with(&signer.chars().rev().collect::<String>());
    assert_eq!(other.status.code(), Some(2), "{}", output(&other));
    heads[newest]["sequence"] = 0.into();
    std::fs::write(file, serde_json::to_vec(&heads).unwrap()).unwrap();
    assert_eq!(cluster.lockbox(verify, b"").status.code(), Some(2));
    std::fs::write(file, text).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_audit_is_whole_through_kills_and_whatever_is_done_to_it_is_found() {
    let mut cluster = Cluster::start(environment()).await;
    let own_key = cluster.admin(Part::Kms).create_kms_key().await;
    let leader = cluster.leader().await;
    let victim = NODES.into_iter().find(|node| *node != leader).unwrap();
    let part = Part::Node(victim);
    let data = cluster.data(part);
    let (directory, node) = (data.to_str().unwrap(), victim.to_string());
    let secret = cluster.admin(part).create(&own_key, vec![text("k", "v")]).await;
    for _ in 0..2 {
        for _ in 0..READS {
            cluster.admin(part).read(&secret).await.unwrap();
        }
        cluster.kill(part);
        cluster.launch(part);
        cluster.wait_ready(part).await;
    }
    cluster.admin(part).read(&secret).await.unwrap();

    // Nobody calls that node any more: its last record is anchored, and stays the last.
    let active = data.join("audit.jsonl");
    let last = *numbers(&active).last().unwrap();
    let file = cluster.directory().join("heads.json");
    until("head of the last record", async || {
        let heads = cluster.operator(leader, &["audit", "heads", "--format", "json"]);
        let heads: Vec<Value> = serde_json::from_slice(success(&heads)).unwrap();
        let own = heads.iter().filter(|head| head["node_id"] == victim);
        let newest = own.filter_map(|head| head["sequence"].as_u64()).max();
        std::fs::write(&file, serde_json::to_vec(&heads).unwrap()).unwrap();
        newest.filter(|newest| *newest >= last)
    })
    .await;
    let of_cluster = ["audit", "verify", directory, "--cluster", "--node", &node];
    let told = cluster.operator(leader, &of_cluster);
    success(&told);
    assert!(output(&told).contains("anchored records are there"), "{}", output(&told));
    let from_file =
        ["audit", "verify", directory, "--node", &node, "--heads", file.to_str().unwrap()];
    success(&cluster.lockbox(&from_file, b""));
    signatures_are_judged(&cluster, &from_file, &file, victim);
    let names = std::fs::read_dir(&data).unwrap().map(|entry| entry.unwrap().file_name());
    let finished = names.filter(|name| name.to_string_lossy().starts_with("audit.jsonl.")).count();
    assert!(finished > 2, "{finished} finished files");
    let kms = cluster.data(Part::Kms);
    let told = cluster.lockbox(&["audit", "verify", kms.to_str().unwrap()], b"");
    success(&told);
    assert!(output(&told).starts_with("records 0 to "), "{}", output(&told));

    // Every read that was answered is there, whichever file it is in.
    let event = ["audit", "grep", directory, "--event", "GetPayload", "--resource", &secret];
    let found = cluster.lockbox(&event, b"");
    success(&found);
    assert_eq!(output(&found).lines().count(), 2 * READS + 1);
    let nobody = ["audit", "grep", directory, "--subject", "ajenobody"];
    assert_eq!(output(&cluster.lockbox(&nobody, b"")), "");
    let tail = output(&cluster.lockbox(&["audit", "tail", directory, "-n", "30"], b""));
    assert_eq!(tail.lines().count(), 30);
    let newest: Value = serde_json::from_str(tail.lines().last().unwrap()).unwrap();
    assert_eq!(newest["sequence"], last);

    cluster.stop_part(part).await;
    let whole = std::fs::read(&active).unwrap();
    // As `kill -9` may leave it: nobody was told that the line was written, so nothing is wrong.
    std::fs::write(&active, [whole.as_slice(), b"{\"sequence\":"].concat()).unwrap();
    let torn = cluster.lockbox(&from_file, b"");
    success(&torn);
    assert!(output(&torn).contains("12 bytes behind the last record"), "{}", output(&torn));
    std::fs::remove_file(&active).unwrap();
    let gone = cluster.lockbox(&from_file, b"");
    assert_eq!(gone.status.code(), Some(11), "{}", output(&gone));
    let lines: Vec<&[u8]> = whole.split_inclusive(|byte| *byte == b'\n').collect();
    std::fs::write(&active, lines[..lines.len() - 1].concat()).unwrap();
    let cut = cluster.lockbox(&from_file, b"");
    assert_eq!(cut.status.code(), Some(11), "{}", output(&cut));
    assert!(output(&cut).contains("are missing"), "{}", output(&cut));
    let changed = String::from_utf8(whole).unwrap().replacen("\"DONE\"", "\"ERROR\"", 1);
    std::fs::write(&active, changed).unwrap();
    assert_eq!(cluster.lockbox(&from_file, b"").status.code(), Some(11));
    let nothing = cluster.directory().join("nothing");
    let nothing = cluster.lockbox(&["audit", "verify", nothing.to_str().unwrap()], b"");
    assert_eq!(nothing.status.code(), Some(2));
}

/// Waits until the cluster has the last record of the KMS, which nobody calls meanwhile; writes the
/// heads to a file.
async fn kms_is_anchored(cluster: &Cluster, node: u16, active: &PathBuf, file: &Path) {
    until("head of the KMS's last record", async || {
        let heads = cluster.operator(node, &["audit", "heads", "--kms", "--format", "json"]);
        let heads: Vec<Value> = serde_json::from_slice(&heads.stdout).ok()?;
        assert!(heads.iter().all(|head| head["abandoned"] != true), "{heads:#?}");
        let newest = heads.iter().filter_map(|head| head["sequence"].as_u64()).max()?;
        std::fs::write(file, serde_json::to_vec(&heads).unwrap()).unwrap();
        (newest == *numbers(active).last()?).then_some(())
    })
    .await;
}

/// The KMS is one server, and whoever owns its disk is found by what the cluster knows of it, also
/// when another node leads by then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn security_s19_the_audit_of_the_kms_is_checked_against_the_log() {
    let mut cluster = Cluster::start(environment()).await;
    let leader = cluster.leader().await;
    for _ in 0..READS / 2 {
        cluster.admin(Part::Kms).create_kms_key().await;
    }
    let data = cluster.data(Part::Kms);
    let (directory, active) = (data.to_str().unwrap(), data.join("audit.jsonl"));
    let file = cluster.directory().join("heads.json");
    kms_is_anchored(&cluster, leader, &active, &file).await;
    success(&cluster.operator(leader, &["audit", "verify", directory, "--cluster", "--kms"]));
    cluster.kill(Part::Node(leader));
    let next = cluster.leader().await;
    cluster.admin(Part::Kms).create_kms_key().await;
    kms_is_anchored(&cluster, next, &active, &file).await;
    let told = cluster.operator(next, &["audit", "verify", directory, "--cluster", "--kms"]);
    success(&told);
    assert!(output(&told).contains("anchored records are there"), "{}", output(&told));

    cluster.stop_part(Part::Kms).await;
    let from_file = ["audit", "verify", directory, "--kms", "--heads", file.to_str().unwrap()];
    success(&cluster.lockbox(&from_file, b""));
    let whole = std::fs::read(&active).unwrap();
    let found = |what: &str, said: &str| {
        let told = cluster.lockbox(&from_file, b"");
        assert_eq!(told.status.code(), Some(11), "{what}: {}", output(&told));
        assert!(output(&told).contains(said), "{what}: {}", output(&told));
        let alone = cluster.lockbox(&["audit", "verify", directory], b"");
        assert_eq!(alone.status.code(), Some(0), "{what}: {}", output(&alone));
    };
    let lines: Vec<&[u8]> = whole.split_inclusive(|byte| *byte == b'\n').collect();
    std::fs::write(&active, lines[..lines.len() - 1].concat()).unwrap();
    found("a cut", "are missing");
    std::fs::remove_file(&active).unwrap();
    found("a file that is gone", "are missing");
    // The last record is another one, which is chained as it has to be.
    let mut forged: Value = serde_json::from_slice(lines[lines.len() - 1]).unwrap();
    forged["event_id"] = "forged".into();
    let forged = format!("{forged}\n").into_bytes();
    std::fs::write(&active, [lines[..lines.len() - 1].concat(), forged].concat()).unwrap();
    found("a chain that was made anew", "is another one than was anchored");
}
