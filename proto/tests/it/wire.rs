//! The definitions and the generated tables against the contract.
//!
//! `wire.txt` was taken from the contract by other means than the definitions. Here the compiled
//! definitions are written in the same form; every block must be there, and no other.

use std::collections::BTreeMap;

use lockbox_proto::{METHODS, OPERATION_TYPES, REST_ROUTES, descriptor_pool};
use prost_reflect::{
    DynamicMessage, EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor, Value,
};

const FIXTURE: &str = include_str!("wire.txt");
/// What the public API has and the contract only names.
const FOLDERS: &str = include_str!("resourcemanager.txt");

/// Packages whose only content is options.
const OPTION_PACKAGES: [&str; 2] = ["yandex.cloud", "yandex.cloud.api"];

#[test]
fn definitions_and_tables_are_those_of_the_contract() {
    let mut expected = blocks_of(FIXTURE);
    expected.extend(blocks_of(FOLDERS));
    let actual = compiled_blocks();
    assert!(expected.len() > 200, "the fixture has shrunk to {} blocks", expected.len());
    for (name, lines) in &expected {
        assert_eq!(actual.get(name), Some(lines), "{name}");
    }
    for name in actual.keys() {
        assert!(expected.contains_key(name), "{name} is not in the contract");
    }
}

#[test]
fn cancel_answers_to_both_verbs() {
    let verbs: Vec<_> = REST_ROUTES
        .iter()
        .filter(|route| route.template == "/operations/{operation_id}:cancel")
        .map(|route| route.verb)
        .collect();
    assert_eq!(verbs, ["GET", "POST"]);
}

#[test]
fn peer_protocol_keeps_its_numbers() {
    // Nodes of different versions talk to each other: these numbers are fixed like the public ones.
    let number = |message: &str, field: &str| {
        let message = descriptor_pool().get_message_by_name(message).expect("declared");
        message.get_field_by_name(field).expect("declared").number()
    };
    let fixed = [
        ("lockbox.peer.v1.PeerHeader", "protocol_version", 4),
        ("lockbox.peer.v1.HelloReply", "feature_level", 10),
        ("lockbox.peer.v1.RaftVote", "committed", 3),
        ("lockbox.peer.v1.RaftLogId", "index", 3),
        ("lockbox.peer.v1.AppendRequest", "entries", 4),
        ("lockbox.peer.v1.AppendRequest", "leader_commit", 5),
        ("lockbox.peer.v1.AppendReply", "higher_vote", 4),
        ("lockbox.peer.v1.AppendReply", "wall_clock_ms", 10),
        ("lockbox.peer.v1.ProposeRequest", "envelope", 2),
        ("lockbox.peer.v1.ProposeReply", "unknown", 3),
        ("lockbox.peer.v1.SnapshotChunk", "commit", 3),
        ("lockbox.kms.v1.CallerAssertion", "kms_request_id", 11),
    ];
    for (message, field, expected) in fixed {
        assert_eq!(number(message, field), expected, "{message}.{field}");
    }
}

/// Splits text of the fixture's form into blocks by their first line.
fn blocks_of(text: &str) -> BTreeMap<String, Vec<String>> {
    let mut blocks: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut name = String::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        match line.strip_prefix("  ") {
            Some(line) => blocks.entry(name.clone()).or_default().push(line.to_owned()),
            None => {
                name = line.to_owned();
                assert!(blocks.insert(name.clone(), Vec::new()).is_none(), "{name} occurs twice");
            }
        }
    }
    blocks
}

fn compiled_blocks() -> BTreeMap<String, Vec<String>> {
    let public = |package: &str| {
        package == "google.rpc"
            || package.starts_with("yandex.cloud") && !OPTION_PACKAGES.contains(&package)
    };
    let messages = descriptor_pool()
        .all_messages()
        .filter(|message| public(message.package_name()) && !message.is_map_entry())
        .map(|message| (format!("message {}", message.full_name()), message_lines(&message)));
    let enums = descriptor_pool()
        .all_enums()
        .filter(|named| public(named.package_name()))
        .map(|named| (format!("enum {}", named.full_name()), enum_lines(&named)));
    let methods = METHODS.iter().map(|method| {
        assert_eq!(method.grpc_path, format!("/{}/{}", method.service, method.method));
        assert!(!method.client_streaming && !method.server_streaming);
        (
            format!("rpc {} {} {}", method.grpc_path, method.input, method.output),
            method_lines(method.grpc_path),
        )
    });
    messages.chain(enums).chain(methods).collect()
}

fn enum_lines(named: &EnumDescriptor) -> Vec<String> {
    named.values().map(|value| format!("{} {}", value.number(), value.name())).collect()
}

/// Routes and operation types of a method, from the generated tables.
fn method_lines(grpc_path: &str) -> Vec<String> {
    let routes = REST_ROUTES.iter().filter(|route| route.grpc_path == grpc_path).map(|route| {
        let body = if route.body.is_empty() { "" } else { " body=" };
        format!("{} {}{body}{}", route.verb, route.template, route.body)
    });
    let operations = OPERATION_TYPES
        .iter()
        .filter(|types| types.grpc_path == grpc_path)
        .map(|types| format!("operation {} {}", types.metadata, types.response));
    routes.chain(operations).collect()
}

fn message_lines(message: &MessageDescriptor) -> Vec<String> {
    let mut fields: Vec<_> = message.fields().collect();
    fields.sort_by_key(FieldDescriptor::number);
    let mut lines: Vec<_> = fields.iter().map(field_line).collect();
    for range in message.reserved_ranges() {
        let (first, last) = (range.start, range.end - 1);
        let range = if first == last { first.to_string() } else { format!("{first}-{last}") };
        lines.push(format!("reserved {range}"));
    }
    for oneof in message.oneofs() {
        if option(&oneof.options(), "exactly_one") == Some(Value::Bool(true)) {
            lines.push(format!("exactly_one {}", oneof.name()));
        }
    }
    lines
}

fn field_line(field: &FieldDescriptor) -> String {
    let mut words = Vec::new();
    if let Some(oneof) = field.containing_oneof() {
        words.push(format!("oneof={}", oneof.name()));
    }
    let options = field.options();
    if options.get_field_by_name("deprecated").as_deref() == Some(&Value::Bool(true)) {
        words.push("deprecated".to_owned());
    }
    for name in ["required", "unique"] {
        if option(&options, name) == Some(Value::Bool(true)) {
            words.push(name.to_owned());
        }
    }
    for name in ["pattern", "value", "size", "length", "bytes"] {
        if let Some(Value::String(text)) = option(&options, name) {
            words.push(format!("{name}={text}"));
        }
    }
    if let Some(Value::Message(spec)) = option(&options, "map_key") {
        for name in ["value", "pattern", "length"] {
            match spec.get_field_by_name(name).as_deref() {
                Some(Value::String(text)) if !text.is_empty() => {
                    words.push(format!("key_{name}={text}"));
                }
                _ => {}
            }
        }
    }
    words.sort();
    let mut line = vec![field.number().to_string(), field.name().to_owned(), type_name(field)];
    line.append(&mut words);
    line.join(" ")
}

fn type_name(field: &FieldDescriptor) -> String {
    let kind = field.kind();
    match kind.as_message().filter(|_| field.is_map()) {
        Some(entry) => format!(
            "map<{},{}>",
            kind_name(&entry.map_entry_key_field().kind()),
            kind_name(&entry.map_entry_value_field().kind())
        ),
        None if field.is_list() => kind_name(&kind) + "[]",
        None => kind_name(&kind),
    }
}

fn kind_name(kind: &Kind) -> String {
    match kind {
        Kind::Message(message) => message.full_name().to_owned(),
        Kind::Enum(named) => named.full_name().to_owned(),
        scalar => format!("{scalar:?}"),
    }
}

/// A validation option, if it was set.
fn option(options: &DynamicMessage, name: &str) -> Option<Value> {
    let extension = descriptor_pool()
        .get_extension_by_name(&format!("yandex.cloud.{name}"))
        .expect("the option is declared");
    options.has_extension(&extension).then(|| options.get_extension(&extension).into_owned())
}
