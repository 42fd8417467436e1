//! The head of the KMS's audit in the replicated log: the leader puts it there, and believes the KMS
//! no more than can be true.

use std::sync::Arc;
use std::time::Duration;

use lockbox::kms_audit::{TurnCounters, keep_kms_anchored};
use lockbox_core::{KMS_AUDIT_ID, LogTime};
use lockbox_platform::audit::{ChainHead, HeadStatement, LineHash};
use lockbox_platform::tasks::TaskKind;
use lockbox_proto::lockbox::cluster::v1 as wire;
use tokio::time::{Instant, sleep};

use crate::client::text;
use crate::fake_kms::{FakeHead, Telling};
use crate::fixture::{Node, WAIT};
use crate::peers::Peers;

/// What the fake's key is derived from.
const SECRET: &[u8] = b"a secret of the KMS";

fn record(sequence: u64, line: &str) -> ChainHead {
    ChainHead { sequence, hash: LineHash::of(line.as_bytes()) }
}

fn head(head: ChainHead, followed: bool) -> Telling {
    Telling::Head(FakeHead { head, followed, secret: SECRET, signed_for: None })
}

/// Anchors as a node that runs does.
async fn anchoring(node: &Node) -> Peers {
    let counters = TurnCounters::register(&node.metrics).unwrap();
    let work = keep_kms_anchored(Arc::clone(&node.app), counters, node.tasks.token());
    node.tasks.spawn(TaskKind::Critical, "KMS audit heads", work);
    Peers::start(&node.app, &node.tasks, &node.metrics).await
}

async fn heads(peers: &Peers) -> Vec<wire::AuditHead> {
    let request = wire::ListAuditHeadsRequest { node_id: KMS_AUDIT_ID };
    peers.admin("operator").list_audit_heads(request).await.unwrap().into_inner().heads
}

/// The heads of the KMS, once this record is anchored last.
async fn heads_to(peers: &Peers, last: ChainHead) -> Vec<wire::AuditHead> {
    let deadline = Instant::now() + WAIT;
    loop {
        let heads = heads(peers).await;
        if heads.last().is_some_and(|head| told(head) == last) {
            return heads;
        }
        assert!(Instant::now() < deadline, "{last:?} is not anchored: {heads:#?}");
        sleep(Duration::from_millis(50)).await;
    }
}

fn told(head: &wire::AuditHead) -> ChainHead {
    ChainHead { sequence: head.sequence, hash: head.hash.parse().unwrap() }
}

/// Waits until so many turns have come to this.
async fn counted(node: &Node, result: &str, least: u64) {
    let name = format!("lockbox_kms_audit_heads_total{{result=\"{result}\"}} ");
    let deadline = Instant::now() + WAIT;
    loop {
        let text = node.metrics.text();
        let count = text.lines().find_map(|line| line.strip_prefix(&name)).unwrap();
        if count.parse::<u64>().unwrap() >= least {
            return;
        }
        assert!(Instant::now() < deadline, "{name}{count}");
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leader_anchors_what_the_kms_has_signed_and_goes_on_after_a_restart() {
    let node = Node::start().await;
    let cluster_id = node.made.cluster_id.to_string();
    node.kms.tell(head(record(5, "a"), true));
    let peers = anchoring(&node).await;
    let first = heads_to(&peers, record(5, "a")).await;
    node.kms.tell(head(record(9, "b"), true));
    let both = heads_to(&peers, record(9, "b")).await;
    assert_eq!((first.len(), both.len()), (1, 2));
    counted(&node, "anchored", 2).await;
    counted(&node, "unchanged", 1).await;
    for head in &both {
        assert!(!head.abandoned && head.index > 0, "{head:?}");
        let signer = hex::decode(&head.signer).unwrap().try_into().unwrap();
        let said = HeadStatement {
            cluster_id: &cluster_id,
            node_id: KMS_AUDIT_ID,
            head: told(head),
            told_at: LogTime::from_ms(head.told_at_ms),
            removed_through: None,
        };
        assert!(said.is_signed(&signer, &hex::decode(&head.signature).unwrap()), "{head:?}");
    }
    // The nodes' own heads are others, and an idle KMS costs no entry.
    let of_node = wire::ListAuditHeadsRequest { node_id: 1 };
    let own = peers.admin("operator").list_audit_heads(of_node).await.unwrap().into_inner();
    assert!(own.heads.is_empty(), "{own:?}");
    let request = wire::ReadLogRequest { from_index: both[1].index, limit: 1 };
    let log = peers.admin("operator").read_log(request).await.unwrap().into_inner();
    assert_eq!(log.entries[0].detail, "kms record 9");

    let asked = node.kms.asked_for_heads();
    assert_eq!(asked[0].last, None);
    assert!(asked.iter().all(|asked| asked.cluster_id == cluster_id));
    let node = node.restart_after(Duration::ZERO).await;
    node.kms.tell(head(record(12, "c"), true));
    let peers = anchoring(&node).await;
    let all = heads_to(&peers, record(12, "c")).await;
    assert!(all.iter().all(|head| !head.abandoned), "{all:#?}");
    let asked = node.kms.asked_for_heads().split_off(asked.len());
    assert!(asked.iter().any(|asked| asked.last.as_ref().is_some_and(|last| last.sequence == 9)));
    node.stop().await;
}

/// Each of them is told, counted, and missed for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kms_that_was_cut_or_made_anew_is_remembered() {
    let node = Node::start().await;
    node.kms.tell(head(record(5, "a"), true));
    let peers = anchoring(&node).await;
    heads_to(&peers, record(5, "a")).await;
    let of_other_key = FakeHead {
        head: record(20, "e"),
        followed: true,
        secret: b"another secret",
        signed_for: None,
    };
    let steps = [
        // It says itself that its files do not lead there.
        (head(record(9, "b"), false), record(9, "b")),
        // It says that they do, and goes backwards.
        (head(record(3, "c"), true), record(3, "c")),
        // Or has another record in the place of that one.
        (head(record(3, "d"), true), record(3, "d")),
        // Or signs by another key.
        (Telling::Head(of_other_key), record(20, "e")),
    ];
    let mut missed = vec![record(5, "a")];
    for (number, (telling, next)) in steps.into_iter().enumerate() {
        node.kms.tell(telling);
        let heads = heads_to(&peers, next).await;
        let abandoned = heads.iter().filter(|head| head.abandoned).map(told);
        assert_eq!(abandoned.collect::<Vec<_>>(), missed);
        counted(&node, "contradicting", number as u64 + 1).await;
        missed.push(next);
    }
    // Its files are gone, and it has not recorded anything since.
    let before = heads(&peers).await;
    node.kms.tell(Telling::Nothing);
    counted(&node, "contradicting", 5).await;
    assert_eq!(heads(&peers).await, before);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kms_that_tells_no_head_holds_nobody_up() {
    let node = Node::start().await;
    let peers = anchoring(&node).await;
    counted(&node, "absent", 1).await;
    let for_other = Some("lbcanother");
    node.kms.tell(Telling::Head(FakeHead {
        head: record(5, "a"),
        followed: true,
        secret: SECRET,
        signed_for: for_other,
    }));
    counted(&node, "failed", 1).await;
    node.kms.set_down(true);
    counted(&node, "failed", 3).await;
    node.kms.recover();
    assert!(heads(&peers).await.is_empty());
    node.create(vec![text("k", "v")], "").await;
    node.kms.tell(Telling::Nothing);
    counted(&node, "unchanged", 1).await;
    assert!(heads(&peers).await.is_empty());
    node.kms.tell(head(record(5, "a"), true));
    heads_to(&peers, record(5, "a")).await;
    node.stop().await;
}
