//! What is billed of the service itself, from the replicated meters (`contract §7`).

use std::collections::BTreeMap;

use lockbox_core::{CloudId, LogTime};
use lockbox_platform::billing::Span;
use lockbox_platform::status::ApiError;
use lockbox_proto::lockbox::cluster::v1 as wire;
use lockbox_raft::error::StorageError;
use lockbox_raft::state::{StateRead, tables};

use super::Work;
use crate::call::Call;
use crate::errors::{DecidedAt, unread};

/// Clouds in one answer.
const CLOUDS_MAX: usize = 1_000;

impl Work for wire::ReadUsageRequest {
    type Answer = wire::ReadUsageResponse;
    const EVENT: &'static str = "ReadUsage";

    fn ids(&self) -> BTreeMap<&'static str, String> {
        BTreeMap::new()
    }

    async fn run(self, call: &mut Call<'_>) -> Result<Self::Answer, ApiError> {
        let after = match self.after_cloud_id.as_str() {
            "" => None,
            id => Some(
                CloudId::parse(id)
                    .map_err(|error| ApiError::invalid("after_cloud_id", error.to_string()))?,
            ),
        };
        let read = call.app.replica.read(call.context.deadline, |view, now| {
            let span = span(view, (self.from_ms, self.to_ms), now)?;
            page(view, span, after.as_ref(), now)
        });
        let reading = read.await.map_err(unread)?;
        call.observe(DecidedAt { index: reading.index, term: reading.term });
        reading.value.map_err(|error: StorageError| ApiError::internal(error.to_string()))
    }
}

fn span(
    view: &dyn StateRead,
    (from_ms, to_ms): (u64, u64),
    now: LogTime,
) -> Result<Span, StorageError> {
    let from = match from_ms {
        0 => tables::cluster(view)?.map_or(now, |cluster| cluster.created_at),
        ms => LogTime::from_ms(ms),
    };
    let to = if to_ms == 0 { now } else { LogTime::from_ms(to_ms) };
    Ok(Span::covering(from, to))
}

fn page(
    view: &dyn StateRead,
    span: Span,
    after: Option<&CloudId>,
    now: LogTime,
) -> Result<wire::ReadUsageResponse, StorageError> {
    let (meters, more) = tables::usage_meters_page(view, after, CLOUDS_MAX)?;
    let mut clouds = Vec::with_capacity(meters.len());
    for meter in meters {
        let hours = (span.from_hour, span.to_hour);
        let used = tables::usage_between(view, &meter.cloud_id, hours, now)?;
        clouds.push(wire::CloudUsage {
            cloud_id: meter.cloud_id.to_string(),
            version_ms: used.version_ms,
            payload_reads: used.reads,
        });
    }
    let (from, to) = span.ends();
    Ok(wire::ReadUsageResponse { from_ms: from.as_ms(), to_ms: to.as_ms(), clouds, more })
}
