//! What tests of secrets do most: create, add, read, and take answers apart.

use lockbox_proto::yandex::cloud::lockbox::v1 as wire;
use lockbox_proto::yandex::cloud::operation::{Operation, operation};
use prost::{Message, Name};
use wire::payload_entry_change::Value;

use crate::fixture::Node;

pub(crate) fn text(key: &str, value: &str) -> wire::PayloadEntryChange {
    let value = Some(Value::TextValue(value.to_owned()));
    wire::PayloadEntryChange { key: key.to_owned(), value }
}

pub(crate) fn binary(key: &str, value: &[u8]) -> wire::PayloadEntryChange {
    let value = Some(Value::BinaryValue(value.to_vec()));
    wire::PayloadEntryChange { key: key.to_owned(), value }
}

pub(crate) fn response<M: Message + Name + Default>(operation: &Operation) -> M {
    let Some(operation::Result::Response(any)) = &operation.result else { panic!("no response") };
    assert_eq!(any.type_url, format!("type.googleapis.com/{}", M::full_name()));
    M::decode(any.value.as_slice()).unwrap()
}

impl Node {
    pub(crate) async fn create(
        &self,
        entries: Vec<wire::PayloadEntryChange>,
        kms_key_id: &str,
    ) -> wire::Secret {
        let request = wire::CreateSecretRequest {
            folder_id: self.made.folder_id.to_string(),
            name: "s".into(),
            kms_key_id: kms_key_id.into(),
            version_payload_entries: entries,
            ..Default::default()
        };
        let operation = self.secrets().create(self.request(request)).await.unwrap().into_inner();
        assert!(operation.done);
        response(&operation)
    }

    pub(crate) async fn add(
        &self,
        secret: &str,
        entries: Vec<wire::PayloadEntryChange>,
    ) -> wire::Version {
        let request = wire::AddVersionRequest {
            secret_id: secret.into(),
            payload_entries: entries,
            ..Default::default()
        };
        let answer = self.secrets().add_version(self.request(request)).await.unwrap();
        response(&answer.into_inner())
    }

    pub(crate) async fn read(
        &self,
        secret: &str,
        version: &str,
    ) -> Result<Vec<(String, Vec<u8>)>, tonic::Status> {
        use wire::payload::entry::Value;
        let (secret_id, version_id) = (secret.to_owned(), version.to_owned());
        let request = self.request(wire::GetPayloadRequest { secret_id, version_id });
        let payload = self.payloads().get(request).await?.into_inner();
        let bytes = |value| match value {
            Some(Value::TextValue(text)) => text.into_bytes(),
            Some(Value::BinaryValue(bytes)) => bytes,
            None => panic!("an entry without a value"),
        };
        Ok(payload.entries.into_iter().map(|e| (e.key, bytes(e.value))).collect())
    }
}

pub(crate) fn pairs(list: &[(&str, &[u8])]) -> Vec<(String, Vec<u8>)> {
    list.iter().map(|(k, v)| ((*k).to_owned(), v.to_vec())).collect()
}
