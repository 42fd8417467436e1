//! Secrets are not printed.
//!
//! Which messages can hold a secret is worked out here from the descriptors, by another walk than
//! the build's. Each of them is filled with a canary and printed.

use std::collections::BTreeSet;
use std::fmt::Debug;

use lockbox_proto::descriptor_pool;
use lockbox_proto::lockbox::cluster::v1 as cluster;
use lockbox_proto::lockbox::peer::v1 as peer;
use lockbox_proto::yandex::cloud::iam::v1 as iam;
use lockbox_proto::yandex::cloud::kms::v1 as kms;
use lockbox_proto::yandex::cloud::lockbox::v1 as lockbox;
use prost::{Message, Name};
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, Value};

const CANARY: &str = "canary-5d1f7c";

/// Depth to which messages are filled; ours nest less and none is recursive.
const FILL_DEPTH_MAX: usize = 6;

/// Names of string and bytes fields that are always secret, wherever they may appear.
const SECRET_NAMES: [&str; 9] = [
    "token",
    "iam_token",
    "jwt",
    "yandex_passport_oauth_token",
    "text_value",
    "binary_value",
    "plaintext",
    "data_key_plaintext",
    "private_key",
];

/// A message type by name, with a way to print encoded bytes as that type.
type Printer = (String, fn(&[u8]) -> [String; 2]);

macro_rules! printers {
    ($($message:ty),* $(,)?) => {
        vec![$((<$message>::full_name(), print::<$message> as fn(&[u8]) -> [String; 2])),*]
    };
}

fn printers() -> Vec<Printer> {
    printers![
        lockbox::PayloadEntryChange,
        lockbox::Payload,
        lockbox::payload::Entry,
        lockbox::GetExResponse,
        lockbox::CreateSecretRequest,
        lockbox::AddVersionRequest,
        iam::CreateIamTokenRequest,
        iam::CreateIamTokenResponse,
        iam::RevokeIamTokenRequest,
        iam::CreateKeyResponse,
        kms::SymmetricEncryptRequest,
        kms::SymmetricDecryptResponse,
        kms::GenerateDataKeyResponse,
        cluster::IntrospectRequest,
        peer::AppendRequest,
        peer::ProposeRequest,
        peer::ProposeReply,
        peer::Applied,
        peer::SnapshotChunk,
        peer::SnapshotData,
    ]
}

fn print<M: Message + Default + Debug>(bytes: &[u8]) -> [String; 2] {
    let message = M::decode(bytes).expect("the canary message is well formed");
    [format!("{message:?}"), format!("{message:#?}")]
}

#[test]
fn every_message_that_reaches_a_secret_prints_its_name_only() {
    let printers = printers();
    let listed: BTreeSet<_> = printers.iter().map(|(name, _)| name.clone()).collect();
    let derived: BTreeSet<_> = own_messages()
        .filter(reaches_sensitive)
        .map(|message| message.full_name().to_owned())
        .collect();
    assert_eq!(listed, derived);

    for (name, print) in printers {
        let descriptor = descriptor_pool().get_message_by_name(&name).expect("declared");
        let expected = format!("{} {{ [redacted] }}", descriptor.name());
        for choice in 0..3 {
            let filled = filled_with_canary(&descriptor, choice, 0);
            assert_eq!(print(&filled.encode_to_vec()), [expected.clone(), expected.clone()]);
        }
    }
}

#[test]
fn choices_inside_redacted_messages_are_redacted_too() {
    let text = CANARY.to_owned();
    assert_eq!(
        [
            format!("{:?}", lockbox::payload_entry_change::Value::TextValue(text.clone())),
            format!("{:?}", lockbox::payload::entry::Value::BinaryValue(text.clone().into())),
        ],
        ["Value { [redacted] }"; 2]
    );
    let jwt = iam::create_iam_token_request::Identity::Jwt(text.clone());
    assert_eq!(format!("{jwt:?}"), "Identity { [redacted] }");
    let applied = peer::Applied { outcome: text.clone().into(), ..Default::default() };
    let result = peer::propose_reply::Result::Applied(applied);
    assert_eq!(format!("{result:?}"), "Result { [redacted] }");
    let data = peer::SnapshotData { data: text.into(), ..Default::default() };
    let part = peer::snapshot_chunk::Part::Data(data);
    assert_eq!(format!("{part:?}"), "Part { [redacted] }");
}

#[test]
fn the_canary_shows_in_a_message_without_secrets() {
    // Guards the test above: were nothing filled in or printed, this would fail.
    let descriptor = descriptor_pool()
        .get_message_by_name(&lockbox::GetPayloadRequest::full_name())
        .expect("declared");
    assert!(!reaches_sensitive(&descriptor));
    let filled = filled_with_canary(&descriptor, 0, 0);
    let printed = print::<lockbox::GetPayloadRequest>(&filled.encode_to_vec());
    assert!(printed.iter().all(|text| text.contains(CANARY)));
}

#[test]
fn fields_with_telling_names_are_marked() {
    let telling =
        own_messages().flat_map(|message| message.fields().collect::<Vec<_>>()).filter(|field| {
            matches!(field.kind(), Kind::String | Kind::Bytes)
                && (SECRET_NAMES.contains(&field.name()) || field.name().ends_with("_private_key"))
        });
    let mut seen = 0;
    for field in telling {
        assert!(is_sensitive(&field), "{} is not marked", field.full_name());
        seen += 1;
    }
    assert!(seen >= SECRET_NAMES.len());
}

fn own_messages() -> impl Iterator<Item = MessageDescriptor> {
    descriptor_pool()
        .all_messages()
        .filter(|message| !message.package_name().starts_with("google.") && !message.is_map_entry())
}

fn is_sensitive(field: &FieldDescriptor) -> bool {
    let sensitive = descriptor_pool()
        .get_extension_by_name("lockbox.options.sensitive")
        .expect("the option is declared");
    *field.options().get_extension(&sensitive) == Value::Bool(true)
}

/// Whether a marked field can be reached through fields of messages, lists and maps.
fn reaches_sensitive(message: &MessageDescriptor) -> bool {
    message.fields().any(|field| {
        is_sensitive(&field) || field.kind().as_message().is_some_and(reaches_sensitive)
    })
}

/// Sets every field; `choice` selects the field of each oneof.
fn filled_with_canary(
    descriptor: &MessageDescriptor,
    choice: usize,
    depth: usize,
) -> DynamicMessage {
    assert!(depth < FILL_DEPTH_MAX, "{} nests too deeply", descriptor.full_name());
    let mut message = DynamicMessage::new(descriptor.clone());
    for field in descriptor.fields() {
        let chosen = field.containing_oneof().is_none_or(|oneof| {
            let fields: Vec<_> = oneof.fields().collect();
            fields[choice % fields.len()] == field
        });
        if !chosen {
            continue;
        }
        let kind = field.kind();
        let value = if let Some(entry) = kind.as_message().filter(|_| field.is_map()) {
            let value = canary_value(&entry.map_entry_value_field().kind(), choice, depth);
            Value::Map([(MapKey::String(CANARY.to_owned()), value)].into())
        } else if field.is_list() {
            Value::List(vec![canary_value(&kind, choice, depth)])
        } else {
            canary_value(&kind, choice, depth)
        };
        message.set_field(&field, value);
    }
    message
}

fn canary_value(kind: &Kind, choice: usize, depth: usize) -> Value {
    match kind {
        Kind::String => Value::String(CANARY.to_owned()),
        Kind::Bytes => Value::Bytes(CANARY.into()),
        Kind::Message(inner) => Value::Message(filled_with_canary(inner, choice, depth + 1)),
        scalar => Value::default_value(scalar),
    }
}
