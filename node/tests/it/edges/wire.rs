//! One request by gRPC or by REST, and what the answer says of its fields.

use axum::body::{Body, to_bytes};
use lockbox_platform::http_service::HttpService;
use lockbox_proto::RestRoute;
use lockbox_proto::google::rpc::{BadRequest, Status as Details};
use prost::{Message, Name};
use prost_reflect::{DynamicMessage, MethodDescriptor, ReflectMessage};
use serde_json::{Map, Value};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::{Code, Status};

use crate::fixture::{Node, WAIT};
use crate::raw::Raw;

/// What became of a request.
#[derive(Debug)]
pub(super) struct Verdict {
    pub(super) code: Code,
    /// Fields and what is wrong with them.
    pub(super) violations: Vec<(String, String)>,
}

impl Verdict {
    /// What is wrong with this field, if anything is.
    pub(super) fn of(&self, field: &str) -> Option<&str> {
        let named = self.violations.iter().find(|(name, _)| name == field);
        named.map(|(_, description)| description.as_str())
    }
}

pub(super) async fn by_grpc(
    node: &Node,
    method: &MethodDescriptor,
    message: &DynamicMessage,
) -> Verdict {
    let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
    let path = PathAndQuery::try_from(path).unwrap();
    let mut client = tonic::client::Grpc::new(node.channel.clone());
    client.ready().await.unwrap();
    let request = node.request(message.encode_to_vec());
    let answer = async {
        if method.is_server_streaming() {
            // The stream is let go: that it began is enough.
            client.server_streaming::<_, Vec<u8>, _>(request, path, Raw).await.map(drop)
        } else {
            client.unary::<_, Vec<u8>, _>(request, path, Raw).await.map(drop)
        }
    };
    match tokio::time::timeout(WAIT, answer).await.expect("an answer") {
        Ok(()) => Verdict { code: Code::Ok, violations: Vec::new() },
        Err(status) => Verdict { code: status.code(), violations: violations(&status) },
    }
}

fn violations(status: &Status) -> Vec<(String, String)> {
    let details = Details::decode(status.details()).unwrap().details;
    let wrong = details.iter().filter(|any| any.type_url == BadRequest::type_url());
    let fields =
        wrong.flat_map(|any| BadRequest::decode(any.value.as_slice()).unwrap().field_violations);
    fields.map(|violation| (violation.field, violation.description)).collect()
}

pub(super) async fn by_rest(
    node: &Node,
    router: &HttpService,
    route: &RestRoute,
    message: &DynamicMessage,
) -> Verdict {
    let Value::Object(mut json) = serde_json::to_value(message).unwrap() else {
        panic!("a message is no object")
    };
    let mut target = String::new();
    let mut rest = route.template;
    while let Some((before, after)) = rest.split_once('{') {
        let (variable, behind) = after.split_once('}').unwrap();
        let field = message.descriptor().get_field_by_name(variable).unwrap();
        json.remove(field.json_name());
        target.push_str(before);
        target.push_str(&encoded(message.get_field(&field).as_str().unwrap()));
        rest = behind;
    }
    target.push_str(rest);
    let body = if route.body.is_empty() {
        let mut pairs = Vec::new();
        flatten("", json, &mut pairs);
        let pairs: Vec<_> =
            pairs.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
        target = format!("{target}?{}", pairs.join("&"));
        String::new()
    } else {
        Value::Object(json).to_string()
    };
    let request = http::Request::builder()
        .method(route.verb)
        .uri(target)
        .header("authorization", format!("Bearer {}", node.token()))
        .body(Body::from(body))
        .unwrap();
    let answer = tokio::time::timeout(WAIT, router.answer(request)).await.expect("an answer");
    let status = answer.status().as_u16();
    let bytes = to_bytes(answer.into_body(), usize::MAX).await.unwrap();
    let json: Value = serde_json::from_slice(&bytes).unwrap();
    let code = match status {
        200 => 0,
        _ => i32::try_from(json["code"].as_i64().unwrap()).unwrap(),
    };
    let details = json["details"].as_array().into_iter().flatten();
    let fields = details.flat_map(|detail| detail["fieldViolations"].as_array()).flatten();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let violations = fields.map(|field| (text(&field["field"]), text(&field["description"])));
    Verdict { code: Code::from_i32(code), violations: violations.collect() }
}

/// Query parameters, nested by dots.
fn flatten(before: &str, object: Map<String, Value>, into: &mut Vec<(String, String)>) {
    for (name, value) in object {
        let name = format!("{before}{name}");
        match value {
            Value::Object(inner) => flatten(&format!("{name}."), inner, into),
            Value::String(text) => into.push((name, text)),
            Value::Number(number) => into.push((name, number.to_string())),
            Value::Bool(is) => into.push((name, is.to_string())),
            Value::Array(_) | Value::Null => panic!("{name} has no place in a query"),
        }
    }
}

fn encoded(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}
