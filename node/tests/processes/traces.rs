//! Traces and copies of the audit of real processes: a call is one trace from its client through
//! the node that is asked, the leader and the KMS; every audit record arrives; and nothing of a
//! payload is in any of it.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::post;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use lockbox_platform::exit::FatalExit;
use lockbox_platform::listener::{ListenerLimits, Security, bind};
use lockbox_platform::metrics::{Metrics, Prefix};
use lockbox_platform::otlp::messages::{
    ExportLogsServiceRequest, ExportTraceServiceRequest, KeyValue, Span, Value,
};
use lockbox_platform::otlp::{LOGS_EXPORT, TRACES_EXPORT};
use lockbox_platform::tasks::Tasks;
use lockbox_proto::yandex::cloud::lockbox::v1 as wire;
use prost::Message;
use tonic::metadata::{Ascii, MetadataValue};

use crate::cluster::{Cluster, NODES, Part};
use crate::messages::{metadata, text};
use crate::waiting::until;

const CANARY: &str = "canary-of-a-trace-4711";
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const OTHER_TRACE: &str = "1bf7651916cd43dd8448eb211c80319c";
/// The longest message that a collector takes, in bytes.
const MESSAGE_BYTES_MAX: usize = 4 << 20;

/// What a collector was sent, as it came.
#[derive(Clone, Default)]
struct Collected {
    traces: Arc<Mutex<Vec<Bytes>>>,
    logs: Arc<Mutex<Vec<Bytes>>>,
}

/// A span with who sent it: `lockbox node-1`.
struct Sent {
    by: String,
    span: Span,
}

fn attribute(attributes: &[KeyValue], name: &str) -> String {
    let found = attributes.iter().find(|attribute| attribute.key == name);
    match found.and_then(|found| found.value.as_ref()?.value.as_ref()) {
        Some(Value::String(text)) => text.clone(),
        Some(_) | None => String::new(),
    }
}

impl Collected {
    /// The spans of one trace.
    fn spans(&self, trace: &str) -> Vec<Sent> {
        let mut sent = Vec::new();
        for message in self.traces.lock().unwrap().iter() {
            let request = ExportTraceServiceRequest::decode(message.clone()).unwrap();
            for of in request.resource_spans {
                let attributes = of.resource.unwrap().attributes;
                let by = ["service.name", "service.instance.id"]
                    .map(|name| attribute(&attributes, name))
                    .join(" ");
                let spans = of.scope_spans.into_iter().flat_map(|scope| scope.spans);
                let of_trace = spans.filter(|span| hex::encode(&span.trace_id) == trace);
                sent.extend(of_trace.map(|span| Sent { by: by.clone(), span }));
            }
        }
        sent
    }

    /// The numbers of the audit records of one server.
    fn audit_numbers(&self, instance: &str) -> BTreeSet<u64> {
        let mut numbers = BTreeSet::new();
        for message in self.logs.lock().unwrap().iter() {
            let request = ExportLogsServiceRequest::decode(message.clone()).unwrap();
            for of in request.resource_logs {
                let attributes = of.resource.unwrap().attributes;
                if attribute(&attributes, "service.instance.id") != instance {
                    continue;
                }
                let records = of.scope_logs.into_iter().flat_map(|scope| scope.log_records);
                numbers.extend(records.map(|record| {
                    let body = record.body.unwrap().value.unwrap();
                    let Value::String(line) = body else { panic!("{body:?}") };
                    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
                    line["sequence"].as_u64().unwrap()
                }));
            }
        }
        numbers
    }

    /// Everything, to look for what must not be there.
    fn all(&self) -> Vec<Bytes> {
        let (traces, logs) = (self.traces.lock().unwrap(), self.logs.lock().unwrap());
        traces.iter().chain(logs.iter()).cloned().collect()
    }
}

async fn take(State(into): State<Arc<Mutex<Vec<Bytes>>>>, request: Request) -> Response {
    let body = to_bytes(request.into_body(), MESSAGE_BYTES_MAX).await.unwrap();
    // A message of gRPC: a flag and a length before it.
    into.lock().unwrap().push(body.slice(5..));
    let trailers = http::HeaderMap::from_iter([(
        http::HeaderName::from_static("grpc-status"),
        http::HeaderValue::from_static("0"),
    )]);
    let empty = Full::new(Bytes::from_static(&[0; 5]));
    let body = empty.with_trailers(std::future::ready(Some(Ok(trailers))));
    Response::builder().header("content-type", "application/grpc").body(Body::new(body)).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn security_s20_a_call_is_one_trace_through_all_servers_and_no_payload_leaves() {
    let collected = Collected::default();
    let traces = post(take).with_state(Arc::clone(&collected.traces));
    let logs = post(take).with_state(Arc::clone(&collected.logs));
    let routes = axum::Router::new().route(TRACES_EXPORT, traces).route(LOGS_EXPORT, logs);
    let tasks = Tasks::new(FatalExit::new());
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    let bound = bind("collector", loopback, Security::PlaintextLoopback).await.unwrap();
    let endpoint = bound.local_addr().to_string();
    let of_tls = Metrics::new(Prefix::Lockbox).unwrap().tls;
    let serving = bound.start(routes, &tasks, ListenerLimits::default(), of_tls);
    let variables = [
        "LOCKBOX_CONFIG_TRACES__OTLP__ENDPOINT",
        "KMS_CONFIG_TRACES__OTLP__ENDPOINT",
        "LOCKBOX_CONFIG_AUDIT__OTLP__ENDPOINT",
        "KMS_CONFIG_AUDIT__OTLP__ENDPOINT",
    ];
    let environment = variables.map(|variable| (variable, endpoint.clone())).to_vec();
    let mut cluster = Cluster::start(environment).await;
    let own_key = cluster.admin(Part::Kms).create_kms_key().await;
    let leader = cluster.leader().await;
    let follower = NODES.into_iter().find(|node| *node != leader).unwrap();
    let admin = cluster.admin(Part::Node(follower));

    let mut create = admin.request(admin.new_secret(&own_key, vec![text("k", CANARY)]));
    let told = |trace: &str| -> MetadataValue<Ascii> {
        format!("00-{trace}-b7ad6b7169203331-00").parse().unwrap()
    };
    create.metadata_mut().insert("traceparent", told(TRACE));
    let created = admin.secrets().create(create).await.unwrap().into_inner();
    let created: wire::CreateSecretMetadata = metadata(&created);
    let read = wire::GetPayloadRequest { secret_id: created.secret_id, ..Default::default() };
    let mut read = admin.request(read);
    read.metadata_mut().insert("traceparent", told(OTHER_TRACE));
    let payload = admin.payloads().get(read).await.unwrap().into_inner();
    assert_eq!(payload.entries.len(), 1);

    let (asked, leads) = (format!("lockbox node-{follower}"), format!("lockbox node-{leader}"));
    let (asked, leads, kms) = (asked.as_str(), leads.as_str(), "kms-sim kms");
    let of_write = [
        (asked, "serve"),
        (asked, "call_kms"),
        (kms, "serve"),
        (kms, "write_ledger"),
        (asked, "propose"),
        (asked, "forward_proposal"),
        (leads, "serve_proposal"),
        (leads, "commit_and_apply"),
        (asked, "write_audit"),
    ];
    let of_read = [
        (asked, "serve"),
        (asked, "pass_read_barrier"),
        (asked, "call_kms"),
        (kms, "serve"),
        (kms, "write_ledger"),
        (asked, "write_audit"),
    ];
    for (trace, expected) in [(TRACE, &of_write[..]), (OTHER_TRACE, &of_read[..])] {
        until(&format!("whole trace {trace}"), async || {
            let spans = collected.spans(trace);
            let is_there = |(by, name): &(&str, &str)| {
                spans.iter().any(|sent| sent.by == *by && sent.span.name == *name)
            };
            // One tree: each span but the first has its parent in it, once all have come.
            let ids: BTreeSet<_> = spans.iter().map(|sent| &sent.span.span_id).collect();
            let roots = spans.iter().filter(|sent| !ids.contains(&sent.span.parent_span_id));
            let named = |sent: &Sent| (sent.by.clone(), sent.span.name.clone());
            let roots: Vec<_> = roots.map(named).collect();
            let only_root = [(asked.to_owned(), "serve".to_owned())];
            (expected.iter().all(is_there) && roots == only_root).then_some(())
        })
        .await;
    }

    // Whatever was recorded arrives, also what was recorded last.
    cluster.stop().await;
    for part in [Part::Kms, Part::Node(follower)] {
        cluster.launch(part);
    }
    let of_node = (Part::Node(follower), format!("node-{follower}"));
    for (part, instance) in [(Part::Kms, "kms".to_owned()), of_node] {
        let audit = cluster.data(part).join("audit.jsonl");
        let written = std::fs::read_to_string(audit).unwrap();
        let last = written.lines().count() as u64 - 1;
        until(&format!("audit of {instance}"), async || {
            (collected.audit_numbers(&instance).range(0..=last).count() as u64 > last).then_some(())
        })
        .await;
    }
    for message in collected.all() {
        let found = message.windows(CANARY.len()).any(|piece| piece == CANARY.as_bytes());
        assert!(!found, "a payload has left");
    }
    serving.stop(Duration::ZERO).await;
    assert_eq!(tasks.shutdown(Duration::from_secs(30)).await, Ok(()));
}
