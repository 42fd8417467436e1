//! Authenticated connections to Lockbox.

use std::fmt;
use std::sync::Arc;

use anyhow::{Context, Result};
use lockbox_proto::yandex::cloud::lockbox::v1 as wire;
use lockbox_proto::yandex::cloud::operation::{Operation, operation};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use wire::payload_entry_change::Value as ChangedValue;
use wire::payload_service_client::PayloadServiceClient;
use wire::secret_service_client::SecretServiceClient;

use crate::target::{Call, check_length};

/// Where the token is found: an argument would show in the list of processes.
const TOKEN_VARIABLE: &str = "LOCKBOX_TOKEN";
/// The only entry of the secrets that are measured.
const ENTRY_KEY: &str = "value";
/// Metadata of an answer that names the leader's address for clients.
const LEADER_METADATA: &str = "lockbox-leader";
/// The longest answer that is accepted, in bytes: `contend` makes large payloads.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Puts the token on every call. Never printed.
#[derive(Clone)]
pub struct Bearer(MetadataValue<Ascii>);

impl Bearer {
    /// Takes the token from `LOCKBOX_TOKEN`.
    ///
    /// # Errors
    /// When it is not set or not a token.
    pub fn from_environment() -> Result<Self> {
        let token = std::env::var(TOKEN_VARIABLE)
            .with_context(|| format!("{TOKEN_VARIABLE} must hold an IAM token"))?;
        Self::new(&token).with_context(|| format!("{TOKEN_VARIABLE} is no token"))
    }

    /// Takes this token.
    ///
    /// # Errors
    /// When no header can hold it. The text is not repeated.
    pub fn new(token: &str) -> Result<Self> {
        let value = format!("Bearer {token}").parse::<MetadataValue<Ascii>>();
        // The parser's error could repeat what it was given.
        let mut value = value.map_err(|_| anyhow::anyhow!("it holds characters no token has"))?;
        value.set_sensitive(true);
        Ok(Self(value))
    }
}

impl fmt::Debug for Bearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

/// The two services that hold secrets, over one connection. Clones share it.
#[derive(Debug, Clone)]
pub struct Api {
    /// Metadata and versions.
    pub secrets: SecretServiceClient<InterceptedService<Channel, Bearer>>,
    /// Values.
    pub payloads: PayloadServiceClient<InterceptedService<Channel, Bearer>>,
}

impl Api {
    /// Clients over a channel.
    #[must_use]
    pub fn new(channel: Channel, bearer: &Bearer) -> Self {
        let service = InterceptedService::new(channel, bearer.clone());
        Self {
            secrets: SecretServiceClient::new(service.clone())
                .max_decoding_message_size(ANSWER_BYTES_MAX),
            payloads: PayloadServiceClient::new(service)
                .max_decoding_message_size(ANSWER_BYTES_MAX),
        }
    }

    /// `host:port` of the member that leads.
    ///
    /// # Errors
    /// When the folder cannot be listed or the answer does not say.
    pub async fn leader(&mut self, folder_id: &str) -> Result<String> {
        let folder_id = folder_id.to_owned();
        let request = wire::ListSecretsRequest { folder_id, page_size: 1, ..Default::default() };
        let answer = self.secrets.list(request).await.context("cannot list the folder")?;
        let leader =
            answer.metadata().get(LEADER_METADATA).context("the answer names no leader")?;
        Ok(leader.to_str()?.to_owned())
    }

    /// Adds a version that changes these entries of the current one.
    ///
    /// # Errors
    /// The server's status.
    pub async fn add_version(
        &mut self,
        secret_id: &str,
        payload_entries: Vec<wire::PayloadEntryChange>,
    ) -> Result<(), Status> {
        let secret_id = secret_id.to_owned();
        let request = wire::AddVersionRequest { secret_id, payload_entries, ..Default::default() };
        finished(self.secrets.add_version(request).await?.into_inner()).map(drop)
    }

    /// Reads the payload of the current version.
    ///
    /// # Errors
    /// The server's status.
    pub async fn payload(&mut self, secret_id: &str) -> Result<wire::Payload, Status> {
        let secret_id = secret_id.to_owned();
        let request = wire::GetPayloadRequest { secret_id, version_id: String::new() };
        Ok(self.payloads.get(request).await?.into_inner())
    }
}

/// The operation, once it has succeeded. Ours are finished when the call returns.
///
/// # Errors
/// The status that the operation ended with.
pub(crate) fn finished(done: Operation) -> Result<Operation, Status> {
    match &done.result {
        Some(operation::Result::Response(_)) if done.done => Ok(done),
        Some(operation::Result::Error(error)) => {
            Err(Status::new(Code::from_i32(error.code), error.message.clone()))
        }
        Some(operation::Result::Response(_)) | None => {
            Err(Status::internal("the operation is not finished"))
        }
    }
}

/// The value of one entry, set to these bytes.
#[must_use]
pub fn set_entry(key: &str, value: Vec<u8>) -> wire::PayloadEntryChange {
    wire::PayloadEntryChange { key: key.to_owned(), value: Some(ChangedValue::BinaryValue(value)) }
}

/// The changes that give a measured secret its value.
#[must_use]
pub fn set_value(value: Vec<u8>) -> Vec<wire::PayloadEntryChange> {
    vec![set_entry(ENTRY_KEY, value)]
}

/// A connection of the load generator: slot `n` is the `n`-th secret.
#[derive(Debug, Clone)]
pub struct Session {
    api: Api,
    secret_ids: Arc<[String]>,
    value: Arc<Vec<u8>>,
}

impl Session {
    /// A session over a channel. Every secret holds a value as long as this one.
    #[must_use]
    pub fn new(
        channel: Channel,
        bearer: &Bearer,
        secret_ids: Arc<[String]>,
        value: Arc<Vec<u8>>,
    ) -> Self {
        Self { api: Api::new(channel, bearer), secret_ids, value }
    }

    /// Makes one call and checks the answer.
    ///
    /// # Errors
    /// The server's status; DATA_LOSS when the value has another length.
    pub async fn call(&mut self, call: Call) -> Result<(), Status> {
        match call {
            Call::Get(slot) => {
                let payload = self.api.payload(&self.secret_ids[slot]).await?;
                check_length(payload.entries.iter().map(value_bytes).sum(), self.value.len())
            }
            Call::Put(slot) => {
                let changes = set_value(self.value.to_vec());
                self.api.add_version(&self.secret_ids[slot], changes).await
            }
        }
    }
}

/// The length of an entry's value.
fn value_bytes(entry: &wire::payload::Entry) -> usize {
    match &entry.value {
        Some(wire::payload::entry::Value::TextValue(text)) => text.len(),
        Some(wire::payload::entry::Value::BinaryValue(bytes)) => bytes.len(),
        None => 0,
    }
}

#[cfg(test)]
mod tests {
    use lockbox_proto::google;

    use super::*;

    #[test]
    fn an_operation_counts_only_when_it_has_succeeded() {
        let response = Some(operation::Result::Response(Default::default()));
        let done = Operation { done: true, result: response.clone(), ..Default::default() };
        assert!(finished(done).is_ok());
        let open = Operation { done: false, result: response, ..Default::default() };
        assert_eq!(finished(open).unwrap_err().code(), Code::Internal);
        let error = google::rpc::Status { code: 10, ..Default::default() };
        let result = Some(operation::Result::Error(error));
        let failed = Operation { done: true, result, ..Default::default() };
        assert_eq!(finished(failed).unwrap_err().code(), Code::Aborted);
    }

    #[test]
    fn a_token_is_not_printed() {
        let bearer = Bearer("Bearer canary".parse().unwrap());
        assert!(!format!("{bearer:?}").contains("canary"));
    }
}
