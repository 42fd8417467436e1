//! Makes spans of OTLP from those of `tracing`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lockbox_core::trace_context;
use lockbox_core::{Clock, Randomness, TraceContext};
use tokio::sync::mpsc;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Dispatch, Subscriber};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::{LookupSpan, Registry};

use super::{FIELDS, is_kept};
use crate::otlp::messages::{KeyValue, Span, SpanStatus, Value};
use crate::system::{SystemClock, SystemRandom};

/// The longest text that leaves, in bytes: the longest of our names is shorter.
const TEXT_BYTES_MAX: usize = 128;
/// The span that a trace may begin with: of a call that is served.
const FIRST: &str = "serve";
/// The field that names the trace to go on with; it does not leave.
const PARENT_FIELD: &str = "traceparent";
/// The field that names a call's status code.
const CODE_FIELD: &str = "code";
/// `SPAN_KIND_INTERNAL`.
const INTERNAL: i32 = 1;
/// `SPAN_KIND_SERVER`.
const SERVER: i32 = 2;
/// `SPAN_KIND_CLIENT`.
const CLIENT: i32 = 3;

/// A span under way.
struct Live {
    context: TraceContext,
    parent: Option<[u8; 8]>,
    /// On the layer's clock.
    began: Duration,
    began_wall_ms: u64,
    fields: Fields,
}

/// What is kept of a span's fields.
#[derive(Default)]
struct Fields {
    attributes: Vec<KeyValue>,
    remote: Option<TraceContext>,
    failed: bool,
}

/// Records spans; to be used with a filter on [`super::TARGET`].
pub struct TraceLayer {
    clock: SystemClock,
    random: SystemRandom,
    ratio: f64,
    finished: mpsc::Sender<Span>,
    dropped: Arc<AtomicU64>,
}

impl TraceLayer {
    pub(super) fn new(ratio: f64, finished: mpsc::Sender<Span>, dropped: Arc<AtomicU64>) -> Self {
        trace_context::set_current(current);
        let (clock, random) = (SystemClock::new(), SystemRandom);
        Self { clock, random, ratio, finished, dropped }
    }

    fn drawn<const N: usize>(&self) -> [u8; N] {
        let mut id = [0; N];
        // Zeros mean nothing.
        while id == [0; N] {
            self.random.fill(&mut id);
        }
        id
    }

    fn span(&self, name: &str, live: Live) -> Span {
        let took = self.clock.monotonic().saturating_sub(live.began);
        let began = live.began_wall_ms.saturating_mul(1_000_000);
        let kind = match name {
            FIRST | "serve_proposal" => SERVER,
            "forward_proposal" | "call_kms" => CLIENT,
            _ => INTERNAL,
        };
        Span {
            trace_id: live.context.trace_id.to_vec(),
            span_id: live.context.span_id.to_vec(),
            parent_span_id: live.parent.map(|id| id.to_vec()).unwrap_or_default(),
            name: name.to_owned(),
            kind,
            start_time_unix_nano: began,
            end_time_unix_nano: began
                .saturating_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX)),
            attributes: live.fields.attributes,
            status: live.fields.failed.then_some(SpanStatus { code: 2 }),
        }
    }
}

impl<S> Layer<S> for TraceLayer
where
    S: Subscriber + for<'l> LookupSpan<'l>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        let within = span.parent().and_then(|parent| {
            let extensions = parent.extensions();
            extensions.get::<Live>().map(|live| live.context)
        });
        let parent = within.or(fields.remote);
        // What a server does by itself, and looks after all the time, is no trace of a call.
        if parent.is_none() && span.name() != FIRST {
            return;
        }
        let trace_id = parent.map_or_else(|| self.drawn(), |parent| parent.trace_id);
        let sampled = within.map_or_else(|| is_kept(trace_id, self.ratio), |within| within.sampled);
        let live = Live {
            context: TraceContext { trace_id, span_id: self.drawn(), sampled },
            parent: parent.map(|parent| parent.span_id),
            began: self.clock.monotonic(),
            began_wall_ms: self.clock.wall_ms(),
            fields,
        };
        span.extensions_mut().insert(live);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(live) = span.extensions_mut().get_mut::<Live>() {
            values.record(&mut live.fields);
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let Some(span) = context.span(&id) else { return };
        let Some(live) = span.extensions_mut().remove::<Live>() else { return };
        if !live.context.sampled {
            return;
        }
        // Full, or nobody sends: a call does not wait for that.
        if self.finished.try_send(self.span(span.name(), live)).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Fields {
    fn keep(&mut self, field: &Field, value: Value) {
        if FIELDS.contains(&field.name()) {
            self.attributes.push(KeyValue::new(field.name(), value));
        }
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            PARENT_FIELD => self.remote = TraceContext::parse(value),
            name => {
                self.failed |= name == CODE_FIELD && value != "OK";
                if value.len() <= TEXT_BYTES_MAX {
                    self.keep(field, Value::String(value.to_owned()));
                }
            }
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.keep(field, Value::Int(i64::try_from(value).unwrap_or(i64::MAX)));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.keep(field, Value::Int(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.keep(field, Value::Bool(value));
    }

    /// What is only printed may be anything: it does not leave.
    fn record_debug(&mut self, _field: &Field, _value: &dyn std::fmt::Debug) {}
}

/// The innermost span of a trace that this thread is in.
fn current() -> Option<TraceContext> {
    tracing::dispatcher::get_default(|dispatch: &Dispatch| {
        let registry = dispatch.downcast_ref::<Registry>()?;
        let id = dispatch.current_span().id()?.clone();
        let innermost = registry.span(&id)?;
        innermost.scope().find_map(|span| {
            let extensions = span.extensions();
            extensions.get::<Live>().map(|live| live.context)
        })
    })
}
