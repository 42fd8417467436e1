//! What is stored and read of each secret: the documented series of the service (`contract §8`),
//! and what is billed of each cloud (`contract §7`).
//!
//! They are served beside the process's own, under `/metrics/secrets`: two series for each secret
//! are more than every scrape should carry. Reads are counted where they are answered, since the
//! start of this node, so the cluster's are the sum over its nodes. What is billed is of the
//! replicated state: every node shows the same, and goes on where another one was; what was read of
//! secrets that are deleted now is in it, too ([`crate::read_meter`]).

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use lockbox_core::{CloudId, LogTime, SecretId};
use lockbox_platform::resource_counts::ResourceCounts;
use lockbox_raft::error::StorageError;
use lockbox_raft::state::{StateRead, tables};
use prometheus::{CounterVec, IntCounterVec, IntGaugeVec, Opts, Registry, TextEncoder};
use tokio::sync::Semaphore;

use crate::app::App;

/// The path of the series of each secret.
pub const PATH: &str = "/metrics/secrets";
/// Secrets that are read at a time, or clouds.
const SECRETS_PER_PAGE: usize = 1_000;
/// Milliseconds in an hour.
const HOUR_MS: f64 = 3_600_000.0;
const SERVICE: &str = "lockbox";
/// `Get` and `GetEx` are one operation to the meter (`contract §13` no. 25).
const GET_PAYLOAD: &str = "get_payload";

/// Completed payload reads of each secret, for its series; the bill has nothing of this.
#[derive(Debug)]
pub struct PayloadReads {
    of: ResourceCounts<SecretId>,
    /// Those of all secrets, deleted ones too.
    total: Arc<AtomicU64>,
    /// One scan of the secrets at a time, however many ask for it.
    scanning: Arc<Semaphore>,
}

impl Default for PayloadReads {
    fn default() -> Self {
        let (of, scanning) = (ResourceCounts::default(), Arc::new(Semaphore::new(1)));
        Self { of, total: Arc::default(), scanning }
    }
}

impl PayloadReads {
    /// Counts one that has succeeded.
    pub fn count(&self, secret: SecretId) {
        self.total.fetch_add(1, Ordering::Relaxed);
        self.of.count(secret);
    }

    /// Counts all of them since the start.
    #[must_use]
    pub fn total(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.total)
    }
}

/// The route of the series of each secret.
pub fn router(app: Arc<App>) -> axum::Router {
    axum::Router::new().route(PATH, get(secrets_text)).with_state(app)
}

async fn secrets_text(State(app): State<Arc<App>>) -> Response {
    let Ok(one) = Arc::clone(&app.payload_reads.scanning).acquire_owned().await else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    // A scan of all secrets is too long for a thread that serves calls.
    let text = tokio::task::spawn_blocking(move || {
        let _one = one;
        let usage = app.replica.read_stale(|view, now| Usage::read(view, now));
        let usage = usage.and_then(|read| read.value).map_err(|error| error.to_string())?;
        let reads = &app.payload_reads.of;
        reads.keep(|secret| usage.stored.contains_key(secret));
        text(&usage, reads).map_err(|error| error.to_string())
    });
    match text.await {
        Ok(Ok(text)) => {
            ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text)
                .into_response()
        }
        Ok(Err(error)) => (StatusCode::INTERNAL_SERVER_ERROR, error).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// What the state says.
struct Usage {
    /// Stored versions of each secret.
    stored: HashMap<SecretId, u32>,
    /// What is billed of each cloud.
    billed: Vec<Billed>,
}

/// What the meter of a cloud shows.
struct Billed {
    cloud: CloudId,
    /// Hours that versions were stored.
    version_hours: f64,
    /// Payload reads.
    reads: u64,
}

impl Usage {
    /// Without a time, as long as the node has heard of no leader, meters stand where they changed
    /// last.
    fn read(view: &dyn StateRead, now: Option<LogTime>) -> Result<Self, StorageError> {
        Ok(Self { stored: stored_versions(view)?, billed: billed(view, now)? })
    }
}

fn billed(view: &dyn StateRead, now: Option<LogTime>) -> Result<Vec<Billed>, StorageError> {
    let mut billed = Vec::new();
    let mut after = None;
    loop {
        let (page, more) = tables::usage_meters_page(view, after.as_ref(), SECRETS_PER_PAGE)?;
        after = page.last().map(|meter| meter.cloud_id.clone());
        billed.extend(page.into_iter().map(|meter| {
            let version_ms = meter.version_ms_at(now.unwrap_or(meter.until));
            let version_hours = version_ms as f64 / HOUR_MS;
            Billed { cloud: meter.cloud_id, version_hours, reads: meter.reads }
        }));
        if !more {
            return Ok(billed);
        }
    }
}

/// The stored versions of every secret; those of a deactivated one are stored, too, and destroyed
/// ones are not (`contract §7`).
fn stored_versions(view: &dyn StateRead) -> Result<HashMap<SecretId, u32>, StorageError> {
    let mut stored = HashMap::new();
    let mut after = None;
    loop {
        let (page, more) = tables::all_secrets_page(view, after.as_ref(), SECRETS_PER_PAGE)?;
        after = page.last().map(|secret| secret.id.clone());
        stored.extend(page.into_iter().map(|secret| (secret.id, secret.live_versions)));
        if !more {
            return Ok(stored);
        }
    }
}

fn text(usage: &Usage, reads: &ResourceCounts<SecretId>) -> prometheus::Result<String> {
    let versions = IntGaugeVec::new(
        Opts::new("key_active_versions_count", "Stored versions of the secret."),
        &["service", "secret"],
    )?;
    let operations = IntCounterVec::new(
        Opts::new(
            "key_payload_operations_rate_created",
            "Completed payload reads of the secret through this node, since its start.",
        ),
        &["service", "secret", "operation"],
    )?;
    let hours = CounterVec::new(
        Opts::new(
            "lockbox_storage_version_hours_total",
            "Hours that versions of the cloud's secrets were stored, all of them together.",
        ),
        &["cloud"],
    )?;
    let read = IntCounterVec::new(
        Opts::new(
            "lockbox_payload_reads_total",
            "Completed payload reads of the cloud's secrets, as they are billed.",
        ),
        &["cloud"],
    )?;
    for Billed { cloud, version_hours, reads } in &usage.billed {
        hours.with_label_values(&[cloud.as_str()]).inc_by(*version_hours);
        read.with_label_values(&[cloud.as_str()]).inc_by(*reads);
    }
    for (secret, count) in &usage.stored {
        versions.with_label_values(&[SERVICE, secret.as_str()]).set(i64::from(*count));
        let of = operations.with_label_values(&[SERVICE, secret.as_str(), GET_PAYLOAD]);
        of.inc_by(reads.of(secret));
    }
    let registry = Registry::new();
    registry.register(Box::new(versions))?;
    registry.register(Box::new(operations))?;
    registry.register(Box::new(hours))?;
    registry.register(Box::new(read))?;
    TextEncoder::new().encode_to_string(&registry.gather())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_secret_has_its_series_and_a_deleted_one_has_none() {
        let secret = |id: &str| SecretId::parse(id).unwrap();
        let reads = ResourceCounts::default();
        for id in ["e6qone", "e6qone", "e6qgone"] {
            reads.count(secret(id));
        }
        let stored = HashMap::from([(secret("e6qone"), 3), (secret("e6qtwo"), 0)]);
        reads.keep(|id| stored.contains_key(id));
        assert_eq!(reads.of(&secret("e6qgone")), 0);
        let cloud = CloudId::parse("b1gcloud").unwrap();
        let billed = vec![Billed { cloud, version_hours: 1.5, reads: 7 }];
        let text = text(&Usage { stored, billed }, &reads).unwrap();
        for line in [
            r#"lockbox_storage_version_hours_total{cloud="b1gcloud"} 1.5"#,
            r#"lockbox_payload_reads_total{cloud="b1gcloud"} 7"#,
            r#"key_active_versions_count{secret="e6qone",service="lockbox"} 3"#,
            r#"key_active_versions_count{secret="e6qtwo",service="lockbox"} 0"#,
            r#"key_payload_operations_rate_created{operation="get_payload",secret="e6qone",service="lockbox"} 2"#,
            r#"key_payload_operations_rate_created{operation="get_payload",secret="e6qtwo",service="lockbox"} 0"#,
        ] {
            assert!(text.lines().any(|found| found == line), "{text}");
        }
        assert!(!text.contains("e6qgone"));
    }
}
