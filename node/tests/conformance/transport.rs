//! How a request in JSON travels: as a gRPC message, or as REST asks for it.
//!
//! Both by the definitions alone. Answers and refusals come back in the JSON of `contract §0.4`.

use lockbox_proto::google::rpc;
use lockbox_proto::{METHODS, MethodDescriptor, REST_ROUTES, descriptor_pool};
use prost::Message;
use prost_reflect::{DynamicMessage, SerializeOptions};
use serde_json::{Map, Value, json};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::{Request, Status};

use crate::http1;
use crate::raw::Raw;
use crate::target::{Endpoint, Target};

/// The two ways in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    Grpc,
    Rest,
}

impl Transport {
    pub(crate) const ALL: [Self; 2] = [Self::Grpc, Self::Rest];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Grpc => "grpc",
            Self::Rest => "rest",
        }
    }
}

/// What a server said no with: the code's number, and the whole `google.rpc.Status`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Refusal {
    pub(crate) code: i64,
    pub(crate) status: Value,
}

/// What was asked, with its headers.
pub(crate) struct Asked<'a> {
    pub(crate) method: &'static MethodDescriptor,
    pub(crate) message: &'a Value,
    pub(crate) headers: &'a [(&'a str, &'a str)],
}

/// The method of this name below `yandex.cloud`, as in `lockbox.v1.SecretService/Get`.
pub(crate) fn method(name: &str) -> &'static MethodDescriptor {
    let path = format!("/yandex.cloud.{name}");
    METHODS.iter().find(|m| m.grpc_path == path).unwrap_or_else(|| panic!("no method {name}"))
}

/// Sends it.
pub(crate) async fn send(
    transport: Transport,
    target: &Target,
    endpoint: &Endpoint,
    asked: &Asked<'_>,
) -> Result<Value, Refusal> {
    match transport {
        Transport::Grpc => grpc(endpoint, asked).await,
        Transport::Rest => rest(target, endpoint, asked).await,
    }
}

fn to_json(message: &DynamicMessage) -> Value {
    let options = SerializeOptions::new();
    message.serialize_with_options(serde_json::value::Serializer, &options).unwrap()
}

async fn grpc(endpoint: &Endpoint, asked: &Asked<'_>) -> Result<Value, Refusal> {
    let pool = descriptor_pool();
    let input = pool.get_message_by_name(asked.method.input).unwrap();
    let message = DynamicMessage::deserialize(input, asked.message).unwrap();
    let mut request = Request::new(message.encode_to_vec());
    for (name, value) in asked.headers {
        let name = tonic::metadata::MetadataKey::from_bytes(name.as_bytes()).unwrap();
        request.metadata_mut().insert(name, value.parse().unwrap());
    }
    let mut client = tonic::client::Grpc::new(endpoint.channel.clone());
    client.ready().await.unwrap();
    let path = PathAndQuery::from_static(asked.method.grpc_path);
    let answer: Result<tonic::Response<Vec<u8>>, Status> = client.unary(request, path, Raw).await;
    match answer {
        Ok(answer) => {
            let output = pool.get_message_by_name(asked.method.output).unwrap();
            let bytes = answer.into_inner();
            Ok(to_json(&DynamicMessage::decode(output, bytes.as_slice()).unwrap()))
        }
        Err(status) => {
            let details = rpc::Status::decode(status.details()).unwrap();
            assert_eq!(details.code, i32::from(status.code()), "{status:?}");
            let kind = pool.get_message_by_name("google.rpc.Status").unwrap();
            let mut shown = DynamicMessage::new(kind);
            shown.transcode_from(&details).unwrap();
            Err(Refusal { code: i64::from(details.code), status: to_json(&shown) })
        }
    }
}

async fn rest(target: &Target, endpoint: &Endpoint, asked: &Asked<'_>) -> Result<Value, Refusal> {
    let route = REST_ROUTES.iter().find(|route| route.grpc_path == asked.method.grpc_path);
    let route = route.unwrap_or_else(|| panic!("{} has no route", asked.method.grpc_path));
    let mut left = asked.message.as_object().cloned().unwrap_or_default();
    let mut path = String::new();
    let mut rest = route.template;
    while let Some((before, behind)) = rest.split_once('{') {
        let (variable, behind) = behind.split_once('}').unwrap();
        path.push_str(before);
        let value = left.remove(&lower_camel(variable)).unwrap_or_default();
        path.push_str(&percent(value.as_str().unwrap_or_default()));
        rest = behind;
    }
    path.push_str(rest);
    let has_body = !route.body.is_empty();
    if !has_body && !left.is_empty() {
        let mut pairs = Vec::new();
        flatten("", &left, &mut pairs);
        path = format!("{path}?{}", pairs.join("&"));
    }
    let body = if has_body { Value::Object(left).to_string() } else { String::new() };
    let mut headers = asked.headers.to_vec();
    if has_body {
        headers.push(("content-type", "application/json"));
    }
    let head = format!("{} {path}", route.verb);
    let answer = http1::rest(endpoint.port, &target.ca, &head, &headers, body.as_bytes()).await;
    let answered: Value = serde_json::from_slice(&answer.body)
        .unwrap_or_else(|error| panic!("{head}: {} is no JSON: {error}", answer.text()));
    if answer.status == 200 {
        return Ok(answered);
    }
    let code = answered["code"].as_i64().unwrap_or_else(|| panic!("{head}: {answered}"));
    assert_eq!(http_status(code), answer.status, "{head}: {answered}");
    Err(Refusal { code, status: answered })
}

/// The table of `contract §5.1`.
fn http_status(code: i64) -> u16 {
    match code {
        1 => 499,
        3 | 9 | 11 => 400,
        4 => 504,
        5 => 404,
        6 | 10 => 409,
        7 => 403,
        8 => 429,
        12 => 501,
        14 => 503,
        16 => 401,
        _ => 500,
    }
}

fn flatten(above: &str, object: &Map<String, Value>, into: &mut Vec<String>) {
    for (name, value) in object {
        let name = format!("{above}{name}");
        match value {
            Value::Object(below) => flatten(&format!("{name}."), below, into),
            Value::String(text) => into.push(format!("{name}={}", percent(text))),
            other => into.push(format!("{name}={other}")),
        }
    }
}

fn lower_camel(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |so_far, word| {
        let (head, tail) = word.split_at(1);
        so_far + &head.to_ascii_uppercase() + tail
    })
}

fn percent(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'~');
    text.bytes()
        .map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") })
        .collect()
}

/// The empty request.
pub(crate) fn nothing() -> Value {
    json!({})
}
