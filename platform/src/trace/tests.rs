use tracing_subscriber::layer::{Layer, SubscriberExt};

use super::*;
use crate::otlp::messages::{Span as Sent, Value};

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const CANARY: &str = "canary-in-a-span";

/// What is recorded while this runs, the first finished span first.
fn recorded(ratio: f64, work: impl FnOnce()) -> Vec<Sent> {
    let (layer, mut finished) = recorder_of(ratio);
    let targets = tracing_subscriber::filter::Targets::new()
        .with_target(TARGET, tracing_subscriber::filter::LevelFilter::TRACE);
    let subscriber = tracing_subscriber::registry().with(layer.with_filter(targets));
    tracing::subscriber::with_default(subscriber, work);
    std::iter::from_fn(|| finished.spans.try_recv().ok()).collect()
}

fn headers(traceparent: &str) -> HeaderMap {
    HeaderMap::from_iter([(
        http::HeaderName::from_static(TRACEPARENT),
        http::HeaderValue::from_str(traceparent).unwrap(),
    )])
}

/// The names and texts of a span's attributes.
fn texts(span: &Sent) -> Vec<(String, String)> {
    let text = |value: Option<&Value>| match value {
        Some(Value::String(text)) => text.clone(),
        other => format!("{other:?}"),
    };
    let attributes = span.attributes.iter();
    let pair = |of: &crate::otlp::messages::KeyValue| {
        (of.key.clone(), text(of.value.as_ref().and_then(|value| value.value.as_ref())))
    };
    attributes.map(pair).collect()
}

#[test]
fn a_trace_goes_from_the_caller_through_a_call_to_whom_that_calls() {
    let mut told = MetadataMap::new();
    let spans = recorded(1.0, || {
        let serving = server_span(|| "/a.B/C", &headers(PARENT));
        let _serving = serving.enter();
        // For the log alone: no part of a trace.
        let _logged = tracing::info_span!("rpc", secret = CANARY).entered();
        let calling =
            tracing::trace_span!(target: "lockbox_trace", "call_kms", operation = "decrypt");
        calling.in_scope(|| tell(&mut told));
        serving.record("code", "UNAVAILABLE");
    });
    let [calling, serving] = &spans[..] else { panic!("{spans:?}") };
    assert_eq!((serving.name.as_str(), serving.kind), ("serve", 2));
    assert_eq!((calling.name.as_str(), calling.kind), ("call_kms", 3));
    assert_eq!(hex::encode(&serving.trace_id), "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(hex::encode(&serving.parent_span_id), "b7ad6b7169203331");
    assert_eq!(calling.trace_id, serving.trace_id);
    assert_eq!(calling.parent_span_id, serving.span_id);
    assert_eq!(serving.status.as_ref().map(|status| status.code), Some(2));
    assert_eq!(calling.status, None);
    assert!(serving.start_time_unix_nano > 0);
    assert!(serving.end_time_unix_nano >= calling.end_time_unix_nano);
    let of_callee = told.get(TRACEPARENT).unwrap().to_str().unwrap();
    let (trace, span) = (hex::encode(&calling.trace_id), hex::encode(&calling.span_id));
    assert_eq!(of_callee, format!("00-{trace}-{span}-01"));
    assert!(trace_context::current().is_none(), "nothing is worked on now");
}

#[test]
fn security_s20_nothing_leaves_but_the_fields_that_are_named() {
    let long = CANARY.repeat(20);
    let spans = recorded(1.0, || {
        // By itself it is no trace of a call.
        let _alone =
            tracing::trace_span!(target: "lockbox_trace", "work", operation = "alone").entered();
    });
    assert!(spans.is_empty(), "{spans:?}");
    let spans = recorded(1.0, || {
        let _serving = server_span(|| "/a.B/C", &HeaderMap::new()).entered();
        let span = tracing::trace_span!(
            target: "lockbox_trace",
            "work",
            secret = CANARY,
            value = ?CANARY,
            operation = long.as_str(),
            index = 7_u64,
            result = Empty,
        );
        span.record("result", tracing::field::debug(CANARY));
        tracing::trace!(target: "lockbox_trace", parent: &span, text = CANARY, "{CANARY}");
        let _else = tracing::trace_span!(target: "other", "work", method = CANARY).entered();
    });
    let [work, _serving] = &spans[..] else { panic!("{spans:?}") };
    assert_eq!(texts(work), [("index".to_owned(), "Some(Int(7))".to_owned())]);
    assert!(!format!("{spans:?}").contains(CANARY), "{spans:?}");
}

#[test]
fn a_caller_is_not_believed_about_what_is_kept() {
    let nothing = recorded(0.0, || drop(server_span(|| "/a.B/C", &headers(PARENT))));
    assert!(nothing.is_empty(), "{nothing:?}");
    let kept = recorded(1.0, || {
        let unsampled = PARENT.replace("-01", "-00");
        drop(server_span(|| "/a.B/C", &headers(&unsampled)));
        drop(server_span(|| "/a.B/C", &headers("no header of a trace")));
    });
    let [continued, begun] = &kept[..] else { panic!("{kept:?}") };
    assert_eq!(hex::encode(&continued.trace_id), "0af7651916cd43dd8448eb211c80319c");
    assert!(begun.parent_span_id.is_empty() && begun.trace_id != continued.trace_id);
}

#[test]
fn a_part_of_all_traces_is_kept_and_everywhere_the_same() {
    let id = |last: u8| {
        let mut id = [0; 16];
        id[9] = last;
        id
    };
    let kept = (0..=u8::MAX).filter(|last| is_kept(id(*last), 0.25)).count();
    assert_eq!(kept, 64);
    assert!(is_kept([255; 16], 1.0) && !is_kept([0; 16], 0.0));
}
