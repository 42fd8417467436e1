//! The head of a node's audit in the replicated log, and what it is good for.

use std::sync::Arc;
use std::time::Duration;

use lockbox::audit_heads::{anchor_last, keep_anchored};
use lockbox_core::LogTime;
use lockbox_platform::audit::verify::{verify, verify_removed};
use lockbox_platform::audit::{AuditFiles, ChainHead, HeadStatement, LineHash};
use lockbox_platform::tasks::TaskKind;
use lockbox_proto::lockbox::cluster::v1 as wire;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use tonic::Code;

use crate::client::text;
use crate::fixture::{Node, WAIT};
use crate::peers::Peers;

/// The heads that the cluster has, once there is one of this record or a later one.
async fn heads_from(peers: &Peers, sequence: u64) -> Vec<wire::AuditHead> {
    let deadline = Instant::now() + WAIT;
    loop {
        let request = wire::ListAuditHeadsRequest::default();
        let answer = peers.admin("operator").list_audit_heads(request).await.unwrap();
        assert!(answer.metadata().contains_key("lockbox-index"));
        let heads = answer.into_inner().heads;
        if heads.last().is_some_and(|head| head.sequence >= sequence) {
            return heads;
        }
        assert!(Instant::now() < deadline, "no head of record {sequence}");
        sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_holds_heads_against_which_a_cut_shows() {
    let node = Node::start().await;
    let peers = Peers::start(&node.app, &node.tasks, &node.metrics).await;
    let anchoring = keep_anchored(Arc::clone(&node.app), node.tasks.token());
    node.tasks.spawn(TaskKind::Critical, "audit heads", anchoring);
    let first = heads_from(&peers, 0).await;
    node.create(vec![text("k", "v")], "").await;
    let written = node.audit().lines().count() as u64;
    let later = heads_from(&peers, written - 1).await;
    assert!(later.len() > first.len());
    assert!(later.iter().all(|head| head.node_id == 1 && !head.abandoned && head.index > 0));
    // All are signed by one key of the cluster.
    for head in &later {
        assert_eq!(head.cluster_id, node.made.cluster_id.as_str());
        assert_eq!(head.signer, later[0].signer);
        let signer = hex::decode(&head.signer).unwrap().try_into().unwrap();
        let said = HeadStatement {
            cluster_id: &head.cluster_id,
            node_id: head.node_id,
            head: ChainHead { sequence: head.sequence, hash: head.hash.parse().unwrap() },
            told_at: LogTime::from_ms(head.told_at_ms),
            removed_through: None,
        };
        assert!(said.is_signed(&signer, &hex::decode(&head.signature).unwrap()), "{head:?}");
    }
    let of_other = wire::ListAuditHeadsRequest { node_id: 2 };
    let none = peers.admin("operator").list_audit_heads(of_other).await.unwrap().into_inner();
    assert!(none.heads.is_empty(), "{none:?}");
    let mut stranger = peers.admin("stranger");
    let refused = stranger.list_audit_heads(wire::ListAuditHeadsRequest::default());
    assert_eq!(refused.await.unwrap_err().code(), Code::PermissionDenied);

    let known: Vec<ChainHead> = later
        .iter()
        .map(|head| ChainHead { sequence: head.sequence, hash: head.hash.parse().unwrap() })
        .collect();
    let path = node.app.config.audit_path();
    let files = AuditFiles::of(&path);
    let findings = verify(&files, &known).unwrap();
    assert_eq!(findings.problems_total, 0, "{:#?}", findings.problems);
    assert_eq!(findings.heads_found, known.len() as u64);
    assert!(node.audit().contains("ListAuditHeads"));

    // The same without its last records is no other audit but a shorter one, until it is compared.
    let text = node.audit();
    let kept: Vec<&str> = text.lines().take(usize::try_from(written - 1).unwrap()).collect();
    let copy = node.data.path().join("copy");
    std::fs::write(&copy, kept.join("\n") + "\n").unwrap();
    let cut = AuditFiles::of(&copy);
    assert_eq!(verify(&cut, &[]).unwrap().problems_total, 0);
    let findings = verify(&cut, &known).unwrap();
    assert_eq!(findings.problems_total, 1);
    let problem = findings.problems[0].to_string();
    assert!(problem.contains("are missing: the last one that was anchored"), "{problem}");
    node.stop().await;
}

/// A node that ends leaves no record that could be cut off unnoticed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_record_is_anchored_at_the_end() {
    let node = Node::start().await;
    let peers = Peers::start(&node.app, &node.tasks, &node.metrics).await;
    node.create(vec![text("k", "v")], "").await;
    let written = node.audit().lines().count() as u64;
    // However slow the disk of the test is.
    let mut synced = node.app.auditor.synced_head();
    let all = synced.wait_for(|head| head.is_some_and(|head| head.sequence == written - 1));
    tokio::time::timeout(WAIT, all).await.unwrap().map(drop).unwrap();
    anchor_last(&node.app).await;
    let heads = heads_from(&peers, written - 1).await;
    assert_eq!(heads.iter().map(|head| head.sequence).collect::<Vec<_>>(), [written - 1]);
    node.stop().await;
}

/// Records that are cut off while a node does not run are missed for ever, however much it writes
/// before a head of it is anchored again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_is_remembered_when_the_node_goes_on_behind_it() {
    let node = Node::start().await;
    let secret = node.create(vec![text("k", "v")], "").await;
    let peers = Peers::start(&node.app, &node.tasks, &node.metrics).await;
    let anchoring = keep_anchored(Arc::clone(&node.app), node.tasks.token());
    node.tasks.spawn(TaskKind::Critical, "audit heads", anchoring);
    let known = heads_from(&peers, 0).await.pop().unwrap();
    drop(peers);
    let path = node.app.config.audit_path();
    let (audit, written) = (node.audit(), node.audit().lines().count() as u64);
    // Nobody calls between the cut and the end.
    std::fs::write(&path, audit.lines().next().unwrap().to_owned() + "\n").unwrap();
    let node = node.restart_after(Duration::ZERO).await;
    for _ in 0..written {
        node.read(&secret.id, "").await.unwrap();
    }
    let peers = Peers::start(&node.app, &node.tasks, &node.metrics).await;
    let anchoring = keep_anchored(Arc::clone(&node.app), node.tasks.token());
    node.tasks.spawn(TaskKind::Critical, "audit heads", anchoring);
    let heads = heads_from(&peers, written).await;
    let missed = heads.iter().find(|head| head.abandoned);
    let missed = missed.unwrap_or_else(|| panic!("{heads:#?}"));
    assert!(missed.sequence >= known.sequence, "{heads:#?}");
    let missed = ChainHead { sequence: missed.sequence, hash: missed.hash.parse().unwrap() };
    let findings = verify(&AuditFiles::of(&path), &[missed]).unwrap();
    assert_eq!((findings.problems_total, findings.heads_found), (1, 0), "{findings:#?}");
    node.stop().await;
}

/// What the cluster says of a record.
fn told(head: &wire::AuditHead) -> ChainHead {
    ChainHead { sequence: head.sequence, hash: head.hash.parse().unwrap() }
}

/// Anchors what there is, and gives what is anchored then, from this record on.
async fn anchored_from(node: &Node, sequence: u64) -> Vec<wire::AuditHead> {
    let peers = Peers::start(&node.app, &node.tasks, &node.metrics).await;
    let anchoring = keep_anchored(Arc::clone(&node.app), node.tasks.token());
    node.tasks.spawn(TaskKind::Critical, "audit heads", anchoring);
    heads_from(&peers, sequence).await
}

/// Adds a line to others, with its place in their chain.
fn chain(lines: &mut Vec<String>, mut record: Value) {
    record["sequence"] = lines.len().into();
    if let Some(last) = lines.last() {
        record["previous_hash"] = LineHash::of(last.as_bytes()).to_string().into();
    }
    lines.push(record.to_string());
}

/// Whoever has the disk changes an old record, chains all that follow anew, and makes the chain
/// longer than what is anchored, so that no number tells.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_longer_chain_that_was_made_anew_is_found_at_the_start() {
    let node = Node::start().await;
    let secret = node.create(vec![text("k", "v")], "").await;
    for _ in 0..4 {
        node.read(&secret.id, "").await.unwrap();
    }
    let written = node.audit().lines().count() as u64;
    let heads = anchored_from(&node, written - 1).await;
    assert!(heads.iter().all(|head| !head.abandoned), "{heads:#?}");
    let path = node.app.config.audit_path();
    let whole = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = whole.lines().collect();
    let mut forged = vec![lines[0].to_owned()];
    for line in lines[1..].iter().chain(&[lines[1], lines[1], lines[1]]) {
        let mut record: Value = serde_json::from_str(line).unwrap();
        record["event_id"] = "forged".into();
        chain(&mut forged, record);
    }
    // Nobody calls between the change and the end.
    std::fs::write(&path, forged.join("\n") + "\n").unwrap();
    let files = AuditFiles::of(&path);
    assert_eq!(verify(&files, &[]).unwrap().problems_total, 0);

    let node = node.restart_after(Duration::ZERO).await;
    let longer = forged.len() as u64;
    node.read(&secret.id, "").await.unwrap();
    let heads = anchored_from(&node, longer).await;
    let missed: Vec<_> = heads.iter().filter(|head| head.abandoned).collect();
    assert_eq!(missed.len(), 1, "{heads:#?}");
    assert!(missed[0].sequence >= written - 1 && missed[0].sequence < longer, "{heads:#?}");
    // It alone tells, when all the others are gone.
    let newest = told(heads.last().unwrap());
    assert_eq!(verify(&files, &[newest]).unwrap().problems_total, 0);
    let findings = verify(&files, &[told(missed[0]), newest]).unwrap();
    assert_eq!((findings.problems_total, findings.heads_found), (1, 1), "{findings:#?}");
    node.stop().await;
}

/// An audit that was removed begins again, and may be longer than the old one was before a head of
/// it is anchored.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_audit_that_was_removed_is_remembered_behind_a_longer_one() {
    let node = Node::start().await;
    let secret = node.create(vec![text("k", "v")], "").await;
    let written = node.audit().lines().count() as u64;
    anchored_from(&node, written - 1).await;
    let path = node.app.config.audit_path();
    std::fs::remove_file(&path).unwrap();
    let node = node.restart_after(Duration::ZERO).await;
    // Beyond whatever was written before.
    for _ in 0..written + 40 {
        node.read(&secret.id, "").await.unwrap();
    }
    let heads = anchored_from(&node, written + 39).await;
    let missed: Vec<_> = heads.iter().filter(|head| head.abandoned).collect();
    assert_eq!(missed.len(), 1, "{heads:#?}");
    assert!(missed[0].sequence >= written - 1, "{heads:#?}");
    let findings = verify(&AuditFiles::of(&path), &[told(missed[0])]).unwrap();
    assert_eq!((findings.problems_total, findings.heads_found), (1, 0), "{findings:#?}");
    node.stop().await;
}

/// Whoever has the disk removes the first records, and writes what retention would have written.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_does_not_believe_what_the_files_say_of_retention() {
    let node = Node::start().await;
    let secret = node.create(vec![text("k", "v")], "").await;
    for _ in 0..4 {
        node.read(&secret.id, "").await.unwrap();
    }
    let written = node.audit().lines().count() as u64;
    anchored_from(&node, written - 1).await;
    let path = node.app.config.audit_path();
    let whole = std::fs::read_to_string(&path).unwrap();
    let mut lines: Vec<String> = whole.lines().map(str::to_owned).collect();
    let removal = json!({
        "event_type": "lockbox.audit.FileRemoved", "details": { "last_sequence": 2 },
    });
    chain(&mut lines, removal);
    std::fs::write(&path, lines[3..].join("\n") + "\n").unwrap();

    let node = node.restart_after(Duration::ZERO).await;
    node.read(&secret.id, "").await.unwrap();
    let heads = anchored_from(&node, lines.len() as u64).await;
    assert!(heads.iter().all(|head| head.removed_before == 0), "{heads:#?}");
    let files = AuditFiles::of(&path);
    let findings = verify(&files, &[]).unwrap();
    assert_eq!((findings.problems_total, findings.removed_as_files_say), (0, Some(2)));
    let newest = told(heads.last().unwrap());
    let findings = verify_removed(&files, &[newest], None).unwrap();
    assert_eq!((findings.problems_total, findings.heads_found), (1, 1), "{findings:#?}");
    node.stop().await;
}

/// The log says of each head whose it is, and of what.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_in_the_log_is_told_and_makes_no_operation() {
    let node = Node::start().await;
    let peers = Peers::start(&node.app, &node.tasks, &node.metrics).await;
    let anchoring = keep_anchored(Arc::clone(&node.app), node.tasks.token());
    node.tasks.spawn(TaskKind::Critical, "audit heads", anchoring);
    let head = heads_from(&peers, 0).await.remove(0);
    let request = wire::ReadLogRequest { from_index: head.index, limit: 1 };
    let log = peers.admin("operator").read_log(request).await.unwrap().into_inner();
    let entry = &log.entries[0];
    assert_eq!((entry.index, entry.kind.as_str()), (head.index, "anchor_audit_head"));
    assert_eq!((entry.effect.as_str(), entry.operation_id.as_str()), ("", ""));
    assert_eq!(entry.detail, format!("node 1 record {}", head.sequence));
    node.stop().await;
}
