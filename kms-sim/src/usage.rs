//! What is active and done of each key: the documented series of the KMS (`contract §8`).
//!
//! They are served beside the process's own, under `/metrics/keys`: two series for each key are
//! more than every scrape should carry. Calls are counted where they are answered, since the start
//! of this server; the bill is made of the ledger, and has nothing of this. The system key has no
//! series: it is neither billed nor listed (`contract §3.4`).

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use lockbox_core::KmsKeyId;
use lockbox_platform::resource_counts::ResourceCounts;
use prometheus::{IntCounterVec, IntGaugeVec, Opts, Registry, TextEncoder};
use tokio::sync::Semaphore;

use crate::grpc::Edge;
use crate::keys::apply::{read_keys, read_versions};
use crate::store::records::{KeyScope, VersionStatus};
use crate::store::{StoreError, View};

/// The path of the series of each key.
const PATH: &str = "/metrics/keys";
const SERVICE: &str = "kms";

/// Crypto calls of each key that succeeded.
#[derive(Debug)]
pub(crate) struct KeyOperations {
    of: ResourceCounts<KmsKeyId>,
    /// One scan of the keys at a time, however many ask for it.
    scanning: Arc<Semaphore>,
}

impl Default for KeyOperations {
    fn default() -> Self {
        Self { of: ResourceCounts::default(), scanning: Arc::new(Semaphore::new(1)) }
    }
}

impl KeyOperations {
    /// Counts one that was answered.
    pub(crate) fn count(&self, key: KmsKeyId) {
        self.of.count(key);
    }
}

/// What is served, from the moment on that it is: the metrics port serves before that.
pub(crate) type Served = Arc<OnceLock<Arc<Edge>>>;

/// The route of the series of each key.
pub(crate) fn router(served: Served) -> axum::Router {
    axum::Router::new().route(PATH, get(keys_text)).with_state(served)
}

async fn keys_text(State(served): State<Served>) -> Response {
    let Some(edge) = served.get().cloned() else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    let Ok(one) = Arc::clone(&edge.key_operations.scanning).acquire_owned().await else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    // A scan of all keys is too long for a thread that serves calls.
    let text = tokio::task::spawn_blocking(move || {
        let _one = one;
        let active = active_versions(&edge.engine.view()).map_err(|error| error.to_string())?;
        let operations = &edge.key_operations.of;
        operations.keep(|key| active.contains_key(key));
        text(&active, operations).map_err(|error| error.to_string())
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

/// How many versions of each key are active: of customers' keys that are not deleted.
fn active_versions(view: &View<'_>) -> Result<BTreeMap<KmsKeyId, usize>, StoreError> {
    let mut active = BTreeMap::new();
    for key in read_keys(view)? {
        if key.scope == KeyScope::System || key.deletion.is_some() {
            continue;
        }
        let versions = read_versions(view, &key)?;
        let versions = versions.iter().filter(|version| version.status == VersionStatus::Active);
        active.insert(key.id, versions.count());
    }
    Ok(active)
}

fn text(
    active: &BTreeMap<KmsKeyId, usize>,
    done: &ResourceCounts<KmsKeyId>,
) -> prometheus::Result<String> {
    let versions = IntGaugeVec::new(
        Opts::new("key_active_versions_count", "Active versions of the key."),
        &["service", "key"],
    )?;
    let operations = IntCounterVec::new(
        Opts::new(
            "key_crypto_operations_rate_created",
            "Crypto calls of the key that succeeded, since the start of this server.",
        ),
        &["service", "key"],
    )?;
    for (key, count) in active {
        let labels = [SERVICE, key.as_str()];
        versions.with_label_values(&labels).set(i64::try_from(*count).unwrap_or(i64::MAX));
        operations.with_label_values(&labels).inc_by(done.of(key));
    }
    let registry = Registry::new();
    registry.register(Box::new(versions))?;
    registry.register(Box::new(operations))?;
    TextEncoder::new().encode_to_string(&registry.gather())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_has_its_series_and_a_deleted_one_has_none() {
        let key = |id: &str| KmsKeyId::parse(id).unwrap();
        let operations = ResourceCounts::default();
        for id in ["abjone", "abjone", "abjgone"] {
            operations.count(key(id));
        }
        let active = BTreeMap::from([(key("abjone"), 3), (key("abjtwo"), 0)]);
        operations.keep(|id| active.contains_key(id));
        assert_eq!(operations.of(&key("abjgone")), 0);
        let text = text(&active, &operations).unwrap();
        for line in [
            r#"key_active_versions_count{key="abjone",service="kms"} 3"#,
            r#"key_active_versions_count{key="abjtwo",service="kms"} 0"#,
            r#"key_crypto_operations_rate_created{key="abjone",service="kms"} 2"#,
            r#"key_crypto_operations_rate_created{key="abjtwo",service="kms"} 0"#,
        ] {
            assert!(text.lines().any(|found| found == line), "{text}");
        }
        assert!(!text.contains("abjgone"));
    }

    #[test]
    fn without_keys_there_is_nothing_to_tell() {
        assert_eq!(text(&BTreeMap::new(), &ResourceCounts::default()).unwrap(), "");
    }
}
