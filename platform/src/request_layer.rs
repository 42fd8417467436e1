//! The layer around every gRPC service: context in; ids, metrics and one log line out (at the
//! level debug when the call went well).
//!
//! Promises: every call is counted once, with the code it ended with, even when its client went
//! away; a request arrives within [`DEADLINE_DEFAULT`] or its client's own time, or is let go,
//! a stream of requests included, and what is in memory of all of them is bounded; the two
//! response ids are headers on success and on a failure that has no body, and trailers on a
//! failure at the end of a body (`contract §10`). Logs no value and no query.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body::{Frame, SizeHint};
use lockbox_core::Randomness;
use tokio::time::Instant;
use tonic::Code;
use tracing::{Instrument, Span};

use crate::arrival::TimelyBody;
use crate::body_budget::BodyBudget;
use crate::detach::Calls;
use crate::headers;
use crate::http_service::HttpService;
use crate::listener::ConnectionInfo;
use crate::metrics::RpcMetrics;
use crate::request::{DEADLINE_DEFAULT, RequestContext};
use crate::trace;
use crate::unhandled::no_room;

/// The label of a method that is in no definition of ours.
const METHOD_UNKNOWN: &str = "unknown";

/// Wraps gRPC services. Put it around all of them at once.
pub struct RequestLayer {
    shared: Shared,
}

/// What every call needs.
struct Shared {
    random: Arc<dyn Randomness>,
    metrics: RpcMetrics,
    /// INVARIANT: the only values of the `method` label, [`METHOD_UNKNOWN`] aside.
    methods: BTreeSet<String>,
    /// What every answer says of who gave it.
    served_by: Option<HeaderValue>,
    /// What of requests is in memory at one time.
    budget: BodyBudget,
    /// The calls under way, which say when there is no room for more.
    calls: Calls,
}

impl RequestLayer {
    /// A layer that counts into `metrics`.
    #[must_use]
    pub fn new(random: Arc<dyn Randomness>, metrics: RpcMetrics) -> Self {
        let (methods, budget) = (known_methods(), BodyBudget::default());
        let (served_by, calls) = (None, Calls::default());
        Self { shared: Shared { random, metrics, methods, served_by, budget, calls } }
    }

    /// The same; a call for which there is no room among these is refused before it is read.
    #[must_use]
    pub fn among(mut self, calls: Calls) -> Self {
        self.shared.calls = calls;
        self
    }

    /// The same; what is in memory of requests is within this budget.
    #[must_use]
    pub fn within(mut self, budget: BodyBudget) -> Self {
        self.shared.budget = budget;
        self
    }

    /// The same; every answer says that this node gave it, whatever became of the call.
    #[must_use]
    pub fn served_by(mut self, node_id: u64) -> Self {
        self.shared.served_by = Some(HeaderValue::from(node_id));
        self
    }

    /// The services with the layer around them.
    #[must_use]
    pub fn around(self, services: HttpService) -> HttpService {
        let shared = Arc::new(self.shared);
        HttpService::new(move |request| shared.call(&services, request))
    }
}

/// Every method of the definitions, and the two services that every server has.
fn known_methods() -> BTreeSet<String> {
    let defined = lockbox_proto::descriptor_pool().services().flat_map(|service| {
        let paths: Vec<_> = service
            .methods()
            .map(|method| format!("/{}/{}", service.full_name(), method.name()))
            .collect();
        paths
    });
    let standard = [
        "/grpc.health.v1.Health/Check",
        "/grpc.health.v1.Health/Watch",
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    ];
    defined.chain(standard.map(str::to_owned)).collect()
}

impl Shared {
    fn call(
        self: &Arc<Self>,
        services: &HttpService,
        mut request: Request<Body>,
    ) -> BoxFuture<'static, Response<Body>> {
        let connection = request.extensions().get::<ConnectionInfo>().cloned();
        let method = request.uri().path().to_owned();
        let random = self.random.as_ref();
        let context =
            RequestContext::take(&method, request.headers_mut(), connection.as_ref(), random);
        let context = Arc::new(context);
        request.extensions_mut().insert(Arc::clone(&context));
        let traced = trace::server_span(|| self.label(&method), request.headers());
        // Within it, so that what is done for the call is a part of its trace.
        let span = traced
            .in_scope(|| tracing::info_span!("rpc", method, request_id = %context.request_id));
        // The client's own time, but not more than a call has that does not say.
        let deadline = context.deadline.min(Instant::now() + DEADLINE_DEFAULT);
        let observed = Observed::begin(self, Arc::clone(&context), traced.clone());
        if self.calls.turns_away(&context.method) {
            let refused = no_room().into_status(&context.request_id).into_http();
            return async move { observed.answer(refused) }.instrument(span).boxed();
        }
        let budget = &self.budget;
        let request =
            request.map(|body| Body::new(TimelyBody::new(body, deadline, budget, context)));
        let answered = services.answer(request);
        let answering = async move { observed.answer(answered.await) }.instrument(span);
        if traced.is_disabled() { answering.boxed() } else { answering.instrument(traced).boxed() }
    }

    /// The method as labels have it.
    fn label<'m>(&self, method: &'m str) -> &'m str {
        if self.methods.contains(method) { method } else { METHOD_UNKNOWN }
    }
}

/// A call that is being answered. Counts and logs it once: at its end, or when it is dropped.
struct Observed {
    shared: Arc<Shared>,
    context: Arc<RequestContext>,
    begun: Instant,
    finished: bool,
    /// Ends with this.
    traced: Span,
}

impl Observed {
    fn begin(shared: &Arc<Shared>, context: Arc<RequestContext>, traced: Span) -> Self {
        shared.metrics.in_flight.inc();
        let (shared, begun) = (Arc::clone(shared), Instant::now());
        Self { shared, context, begun, finished: false, traced }
    }

    /// Adds the response ids, and watches the body for how the call ends.
    fn answer(mut self, response: Response<Body>) -> Response<Body> {
        self.context.let_go();
        let (mut parts, body) = response.into_parts();
        self.label(&mut parts.headers);
        if let Some(code) = code_in(&parts.headers) {
            self.finish(code);
            return Response::from_parts(parts, body);
        }
        Response::from_parts(parts, Body::new(ObservedBody { body, observed: self }))
    }

    /// Sets what every answer carries: the ids of the request, and who answers.
    fn label(&self, answer: &mut HeaderMap) {
        add_ids(answer, &self.context);
        if let Some(served_by) = &self.shared.served_by {
            answer.insert(HeaderName::from_static(headers::SERVED_BY), served_by.clone());
        }
    }

    fn finish(&mut self, code: Code) {
        if std::mem::replace(&mut self.finished, true) {
            return;
        }
        let metrics = &self.shared.metrics;
        let label = self.shared.label(&self.context.method);
        self.traced.record("code", code_name(code));
        let elapsed = self.begun.elapsed();
        metrics.in_flight.dec();
        metrics.requests.with_label_values(&[label, code_name(code)]).inc();
        metrics.duration.with_label_values(&[label]).observe(elapsed.as_secs_f64());
        // A macro because the level of an event is a constant.
        macro_rules! answered {
            ($level:ident) => {
                tracing::$level!(
                    target: "rpc",
                    method = label,
                    code = code_name(code),
                    request_id = %self.context.request_id,
                    client_request_id = self.context.client_request_id.as_deref(),
                    client_trace_id = self.context.client_trace_id.as_deref(),
                    retry_attempt = self.context.retry_attempt,
                    remote = self.context.remote.map(tracing::field::display),
                    duration_us = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX),
                    "answered"
                )
            };
        }
        // The audit has every call; the log of a busy server has those that went wrong.
        match code {
            Code::Ok => answered!(debug),
            _ => answered!(info),
        }
    }
}

impl Drop for Observed {
    fn drop(&mut self) {
        // Nobody read the answer to its end.
        self.finish(Code::Cancelled);
    }
}

/// A body whose trailers say how the call ended.
struct ObservedBody {
    body: Body,
    observed: Observed,
}

impl http_body::Body for ObservedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        match polled {
            Poll::Ready(Some(Ok(mut frame))) => {
                if let Some(trailers) = frame.trailers_mut() {
                    let code = code_in(trailers).unwrap_or(Code::Unknown);
                    if code != Code::Ok {
                        self.observed.label(trailers);
                    }
                    self.observed.finish(code);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(None) => {
                self.observed.finish(Code::Unknown);
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(error))) => {
                self.observed.finish(Code::Unknown);
                Poll::Ready(Some(Err(error)))
            }
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Sets the ids that every answer carries.
fn add_ids(headers: &mut HeaderMap, context: &RequestContext) {
    let ids = [
        (headers::REQUEST_ID, &context.request_id),
        (headers::SERVER_TRACE_ID, &context.server_trace_id),
    ];
    for (name, id) in ids {
        if let Ok(value) = HeaderValue::from_str(id) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
}

fn code_in(headers: &HeaderMap) -> Option<Code> {
    headers.get(headers::GRPC_STATUS).map(|value| Code::from_bytes(value.as_bytes()))
}

/// The code's name as the contract spells it; a label of metrics.
#[must_use]
pub fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
