//! Query parameters: percent-decoding, and the JSON tree that they mean for a message.
//!
//! Names are nested by dots, in camelCase or snake_case (`contract §0.4`). Promises: an unknown
//! name is an error that repeats no value.

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value};

use crate::status::ApiError;

/// Decodes `%XX` and, in a query, `+`. `None` for what is not UTF-8 or not an encoding.
pub(super) fn percent_decode(text: &str, plus_is_space: bool) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => {
                let digit = |b: u8| char::from(b).to_digit(16);
                let (high, low) = (digit(rest.next()?)?, digit(rest.next()?)?);
                bytes.push(u8::try_from(high * 16 + low).ok()?);
            }
            b'+' if plus_is_space => bytes.push(b' '),
            _ => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).ok()
}

/// The JSON object that a query means as a message of type `message`.
pub(super) fn to_json(
    query: &str,
    message: &MessageDescriptor,
) -> Result<Map<String, Value>, ApiError> {
    let mut object = Map::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let malformed = || ApiError::invalid("query", "is not percent-encoded UTF-8");
        let name = percent_decode(name, true).ok_or_else(malformed)?;
        let value = percent_decode(value, true).ok_or_else(malformed)?;
        set(&mut object, message, &name, &name, value)?;
    }
    Ok(object)
}

/// Sets the field at `path` (dotted) below `object`.
fn set(
    object: &mut Map<String, Value>,
    message: &MessageDescriptor,
    whole_name: &str,
    path: &str,
    value: String,
) -> Result<(), ApiError> {
    let unknown = || ApiError::invalid(printable(whole_name), "is not a field of the request");
    let (first, rest) = match path.split_once('.') {
        Some((first, rest)) => (first, Some(rest)),
        None => (path, None),
    };
    let field = find_field(message, first).ok_or_else(unknown)?;
    let json_name = field.json_name().to_owned();
    match rest {
        None if field.is_map() => Err(unknown()),
        None if field.is_list() => {
            let list = object.entry(json_name).or_insert_with(|| Value::Array(Vec::new()));
            if let Value::Array(values) = list {
                values.push(leaf(&field.kind(), value));
            }
            Ok(())
        }
        None => {
            object.insert(json_name, leaf(&field.kind(), value));
            Ok(())
        }
        Some(_) if field.is_list() => Err(unknown()),
        Some(key) if field.is_map() => {
            let kind = field.kind();
            let entry = kind.as_message().ok_or_else(unknown)?;
            let map = object.entry(json_name).or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(entries) = map {
                entries.insert(key.to_owned(), leaf(&entry.map_entry_value_field().kind(), value));
            }
            Ok(())
        }
        Some(rest) => {
            let kind = field.kind();
            let inner = kind.as_message().ok_or_else(unknown)?;
            match object.entry(json_name).or_insert_with(|| Value::Object(Map::new())) {
                Value::Object(below) => set(below, inner, whole_name, rest, value),
                _ => Err(unknown()),
            }
        }
    }
}

/// The field of this name, in either spelling.
pub(super) fn find_field(message: &MessageDescriptor, name: &str) -> Option<FieldDescriptor> {
    message.get_field_by_json_name(name).or_else(|| message.get_field_by_name(name))
}

/// A parameter's text as the JSON that its type is read from. Wrong text stays text: the reader
/// of JSON refuses it.
fn leaf(kind: &Kind, text: String) -> Value {
    let is_bool = match kind {
        Kind::Bool => true,
        Kind::Message(message) => message.full_name() == "google.protobuf.BoolValue",
        _ => false,
    };
    match (is_bool, text.as_str()) {
        (true, "true") => Value::Bool(true),
        (true, "false") => Value::Bool(false),
        _ => Value::String(text),
    }
}

/// A field name fit for an error: a client may have put anything there.
pub(super) fn printable(name: &str) -> String {
    let name_like = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.');
    if name.len() <= 100 && name.chars().all(name_like) {
        name.to_owned()
    } else {
        "query".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(message: &str, query: &str) -> Result<Value, ApiError> {
        let pool = lockbox_proto::descriptor_pool();
        let message = pool.get_message_by_name(message).expect("a message");
        to_json(query, &message).map(Value::Object)
    }

    const GET_EX: &str = "yandex.cloud.lockbox.v1.GetExRequest";
    const CREATE: &str = "yandex.cloud.lockbox.v1.CreateSecretRequest";

    #[test]
    fn names_nest_by_dots_in_either_spelling() {
        let expected = json!({ "folderAndName": { "folderId": "b1g", "secretName": "a b/c" } });
        for query in [
            "folderAndName.folderId=b1g&folderAndName.secretName=a+b%2Fc",
            "folder_and_name.folder_id=b1g&folder_and_name.secret_name=a%20b%2fc&",
        ] {
            assert_eq!(parse(GET_EX, query), Ok(expected.clone()), "{query}");
        }
    }

    #[test]
    fn types_are_read_from_text() {
        let query = "deletionProtection=true&labels.env=prod&versionDescription=true";
        let expected = json!({
            "deletionProtection": true, "labels": { "env": "prod" }, "versionDescription": "true",
        });
        assert_eq!(parse(CREATE, query), Ok(expected));
        let wrapped = parse(CREATE, "passwordPayloadSpecification.includeDigits=false");
        let expected = json!({ "passwordPayloadSpecification": { "includeDigits": false } });
        assert_eq!(wrapped, Ok(expected));
    }

    #[test]
    fn unknown_names_and_bad_encodings_are_refused_without_values() {
        for query in ["canary=1", "name.canary=1", "secretId.=x", "%ZZ=1", "name=%FF", "labels=x"] {
            let error = parse(CREATE, query).map_err(|error| error.code());
            assert_eq!(error, Err(tonic::Code::InvalidArgument), "{query}");
        }
        let text = parse(CREATE, "a%20secret%0A=1").map_err(|error| error.to_string());
        assert!(text.is_err_and(|text| text.starts_with("query: ")));
    }
}
