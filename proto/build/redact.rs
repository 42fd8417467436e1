//! Keeps secrets out of `Debug`.
//!
//! Owns the answer to "which messages can hold something sensitive" and derives it from the
//! `lockbox.options.sensitive` marks: a message that carries a marked field, or that can contain
//! such a message, prints its name and nothing else. Nobody has to remember a list.

use std::collections::BTreeSet;

use prost_reflect::{Kind, MessageDescriptor, Value};

use crate::schema::{Schema, option_value, rust_oneof_type, rust_type};

const SENSITIVE: &str = "lockbox.options.sensitive";

/// Messages that must not be printed, in file order.
pub(crate) fn redacted_messages(schema: &Schema) -> Result<Vec<MessageDescriptor>, String> {
    let sensitive = schema.option(SENSITIVE)?;
    let mut reached = BTreeSet::new();
    for message in schema.messages() {
        let marked = message
            .fields()
            .any(|field| option_value(&field.options(), &sensitive) == Some(Value::Bool(true)));
        if marked {
            reached.insert(message.full_name().to_owned());
        }
    }
    // Each round carries the mark one level outward; it ends because the set only grows.
    loop {
        let before = reached.len();
        for message in schema.messages() {
            if contains_any(&message, &reached) || is_nested_in_any(&message, &reached) {
                reached.insert(message.full_name().to_owned());
            }
        }
        if reached.len() == before {
            break;
        }
    }
    let redacted: Vec<_> =
        schema.messages().filter(|message| reached.contains(message.full_name())).collect();
    match redacted.iter().find(|message| message.child_enums().next().is_some()) {
        // The type generator would drop `Debug` of the enum as well, and it needs one.
        Some(message) => {
            Err(format!("move the enum out of {}, it is redacted", message.full_name()))
        }
        None => Ok(redacted),
    }
}

/// Writes `Debug` for the messages and their oneofs.
pub(crate) fn debug_impls(redacted: &[MessageDescriptor]) -> String {
    let mut code = String::new();
    for message in redacted {
        push_impl(&mut code, &rust_type(message), message.name());
        for oneof in message.oneofs().filter(|oneof| !oneof.is_synthetic()) {
            let path = rust_oneof_type(message, oneof.name());
            let name = path.rsplit("::").next().unwrap_or(oneof.name()).to_owned();
            push_impl(&mut code, &path, &name);
        }
    }
    code
}

fn push_impl(code: &mut String, path: &str, name: &str) {
    *code += &format!(
        "impl ::core::fmt::Debug for {path} {{\n    \
             fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {{\n        \
                 f.write_str(\"{name} {{ [redacted] }}\")\n    }}\n}}\n"
    );
}

/// Whether a field, an element or a map value is one of the messages.
fn contains_any(message: &MessageDescriptor, names: &BTreeSet<String>) -> bool {
    message.fields().any(|field| {
        let kind = match field.kind() {
            Kind::Message(entry) if entry.is_map_entry() => entry.map_entry_value_field().kind(),
            kind => kind,
        };
        matches!(kind, Kind::Message(inner) if names.contains(inner.full_name()))
    })
}

/// The type generator applies "no Debug" to everything declared inside a message too.
fn is_nested_in_any(message: &MessageDescriptor, names: &BTreeSet<String>) -> bool {
    message.parent_message().is_some_and(|parent| names.contains(parent.full_name()))
}
