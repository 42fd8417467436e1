//! Traces: what a call spent its time on, across nodes and the KMS, sent by OTLP. Off by default.
//!
//! Promises: nothing of a request leaves but what [`FIELDS`] names, and of that only numbers and
//! short texts of ours, whatever a span is given; a collector that is slow or away costs spans and
//! delays no call; a trace that is not kept costs one comparison. Spans for traces are those of the
//! target [`TARGET`], at the level of `trace`: the log does not see them.

mod config;
mod export;
mod layer;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use http::HeaderMap;
use lockbox_core::trace_context::{self, TRACEPARENT};
use tokio::sync::mpsc;
use tonic::metadata::MetadataMap;
use tracing::Span;
use tracing::field::Empty;

pub use self::config::TracesConfig;
pub use self::export::Finished;
pub use self::layer::TraceLayer;

/// The target of spans for traces. Spelled out where spans are made, as the macros demand.
pub const TARGET: &str = "lockbox_trace";
/// The only fields that leave: names of ours, counts and codes.
pub const FIELDS: [&str; 9] =
    ["method", "code", "operation", "index", "term", "leader", "attempts", "records", "result"];
/// Spans that wait for the collector; more are dropped.
const WAITING_MAX: usize = 8192;

/// A layer that makes spans, and what it has finished, for who sends them; nothing when no
/// collector is configured.
#[must_use]
pub fn recorder(config: &TracesConfig) -> Option<(TraceLayer, Finished)> {
    config.otlp.as_ref().map(|_| recorder_of(config.ratio))
}

fn recorder_of(ratio: f64) -> (TraceLayer, Finished) {
    let (sender, spans) = mpsc::channel(WAITING_MAX);
    let dropped = Arc::new(AtomicU64::new(0));
    (TraceLayer::new(ratio, sender, Arc::clone(&dropped)), Finished { spans, dropped })
}

/// The span of a call that is served. It goes on with the caller's trace, if it tells of one. The
/// method is not asked for while nothing is recorded.
#[must_use]
pub fn server_span<'m>(method: impl FnOnce() -> &'m str, headers: &HeaderMap) -> Span {
    tracing::trace_span!(
        target: "lockbox_trace",
        "serve",
        method = method(),
        code = Empty,
        traceparent = headers.get(TRACEPARENT).and_then(|value| value.to_str().ok()),
    )
}

/// Tells whoever is called of the present trace, if it is recorded.
pub fn tell(metadata: &mut MetadataMap) {
    let told = trace_context::current().map(|context| context.to_string());
    if let Some(value) = told.and_then(|told| told.parse().ok()) {
        metadata.insert(TRACEPARENT, value);
    }
}

/// Whether a trace is kept, by its id alone: all processes with the same ratio keep the same ones,
/// and no caller can have its calls kept by a flag.
fn is_kept(trace_id: [u8; 16], ratio: f64) -> bool {
    // 56 random bits, as OpenTelemetry's samplers take them.
    let mut drawn = [0; 8];
    drawn[1..].copy_from_slice(&trace_id[9..]);
    (u64::from_be_bytes(drawn) as f64) < ratio * (1_u64 << 56) as f64
}
