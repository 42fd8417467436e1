//! Members that come and go while clients write, by the command line of the operator.

use std::collections::BTreeMap;
use std::process::Output;

use serde_json::Value;

use crate::cluster::{Cluster, NODES, Part, success};
use crate::load::Load;
use crate::messages::pairs;
use crate::waiting::until;

pub(crate) fn json(output: &Output) -> Value {
    serde_json::from_slice(success(output)).unwrap()
}

/// The one sentence of a command that was refused.
pub(crate) fn refused(output: &Output, exit: i32) -> String {
    let sentence = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(exit), "{sentence}");
    assert_eq!(sentence.lines().count(), 1, "{sentence}");
    sentence
}

impl Cluster {
    /// Starts a node that is no member yet, and waits until it answers.
    pub(crate) async fn start_fresh(&mut self, node: u16) {
        self.launch(Part::Node(node));
        let answers = async || self.status(node).await;
        let status = until("fresh node", answers).await;
        assert_eq!((status.cluster_id.as_str(), status.applied_index), ("", 0));
    }

    fn voters(&self, at: u16) -> Vec<u64> {
        let status = json(&self.operator(at, &["cluster", "status", "--format", "json"]));
        let members = status["members"].as_array().unwrap().iter();
        let voters = members.filter(|member| member["voter"] == true);
        voters.map(|member| member["node_id"].as_u64().unwrap()).collect()
    }

    /// The state's hash on each of these nodes, at one index.
    async fn hashes_at_one_index(&self, nodes: &[u16]) -> BTreeMap<u16, Value> {
        until("equal applied indexes", async || {
            let status = self.status(nodes[0]).await?;
            let at = status.applied_index.to_string();
            let arguments = ["admin", "state-hash", "--at", &at, "--format", "json"];
            let hashes = nodes.iter().map(|node| {
                let hash = json(&self.operator(*node, &arguments));
                (*node, hash)
            });
            let hashes: BTreeMap<u16, Value> = hashes.collect();
            let first = &hashes[&nodes[0]]["index"];
            hashes.values().all(|hash| hash["index"] == *first).then_some(hashes)
        })
        .await
    }

    /// All of these nodes have the same state, in every column family and table.
    pub(crate) async fn agree(&self, nodes: &[u16]) {
        let hashes = self.hashes_at_one_index(nodes).await;
        let first = &hashes[&nodes[0]];
        assert_eq!(first["hash"].as_str().unwrap().len(), 64);
        assert_eq!(first["families"].as_array().unwrap().len(), 3);
        for hash in hashes.values() {
            assert_eq!(hash["hash"], first["hash"]);
            assert_eq!(hash["families"], first["families"]);
        }
    }

    /// The committed log of a node: what the first line says, and the entries.
    fn log_of(&self, node: u16) -> (Value, Vec<Value>) {
        let output = self.operator(node, &["admin", "log-dump"]);
        let text = String::from_utf8(success(&output).to_vec()).unwrap();
        let mut lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
        (lines.next().unwrap(), lines.collect())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_voter_is_replaced_under_load_and_nothing_acknowledged_is_lost() {
    let mut cluster = Cluster::start_with_room().await;
    // The leader itself is replaced: it hands over, and its successor makes the change.
    let old = cluster.leader().await;
    let others: Vec<u16> = NODES.into_iter().filter(|node| *node != old).collect();
    let clients = [0, 1, 0, 1].map(|n| cluster.admin(Part::Node(others[n])));
    let load = Load::start(clients.into());
    load.goes_on(20).await;
    cluster.start_fresh(4).await;

    let (leaving, member) = (old.to_string(), cluster.member(4));
    let replace = ["cluster", "replace", &leaving, &member, "--format", "json"];
    let replaced = json(&cluster.operator(others[0], &replace));
    assert_eq!(replaced["changed"], true, "{replaced}");
    load.goes_on(20).await;
    let repeated = json(&cluster.operator(others[1], &replace));
    assert_eq!(repeated["changed"], Value::Null, "a repeat changed something: {repeated}");
    assert_eq!(repeated["membership_token"], replaced["membership_token"]);
    cluster.kill(Part::Node(old));
    load.goes_on(20).await;
    let written = load.end().await;

    let now = [others[0], others[1], 4];
    let mut expected: Vec<u64> = now.map(u64::from).into();
    expected.sort_unstable();
    assert_eq!(cluster.voters(others[0]), expected);
    cluster.wait_ready(Part::Node(4)).await;
    for node in now {
        let client = cluster.admin(Part::Node(node));
        for (secret, value) in &written {
            let found = client.read(secret).await.unwrap();
            assert_eq!(found, pairs(&[("value", value.as_bytes())]), "node {node}");
        }
    }
    cluster.agree(&now).await;
    logs_agree(&cluster, &now, written.len());
}

/// The logs tell the same of the same entries, every acknowledged write among them, and no value.
fn logs_agree(cluster: &Cluster, nodes: &[u16], written: usize) {
    let logs = nodes.iter().map(|node| cluster.log_of(*node));
    let logs: Vec<(Value, Vec<Value>)> = logs.collect();
    for (head, entries) in &logs {
        let begin = head["begins_at"].as_u64().unwrap_or_default();
        let index = |entry: &Value| entry["index"].as_u64().unwrap_or_default();
        assert!(entries.iter().zip(begin..).all(|(entry, expected)| index(entry) == expected));
        assert_eq!(head["committed_index"].as_u64().unwrap(), index(entries.last().unwrap()));
    }
    let shortest = logs.iter().map(|(_, entries)| entries.len()).min().unwrap();
    for (_, entries) in &logs[1..] {
        assert_eq!(entries[..shortest], logs[0].1[..shortest]);
    }
    let applied = |kind: &str| {
        let entries = logs[0].1.iter();
        entries.filter(|entry| entry["kind"] == kind && entry["effect"] == "applied").count()
    };
    assert!(applied("create_secret") >= written);
    assert_eq!(applied("init_cluster"), 1);
    let text = format!("{:?}", logs[0].1);
    for field in ["ciphertext", "payload", "entries", "wrapped"] {
        assert!(!text.contains(field), "{field} is told");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_become_five_and_three_again_under_load() {
    let mut cluster = Cluster::start_with_room().await;
    let load = Load::start(NODES.map(|node| cluster.admin(Part::Node(node))).into());
    for node in [4, 5] {
        cluster.start_fresh(node).await;
        let member = cluster.member(node);
        let added = cluster.operator(1, &["cluster", "add", &member, "--format", "json"]);
        assert_eq!(json(&added)["caught_up"], true);
        let promote = ["cluster", "promote", &node.to_string(), "--format", "json"];
        let promoted = json(&cluster.operator(2, &promote));
        assert_eq!(promoted["warning"].is_string(), node == 4, "{promoted}");
        load.goes_on(10).await;
    }
    assert_eq!(cluster.voters(3), [1, 2, 3, 4, 5]);
    success(&cluster.operator(1, &["cluster", "snapshot", "--purge"]));
    success(&cluster.operator(1, &["cluster", "transfer-leader", "5"]));
    assert_eq!(cluster.leader().await, 5);
    load.goes_on(10).await;

    // Writers at nodes that leave are ended first: their node will serve nobody.
    let written = load.end().await;
    cluster.agree(&[1, 2, 3, 4, 5]).await;
    let load = Load::start(vec![cluster.admin(Part::Node(3)), cluster.admin(Part::Node(3))]);
    for node in [5, 1] {
        let remove = ["cluster", "remove", &node.to_string()];
        success(&cluster.operator(3, &remove));
        cluster.kill(Part::Node(node));
        load.goes_on(10).await;
    }
    assert_eq!(cluster.voters(3), [2, 3, 4]);
    let gone = refused(&cluster.operator(3, &["cluster", "add", &cluster.member(5)]), 1);
    assert!(gone.contains("never used again"), "{gone}");
    let later = load.end().await;
    let client = cluster.admin(Part::Node(4));
    for (secret, value) in written.iter().chain(&later) {
        assert_eq!(client.read(secret).await.unwrap(), pairs(&[("value", value.as_bytes())]));
    }
    cluster.agree(&[2, 3, 4]).await;
    // The snapshot has cut one log: it says where it begins, and goes on without a hole.
    let (head, entries) = cluster.log_of(2);
    assert_eq!(
        head["begins_at"].as_u64().unwrap_or_default(),
        entries[0]["index"].as_u64().unwrap_or_default()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_disk_was_wiped_ends_and_says_what_to_do() {
    let mut cluster = Cluster::start_with_room().await;
    let leader = cluster.leader().await;
    let wiped = NODES.into_iter().find(|node| *node != leader).unwrap();
    let client = cluster.admin(Part::Node(leader));
    let secret = client.create("", vec![crate::messages::text("value", "kept")]).await;
    cluster.kill(Part::Node(wiped));
    std::fs::remove_dir_all(cluster.data(Part::Node(wiped))).unwrap();
    for attempt in 0..2 {
        cluster.launch(Part::Node(wiped));
        assert_eq!(cluster.ended(Part::Node(wiped)).await, Some(16), "attempt {attempt}");
    }
    let said = cluster.log(Part::Node(wiped));
    let sentence = format!("remove node {wiped} from the cluster and add it under a new id");
    assert!(said.contains(&sentence), "{said}");

    // And that is what the operator does.
    cluster.start_fresh(4).await;
    let (leaving, member) = (wiped.to_string(), cluster.member(4));
    success(&cluster.operator(leader, &["cluster", "replace", &leaving, &member]));
    cluster.wait_ready(Part::Node(4)).await;
    let found = cluster.admin(Part::Node(4)).read(&secret).await.unwrap();
    assert_eq!(found, pairs(&[("value", b"kept")]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mistakes_are_one_clear_sentence_each_and_change_nothing() {
    let mut cluster = Cluster::start_with_room().await;
    let before = cluster.voters(1);
    let usage = |arguments: &[&str], part: &str| {
        let output = cluster.operator(1, arguments);
        let sentence = String::from_utf8(output.stderr.clone()).unwrap();
        assert_eq!(output.status.code(), Some(2), "{sentence}");
        assert!(sentence.contains(part), "{sentence}");
    };
    usage(&["cluster", "remove", "none"], "is not a positive number");
    usage(&["cluster", "add", "4=localhost"], "is not of the form");
    usage(&["cluster", "replace", "2", &cluster.member(2)], "cannot replace itself");
    usage(&["admin", "state-hash", "--exact"], "--at");

    let says = |arguments: &[&str], part: &str| {
        let sentence = refused(&cluster.operator(1, arguments), 1);
        assert!(sentence.contains(part), "{sentence}");
    };
    says(&["cluster", "promote", "9"], "node 9 is not a member");
    says(&["cluster", "remove", "9"], "node 9 is not a member");
    says(&["cluster", "transfer-leader", "9"], "node 9 is not a member");
    says(&["cluster", "add", &cluster.member(4)], "does not answer as it should");
    says(&["cluster", "add", "2=localhost:1,localhost:2"], "node 2 is a member already");
    says(&["cluster", "remove", "2", "--if-membership", "7.7"], "the membership has changed");
    says(&["cluster", "remove", "2", "--if-membership", "new"], "membership_token");
    says(&["admin", "state-hash", "--at", "1", "--exact"], "past 1");
    for stem in ["kms", "node-2"] {
        let denied = cluster.at_peer(stem, 1, &["cluster", "remove", "2"]);
        let sentence = refused(&denied, 1);
        assert!(sentence.contains("PERMISSION_DENIED"), "{sentence}");
    }
    // A certificate of another name at the address: nobody is taken for somebody else.
    cluster.start_fresh(4).await;
    let (wrong, right) = (cluster.member(4).replace("4=", "5="), cluster.member(4));
    let sentence = refused(&cluster.operator(1, &["cluster", "add", &wrong]), 1);
    assert!(sentence.contains("node 5 at"), "{sentence}");
    assert_eq!(cluster.voters(1), before);
    success(&cluster.operator(1, &["cluster", "add", &right]));
    success(&cluster.operator(1, &["cluster", "remove", "4"]));
    assert_eq!(cluster.voters(1), before);
}
