//! Puts the head of the KMS's audit into the replicated log: the leader asks the KMS, as often as
//! nodes put in their own ([`crate::audit_heads`]), and proposes what is new (`design §10`).
//!
//! Promises: what is anchored is signed by the KMS, and on its disk as it says; a head that does not
//! follow the last one is told as an error, counted, and anchored as one that does not, so that the
//! last one is missed for ever. A KMS that does not answer holds nobody up. Remembers nothing that
//! the state does not say: a new leader goes on from there.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use lockbox_core::{KMS_AUDIT_ID, LogTime};
use lockbox_platform::audit::{ChainHead, HeadStatement, LineHash, SIGNER_BYTES};
use lockbox_platform::metric_names::MetricName;
use lockbox_platform::metrics::{Metrics, MetricsError};
use lockbox_platform::status::ApiError;
use lockbox_proto::lockbox::kms::v1::{
    AuditRecordMark, TellAuditHeadRequest, TellAuditHeadResponse,
};
use lockbox_raft::domain::audit_head::{After, AuditHead, HeadSignature};
use prometheus::IntCounterVec;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

use crate::app::App;
use crate::audit_heads::{Last, Proposed, another_leader, mark, propose_head, read_last};

/// One turn may take this long, the KMS's answer included.
const TURN_TIMEOUT: Duration = Duration::from_secs(10);

const TURNS: MetricName = MetricName::new(
    "kms_audit_heads_total",
    "Looks of this node, as the leader, at the head of the KMS's audit: anchored, unchanged, \
     contradicting (it does not lead on from the last one), refused (by the state), failed, absent \
     (a KMS that tells none).",
);

/// What a turn came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// The log has it.
    Anchored,
    /// Nothing is new.
    Unchanged,
    /// It does not lead on from the head that was anchored last; the log has it.
    Contradicting,
}

/// Why a turn came to nothing; it is tried again.
#[derive(Debug, thiserror::Error)]
enum TurnError {
    #[error("the KMS does not tell it: {}", .0.message())]
    Kms(Status),
    #[error("this KMS tells no head of its audit")]
    Absent,
    #[error("the KMS has no audit any more, and record {anchored} is anchored: it was removed")]
    Gone { anchored: u64 },
    #[error("the KMS's answer is not what was signed")]
    Unsigned,
    #[error("the state cannot be read or does not answer: {}", .0.message())]
    State(#[from] ApiError),
    #[error("another head was anchored meanwhile")]
    Moved,
    #[error("the state refuses it")]
    Refused,
}

/// What a turn counts as; [`RESULTS`] has all of them.
const fn result_of(turn: &Result<Turn, TurnError>) -> &'static str {
    match turn {
        Ok(Turn::Anchored) => "anchored",
        Ok(Turn::Unchanged) => "unchanged",
        Ok(Turn::Contradicting) | Err(TurnError::Gone { .. }) => "contradicting",
        Err(TurnError::Refused) => "refused",
        Err(TurnError::Absent) => "absent",
        Err(TurnError::Kms(_) | TurnError::Unsigned | TurnError::State(_) | TurnError::Moved) => {
            "failed"
        }
    }
}

const RESULTS: [&str; 6] =
    ["anchored", "unchanged", "contradicting", "refused", "failed", "absent"];

/// Counts what turns come to.
#[derive(Debug, Clone)]
pub struct TurnCounters(IntCounterVec);

impl TurnCounters {
    /// Registers them.
    ///
    /// # Errors
    /// [`MetricsError`] when they are registered already.
    pub fn register(metrics: &Metrics) -> Result<Self, MetricsError> {
        let counters = metrics.counters(&TURNS, &["result"])?;
        // From the start, so that the first one is an increase.
        for result in RESULTS {
            counters.with_label_values(&[result]).inc_by(0);
        }
        Ok(Self(counters))
    }
}

/// Keeps the head in the log while this node leads, until cancelled.
///
/// # Errors
/// Never; a task of [`lockbox_platform::tasks`] has an error type.
pub async fn keep_kms_anchored(
    app: Arc<App>,
    counters: TurnCounters,
    cancelled: CancellationToken,
) -> Result<(), Infallible> {
    tokio::select! {
        () = cancelled.cancelled() => {}
        () = anchor_again_and_again(&app, &counters) => {}
    }
    Ok(())
}

async fn anchor_again_and_again(app: &App, counters: &TurnCounters) {
    if !app.kms.knows_callers() {
        // A KMS of another maker, which knows this node by a token alone.
        return std::future::pending().await;
    }
    let interval = app.config.audit.head_interval();
    let mut leadership = app.replica.watch_leadership();
    let mut last_failure: Option<String> = None;
    loop {
        if leadership.current().is_leader {
            let turn = turn(app, Instant::now() + TURN_TIMEOUT).await;
            counters.0.with_label_values(&[result_of(&turn)]).inc();
            last_failure = told_once(turn.err(), last_failure.as_deref());
        }
        tokio::select! {
            () = tokio::time::sleep(interval) => {}
            () = another_leader(&mut leadership) => {}
        }
    }
}

/// Tells of a failure unless it is the one before; gives it back to be remembered.
fn told_once(failure: Option<TurnError>, before: Option<&str>) -> Option<String> {
    let error = failure?;
    let said = error.to_string();
    if before != Some(said.as_str()) {
        let what = "the head of the KMS's audit is not anchored";
        match error {
            TurnError::Gone { .. } | TurnError::Unsigned | TurnError::Refused => {
                tracing::error!(%error, "{what}");
            }
            TurnError::Absent => tracing::info!(%error, "{what}"),
            TurnError::Kms(_) | TurnError::State(_) | TurnError::Moved => {
                tracing::warn!(%error, "{what}");
            }
        }
    }
    Some(said)
}

/// Asks the KMS for its head, and anchors it when it is new.
async fn turn(app: &App, deadline: Instant) -> Result<Turn, TurnError> {
    let cluster_id = app.replica.status().cluster_id;
    if cluster_id.is_empty() {
        return Ok(Turn::Unchanged);
    }
    let last = read_last(app, KMS_AUDIT_ID, deadline).await?;
    let to_wire = |head: ChainHead| AuditRecordMark {
        sequence: head.sequence,
        hash: head.hash.as_bytes().to_vec(),
    };
    let request = TellAuditHeadRequest {
        cluster_id: cluster_id.clone(),
        last: last.head.map(to_wire),
        removed_before: last.removed_through.map_or(0, |through| through.saturating_add(1)),
    };
    let answer = match app.kms.audit_head(request, deadline).await {
        Ok(answer) => answer,
        Err(status) if status.code() == Code::Unimplemented => return Err(TurnError::Absent),
        Err(status) => return Err(TurnError::Kms(status)),
    };
    let Some(told) = Told::read(&answer, &cluster_id)? else {
        return match last.head {
            None => Ok(Turn::Unchanged),
            Some(last) => Err(TurnError::Gone { anchored: last.sequence }),
        };
    };
    let removed_through = last.removed_through.max(told.removed_through);
    if last.head == Some(told.head) && last.removed_through == removed_through {
        return Ok(Turn::Unchanged);
    }
    let after = told.after(&last);
    let turn = match after {
        After::Nothing | After::Followed(_) => Turn::Anchored,
        After::Abandoned(anchored) => {
            let (anchored, sequence) = (anchored.sequence, told.head.sequence);
            tracing::error!(
                anchored,
                sequence,
                "the audit of the KMS does not lead on from what was anchored: it was cut, or made \
                 anew, or it is another KMS"
            );
            Turn::Contradicting
        }
    };
    match propose_head(app, told.into_head(after), deadline).await? {
        Proposed::Anchored => Ok(turn),
        Proposed::Moved => Err(TurnError::Moved),
        Proposed::Refused => Err(TurnError::Refused),
    }
}

/// What the KMS has told, and signed.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Told {
    head: ChainHead,
    followed: bool,
    removed_through: Option<u64>,
    told_at: LogTime,
    signature: HeadSignature,
}

impl Told {
    /// Reads an answer; nothing when the KMS has no record.
    fn read(answer: &TellAuditHeadResponse, cluster_id: &str) -> Result<Option<Self>, TurnError> {
        let Some(mark) = &answer.head else { return Ok(None) };
        let hash: [u8; 32] = mark.hash.as_slice().try_into().map_err(|_| TurnError::Unsigned)?;
        let signer: [u8; SIGNER_BYTES] =
            answer.signer.as_slice().try_into().map_err(|_| TurnError::Unsigned)?;
        let head = ChainHead { sequence: mark.sequence, hash: LineHash::from_bytes(hash) };
        let removed_through = answer.removed_before.checked_sub(1);
        let told_at = LogTime::from_ms(answer.told_at_ms);
        let node_id = KMS_AUDIT_ID;
        let said = HeadStatement { cluster_id, node_id, head, told_at, removed_through };
        if !said.is_signed(&signer, &answer.signature) {
            return Err(TurnError::Unsigned);
        }
        let signature = HeadSignature { signer, signature: answer.signature.clone() };
        let followed = answer.followed;
        Ok(Some(Self { head, followed, removed_through, told_at, signature }))
    }

    /// Where it stands: the KMS's word counts only where it can be true, and where it is the word of
    /// the same KMS.
    fn after(&self, last: &Last) -> After {
        let Some(anchored) = last.head.map(mark) else { return After::Nothing };
        let is_same_kms = last.signer == Some(self.signature.signer);
        if self.followed && is_same_kms && anchored.may_lead_to(mark(self.head)) {
            After::Followed(anchored)
        } else {
            After::Abandoned(anchored)
        }
    }

    fn into_head(self, after: After) -> AuditHead {
        let Self { head, removed_through, told_at, signature, .. } = self;
        AuditHead {
            node_id: KMS_AUDIT_ID,
            sequence: head.sequence,
            hash: *head.hash.as_bytes(),
            told_at,
            signature: Some(signature),
            removed_through,
            after: Some(after),
        }
    }
}

#[cfg(test)]
mod tests;
