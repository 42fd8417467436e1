//! Messages of the public API as tests write them and take them apart.
//!
//! Shared by the test targets of this package. Knows no server and no connection.

use lockbox_proto::yandex::cloud::access;
use lockbox_proto::yandex::cloud::lockbox::v1 as lockbox;
use lockbox_proto::yandex::cloud::operation::{Operation, operation};
use prost::{Message, Name};

pub(crate) fn text(key: &str, value: &str) -> lockbox::PayloadEntryChange {
    use lockbox::payload_entry_change::Value;
    let value = Some(Value::TextValue(value.to_owned()));
    lockbox::PayloadEntryChange { key: key.to_owned(), value }
}

pub(crate) fn binary(key: &str, value: &[u8]) -> lockbox::PayloadEntryChange {
    use lockbox::payload_entry_change::Value;
    let value = Some(Value::BinaryValue(value.to_vec()));
    lockbox::PayloadEntryChange { key: key.to_owned(), value }
}

/// The payload's keys and values, text as its bytes.
pub(crate) fn values(payload: lockbox::Payload) -> Vec<(String, Vec<u8>)> {
    use lockbox::payload::entry::Value;
    let bytes = |value| match value {
        Some(Value::TextValue(text)) => text.into_bytes(),
        Some(Value::BinaryValue(bytes)) => bytes,
        None => panic!("an entry without a value"),
    };
    payload.entries.into_iter().map(|e| (e.key, bytes(e.value))).collect()
}

pub(crate) fn pairs(list: &[(&str, &[u8])]) -> Vec<(String, Vec<u8>)> {
    list.iter().map(|(k, v)| ((*k).to_owned(), v.to_vec())).collect()
}

/// The operation's response, of exactly this type.
pub(crate) fn response<M: Message + Name + Default>(operation: &Operation) -> M {
    let Some(operation::Result::Response(any)) = &operation.result else { panic!("no response") };
    assert_eq!(any.type_url, format!("type.googleapis.com/{}", M::full_name()));
    M::decode(any.value.as_slice()).unwrap()
}

/// The operation's metadata, of exactly this type.
pub(crate) fn metadata<M: Message + Name + Default>(operation: &Operation) -> M {
    let any = operation.metadata.as_ref().unwrap();
    assert_eq!(any.type_url, format!("type.googleapis.com/{}", M::full_name()));
    M::decode(any.value.as_slice()).unwrap()
}

pub(crate) fn binding(role: &str, kind: &str, id: &str) -> access::AccessBinding {
    let subject = Some(access::Subject { id: id.into(), r#type: kind.into() });
    access::AccessBinding { role_id: role.into(), subject }
}
