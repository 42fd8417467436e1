//! Readiness, and the routes of the metrics port: `/metrics`, `/livez` and `/readyz`.
//!
//! Promises: a process is ready only while every component that registered says so; `/readyz`
//! names the ones that do not, with a reason and no other detail. Refuses to know the components.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::sync::watch;

use crate::exit::FatalExit;
use crate::metrics::Metrics;

/// Why components are not ready; a ready component has no reason.
type Reasons = BTreeMap<&'static str, Option<String>>;

/// The readiness of the process: the conjunction of its components. Clones share it.
#[derive(Debug, Clone)]
pub struct Readiness {
    reasons: Arc<watch::Sender<Reasons>>,
}

impl Readiness {
    /// No components: ready.
    #[must_use]
    pub fn new() -> Self {
        Self { reasons: Arc::new(watch::Sender::new(Reasons::new())) }
    }

    /// Adds a component, not ready because it is starting.
    #[must_use]
    pub fn component(&self, name: &'static str) -> ReadinessComponent {
        let component = ReadinessComponent { name, readiness: self.clone() };
        component.not_ready("starting");
        component
    }

    /// Whether every component is ready.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        all_ready(&self.reasons.borrow())
    }

    /// The components that are not ready, with their reasons.
    #[must_use]
    pub fn reasons(&self) -> Vec<(&'static str, String)> {
        let reasons = self.reasons.borrow();
        reasons.iter().filter_map(|(name, why)| Some((*name, why.clone()?))).collect()
    }

    /// Waits until every component is ready.
    pub async fn wait_ready(&self) {
        self.wait_for(true).await;
    }

    /// Waits until the process is ready, or until it is not.
    pub async fn wait_for(&self, ready: bool) {
        let mut receiver = self.reasons.subscribe();
        // It cannot fail: the sender lives in `self`, which outlives this call.
        if receiver.wait_for(|reasons| all_ready(reasons) == ready).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Default for Readiness {
    fn default() -> Self {
        Self::new()
    }
}

fn all_ready(reasons: &Reasons) -> bool {
    reasons.values().all(Option::is_none)
}

/// One component's part in the readiness.
#[derive(Debug, Clone)]
pub struct ReadinessComponent {
    name: &'static str,
    readiness: Readiness,
}

impl ReadinessComponent {
    /// The component is ready.
    pub fn ready(&self) {
        self.readiness.reasons.send_modify(|reasons| {
            reasons.insert(self.name, None);
        });
    }

    /// The component is not ready; `reason` is shown to whoever may reach the metrics port.
    pub fn not_ready(&self, reason: impl Into<String>) {
        let reason = reason.into();
        self.readiness.reasons.send_modify(|reasons| {
            reasons.insert(self.name, Some(reason));
        });
    }
}

#[derive(Clone)]
struct Health {
    metrics: Metrics,
    readiness: Readiness,
    fatal: FatalExit,
}

/// The routes of the metrics port.
pub fn router(metrics: Metrics, readiness: Readiness, fatal: FatalExit) -> axum::Router {
    axum::Router::new()
        .route("/metrics", get(metrics_text))
        .route("/livez", get(live))
        .route("/readyz", get(ready))
        .with_state(Health { metrics, readiness, fatal })
}

async fn metrics_text(State(health): State<Health>) -> Response {
    let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (kind, health.metrics.text()).into_response()
}

async fn live(State(health): State<Health>) -> Response {
    match health.fatal.raised() {
        None => "alive\n".into_response(),
        Some(_) => (StatusCode::SERVICE_UNAVAILABLE, "stopping\n").into_response(),
    }
}

async fn ready(State(health): State<Health>) -> Response {
    let reasons = health.readiness.reasons();
    if reasons.is_empty() {
        return "ready\n".into_response();
    }
    let lines: String = reasons.iter().map(|(name, why)| format!("{name}: {why}\n")).collect();
    (StatusCode::SERVICE_UNAVAILABLE, lines).into_response()
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::Request;
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;
    use crate::exit::ExitCode;
    use crate::metrics::{MetricsError, Prefix};

    async fn get_path(router: &axum::Router, path: &str) -> (StatusCode, String) {
        let request = Request::get(path).body(Body::empty()).expect("a valid request");
        let response = router.clone().oneshot(request).await.expect("infallible");
        let status = response.status();
        let body = response.into_body().collect().await.expect("a body").to_bytes();
        (status, String::from_utf8_lossy(&body).into_owned())
    }

    #[tokio::test]
    async fn readiness_is_the_conjunction_of_components() -> Result<(), MetricsError> {
        let (readiness, fatal) = (Readiness::new(), FatalExit::new());
        let router = router(Metrics::new(Prefix::Lockbox)?, readiness.clone(), fatal.clone());
        assert_eq!(get_path(&router, "/readyz").await, (StatusCode::OK, "ready\n".to_owned()));
        let (raft, keyring) = (readiness.component("raft"), readiness.component("keyring"));
        raft.ready();
        keyring.not_ready("sealed");
        let unready = (StatusCode::SERVICE_UNAVAILABLE, "keyring: sealed\n".to_owned());
        assert_eq!(get_path(&router, "/readyz").await, unready);
        assert!(!readiness.is_ready());
        readiness.wait_for(false).await;
        keyring.ready();
        readiness.wait_ready().await;
        assert_eq!(get_path(&router, "/readyz").await.0, StatusCode::OK);

        assert_eq!(get_path(&router, "/livez").await.0, StatusCode::OK);
        fatal.raise(ExitCode::Storage, "disk");
        assert_eq!(get_path(&router, "/livez").await.0, StatusCode::SERVICE_UNAVAILABLE);
        let (status, text) = get_path(&router, "/metrics").await;
        assert_eq!(status, StatusCode::OK);
        assert!(text.contains("lockbox_audit_healthy"), "{text}");
        Ok(())
    }
}
