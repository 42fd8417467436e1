//! A client that is logged in, of one node or of the KMS.

use std::time::Duration;

use lockbox_core::Clock;
use lockbox_platform::authorized_key::{AuthorizedKeyFile, sign_jwt};
use lockbox_platform::jwt::AUDIENCE;
use lockbox_platform::system::SystemClock;
use lockbox_proto::yandex::cloud::iam::v1::CreateIamTokenRequest;
use lockbox_proto::yandex::cloud::iam::v1::create_iam_token_request::Identity;
use lockbox_proto::yandex::cloud::iam::v1::iam_token_service_client::IamTokenServiceClient;
use lockbox_proto::yandex::cloud::kms::v1 as kms;
use lockbox_proto::yandex::cloud::kms::v1::symmetric_key_service_client::SymmetricKeyServiceClient;
use lockbox_proto::yandex::cloud::lockbox::v1 as wire;
use lockbox_proto::yandex::cloud::lockbox::v1::payload_service_client::PayloadServiceClient;
use lockbox_proto::yandex::cloud::lockbox::v1::secret_service_client::SecretServiceClient;
use lockbox_proto::yandex::cloud::operation::Operation;
use tonic::transport::Channel;
use tonic::{Request, Status};

use crate::cluster::{Cluster, Part};
use crate::messages::{metadata, response, values};

/// How long a call may take; a cluster that elects a leader needs some of it.
const CALL: Duration = Duration::from_secs(30);

/// Calls of one subject to one server.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) channel: Channel,
    token: String,
    pub(crate) folder: String,
}

impl Cluster {
    /// The administrator at a server.
    pub(crate) fn admin(&self, part: Part) -> Client {
        let variable = |name| self.variable(name).to_owned();
        let (token, folder) = (variable("LOCKBOX_TOKEN"), variable("LOCKBOX_FOLDER_ID"));
        Client { channel: self.channel(part), token, folder }
    }
}

impl Client {
    /// Another subject at the same server.
    pub(crate) fn with_token(&self, token: &str) -> Self {
        Self { token: token.to_owned(), ..self.clone() }
    }

    /// A request of this subject.
    pub(crate) fn request<M>(&self, message: M) -> Request<M> {
        let mut request = Request::new(message);
        request.set_timeout(CALL);
        let bearer = format!("Bearer {}", self.token).parse().unwrap();
        request.metadata_mut().insert("authorization", bearer);
        request
    }

    pub(crate) fn secrets(&self) -> SecretServiceClient<Channel> {
        SecretServiceClient::new(self.channel.clone())
    }

    pub(crate) fn payloads(&self) -> PayloadServiceClient<Channel> {
        PayloadServiceClient::new(self.channel.clone())
    }

    /// A new secret with these entries, as a request.
    pub(crate) fn new_secret(
        &self,
        kms_key_id: &str,
        entries: Vec<wire::PayloadEntryChange>,
    ) -> wire::CreateSecretRequest {
        wire::CreateSecretRequest {
            folder_id: self.folder.clone(),
            kms_key_id: kms_key_id.to_owned(),
            version_payload_entries: entries,
            ..Default::default()
        }
    }

    /// Creates a secret under this key, the common one when it is empty; its id.
    pub(crate) async fn create(
        &self,
        kms_key_id: &str,
        entries: Vec<wire::PayloadEntryChange>,
    ) -> String {
        let request = self.request(self.new_secret(kms_key_id, entries));
        let operation = self.secrets().create(request).await.unwrap().into_inner();
        response::<wire::Secret>(&operation).id
    }

    pub(crate) async fn add(
        &self,
        secret: &str,
        entries: Vec<wire::PayloadEntryChange>,
    ) -> Result<Operation, Status> {
        let request = wire::AddVersionRequest {
            secret_id: secret.to_owned(),
            payload_entries: entries,
            ..Default::default()
        };
        Ok(self.secrets().add_version(self.request(request)).await?.into_inner())
    }

    /// The current values.
    pub(crate) async fn read(&self, secret: &str) -> Result<Vec<(String, Vec<u8>)>, Status> {
        let request = wire::GetPayloadRequest { secret_id: secret.into(), ..Default::default() };
        Ok(values(self.payloads().get(self.request(request)).await?.into_inner()))
    }

    /// Makes a symmetric key; this client is one of the KMS.
    pub(crate) async fn create_kms_key(&self) -> String {
        let request = kms::CreateSymmetricKeyRequest {
            folder_id: self.folder.clone(),
            name: "own".to_owned(),
            default_algorithm: kms::SymmetricAlgorithm::Aes256.into(),
            ..Default::default()
        };
        let mut keys = SymmetricKeyServiceClient::new(self.channel.clone());
        let operation = keys.create(self.request(request)).await.unwrap().into_inner();
        metadata::<kms::CreateSymmetricKeyMetadata>(&operation).key_id
    }

    /// A JWT that this key signs.
    pub(crate) fn sign(&self, key: &AuthorizedKeyFile) -> String {
        let now_ms = SystemClock::new().wall_ms();
        sign_jwt(key, AUDIENCE, now_ms, Duration::from_secs(300)).unwrap().expose().clone()
    }

    /// Exchanges a JWT that this key signs for a token; both.
    pub(crate) async fn log_in(&self, key: &AuthorizedKeyFile) -> (String, String) {
        let jwt = self.sign(key);
        let request = CreateIamTokenRequest { identity: Some(Identity::Jwt(jwt.clone())) };
        let mut tokens = IamTokenServiceClient::new(self.channel.clone());
        (jwt, tokens.create(request).await.unwrap().into_inner().iam_token)
    }
}
