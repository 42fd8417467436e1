//! Puts the head of this node's audit into the replicated log: at a start, then every few seconds
//! while there are new records, when the leader changes (`design §10`), and at an orderly end.
//!
//! Promises: what is anchored is on this node's disk, so that a power loss breaks no promise; each
//! head says whether this node's files lead to it from the one before, which the log remembers when
//! they do not, however much is written behind a cut or a change; no finished file is removed
//! before the log says so. Waits for the cluster for as long as it takes, and holds nobody up
//! meanwhile.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use lockbox_core::{LogTime, NodeId};
use lockbox_platform::audit::{
    AuditFiles, ChainHead, HeadStatement, LineHash, SIGNER_BYTES, leads,
};
use lockbox_platform::status::ApiError;
use lockbox_raft::domain::audit_head::{After, AuditHead, HeadMark, HeadSignature};
use lockbox_raft::domain::command::Command;
use lockbox_raft::domain::outcome::{Outcome, Precondition, Rejection};
use lockbox_raft::replica::LeadershipWatch;
use lockbox_raft::state::tables;
use tokio::task::spawn_blocking;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::bootstrap::propose_for_cluster;
use crate::errors::unread;
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
    let mut anchored: Option<Anchored> = None;
    loop {
        let head = *synced.borrow();
        let last = anchored.as_ref().map(|anchored| anchored.last);
        let pause = match head.filter(|head| Some(*head) != last) {
            // Whoever has no leader would only wait in vain, and says so elsewhere.
            Some(head) if leadership.current().leader.is_some() => {
                match anchor(app, &mut anchored).await {
                    Ok(()) => interval,
                    Err(error) => {
                        let sequence = head.sequence;
                        tracing::warn!(%error, sequence, "the head of the audit is not anchored");
                        interval.min(RETRY_PAUSE)
                    }
                }
            }
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
    match tokio::time::timeout(LAST_TIMEOUT, anchor(app, &mut None)).await {
        Ok(Ok(())) => tracing::debug!(sequence, "the last head of the audit is anchored"),
        Ok(Err(error)) => {
            tracing::warn!(%error, sequence, "the last head of the audit is not anchored");
        }
        Err(_elapsed) => {
            tracing::warn!(sequence, "the last head of the audit is not anchored in time");
        }
    }
}

/// What this run has anchored last.
struct Anchored {
    last: ChainHead,
    /// What the log knows of retention.
    removed_through: Option<u64>,
}

/// Anchors the last record that is on the disk by now, wherever the leader is.
async fn anchor(app: &App, anchored: &mut Option<Anchored>) -> Result<(), ApiError> {
    // Another head came first, as one of an earlier try may: who looks again knows it.
    if propose(app, anchored).await? || propose(app, anchored).await? {
        return Ok(());
    }
    Err(ApiError::unavailable("other heads of this audit are anchored meanwhile"))
}

/// Proposes the head; false when it comes behind another one than was anchored last.
async fn propose(app: &App, anchored: &mut Option<Anchored>) -> Result<bool, ApiError> {
    // ORDER: taken before the try. When its end is not known, the next one has to look.
    let (last, removed, is_own) = match anchored.take() {
        Some(own) => (Some(own.last), own.removed_through, true),
        None => {
            let deadline = Instant::now() + TRY_TIMEOUT;
            let Last { head, removed_through, .. } =
                read_last(app, app.config.node_id, deadline).await?;
            (head, removed_through, false)
        }
    };
    // ORDER: behind the look into the log. What this run has anchored is no later than this.
    let Some(head) = *app.auditor.synced_head().borrow() else { return Ok(true) };
    let after = match last {
        None => After::Nothing,
        Some(last) if is_own || is_followed(app, last, head).await? => After::Followed(mark(last)),
        Some(last) => After::Abandoned(mark(last)),
    };
    let removable = app.auditor.removable_through().filter(|through| *through < head.sequence);
    let removed_through = removed.max(removable);
    let deadline = Instant::now() + TRY_TIMEOUT;
    match propose_head(app, told(app, head, removed_through, after), deadline).await? {
        Proposed::Anchored => {}
        Proposed::Moved => return Ok(false),
        Proposed::Refused => {
            return Err(ApiError::internal("the state refuses the head of an audit"));
        }
    }
    // ORDER: the log says what is missing before it is.
    if let Some(through) = removed_through {
        app.auditor.permit_removal(through);
    }
    *anchored = Some(Anchored { last: head, removed_through });
    Ok(true)
}

/// What became of a head that was proposed.
pub(crate) enum Proposed {
    /// The log has it.
    Anchored,
    /// Another one came first: who looks again knows it.
    Moved,
    /// The state does not take it.
    Refused,
}

/// Proposes a head, of whichever audit, wherever the leader is.
pub(crate) async fn propose_head(
    app: &App,
    head: AuditHead,
    deadline: Instant,
) -> Result<Proposed, ApiError> {
    let applied = propose_for_cluster(app, Command::AnchorAuditHead(head), deadline).await?;
    Ok(match applied.outcome {
        Outcome::Nothing => Proposed::Anchored,
        Outcome::Rejected(Rejection::Precondition(Precondition::AuditHeadMoved)) => Proposed::Moved,
        Outcome::Done(_) | Outcome::Rejected(_) => Proposed::Refused,
    })
}

/// What the state has of an audit.
pub(crate) struct Last {
    /// The head that was anchored last.
    pub(crate) head: Option<ChainHead>,
    /// The key that has signed it.
    pub(crate) signer: Option<[u8; SIGNER_BYTES]>,
    /// What is known of retention.
    pub(crate) removed_through: Option<u64>,
}

/// Reads what the state has of an audit: of a node's, or of the KMS's.
pub(crate) async fn read_last(
    app: &App,
    node_id: NodeId,
    deadline: Instant,
) -> Result<Last, ApiError> {
    let reading = app.replica.read(deadline, |view, _| tables::audit_heads(view, node_id));
    let heads = reading.await.map_err(unread)?.value;
    let heads = heads.map_err(|error| ApiError::internal(error.to_string()))?;
    let last = heads.newest.last().map(|last| &last.head);
    let head = last
        .map(|last| ChainHead { sequence: last.sequence, hash: LineHash::from_bytes(last.hash) });
    let signer = last.and_then(|last| last.signature.as_ref()).map(|signed| signed.signer);
    Ok(Last { head, signer, removed_through: heads.removed_through() })
}

/// Whether this node's files lead from the head that was anchored last to this one.
async fn is_followed(app: &App, last: ChainHead, head: ChainHead) -> Result<bool, ApiError> {
    let files = AuditFiles::of(&app.config.audit_path());
    let led = spawn_blocking(move || leads(&files, last, head)).await;
    let led = led.map_err(|_ended| ApiError::internal("the look into the audit has ended"))?;
    let (sequence, next) = (last.sequence, head.sequence);
    match led {
        Ok(true) => return Ok(true),
        Ok(false) => {
            tracing::warn!(sequence, next, "the audit does not lead on from what was anchored");
        }
        // It leads nowhere: the head is remembered, and whoever verifies judges.
        Err(error) => tracing::warn!(%error, sequence, next, "the audit cannot be looked through"),
    }
    Ok(false)
}

/// The record as the log names it.
pub(crate) const fn mark(head: ChainHead) -> HeadMark {
    HeadMark { sequence: head.sequence, hash: *head.hash.as_bytes() }
}

/// The head as it goes into the log: signed, unless the node is sealed.
fn told(app: &App, head: ChainHead, removed_through: Option<u64>, after: After) -> AuditHead {
    let node_id = app.config.node_id;
    let told_at = LogTime::from_ms(app.clock.wall_ms());
    let cluster_id = app.replica.status().cluster_id;
    let signer = app.keyring.ring().ok().and_then(|ring| head_signer::of(&ring));
    let signature = signer.filter(|_| !cluster_id.is_empty()).map(|signer| {
        let cluster_id = &cluster_id;
        let said = HeadStatement { cluster_id, node_id, head, told_at, removed_through };
        HeadSignature { signer: signer.public_key(), signature: signer.sign(&said) }
    });
    let HeadMark { sequence, hash } = mark(head);
    let after = Some(after);
    AuditHead { node_id, sequence, hash, told_at, signature, removed_through, after }
}

/// Waits until another node leads than now, or in another term; for ever once consensus has ended.
pub(crate) async fn another_leader(leadership: &mut LeadershipWatch) {
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
