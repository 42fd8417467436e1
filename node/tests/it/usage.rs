//! What is billed of the service itself (`contract §7`): in the log, over restarts and deletions, and
//! as the operator's command prints it.

use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use lockbox::read_meter::{keep_reporting, report_last};
use lockbox_platform::tasks::TaskKind;
use lockbox_proto::lockbox::cluster::v1 as admin;
use lockbox_proto::yandex::cloud::lockbox::v1 as wire;
use serde_json::Value;
use tokio::time::{Instant, sleep};
use tonic::Code;

use crate::client::text;
use crate::fixture::{Node, WAIT};
use crate::peers::Peers;

const HOUR: Duration = Duration::from_secs(3_600);
const HOUR_MS: u64 = 3_600_000;
/// Longer than the tests run.
const AHEAD_MS: u64 = 100 * HOUR_MS;

/// What the only cloud used so far, as the node tells the operator; nothing before there is a meter.
async fn used(node: &Node, peers: &Peers) -> admin::CloudUsage {
    let to_ms = node.app.clock.wall_ms() + AHEAD_MS;
    let request = admin::ReadUsageRequest { to_ms, ..Default::default() };
    let answer = peers.admin("operator").read_usage(request).await.unwrap();
    assert!(answer.metadata().contains_key("lockbox-index"));
    let mut clouds = answer.into_inner().clouds;
    assert!(clouds.len() <= 1, "{clouds:?}");
    let usage = clouds.pop().unwrap_or_default();
    assert!(usage.cloud_id.is_empty() || usage.cloud_id == node.made.cloud_id.as_str());
    usage
}

async fn delete(node: &Node, secret_id: &str) {
    let delete = wire::DeleteSecretRequest { secret_id: secret_id.to_owned() };
    node.secrets().delete(node.request(delete)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_read_is_billed_when_the_secret_is_gone_and_the_node_has_started_again() {
    let node = Node::start().await;
    let peers = Peers::start(&node.app, &node.tasks, &node.metrics).await;
    let secret = node.create(vec![text("k", "v")], "").await;
    for _ in 0..5 {
        node.read(&secret.id, "").await.unwrap();
    }
    node.read(&secret.id, "nowhere").await.unwrap_err();
    delete(&node, &secret.id).await;
    for _ in 0..2 {
        report_last(&node.app).await;
        assert_eq!(used(&node, &peers).await.payload_reads, 5, "what succeeded, and once");
    }
    let mut stranger = peers.admin("stranger");
    let refused = stranger.read_usage(admin::ReadUsageRequest::default());
    assert_eq!(refused.await.unwrap_err().code(), Code::PermissionDenied);
    assert!(node.audit().contains("ReadUsage"));
    drop(peers);

    let node = node.restart_after(Duration::ZERO).await;
    let peers = Peers::start(&node.app, &node.tasks, &node.metrics).await;
    assert_eq!(used(&node, &peers).await.payload_reads, 5);
    let secret = node.create(vec![text("k", "v")], "").await;
    node.read(&secret.id, "").await.unwrap();
    report_last(&node.app).await;
    assert_eq!(used(&node, &peers).await.payload_reads, 6);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_reports_its_reads_while_it_runs() {
    let node = Node::start().await;
    let peers = Peers::start(&node.app, &node.tasks, &node.metrics).await;
    let reporting = keep_reporting(Arc::clone(&node.app), node.tasks.token());
    node.tasks.spawn(TaskKind::Critical, "payload reads", reporting);
    let secret = node.create(vec![text("k", "v")], "").await;
    let deadline = Instant::now() + WAIT;
    for expected in 1..=2 {
        node.read(&secret.id, "").await.unwrap();
        while used(&node, &peers).await.payload_reads < expected {
            assert!(Instant::now() < deadline, "read {expected} was not reported");
            sleep(Duration::from_millis(100)).await;
        }
    }
    assert_eq!(used(&node, &peers).await.payload_reads, 2);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn versions_are_billed_by_the_hour_and_go_on_after_a_restart() {
    let node = Node::start().await;
    let secret = node.create(vec![text("k", "v")], "").await;
    node.pass(2 * HOUR);
    node.add(&secret.id, vec![text("k", "w")]).await;
    let node = node.restart_after(3 * HOUR).await;
    let peers = Peers::start(&node.app, &node.tasks, &node.metrics).await;
    delete(&node, &secret.id).await;
    let used = used(&node, &peers).await;
    // One version for two hours, and two of them for one: a restart begins from the machine's clock
    // again, which the downtime is added to.
    assert_eq!(used.version_ms / HOUR_MS, 2 + 2);
    node.stop().await;
}

/// Runs `lockbox billing report` as the operator.
async fn report(peers: &Peers, more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lockbox"));
    command.env_clear().args(["billing", "report"]).args(peers.flags("operator")).args(more);
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_operator_prints_the_bill() {
    let node = Node::start().await;
    let peers = Peers::start(&node.app, &node.tasks, &node.metrics).await;
    let secret = node.create(vec![text("k", "v")], "").await;
    for _ in 0..3 {
        node.read(&secret.id, "").await.unwrap();
    }
    report_last(&node.app).await;
    let list = node.data.path().join("prices.toml");
    std::fs::write(&list, "currency = \"RUB\"\n[prices]\n\"lockbox.api.v1.get\" = \"10000\"\n")
        .unwrap();
    let list = list.to_str().unwrap();
    let printed = report(&peers, &["--format", "json", "--prices", list]).await;
    assert!(printed.status.success(), "{}", String::from_utf8_lossy(&printed.stderr));
    let bill: Value = serde_json::from_slice(&printed.stdout).unwrap();
    assert_eq!(bill["lines"][0]["cloud_id"], node.made.cloud_id.as_str());
    assert_eq!(bill["lines"][0]["payload_reads"], 3);
    assert_eq!(bill["meters"][1]["sku"], "lockbox.api.v1.get");
    assert_eq!(
        (&bill["meters"][1]["amount"], &bill["currency"]),
        (&"3.000000".into(), &"RUB".into())
    );
    assert_eq!(bill["meters"][0].get("amount"), None, "storage has no price in this list");

    // Nothing was used a year ago.
    let earlier = ["--from", "2020-01-01", "--to", "2020-02-01", "--format", "csv"];
    let printed = String::from_utf8(report(&peers, &earlier).await.stdout).unwrap();
    assert!(printed.contains(&format!("{},0.000000,0\n", node.made.cloud_id)), "{printed}");
    let table = String::from_utf8(report(&peers, &[]).await.stdout).unwrap();
    assert!(table.contains("payload reads") && table.contains("10,000 reads"), "{table}");
    let wrong = report(&peers, &["--from", "2020-02-01", "--to", "2020-01-01"]).await;
    assert_eq!(wrong.status.code(), Some(2), "{}", String::from_utf8_lossy(&wrong.stderr));
    node.stop().await;
}
