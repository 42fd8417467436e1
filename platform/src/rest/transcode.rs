//! JSON to a request message, and a response message to JSON.
//!
//! Promises: errors name the field and never repeat its value, because a body may hold secrets.

use axum::body::Body;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use prost::Message;
use prost_reflect::{
    DeserializeOptions, DynamicMessage, Kind, MessageDescriptor, SerializeOptions,
};
use serde_json::{Map, Value};

use super::path::Route;
use super::query;
use crate::headers;
use crate::status::ApiError;

/// The type of every JSON answer.
pub(super) const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// How messages are read: an unknown field is an error (`contract §0.4`).
const READ: DeserializeOptions = DeserializeOptions::new().deny_unknown_fields(true);

/// How messages are written: default values are left out (`contract §0.4`).
const WRITE: SerializeOptions = SerializeOptions::new().skip_default_fields(true);

/// Builds the encoded request from the body, the query and the variables of the path.
pub(super) fn request(
    route: &Route,
    body: &[u8],
    query: &str,
    variables: Vec<(&'static str, String)>,
) -> Result<Vec<u8>, ApiError> {
    let mut object = query::to_json(query, &route.input)?;
    let from_body = parse_body(body)?;
    if !from_body.is_empty() && !route.takes_body {
        return Err(ApiError::invalid("body", "must be empty for this method"));
    }
    object.extend(from_body);
    for (name, _) in &variables {
        // The path decides; both spellings of a field would be a duplicate.
        object.remove(*name);
        if let Some(field) = route.input.get_field_by_name(name) {
            object.remove(field.json_name());
        }
    }
    let mut message = read(&route.input, object)?;
    for (name, value) in variables {
        message.set_field_by_name(name, prost_reflect::Value::String(value));
    }
    Ok(message.encode_to_vec())
}

fn parse_body(body: &[u8]) -> Result<Map<String, Value>, ApiError> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(Map::new());
    }
    // The error of the parser is replaced: it may quote the text.
    let parsed: Value = serde_json::from_slice(body).map_err(|error| {
        let place = format!("line {} column {}", error.line(), error.column());
        ApiError::invalid("body", format!("is not JSON at {place}"))
    })?;
    match parsed {
        Value::Object(object) => Ok(object),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Err(ApiError::invalid("body", "is not a JSON object"))
        }
    }
}

fn read(
    message: &MessageDescriptor,
    mut object: Map<String, Value>,
) -> Result<DynamicMessage, ApiError> {
    respell_masks(message, &mut object);
    let object = Value::Object(object);
    DynamicMessage::deserialize_with_options(message.clone(), &object, &READ)
        .map_err(|_quotes_values| wrong_field(message, &object))
}

/// Says which field is wrong, by reading each alone.
fn wrong_field(message: &MessageDescriptor, object: &Value) -> ApiError {
    for (name, value) in object.as_object().into_iter().flatten() {
        if query::find_field(message, name).is_none() {
            return ApiError::invalid(query::printable(name), "is not a field of the request");
        }
        let alone = Value::Object(Map::from_iter([(name.clone(), value.clone())]));
        if DynamicMessage::deserialize_with_options(message.clone(), &alone, &READ).is_err() {
            let description = "is not of its type, or has a field that its type does not have";
            return ApiError::invalid(query::printable(name), description);
        }
    }
    ApiError::invalid("body", "names a field twice")
}

/// Accepts `update_mask: "deletion_protection"` beside the canonical `deletionProtection`.
fn respell_masks(message: &MessageDescriptor, object: &mut Map<String, Value>) {
    for (name, value) in object.iter_mut() {
        let kind = query::find_field(message, name).map(|field| field.kind());
        let Some(Kind::Message(of)) = kind else { continue };
        if of.full_name() != "google.protobuf.FieldMask" {
            continue;
        }
        if let Value::String(mask) = value {
            *mask = snake_to_camel(mask);
        }
    }
}

fn snake_to_camel(text: &str) -> String {
    let mut camel = String::with_capacity(text.len());
    let mut upper = false;
    for c in text.chars() {
        if c == '_' {
            upper = true;
            continue;
        }
        camel.push(if upper { c.to_ascii_uppercase() } else { c });
        upper = false;
    }
    camel
}

/// Writes an encoded response as JSON, with the ids and our own headers of the gRPC answer.
pub(super) fn response(
    route: &Route,
    encoded: &[u8],
    answered: &HeaderMap,
) -> Result<Response<Body>, ApiError> {
    let undecodable = || ApiError::internal("the answer is not of its declared type");
    let message = DynamicMessage::decode(route.output.clone(), encoded)
        .map_err(|_malformed| undecodable())?;
    let json = to_json(&message).ok_or_else(undecodable)?;
    let mut response = Response::new(Body::from(json));
    *response.status_mut() = StatusCode::OK;
    copy_own(answered, response.headers_mut());
    response.headers_mut().insert(header::CONTENT_TYPE, JSON);
    Ok(response)
}

/// A message in canonical JSON, default values left out.
pub(super) fn to_json(message: &DynamicMessage) -> Option<Vec<u8>> {
    let mut json = Vec::new();
    let mut writer = serde_json::Serializer::new(&mut json);
    message.serialize_with_options(&mut writer, &WRITE).ok()?;
    Some(json)
}

/// Copies the ids of the request and our own headers.
pub(super) fn copy_own(from: &HeaderMap, to: &mut HeaderMap) {
    for (name, value) in from {
        let text = name.as_str();
        let ids = [headers::REQUEST_ID, headers::SERVER_TRACE_ID];
        let own = headers::OWN_PREFIXES.iter().any(|prefix| text.starts_with(prefix));
        if own || ids.contains(&text) {
            to.insert(name.clone(), value.clone());
        }
    }
}
