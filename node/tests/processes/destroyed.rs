//! What is destroyed is out of the files of every node, as one command tells of all of them; a node
//! that is away is pending, and clean soon after it is back.

use std::process::Output;

use lockbox_proto::yandex::cloud::lockbox::v1 as wire;
use serde_json::Value;
use wire::version::Status as VersionStatus;

use crate::cluster::{Cluster, NODES, Part, success};
use crate::messages::{response, text};
use crate::waiting::until;

/// Longer than any test takes, so that what is destroyed is still in the files.
const LATER_SECONDS: u32 = 86_400;
/// At once, as far as a test can tell.
const SOON_SECONDS: u32 = 1;

fn purged_within(seconds: u32) -> Vec<(&'static str, String)> {
    vec![("LOCKBOX_CONFIG_DESTROY__PURGE_WITHIN_SECONDS", seconds.to_string())]
}

impl Cluster {
    fn verify(&self, node: u16, secret: &str, version: &str, options: &[&str]) -> Output {
        let command = ["admin", "verify-destroyed", secret, version];
        self.operator(node, &[&command[..], options].concat())
    }
}

/// The nodes that answered, and how many of the files of each hold it; nothing while nobody can be
/// asked.
fn holding(output: &Output) -> Option<Vec<(u64, usize)>> {
    let answers: Value = serde_json::from_slice(&output.stdout).ok()?;
    let of = |answer: &Value| {
        let files = answer["files"].as_array().unwrap();
        let holds = files.iter().filter(|file| file["finding"] == "holds").count();
        assert!(files.len() > holds);
        (answer["node_id"].as_u64().unwrap(), holds)
    };
    Some(answers.as_array().unwrap().iter().map(of).collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn security_s14_one_command_tells_whether_a_destroyed_payload_is_gone_from_all_nodes() {
    let mut cluster = Cluster::start(purged_within(LATER_SECONDS)).await;
    let leader = cluster.leader().await;
    let away = NODES.into_iter().find(|node| *node != leader).unwrap();
    let admin = cluster.admin(Part::Node(leader));
    let request = admin.new_secret("", vec![text("k", "v")]);
    let operation = admin.secrets().create(admin.request(request)).await.unwrap().into_inner();
    let secret: wire::Secret = response(&operation);
    let version = secret.current_version.clone().unwrap().id;
    let kept = admin.create("", vec![text("k", "kept")]).await;
    let refused = cluster.verify(leader, &secret.id, &version, &[]);
    assert_eq!(refused.status.code(), Some(1), "it is not destroyed");

    let schedule = wire::ScheduleVersionDestructionRequest {
        secret_id: secret.id.clone(),
        version_id: version.clone(),
        pending_period: Some(prost_types::Duration { seconds: 1, nanos: 0 }),
    };
    admin.secrets().schedule_version_destruction(admin.request(schedule)).await.unwrap();
    until("destruction", async || {
        let request =
            wire::ListVersionsRequest { secret_id: secret.id.clone(), ..Default::default() };
        let listed = admin.secrets().list_versions(admin.request(request)).await.unwrap();
        let versions = listed.into_inner().versions;
        versions.iter().any(|version| version.status() == VersionStatus::Destroyed).then_some(())
    })
    .await;
    let json = ["--format", "json"];
    let before = cluster.verify(leader, &secret.id, &version, &json);
    assert_eq!(before.status.code(), Some(1));
    let nodes = holding(&before).unwrap();
    assert_eq!(nodes.len(), 3);
    assert!(nodes.iter().all(|(_, holds)| *holds > 0), "{nodes:?}");

    cluster.kill(Part::Node(away));
    cluster.set_environment(purged_within(SOON_SECONDS));
    for node in NODES.into_iter().filter(|node| *node != away) {
        cluster.kill(Part::Node(node));
        cluster.launch(Part::Node(node));
    }
    let rest = until("clean files of the others", async || {
        let output = cluster.verify(leader, &secret.id, &version, &json);
        let nodes = holding(&output).filter(|nodes| nodes.len() == 2)?;
        nodes.iter().all(|(_, holds)| *holds == 0).then_some(output)
    })
    .await;
    assert_eq!(rest.status.code(), Some(3));
    let complaint = String::from_utf8(rest.stderr).unwrap();
    assert!(complaint.contains(&format!("node {away} is pending")), "{complaint}");

    // It purges before it serves any payload.
    cluster.launch(Part::Node(away));
    let late = cluster.admin(Part::Node(away));
    until("payload from the node that was away", async || late.read(&kept).await.ok()).await;
    let only = cluster.verify(leader, &secret.id, &version, &["--node", &away.to_string()]);
    assert!(success(&only).starts_with(b"+------+"));
    cluster.wait_ready(Part::Node(away)).await;
    let all = until("clean files of all", async || {
        let output = cluster.verify(leader, &secret.id, &version, &[]);
        output.status.success().then_some(output)
    })
    .await;
    let table = String::from_utf8(success(&all).to_vec()).unwrap();
    assert!(table.contains("| HOLD IT |") && table.contains(".sst "), "{table}");
    assert!(!table.contains("holds"), "{table}");
    let gone = format!("version {version} of {} is in no file of node 1, 2, 3\n", secret.id);
    assert!(table.contains(&gone), "{table}");
    let only = cluster.verify(leader, &secret.id, &version, &["--node", &away.to_string()]);
    let only = String::from_utf8(success(&only).to_vec()).unwrap();
    assert!(only.starts_with("+------+") && only.contains("not asked, so not known"), "{only}");
}
