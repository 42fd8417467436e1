//! What tests of secrets do most: create, add and read.

use lockbox_proto::yandex::cloud::lockbox::v1 as wire;

use crate::fixture::Node;
use crate::messages::values;
pub(crate) use crate::messages::{binary, pairs, response, text};

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
        let (secret_id, version_id) = (secret.to_owned(), version.to_owned());
        let request = self.request(wire::GetPayloadRequest { secret_id, version_id });
        Ok(values(self.payloads().get(request).await?.into_inner()))
    }
}
