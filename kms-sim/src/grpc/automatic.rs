//! The audit of what the KMS does by itself: there is no call to fail, so a record that cannot be
//! written is an error in the log.

use std::time::Duration;

use lockbox_core::{LogTime, RequestId, Subject};
use lockbox_platform::audit::AuditRecord;
use lockbox_platform::audit::record::{
    Authentication, Authorization, EventStatus, RequestMetadata,
};
use tokio::time::Instant;

use super::Edge;
use super::events::{self, Effect, Mutation};
use crate::store::records::OperationRecord;

/// How long a record may take: nobody waits for it but the schedule.
const PATIENCE: Duration = Duration::from_secs(10);

/// Records an automatic rotation, as one by the system itself (`contract §13` no. 36).
pub(crate) async fn record_rotation(edge: &Edge, operation: &OperationRecord) {
    let key_id = operation.key.id.as_str();
    let effect = Effect { operation: Some(operation), observed: None };
    let event = events::mutation(Mutation::Rotate, key_id, effect);
    let random = edge.random.as_ref();
    let record = AuditRecord {
        event_id: RequestId::generate(random).to_string(),
        event_time: LogTime::from_ms(edge.clock.wall_ms()).into(),
        authentication: Authentication::of(&Subject::internal(), None, None),
        authorization: Authorization { authorized: true },
        resource_metadata: (&event.path).into(),
        request_metadata: RequestMetadata::internal(RequestId::generate(random).to_string()),
        event_status: EventStatus::Done,
        error: None,
        details: event.details,
        request_parameters: None,
        response: None,
        kms_requests: Vec::new(),
    };
    if let Err(error) = edge.auditor.record(&record, Instant::now() + PATIENCE).await {
        tracing::error!(%key_id, %error, "an automatic rotation is not in the audit");
    }
}
