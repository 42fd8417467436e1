//! What is stored and used of each key: the documented series of the service (`contract §8`), and
//! what is billed of storage (`contract §7`).
//!
//! They are served beside the process's own, under `/metrics/keys`: the ids of keys are no labels
//! of what every scrape carries. Operations are counted since the start of this process; the
//! ledger has them all.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use lockbox_core::{KmsKeyId, LogTime};
use prometheus::{CounterVec, IntCounterVec, IntGaugeVec, Opts, Registry, TextEncoder};
use tokio::sync::Semaphore;

use crate::engine::Engine;
use crate::keys::apply::{read_keys, read_versions};
use crate::ledger::report::{Span, stored_ms};
use crate::store::records::{KeyScope, VersionStatus};
use crate::store::{StoreError, View};

/// The path of the series of each key.
pub const PATH: &str = "/metrics/keys";
/// Milliseconds in an hour.
const HOUR_MS: f64 = 3_600_000.0;
const SERVICE: &str = "kms";
/// Keys whose operations are counted. With more, as of deleted ones that nobody has asked the
/// meters about since, all counters begin again, which whoever forms a rate takes for a restart.
const COUNTED_MAX: usize = 100_000;

/// Billed operations of each key. Clones share them.
#[derive(Debug, Clone)]
pub struct KeyUses {
    of: Arc<Mutex<HashMap<KmsKeyId, u64>>>,
    /// One scan of the keys at a time, however many ask for it.
    scanning: Arc<Semaphore>,
}

impl Default for KeyUses {
    fn default() -> Self {
        Self { of: Arc::default(), scanning: Arc::new(Semaphore::new(1)) }
    }
}

impl KeyUses {
    /// Counts one that has succeeded and is billed.
    pub fn count(&self, key: &KmsKeyId) {
        let mut of = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        if of.len() >= COUNTED_MAX && !of.contains_key(key) {
            of.clear();
        }
        *of.entry(key.clone()).or_default() += 1;
    }

    fn of(&self, key: &KmsKeyId) -> u64 {
        let of = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        of.get(key).copied().unwrap_or_default()
    }

    /// Forgets what was used of other keys than these.
    fn keep(&self, stored: &BTreeMap<KmsKeyId, u64>) {
        let mut of = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        of.retain(|key, _| stored.contains_key(key));
    }
}

/// The engine, from the moment on that it is open: the metrics port serves before that.
pub type Opened = Arc<OnceLock<Arc<Engine>>>;

#[derive(Clone)]
struct Sources {
    opened: Opened,
    uses: KeyUses,
}

/// The route of the series of each key.
pub fn router(opened: Opened, uses: KeyUses) -> axum::Router {
    axum::Router::new().route(PATH, get(keys_text)).with_state(Sources { opened, uses })
}

async fn keys_text(State(sources): State<Sources>) -> Response {
    let Some(engine) = sources.opened.get().cloned() else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    let Ok(one) = Arc::clone(&sources.uses.scanning).acquire_owned().await else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    // A scan of all keys is too long for a thread that serves calls.
    let text = tokio::task::spawn_blocking(move || {
        let _one = one;
        let now = engine.now().map_err(|error| error.to_string())?;
        let usage = Usage::read(&engine.view(), now).map_err(|error| error.to_string())?;
        sources.uses.keep(&usage.versions);
        text(&usage, &sources.uses).map_err(|error| error.to_string())
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

/// What the store says.
struct Usage {
    /// Versions of each key of a customer that are billed.
    versions: BTreeMap<KmsKeyId, u64>,
    /// Hours that versions of customers' keys were stored.
    version_hours: f64,
}

impl Usage {
    fn read(view: &View<'_>, now: LogTime) -> Result<Self, StoreError> {
        let mut versions = BTreeMap::new();
        for key in read_keys(view)?.iter().filter(|key| key.scope == KeyScope::Customer) {
            let stored = read_versions(view, key)?;
            // One that waits for its destruction is billed as well, and what a deleted key holds
            // as long as it is stored (`contract §7`).
            let live = stored.iter().filter(|version| version.status != VersionStatus::Destroyed);
            versions.insert(key.id.clone(), live.count() as u64);
        }
        let ever = Span { from_hour: 0, to_hour: u64::MAX };
        let version_hours = stored_ms(view, ever, now)? as f64 / HOUR_MS;
        Ok(Self { versions, version_hours })
    }
}

fn text(usage: &Usage, uses: &KeyUses) -> prometheus::Result<String> {
    let versions = IntGaugeVec::new(
        Opts::new("key_active_versions_count", "Stored versions of the key."),
        &["service", "key"],
    )?;
    let operations = IntCounterVec::new(
        Opts::new(
            "key_crypto_operations_rate_created",
            "Billed operations with the key, since the start of this process.",
        ),
        &["service", "key"],
    )?;
    let hours = CounterVec::new(
        Opts::new(
            "kms_storage_version_hours_total",
            "Hours that versions of customers' keys were stored, all of them together.",
        ),
        &[],
    )?;
    for (key, count) in &usage.versions {
        let labels = [SERVICE, key.as_str()];
        versions.with_label_values(&labels).set(i64::try_from(*count).unwrap_or(i64::MAX));
        operations.with_label_values(&labels).inc_by(uses.of(key));
    }
    hours.with_label_values::<&str>(&[]).inc_by(usage.version_hours);
    let registry = Registry::new();
    registry.register(Box::new(versions))?;
    registry.register(Box::new(operations))?;
    registry.register(Box::new(hours))?;
    TextEncoder::new().encode_to_string(&registry.gather())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_has_its_series_and_one_that_is_gone_has_none() {
        let key = |id: &str| KmsKeyId::parse(id).unwrap();
        let uses = KeyUses::default();
        for id in ["abjone", "abjone", "abjgone"] {
            uses.count(&key(id));
        }
        let versions = BTreeMap::from([(key("abjone"), 2), (key("abjtwo"), 0)]);
        uses.keep(&versions);
        assert_eq!(uses.of(&key("abjgone")), 0);
        let text = text(&Usage { versions, version_hours: 0.5 }, &uses).unwrap();
        for line in [
            r#"key_active_versions_count{key="abjone",service="kms"} 2"#,
            r#"key_active_versions_count{key="abjtwo",service="kms"} 0"#,
            r#"key_crypto_operations_rate_created{key="abjone",service="kms"} 2"#,
            r#"key_crypto_operations_rate_created{key="abjtwo",service="kms"} 0"#,
            "kms_storage_version_hours_total 0.5",
        ] {
            assert!(text.lines().any(|found| found == line), "{text}");
        }
        assert!(!text.contains("abjgone"), "{text}");
    }
}
