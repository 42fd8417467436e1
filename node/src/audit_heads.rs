//! Puts the head of this node's audit into the replicated log: what it was opened with, then every
//! few seconds while there are new records, when the leader changes (`design §10`), and at an
//! orderly end.
//!
//! Promises: what is anchored is on this node's disk, so that a power loss breaks no promise; when
//! records were cut off before the start, the log remembers the head that is missing, however much
//! is written behind the cut. Waits for the cluster for as long as it takes, and holds nobody up
//! meanwhile.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use lockbox_core::LogTime;
use lockbox_platform::audit::{ChainHead, HeadStatement};
use lockbox_platform::status::ApiError;
use lockbox_raft::domain::audit_head::{AuditHead, HeadSignature};
use lockbox_raft::domain::command::Command;
use lockbox_raft::domain::outcome::Outcome;
use lockbox_raft::replica::LeadershipWatch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::bootstrap::propose_for_cluster;
use crate::head_signer;

/// One try may take this long: without a quorum it would wait for ever.
const TRY_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause after a try that failed, when that is less than the usual one.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// How long a node that ends waits for the sync of its last record, which follows within 100 ms.
const LAST_SYNC: Duration = Duration::from_millis(200);
/// How long it then tries: the others may be ending, too.
const LAST_TIMEOUT: Duration = Duration::from_secs(1);

/// Keeps the head in the log, until cancelled.
///
/// # Errors
/// Never; a task of [`lockbox_platform::tasks`] has an error type.
pub async fn keep_anchored(app: Arc<App>, cancelled: CancellationToken) -> Result<(), Infallible> {
    tokio::select! {
        () = cancelled.cancelled() => {}
        () = anchor_again_and_again(&app) => {}
    }
    Ok(())
}

async fn anchor_again_and_again(app: &App) {
    let interval = app.config.audit.head_interval();
    let synced = app.auditor.synced_head();
    let mut leadership = app.replica.watch_leadership();
    // ORDER: this one before what was written since. Behind a cut it is no larger than the head
    // that the log has, which is kept as abandoned then; a later one would hide that.
    let mut opened_behind = app.auditor.opened_behind();
    let mut anchored: Option<ChainHead> = None;
    loop {
        let head = opened_behind.or(*synced.borrow());
        let pause = match head.filter(|head| Some(*head) != anchored) {
            // Whoever has no leader would only wait in vain, and says so elsewhere.
            Some(head) if leadership.current().leader.is_some() => match anchor(app, head).await {
                Ok(()) => {
                    anchored = Some(head);
                    if opened_behind.take().is_some() {
                        continue;
                    }
                    interval
                }
                Err(error) => {
                    let sequence = head.sequence;
                    tracing::warn!(%error, sequence, "the head of the audit is not anchored");
                    interval.min(RETRY_PAUSE)
                }
            },
            Some(_) | None => interval,
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = another_leader(&mut leadership) => {}
        }
    }
}

/// Anchors the last record of a node that ends, which has no calls under way any more: nobody can
/// cut it off unnoticed until the node runs again.
pub async fn anchor_last(app: &App) {
    tokio::time::sleep(LAST_SYNC).await;
    let synced = app.auditor.synced_head();
    let head = *synced.borrow();
    let Some(head) = head else { return };
    if app.replica.watch_leadership().current().leader.is_none() {
        return;
    }
    let sequence = head.sequence;
    match tokio::time::timeout(LAST_TIMEOUT, anchor(app, head)).await {
        Ok(Ok(())) => tracing::debug!(sequence, "the last head of the audit is anchored"),
        Ok(Err(error)) => {
            tracing::warn!(%error, sequence, "the last head of the audit is not anchored");
        }
        Err(_elapsed) => {
            tracing::warn!(sequence, "the last head of the audit is not anchored in time");
        }
    }
}

/// Proposes the head, wherever the leader is.
async fn anchor(app: &App, head: ChainHead) -> Result<(), ApiError> {
    let command = Command::AnchorAuditHead(told(app, head));
    let applied = propose_for_cluster(app, command, Instant::now() + TRY_TIMEOUT).await?;
    match applied.outcome {
        Outcome::Nothing => Ok(()),
        Outcome::Done(_) | Outcome::Rejected(_) => {
            Err(ApiError::internal("the state refuses the head of an audit"))
        }
    }
}

/// The head as it goes into the log: signed, unless the node is sealed.
fn told(app: &App, head: ChainHead) -> AuditHead {
    let node_id = app.config.node_id;
    let told_at = LogTime::from_ms(app.clock.wall_ms());
    let cluster_id = app.replica.status().cluster_id;
    let signer = app.keyring.ring().ok().and_then(|ring| head_signer::of(&ring));
    let signature = signer.filter(|_| !cluster_id.is_empty()).map(|signer| {
        let said = HeadStatement { cluster_id: &cluster_id, node_id, head, told_at };
        HeadSignature { signer: signer.public_key(), signature: signer.sign(&said) }
    });
    AuditHead { node_id, sequence: head.sequence, hash: *head.hash.as_bytes(), told_at, signature }
}

/// Waits until another node leads than now, or in another term; for ever once consensus has ended.
async fn another_leader(leadership: &mut LeadershipWatch) {
    let now = leadership.current();
    // One that is lost is waited out: there is nobody to tell.
    loop {
        if !leadership.changed().await {
            std::future::pending::<()>().await;
        }
        let then = leadership.current();
        if then.leader.is_some() && (then.term, then.leader) != (now.term, now.leader) {
            return;
        }
    }
}
