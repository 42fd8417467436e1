//! Formats against literal texts.

use std::collections::BTreeMap;

use lockbox_proto::any::pack;
use lockbox_proto::lockbox::cluster::v1::StatusResponse;
use lockbox_proto::yandex::cloud::lockbox::v1::payload::{Entry, entry};
use lockbox_proto::yandex::cloud::lockbox::v1::{
    AddVersionMetadata, Payload, Secret, Version, secret, version,
};
use lockbox_proto::yandex::cloud::operation::{Operation, operation};
use prost_types::Timestamp;

use super::*;

fn sample() -> Secret {
    Secret {
        id: "e6q1".to_owned(),
        folder_id: "b1g1".to_owned(),
        created_at: Some(Timestamp { seconds: 1_800_000_000, nanos: 0 }),
        name: "db: main".to_owned(),
        labels: BTreeMap::from([("env".to_owned(), "prod".to_owned())]),
        status: secret::Status::Active.into(),
        current_version: Some(Version {
            id: "e6q2".to_owned(),
            status: version::Status::Active.into(),
            payload_entry_keys: vec!["user".to_owned(), "password".to_owned()],
            ..Version::default()
        }),
        ..Secret::default()
    }
}

fn table() -> Table {
    Table {
        columns: vec!["ID", "NAME"],
        rows: vec![
            vec!["e6q1".to_owned(), "db: main".to_owned()],
            vec!["e6q2".to_owned(), "é\u{1b}[31m".to_owned()],
        ],
    }
}

#[test]
fn one_object_is_yaml_in_the_order_of_the_definition() {
    let expected = "\
id: e6q1
folder_id: b1g1
created_at: \"2027-01-15T08:00:00Z\"
name: \"db: main\"
labels:
  env: prod
status: ACTIVE
current_version:
  id: e6q2
  status: ACTIVE
  payload_entry_keys:
  - user
  - password
";
    let record = Record::of(&sample()).unwrap();
    assert_eq!(one(Format::Text, &record).unwrap(), expected);
    assert_eq!(one(Format::Yaml, &record).unwrap(), expected);
}

#[test]
fn json_has_both_spellings() {
    let message = AddVersionMetadata { secret_id: "a".to_owned(), version_id: "b".to_owned() };
    let record = Record::of(&message).unwrap();
    let snake = "{\n  \"secret_id\": \"a\",\n  \"version_id\": \"b\"\n}\n";
    assert_eq!(one(Format::Json, &record).unwrap(), snake);
    let camel = "{\n  \"secretId\": \"a\",\n  \"versionId\": \"b\"\n}\n";
    assert_eq!(one(Format::JsonRest, &record).unwrap(), camel);

    let status = StatusResponse { term: 7, ..StatusResponse::default() };
    let record = Record::of(&status).unwrap();
    assert_eq!(one(Format::Json, &record).unwrap(), "{\n  \"term\": 7\n}\n");
    assert_eq!(one(Format::JsonRest, &record).unwrap(), "{\n  \"term\": \"7\"\n}\n");
}

#[test]
fn binary_values_are_base64_and_text_survives_yaml() {
    let entry = |key: &str, value| Entry { key: key.to_owned(), value: Some(value) };
    let long = "x y ".repeat(60);
    let payload = Payload {
        version_id: "e6q2".to_owned(),
        entries: vec![
            entry("text", entry::Value::TextValue("0123".to_owned())),
            entry("lines", entry::Value::TextValue("one\ntwo\n".to_owned())),
            entry("long", entry::Value::TextValue(long.clone())),
            entry("bytes", entry::Value::BinaryValue(vec![0, 159, 255])),
        ],
    };
    let record = Record::of(&payload).unwrap();
    let text = one(Format::Text, &record).unwrap();
    let expected = format!(
        "version_id: e6q2\nentries:\n- key: text\n  text_value: \"0123\"\n- key: lines\n  \
         text_value: |\n    one\n    two\n- key: long\n  text_value: \"{long}\"\n- key: bytes\n  \
         binary_value: AJ//\n"
    );
    assert_eq!(text, expected);
}

#[test]
fn several_objects_are_a_table_or_an_array() {
    let records = [Record::of(&AddVersionMetadata::default()).unwrap()];
    let expected = "\
+------+-------------+
| ID   | NAME        |
+------+-------------+
| e6q1 | db: main    |
| e6q2 | é\\u{1b}[31m |
+------+-------------+
";
    assert_eq!(many(Format::Text, &records, table).unwrap(), expected);
    assert_eq!(many(Format::Json, &records, table).unwrap(), "[\n  {}\n]\n");
    assert_eq!(many(Format::Yaml, &[], table).unwrap(), "[]\n");
    assert_eq!(many(Format::JsonRest, &[], table).unwrap(), "[]\n");
}

#[test]
fn an_empty_table_is_its_headings() {
    let empty = Table { columns: vec!["ID", "NAME"], rows: Vec::new() };
    assert_eq!(empty.render(), "+----+------+\n| ID | NAME |\n+----+------+\n");
}

#[test]
fn an_operation_shows_what_it_carries() {
    let metadata = AddVersionMetadata { secret_id: "a".to_owned(), version_id: "b".to_owned() };
    let version = Version { id: "b".to_owned(), ..Version::default() };
    let operation = Operation {
        id: "e6o1".to_owned(),
        done: true,
        metadata: Some(pack(&metadata)),
        result: Some(operation::Result::Response(pack(&version))),
        ..Operation::default()
    };
    let text = one(Format::Yaml, &Record::of(&operation).unwrap()).unwrap();
    assert!(text.starts_with("id: e6o1\ndone: true\nmetadata:\n"), "{text}");
    assert!(text.contains("  secret_id: a\n  version_id: b\n"), "{text}");
    let response = Record::of_any(&pack(&version)).unwrap();
    assert_eq!(one(Format::Yaml, &response).unwrap(), "id: b\n");
}

#[test]
fn a_type_that_is_not_ours_is_said_so() {
    let any = Any { type_url: "type.googleapis.com/x.Y".to_owned(), value: Vec::new() };
    let failure = Record::of_any(&any).unwrap_err();
    assert_eq!(failure.to_string(), "the answer \"x.Y\" cannot be shown");
}

#[test]
fn a_reader_that_has_left_is_no_failure_and_a_full_disk_is_one() {
    struct Closed(io::ErrorKind);
    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let closed = write_to(&mut Closed(io::ErrorKind::BrokenPipe), b"x");
    assert_eq!(closed, Ok(std::ops::ControlFlow::Break(())));
    let full = write_to(&mut Closed(io::ErrorKind::StorageFull), b"x").unwrap_err();
    assert!(full.to_string().starts_with("cannot write the output: "), "{full}");
}
