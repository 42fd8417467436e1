//! A cluster is backed up while it writes, and restored as another one when all of its nodes are
//! gone; by the operator's command line.

use std::path::Path;

use lockbox_platform::authorized_key::AuthorizedKeyFile;
use tonic::Code;

use crate::cluster::{Cluster, NODES, Part, success};
use crate::load::Load;
use crate::membership::{json, refused};
use crate::messages::{pairs, text};
use crate::restored::destroy_version;

fn shown(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_becomes_another_cluster_with_all_that_was_acknowledged_before_it() {
    let mut cluster = Cluster::start_with_room().await;
    let place = tempfile::tempdir().unwrap();
    let [file, key] = ["cluster.backup", "recipient.key"].map(|name| place.path().join(name));
    let keygen = cluster.lockbox(&["admin", "backup", "keygen", "--to", shown(&key)], b"");
    let recipient = String::from_utf8(success(&keygen).to_vec()).unwrap().trim().to_owned();
    let leader = cluster.leader().await;
    let follower = NODES.into_iter().find(|node| *node != leader).unwrap();
    let admin = cluster.admin(Part::Node(follower));
    let gone = admin.create("", vec![text("k", "gone")]).await;
    let before = admin.create("", vec![text("k", "before")]).await;

    // From a follower, under load: what is acknowledged before the command is in it.
    let load = Load::start(vec![cluster.admin(Part::Node(leader)), admin.clone()]);
    load.goes_on(10).await;
    let make = ["admin", "backup", "--to", shown(&file), "--recipient", &recipient];
    let make = [make.as_slice(), &["--format", "json"]].concat();
    let made = json(&cluster.operator(follower, &make));
    load.goes_on(10).await;
    load.end().await;
    assert_eq!(made["node_id"], follower);
    let late = admin.create("", vec![text("k", "late")]).await;
    destroy_version(&admin, &gone).await;
    let after = made["destroyed"].as_u64().unwrap_or_default().to_string();
    let listed = ["admin", "backup", "destroyed", "--after", &after, "--to", shown(place.path())];
    success(&cluster.operator(leader, &listed));
    let exists = refused(&cluster.operator(follower, &make), 2);
    assert!(exists.contains("exists already"), "{exists}");

    for node in NODES {
        cluster.kill(Part::Node(node));
    }
    // The KMS is there, and knows whose backup it is.
    let config = cluster.directory().join("node-4.toml");
    let of_node = ["--config", shown(&config), "--recipient-key", shown(&key)];
    let verify = ["admin", "backup", "verify", shown(&file), "--format", "json"];
    let verified = json(&cluster.lockbox(&[verify.as_slice(), &of_node].concat(), b""));
    assert_eq!(verified["backup"]["signer"], made["signer"]);
    let restore = ["admin", "restore", shown(&file), "--format", "json"];
    let restore = [restore.as_slice(), &of_node].concat();
    let dry = json(&cluster.lockbox(&[restore.as_slice(), &["--dry-run"]].concat(), b""));
    assert_eq!((&dry["dry_run"], &dry["destroyed_listed"]), (&true.into(), &1.into()));
    let data = cluster.data(Part::Node(4));
    let is_empty = || std::fs::read_dir(&data).map_or(true, |mut entries| entries.next().is_none());
    assert!(is_empty(), "a dry run has written something");
    refuse_what_is_wrong(&cluster, place.path(), &restore);
    assert!(is_empty(), "what was refused has written something");

    let restored = cluster.lockbox(&restore, b"");
    let said = String::from_utf8_lossy(&restored.stderr).into_owned();
    assert!(said.contains("this rolls back to"), "{said}");
    let restored = json(&restored);
    assert_eq!(restored["destroyed_again"], 1);
    assert_ne!(restored["cluster_id"], made["cluster_id"]);
    let twice = refused_last(&cluster.lockbox(&restore, b""));
    assert!(twice.contains("is not empty"), "{twice}");

    cluster.launch(Part::Node(4));
    cluster.wait_ready(Part::Node(4)).await;
    cluster.start_fresh(5).await;
    success(&cluster.operator(4, &["cluster", "add", &cluster.member(5)]));
    success(&cluster.operator(4, &["cluster", "promote", "5"]));
    cluster.wait_ready(Part::Node(5)).await;
    let again = refused(&cluster.operator(4, &["cluster", "add", &cluster.member(1)]), 1);
    assert!(again.contains("never used again"), "{again}");
    let admin_key = cluster.directory().join("admin-key.json");
    let admin_key = AuthorizedKeyFile::read(&admin_key).unwrap();
    for node in [4, 5] {
        let old = cluster.admin(Part::Node(node));
        let unknown = old.read(&before).await.unwrap_err();
        assert_eq!(unknown.code(), Code::Unauthenticated, "a token of the cluster before");
        let (_, token) = old.log_in(&admin_key).await;
        let admin = old.with_token(&token);
        assert_eq!(admin.read(&before).await.unwrap(), pairs(&[("k", b"before")]));
        let destroyed = admin.read(&gone).await.unwrap_err();
        assert_eq!(destroyed.code(), Code::FailedPrecondition, "{destroyed}");
        assert_eq!(admin.read(&late).await.unwrap_err().code(), Code::NotFound);
        admin.create("", vec![text("k", "of the new cluster")]).await;
    }
    cluster.agree(&[4, 5]).await;
}

/// The last sentence of a command that was refused: notes may stand before it.
fn refused_last(output: &std::process::Output) -> String {
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr.clone()).unwrap();
    said.lines().last().unwrap().to_owned()
}

/// Each with its exit code, and none of them writes anything.
fn refuse_what_is_wrong(cluster: &Cluster, place: &Path, restore: &[&str]) {
    let file = place.join("cluster.backup");
    let content = std::fs::read(&file).unwrap();
    let other = place.join("other.backup");
    let mut altered = content.clone();
    altered[content.len() / 2] ^= 1;
    let with = |path: &Path| {
        let arguments = restore.iter().map(|argument| {
            if *argument == shown(&file) { shown(path).to_owned() } else { (*argument).to_owned() }
        });
        let arguments: Vec<String> = arguments.collect();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        cluster.lockbox(&arguments, b"")
    };
    for (wrong, problem) in [
        (altered.as_slice(), "altered or damaged"),
        (&content[..content.len() - 100], "ends early"),
        (b"something else".as_slice(), "no sealed file"),
    ] {
        std::fs::write(&other, wrong).unwrap();
        let said = refused_last(&with(&other));
        assert!(said.contains(problem), "{said}");
    }
    std::fs::remove_file(&other).unwrap();
    // Away from its lists.
    let away = tempfile::tempdir().unwrap();
    let alone = away.path().join("cluster.backup");
    std::fs::copy(&file, &alone).unwrap();
    let said = refused(&with(&alone), 2);
    assert!(said.contains("--destroyed-may-return"), "{said}");
    // Under a node id that was used.
    let config = cluster.directory().join("node-1.toml");
    let data = cluster.data(Part::Node(1));
    std::fs::remove_dir_all(&data).unwrap();
    let mut used = restore.to_vec();
    let at = used.iter().position(|argument| *argument == "--config").unwrap();
    used[at + 1] = shown(&config);
    let said = refused_last(&cluster.lockbox(&used, b""));
    assert!(said.contains("take another id"), "{said}");
}
