//! One worker's connection to one node.

use std::time::Duration;

use iam::iam_token_service_client::IamTokenServiceClient;
use lockbox_proto::yandex::cloud::access;
use lockbox_proto::yandex::cloud::iam::v1 as iam;
use lockbox_proto::yandex::cloud::lockbox::v1 as wire;
use prost_types::FieldMask;
use tokio::time::timeout;
use tonic::metadata::MetadataMap;
use tonic::transport::Channel;
use tonic::{Response, Status};
use wire::payload_entry_change::Value;
use wire::payload_service_client::PayloadServiceClient;
use wire::secret_service_client::SecretServiceClient;

use super::account_key::Token;
use super::callers::Callers;
use super::classify;
use super::connection::Dialer;
use super::request::{Plaintext, Request};
use super::request_id;
use super::wire::{Raw, read};
use crate::history::call::{
    AddVersion, Call, ChangeBinding, CreateSecret, EntryChange, UpdateSecret,
};
use crate::history::ids::{FolderId, OpId};
use crate::history::op::Outcome;

/// The condition on the current version.
const IF_VERSION: &str = "x-if-version";
/// The name of a logical mutation (`contract §10`).
const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// As many versions as one page can hold (`contract §2.11`).
const PAGE_SIZE: i64 = 1000;
/// A client of one node. Makes one attempt for each call, and connects again only when the
/// connection it had is known to be of no use.
#[derive(Debug)]
pub struct LockboxClient {
    dialer: Dialer,
    callers: Callers,
    folder: String,
    deadline: Duration,
    channel: Option<Channel>,
    /// What goes out next is this operation.
    op: Option<OpId>,
}

impl LockboxClient {
    /// A client that has not connected yet. A call may take `deadline`, connecting apart.
    #[must_use]
    pub const fn new(dialer: Dialer, callers: Callers, folder: String, deadline: Duration) -> Self {
        Self { dialer, callers, folder, deadline, channel: None, op: None }
    }

    /// Names the operation that goes out next, for the audit of whoever serves it.
    pub const fn is_about_to_ask(&mut self, op: OpId) {
        self.op = Some(op);
    }

    /// Asks once.
    pub async fn call(&mut self, request: &Request) -> Outcome {
        // A node ends its work a tenth earlier, so its own word that time is over arrives.
        self.ask(request, self.deadline, "no answer in time").await
    }

    /// Asks once and goes away after a while, with the connection: what a client does that dies.
    /// The caller has no answer then, whatever the node does.
    pub async fn call_and_leave(&mut self, request: &Request, after: Duration) -> Outcome {
        self.ask(request, after, "the client went away").await
    }

    async fn ask(&mut self, request: &Request, patience: Duration, given_up: &str) -> Outcome {
        let call = request.call();
        let channel = match self.channel.take() {
            Some(channel) => channel,
            None => match self.dialer.connect().await {
                Ok(channel) => channel,
                Err(sentence) => return classify::unreachable(sentence),
            },
        };
        let sent = timeout(patience, self.send(channel.clone(), request)).await;
        match sent {
            Ok(Ok((metadata, raw))) => {
                self.channel = Some(channel);
                classify::answered(call, &metadata, read(call, &self.folder, raw))
            }
            Ok(Err(status)) => {
                // Said by the node, so the connection works.
                if std::error::Error::source(&status).is_none() {
                    self.channel = Some(channel);
                }
                classify::failed(call, &status)
            }
            Err(_elapsed) => classify::given_up(call, given_up),
        }
    }

    async fn send(
        &self,
        channel: Channel,
        request: &Request,
    ) -> Result<(MetadataMap, Raw), Status> {
        let mut secrets = SecretServiceClient::new(channel.clone());
        let raw = match request.call() {
            Call::GetSecret(call) => {
                let secret_id = call.secret.to_string();
                let message = self.dress(request, wire::GetSecretRequest { secret_id });
                return parts(secrets.get(message).await?, |secret| Raw::Secret(Box::new(secret)));
            }
            Call::ListVersions(call) => {
                let message = wire::ListVersionsRequest {
                    secret_id: call.secret.to_string(),
                    page_size: PAGE_SIZE,
                    page_token: String::new(),
                };
                let answer = secrets.list_versions(self.dress(request, message)).await?;
                return parts(answer, Raw::Versions);
            }
            Call::ListSecrets(call) => {
                let message = wire::ListSecretsRequest {
                    folder_id: call.folder.to_string(),
                    page_size: i64::from(call.page_size),
                    page_token: text(call.token.as_ref()),
                };
                let answer = secrets.list(self.dress(request, message)).await?;
                return parts(answer, Raw::Secrets);
            }
            Call::GetPayload(call) => {
                let message = wire::GetPayloadRequest {
                    secret_id: call.secret.to_string(),
                    version_id: text(call.version.as_ref()),
                };
                let mut payloads = PayloadServiceClient::new(channel);
                let answer = payloads.get(self.dress(request, message)).await?;
                return parts(answer, Raw::Payload);
            }
            Call::RevokeToken(call) => {
                let token = self.callers.spare(&call.token).map(Token::text);
                let iam_token = token.unwrap_or_default().to_string();
                let message = iam::RevokeIamTokenRequest { iam_token };
                let mut tokens = IamTokenServiceClient::new(channel);
                let answer = tokens.revoke(self.dress(request, message)).await?;
                return parts(answer, |_| Raw::Revoked);
            }
            Call::CreateSecret(call) => {
                let message = create(call, request.values(), &self.folder);
                secrets.create(self.dress(request, message)).await?
            }
            Call::AddVersion(call) => {
                let message = add_version(call, request.values());
                secrets.add_version(self.dress(request, message)).await?
            }
            Call::SetCurrentVersion(call) => {
                let secret_id = call.secret.to_string();
                let version_id = call.version.to_string();
                let message = wire::SetCurrentVersionRequest { secret_id, version_id };
                secrets.set_current_version(self.dress(request, message)).await?
            }
            Call::ScheduleDestruction(call) => {
                let message = wire::ScheduleVersionDestructionRequest {
                    secret_id: call.secret.to_string(),
                    version_id: call.version.to_string(),
                    pending_period: call.pending_ms.map(duration),
                };
                secrets.schedule_version_destruction(self.dress(request, message)).await?
            }
            Call::CancelDestruction(call) => {
                let secret_id = call.secret.to_string();
                let version_id = call.version.to_string();
                let message = wire::CancelVersionDestructionRequest { secret_id, version_id };
                secrets.cancel_version_destruction(self.dress(request, message)).await?
            }
            Call::Activate(call) => {
                let secret_id = call.secret.to_string();
                let message = wire::ActivateSecretRequest { secret_id };
                secrets.activate(self.dress(request, message)).await?
            }
            Call::Deactivate(call) => {
                let secret_id = call.secret.to_string();
                let message = wire::DeactivateSecretRequest { secret_id };
                secrets.deactivate(self.dress(request, message)).await?
            }
            Call::DeleteSecret(call) => {
                let secret_id = call.secret.to_string();
                let message = wire::DeleteSecretRequest { secret_id };
                secrets.delete(self.dress(request, message)).await?
            }
            Call::UpdateSecret(call) => secrets.update(self.dress(request, update(call))).await?,
            Call::ChangeBinding(call) => {
                secrets.update_access_bindings(self.dress(request, binding(call))).await?
            }
        };
        parts(raw, |operation| Raw::Operation(Box::new(operation)))
    }

    /// The message with the token, the deadline and the conditions of the call.
    fn dress<M>(&self, request: &Request, message: M) -> tonic::Request<M> {
        let mut dressed = tonic::Request::new(message);
        dressed.set_timeout(self.deadline);
        let bearer = self.callers.bearer(request.subject.as_ref(), request.token.as_ref());
        let metadata = dressed.metadata_mut();
        metadata.insert("authorization", bearer);
        let condition = request.call().if_version().map(|version| (IF_VERSION, version.as_str()));
        let key = request.idempotency_key.as_ref().map(|key| (IDEMPOTENCY_KEY, key.as_str()));
        let id = self.op.map(request_id::request_id);
        let id = id.as_deref().map(|id| (request_id::HEADER, id));
        for (name, value) in condition.into_iter().chain(key).chain(id) {
            // What no header can hold is no id that a node has made, nor one that we make.
            if let Ok(value) = value.parse() {
                metadata.insert(name, value);
            }
        }
        dressed
    }
}

fn parts<M>(
    response: Response<M>,
    raw: impl FnOnce(M) -> Raw,
) -> Result<(MetadataMap, Raw), Status> {
    let (metadata, message, _) = response.into_parts();
    Ok((metadata, raw(message)))
}

fn create(
    call: &CreateSecret,
    values: &[Option<Plaintext>],
    folder: &str,
) -> wire::CreateSecretRequest {
    let (description, entries) = match &call.first {
        Some(first) => (first.description.clone(), changes(&first.entries, values)),
        None => (String::new(), Vec::new()),
    };
    wire::CreateSecretRequest {
        folder_id: call.folder.as_ref().map_or(folder, FolderId::as_str).to_owned(),
        name: call.name.clone(),
        kms_key_id: text(call.kms_key.as_ref()),
        version_description: description,
        version_payload_entries: entries,
        deletion_protection: call.deletion_protection,
        ..Default::default()
    }
}

fn add_version(call: &AddVersion, values: &[Option<Plaintext>]) -> wire::AddVersionRequest {
    wire::AddVersionRequest {
        secret_id: call.secret.to_string(),
        description: call.description.clone(),
        payload_entries: changes(&call.changes, values),
        base_version_id: text(call.base.as_ref()),
    }
}

fn update(call: &UpdateSecret) -> wire::UpdateSecretRequest {
    let masked = [
        ("name", call.name.is_some()),
        ("description", call.description.is_some()),
        ("labels", call.labels.is_some()),
        ("deletion_protection", call.deletion_protection.is_some()),
    ];
    let paths = masked.into_iter().filter(|(_, given)| *given).map(|(path, _)| path.to_owned());
    wire::UpdateSecretRequest {
        secret_id: call.secret.to_string(),
        update_mask: Some(FieldMask { paths: paths.collect() }),
        name: call.name.clone().unwrap_or_default(),
        description: call.description.clone().unwrap_or_default(),
        labels: call.labels.clone().unwrap_or_default().into_iter().collect(),
        deletion_protection: call.deletion_protection.unwrap_or_default(),
        ..Default::default()
    }
}

fn binding(call: &ChangeBinding) -> access::UpdateAccessBindingsRequest {
    use access::AccessBindingAction::{Add, Remove};
    let subject =
        access::Subject { id: call.member.to_string(), r#type: "serviceAccount".to_owned() };
    let delta = access::AccessBindingDelta {
        action: if call.grant { Add } else { Remove } as i32,
        access_binding: Some(access::AccessBinding {
            role_id: call.role.clone(),
            subject: Some(subject),
        }),
    };
    access::UpdateAccessBindingsRequest {
        resource_id: call.secret.to_string(),
        access_binding_deltas: vec![delta],
    }
}

fn changes(entries: &[EntryChange], values: &[Option<Plaintext>]) -> Vec<wire::PayloadEntryChange> {
    let change = |(entry, value): (&EntryChange, &Option<Plaintext>)| wire::PayloadEntryChange {
        key: entry.key.to_string(),
        value: value.as_ref().map(|value| match value {
            Plaintext::Text(text) => Value::TextValue(text.to_string()),
            Plaintext::Binary(bytes) => Value::BinaryValue(bytes.to_vec()),
        }),
    };
    entries.iter().zip(values).map(change).collect()
}

fn duration(ms: u64) -> prost_types::Duration {
    let seconds = i64::try_from(ms / 1000).unwrap_or(i64::MAX);
    // Below 1000 million, so it fits.
    let nanos = i32::try_from(ms % 1000 * 1_000_000).unwrap_or(0);
    prost_types::Duration { seconds, nanos }
}

fn text(id: Option<&impl ToString>) -> String {
    id.map(ToString::to_string).unwrap_or_default()
}
