//! Messages and fields as JSON Schema: what the gateway reads and writes (`contract §0.4`).

use std::collections::{BTreeMap, BTreeSet};

use prost_reflect::{DescriptorPool, EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value, json};

use super::comments::Comments;
use super::rules;

/// The named schemas of a document; one for each message and enum that something refers to.
pub(super) struct Schemas<'a> {
    pool: &'a DescriptorPool,
    comments: &'a Comments,
    done: BTreeMap<String, Value>,
    waiting: BTreeSet<String>,
    /// Full names of fields that a path says, so that no body has to.
    in_path: BTreeSet<String>,
}

/// Whether a message is a single text in JSON.
pub(super) fn is_text(message: &MessageDescriptor) -> bool {
    well_known(message.full_name()).is_some_and(|schema| schema["type"] != "object")
}

/// The types whose JSON is not that of their fields.
fn well_known(name: &str) -> Option<Value> {
    Some(match name {
        "google.protobuf.Timestamp" => json!({ "type": "string", "format": "date-time" }),
        "google.protobuf.Duration" => {
            json!({ "type": "string", "pattern": "^-?[0-9]+(\\.[0-9]{1,9})?s$" })
        }
        "google.protobuf.FieldMask" => {
            json!({ "type": "string", "description": "Names of fields, separated by commas." })
        }
        "google.protobuf.BoolValue" => json!({ "type": "boolean" }),
        "google.protobuf.Int64Value" => json!({ "type": "string", "format": "int64" }),
        "google.protobuf.StringValue" => json!({ "type": "string" }),
        "google.protobuf.Empty" => json!({ "type": "object" }),
        "google.protobuf.Any" => json!({
            "type": "object",
            "properties": { "@type": { "type": "string" } },
            "required": ["@type"],
            "additionalProperties": true,
        }),
        _ => return None,
    })
}

impl<'a> Schemas<'a> {
    pub(super) fn new(pool: &'a DescriptorPool, comments: &'a Comments) -> Self {
        let (waiting, in_path) = (BTreeSet::new(), BTreeSet::new());
        Self { pool, comments, done: BTreeMap::new(), waiting, in_path }
    }

    /// Takes note of a field that is a variable of a path.
    pub(super) fn is_in_path(&mut self, field: &FieldDescriptor) {
        self.in_path.insert(field.full_name().to_owned());
    }

    /// Whether a request without this field is refused.
    pub(super) fn is_required(&self, field: &FieldDescriptor) -> bool {
        rules::is_required(self.pool, field)
    }

    /// A reference to a message or enum, which will be in the document.
    pub(super) fn reference(&mut self, name: &str) -> Value {
        if let Some(schema) = well_known(name) {
            return schema;
        }
        if !self.done.contains_key(name) {
            self.waiting.insert(name.to_owned());
        }
        json!({ "$ref": format!("#/components/schemas/{name}") })
    }

    /// What a field is in JSON.
    pub(super) fn of_field(&mut self, field: &FieldDescriptor) -> Value {
        let kind = match field.kind() {
            Kind::Message(entry) if field.is_map() => entry.map_entry_value_field().kind(),
            kind => kind,
        };
        let mut value = self.of_kind(&kind);
        if let Value::Object(schema) = &mut value {
            rules::bound_value(self.pool, field, schema);
        }
        let mut several = if field.is_map() {
            json!({ "type": "object", "additionalProperties": value })
        } else if field.is_list() {
            json!({ "type": "array", "items": value })
        } else {
            return value;
        };
        if let Value::Object(schema) = &mut several {
            rules::bound_number(self.pool, field, schema);
        }
        several
    }

    fn of_kind(&mut self, kind: &Kind) -> Value {
        match kind {
            Kind::Bool => json!({ "type": "boolean" }),
            Kind::String => json!({ "type": "string" }),
            Kind::Bytes => json!({ "type": "string", "contentEncoding": "base64" }),
            Kind::Double | Kind::Float => json!({ "type": "number" }),
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 | Kind::Uint32 | Kind::Fixed32 => {
                json!({ "type": "integer" })
            }
            // As text, because readers of JSON have only doubles.
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 | Kind::Uint64 | Kind::Fixed64 => {
                json!({ "type": "string", "format": "int64" })
            }
            Kind::Message(message) => self.reference(message.full_name()),
            Kind::Enum(named) => self.reference(named.full_name()),
        }
    }

    fn of_message(&mut self, message: &MessageDescriptor) -> Value {
        let mut properties = Map::new();
        let mut required = Vec::new();
        for field in message.fields() {
            let mut schema = self.of_field(&field);
            let words = self.comments.of_field(&field);
            if let Value::Object(schema) = &mut schema
                && !words.is_empty()
            {
                schema.insert("description".to_owned(), json!(words));
            }
            if self.is_required(&field) && !self.in_path.contains(field.full_name()) {
                required.push(json!(field.json_name()));
            }
            properties.insert(field.json_name().to_owned(), schema);
        }
        let mut schema = json!({
            "type": "object",
            "description": self.comments.of_message(message),
            "properties": properties,
        });
        if !required.is_empty() {
            schema["required"] = Value::Array(required);
        }
        schema
    }

    fn of_enum(&self, named: &EnumDescriptor) -> Value {
        let names: Vec<String> = named.values().map(|value| value.name().to_owned()).collect();
        let words = self.comments.of_enum(named);
        json!({ "type": "string", "description": words, "enum": names })
    }

    /// All that was referred to, and what those refer to in turn.
    pub(super) fn into_json(mut self) -> Value {
        while let Some(name) = self.waiting.pop_first() {
            let schema = match self.pool.get_message_by_name(&name) {
                Some(message) => self.of_message(&message),
                None => match self.pool.get_enum_by_name(&name) {
                    Some(named) => self.of_enum(&named),
                    None => continue,
                },
            };
            self.done.insert(name, schema);
            // A message that refers to itself is done by now.
            let done = &self.done;
            self.waiting.retain(|name| !done.contains_key(name));
        }
        json!(self.done)
    }
}
