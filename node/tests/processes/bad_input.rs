//! Every operator's command with what is wrong: arguments, node, state, rights; and twice in a row.
//!
//! A table: a command, with whose certificate, what it exits with and what its sentence holds. In
//! the end the cluster is what it was.

use std::process::Output;

use crate::cluster::{Cluster, Part, success};
use crate::messages::{pairs, text};

const USAGE: i32 = 2;
const REFUSED: i32 = 1;
const UNREACHABLE: i32 = 3;
const OK: i32 = 0;

/// A command and how it must end.
struct Row<'a> {
    arguments: &'a [&'a str],
    exit: i32,
    /// A part of what it says on standard error.
    says: &'a str,
}

const fn row<'a>(arguments: &'a [&'a str], exit: i32, says: &'a str) -> Row<'a> {
    Row { arguments, exit, says }
}

/// What stands on the command line is wrong. Nobody is asked.
const WRONG_ARGUMENTS: &[Row<'static>] = &[
    row(&["cluster"], USAGE, "Usage: lockbox cluster"),
    row(&["cluster", "dissolve"], USAGE, "unrecognized subcommand"),
    row(&["cluster", "init"], USAGE, "--member"),
    row(&["cluster", "init", "--member", "1", "--admin-key", "k"], USAGE, "is not of the form"),
    row(&["cluster", "recover-admin"], USAGE, "--admin-key"),
    row(&["cluster", "status", "1"], USAGE, "unexpected argument"),
    row(&["cluster", "add"], USAGE, "<MEMBER>"),
    row(&["cluster", "add", "4=localhost"], USAGE, "is not of the form"),
    row(&["cluster", "add", "0=localhost:1,localhost:2"], USAGE, "invalid value"),
    row(&["cluster", "promote", "none"], USAGE, "is not a positive number"),
    row(&["cluster", "remove", "0"], USAGE, "is not a positive number"),
    row(&["cluster", "remove", "-1"], USAGE, "unexpected argument"),
    row(&["cluster", "replace", "2"], USAGE, "<NEW>"),
    row(&["cluster", "replace", "2", "2=localhost:1,localhost:2"], USAGE, "cannot replace itself"),
    row(&["cluster", "transfer-leader", "x"], USAGE, "is not a positive number"),
    row(&["cluster", "snapshot", "--all"], USAGE, "unexpected argument"),
    row(&["admin", "log-dump", "--from", "x"], USAGE, "invalid"),
    row(&["admin", "keyring"], USAGE, "Usage: lockbox admin keyring"),
    row(&["admin", "keyring", "retire"], USAGE, "unrecognized subcommand"),
    row(&["admin", "seal"], USAGE, "<NODE>"),
    row(&["admin", "seal", "all"], USAGE, "is not a positive number"),
    row(&["admin", "unseal", "0"], USAGE, "is not a positive number"),
    row(&["admin", "state-hash", "--exact"], USAGE, "--at"),
    row(&["admin", "verify-destroyed", "e6q1"], USAGE, "<VERSION-ID>"),
    row(&["admin", "verify-destroyed", "e6q1", "e6q2", "--node", "9"], USAGE, "is no member"),
    row(&["audit", "heads", "--node", "x"], USAGE, "invalid value"),
];

/// The node, the secret or the state is not what the command needs.
const WRONG_NODE_OR_STATE: &[Row<'static>] = &[
    row(&["cluster", "promote", "9"], REFUSED, "node 9 is not a member"),
    row(&["cluster", "remove", "9"], REFUSED, "node 9 is not a member"),
    row(&["cluster", "replace", "9", "5=localhost:1,localhost:2"], REFUSED, "node 9 is not a"),
    row(&["cluster", "transfer-leader", "9"], REFUSED, "node 9 is not a member"),
    row(&["cluster", "add", "2=localhost:1,localhost:2"], REFUSED, "is a member already"),
    row(&["cluster", "remove", "2", "--if-membership", "7.7"], REFUSED, "has changed"),
    row(&["admin", "seal", "9"], REFUSED, "node 9 is not a member"),
    row(&["admin", "unseal", "9"], REFUSED, "node 9 is not a member"),
    row(&["admin", "state-hash", "--at", "1", "--exact"], REFUSED, "past 1"),
    row(&["admin", "verify-destroyed", "e6qnone", "e6qnone"], REFUSED, "NOT_FOUND"),
    row(&["admin", "verify-destroyed", "e6q1", "e6q2", "--mark", "x"], REFUSED, "is not a mark"),
];

/// What takes an operator's certificate, or the administrator's.
const FOR_OPERATORS: &[&[&str]] = &[
    &["cluster", "add", "4=localhost:1,localhost:2"],
    &["cluster", "promote", "2"],
    &["cluster", "remove", "2"],
    &["cluster", "replace", "2", "4=localhost:1,localhost:2"],
    &["cluster", "transfer-leader"],
    &["cluster", "snapshot"],
    &["cluster", "raise-feature-level"],
    &["admin", "log-dump"],
    &["admin", "keyring", "status"],
    &["admin", "keyring", "rotate"],
    &["admin", "seal", "2"],
    &["admin", "unseal", "2"],
    &["admin", "state-hash"],
    &["admin", "verify-destroyed", "e6q1", "e6q2"],
    &["audit", "heads"],
];

/// What may be said twice, and comes to the same.
const REPEATABLE: &[&[&str]] = &[
    &["cluster", "status"],
    &["cluster", "promote", "2"],
    &["cluster", "transfer-leader", "2"],
    &["cluster", "snapshot"],
    &["cluster", "snapshot", "--purge"],
    &["cluster", "raise-feature-level"],
    &["admin", "keyring", "status"],
    &["admin", "keyring", "rotate"],
    &["admin", "seal", "3"],
    &["admin", "unseal", "3"],
    &["admin", "state-hash"],
    &["audit", "heads"],
];

fn judge(output: &Output, row: &Row<'_>) {
    let said = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(row.exit), "{:?}: {said}", row.arguments);
    assert!(said.contains(row.says), "{:?}: {said}", row.arguments);
    // What clap says has the usage behind it; all else is one sentence.
    let ours = said.starts_with("lockbox: ");
    assert!(!ours || said.lines().count() == 1, "{:?}: {said}", row.arguments);
    assert!(!said.contains("panicked"), "{:?}: {said}", row.arguments);
}

/// Commands that need no cluster, or do not find one.
fn without_a_cluster(cluster: &Cluster) {
    let nowhere = cluster.directory().join("absent");
    let nowhere = nowhere.to_str().unwrap();
    let mistaken = cluster.directory().join("mistaken.toml");
    std::fs::write(&mistaken, "node_id = \"one\"\n").unwrap();
    let mistaken = mistaken.to_str().unwrap();
    let (ca, certificates) = (cluster.ca(), cluster.certificates());
    let (ca, certificates) = (ca.to_str().unwrap(), certificates.to_str().unwrap());
    let file = |name: &str| format!("{certificates}/{name}");
    let (own, own_key, key) = (file("operator.pem"), file("operator-key.pem"), file("kms-key.pem"));
    let status = ["cluster", "status", "--endpoint", "localhost:1", "--ca", ca, "--certificate"];
    let to_nobody = [&status[..], &[own.as_str(), "--key", &own_key, "--retry", "0"]].concat();
    let other_key = [&status[..], &[own.as_str(), "--key", &key]].concat();
    let no_key = ["cluster", "status", "--endpoint", "localhost:1", "--ca", ca];
    let half = ["cluster", "status", "--certificate", &own];
    for row in [
        row(&["serve"], USAGE, "--config"),
        row(&["serve", "--config", nowhere], USAGE, "absent"),
        row(&["serve", "--config", mistaken], USAGE, "mistaken.toml"),
        row(&["cluster", "status"], USAGE, "the node is not known: give --endpoint"),
        row(&no_key, USAGE, "give --certificate and --key"),
        row(&half, USAGE, "--key"),
        row(&to_nobody, UNREACHABLE, "nothing listens there"),
        row(&other_key, USAGE, "cannot be used"),
        row(&["audit", "verify"], USAGE, "which audit is not known"),
        row(&["audit", "verify", nowhere], USAGE, "there is no audit at"),
        row(&["audit", "tail", nowhere], USAGE, "there is no audit at"),
        row(&["audit", "grep", nowhere], USAGE, "there is no audit at"),
        row(&["--profile", "p", "cluster", "status"], USAGE, "--profile is for commands"),
    ] {
        judge(&cluster.lockbox(row.arguments, b""), &row);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_wrong_is_a_clear_sentence_and_changes_nothing() {
    let cluster = Cluster::start(Vec::new()).await;
    let client = cluster.admin(Part::Node(1));
    let secret = client.create("", vec![text("value", "kept")]).await;
    let before = cluster.status(1).await.unwrap().membership_token;

    without_a_cluster(&cluster);
    for row in WRONG_ARGUMENTS.iter().chain(WRONG_NODE_OR_STATE) {
        judge(&cluster.operator(1, row.arguments), row);
    }
    for stem in ["kms", "node-2"] {
        for arguments in FOR_OPERATORS {
            judge(&cluster.at_peer(stem, 1, arguments), &row(arguments, REFUSED, "PERMISSION"));
        }
    }
    // Who operates a cluster can neither form one nor take its administrator's place.
    let spare = cluster.directory().join("spare.json");
    let spare = spare.to_str().unwrap();
    let recover = ["cluster", "recover-admin", "--admin-key", spare];
    judge(&cluster.operator(1, &recover), &row(&recover, REFUSED, "PERMISSION_DENIED"));
    let member = cluster.member(1);
    let init = ["cluster", "init", "--member", &member, "--admin-key", spare];
    judge(&cluster.operator(1, &init), &row(&init, REFUSED, "PERMISSION_DENIED"));
    let formed = row(&init, REFUSED, "the cluster is formed already");
    judge(&cluster.at_peer("admin", 1, &init), &formed);
    let taken = cluster.directory().join("admin-key.json");
    let over = ["cluster", "recover-admin", "--admin-key", taken.to_str().unwrap()];
    judge(&cluster.at_peer("admin", 1, &over), &row(&over, USAGE, "is not written over it"));
    // The name in the certificate of node 1 is not that of node 2, whose address is called.
    let misnamed = ["cluster", "status", "--server-name", "node-2.lockbox.internal"];
    let address = format!("localhost:{}", cluster.ports().peer(1));
    let certificates = cluster.certificates();
    let file = |name: &str| certificates.join(name).to_str().unwrap().to_owned();
    let (ca, own, key) = (file("ca.pem"), file("operator.pem"), file("operator-key.pem"));
    let flags = ["--endpoint", &address, "--ca", &ca, "--certificate", &own, "--key", &key];
    let misnamed = [&misnamed[..], &flags, &["--retry", "0"]].concat();
    let output = cluster.lockbox(&misnamed, b"");
    judge(&output, &row(&misnamed, UNREACHABLE, "cannot reach"));

    for arguments in REPEATABLE {
        for _ in 0..2 {
            judge(&cluster.operator(1, arguments), &row(arguments, OK, ""));
        }
    }
    let after = cluster.status(1).await.unwrap();
    assert_eq!(after.membership_token, before);
    let nodes = after.members.iter().map(|member| member.node_id).collect::<Vec<_>>();
    assert_eq!(nodes, [1, 2, 3]);
    success(&cluster.operator(1, &["cluster", "status"]));
    let found = client.read(&secret).await.unwrap();
    assert_eq!(found, pairs(&[("value", b"kept")]));
}
