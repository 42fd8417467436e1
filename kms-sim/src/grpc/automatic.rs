//! The audit of what the KMS does by itself: written by a task of its own, from rows that the
//! commits have left.
//!
//! Promises: what was committed is recorded, also after an outage of the audit and after a crash;
//! its row goes only then. A crash between the two, or an end while the disk hangs, has it recorded
//! once more, under the same event id. Whoever destroys and rotates never waits for it.

use std::sync::Arc;
use std::time::Duration;

use lockbox_core::codec;
use lockbox_platform::audit::record::{
    Authentication, Authorization, EventStatus, RequestMetadata,
};
use lockbox_platform::audit::{AuditError, AuditRecord};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Edge;
use super::events::{self, Effect, Mutation};
use crate::commit::CommitFailure;
use crate::engine::Engine;
use crate::error::KmsError;
use crate::store::StoreError;
use crate::store::records::OperationRecord;
use crate::store::tables::Table;

/// Time between two looks for rows.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Time until a record that was refused is tried again.
const RETRY: Duration = Duration::from_secs(10);
/// How long a record may take. Long, for one that is late may still be written, and would then be
/// there as often as it was tried.
const PATIENCE: Duration = Duration::from_hours(1);
/// Most rows that are read at one time.
const ROWS_MAX: usize = 256;

/// Records what is owed until told to stop.
///
/// # Errors
/// [`KmsError`] when the store fails.
pub(crate) async fn run(edge: Arc<Edge>, stop: CancellationToken) -> Result<(), KmsError> {
    loop {
        let paid = tokio::select! {
            // What is left is found at the next start.
            () = stop.cancelled() => return Ok(()),
            paid = pay(&edge) => paid,
        };
        let pause = match paid {
            Ok(Paid::All)
            | Err(KmsError::Commit(CommitFailure::Busy | CommitFailure::Unreserved)) => LOOK_EVERY,
            Ok(Paid::NotAll) => RETRY,
            // The writer ends by itself, or has said why it had to.
            Err(KmsError::Commit(CommitFailure::Stopped | CommitFailure::Unknown)) => return Ok(()),
            Err(error) => return Err(error),
        };
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// What became of the rows that were found.
enum Paid {
    All,
    /// The audit refuses records.
    NotAll,
}

/// Records what is owed, the oldest first.
async fn pay(edge: &Edge) -> Result<Paid, KmsError> {
    for (sequence, operation) in owed(&edge.engine)? {
        if let Err(error) = record_rotation(edge, &operation).await {
            let key_id = &operation.key.id;
            tracing::error!(%key_id, %error, "an automatic rotation is not in the audit yet");
            return Ok(Paid::NotAll);
        }
        // ORDER: behind the record.
        edge.engine.committer().audit_paid(sequence).await?;
    }
    Ok(Paid::All)
}

fn owed(engine: &Engine) -> Result<Vec<(u64, OperationRecord)>, StoreError> {
    let view = engine.view();
    view.scan(Table::AuditOwed, b"", b"")
        .take(ROWS_MAX)
        .map(|row| {
            let (row, value) = row?;
            let wrong = || StoreError::inconsistent(Table::AuditOwed, "a row has no such key");
            let sequence = row.as_ref().try_into().map_err(|_length| wrong())?;
            let operation = codec::decode(&value)
                .map_err(|error| StoreError::undecodable(Table::AuditOwed, &error))?;
            Ok((u64::from_be_bytes(sequence), operation))
        })
        .collect()
}

/// Records an automatic rotation, as one by the system itself (`contract §13` no. 36).
async fn record_rotation(edge: &Edge, operation: &OperationRecord) -> Result<(), AuditError> {
    let effect = Effect { operation: Some(operation), observed: None };
    let event = events::mutation(Mutation::Rotate, operation.key.id.as_str(), effect);
    // The operation's id, so that a record that is there twice shows as that.
    let id = operation.id.to_string();
    let record = AuditRecord {
        event_id: id.clone(),
        event_time: operation.created_at.into(),
        authentication: Authentication::of(&operation.created_by, None, None),
        authorization: Authorization { authorized: true },
        resource_metadata: (&event.path).into(),
        request_metadata: RequestMetadata::internal(id),
        event_status: EventStatus::Done,
        error: None,
        details: event.details,
        request_parameters: None,
        response: None,
        kms_requests: Vec::new(),
    };
    edge.auditor.record(&record, Instant::now() + PATIENCE).await
}
