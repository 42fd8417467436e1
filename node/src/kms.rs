//! The KMS as the node uses it: system calls for the keyring, calls on behalf of callers for
//! secrets with an own key.
//!
//! Speaks the public KMS API (`contract §1.6`), so another KMS of that API takes its place by an
//! address and an identity. One call for each access; nothing is cached (`design §6`).

use std::time::Duration;

use lockbox_core::{KmsKeyId, KmsKeyVersionId, Sensitive, SensitiveBytes};
use lockbox_platform::status::{ApiError, ErrorKind, Outcome, Precondition};
use lockbox_proto::lockbox::kms::v1::CallerAssertion;
use lockbox_proto::yandex::cloud::kms::v1 as wire;
use lockbox_proto::yandex::cloud::kms::v1::symmetric_crypto_service_client::SymmetricCryptoServiceClient;
use prost::Message;
use tokio::time::Instant;
use tonic::metadata::{BinaryMetadataValue, MetadataMap};
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

/// Metadata that carries the caller's assertion.
const ASSERTION_HEADER: &str = "lockbox-assertion-bin";
/// Metadata that carries the KMS's commit sequence; passed on to the caller.
const KMS_INDEX_HEADER: &str = "kms-index";
/// When a caller may try again while the KMS does not answer.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// A data key made by the KMS.
pub struct GeneratedDataKey {
    /// The key in clear.
    pub plaintext: SensitiveBytes,
    /// The key under the customer's key.
    pub ciphertext: Vec<u8>,
    /// The version of the customer's key that wrapped it.
    pub key_version_id: KmsKeyVersionId,
    /// The KMS's commit sequence.
    pub kms_index: Option<String>,
}

/// A data key opened by the KMS.
pub struct OpenedDataKey {
    /// The key in clear.
    pub plaintext: SensitiveBytes,
    /// The KMS's commit sequence.
    pub kms_index: Option<String>,
}

/// A client of the KMS over one multiplexed, lazily connected channel.
#[derive(Clone)]
pub struct KmsClient {
    crypto: SymmetricCryptoServiceClient<Channel>,
}

impl KmsClient {
    /// A client over a channel that presents the node's certificate.
    #[must_use]
    pub fn new(channel: Channel) -> Self {
        Self { crypto: SymmetricCryptoServiceClient::new(channel) }
    }

    /// Encrypts under the system key, as the node itself.
    ///
    /// # Errors
    /// [`Status`] as the KMS or the transport gave it.
    pub async fn system_encrypt(
        &self,
        system_key_id: &str,
        associated_data: Vec<u8>,
        plaintext: &SensitiveBytes,
        deadline: Instant,
    ) -> Result<Vec<u8>, Status> {
        let request = wire::SymmetricEncryptRequest {
            key_id: system_key_id.to_owned(),
            version_id: String::new(),
            aad_context: associated_data,
            plaintext: plaintext.expose().clone(),
        };
        let response = self.crypto.clone().encrypt(within(request, deadline)).await?;
        Ok(response.into_inner().ciphertext)
    }

    /// Decrypts under the system key, as the node itself.
    ///
    /// # Errors
    /// [`Status`] as the KMS or the transport gave it.
    pub async fn system_decrypt(
        &self,
        system_key_id: &str,
        associated_data: Vec<u8>,
        ciphertext: Vec<u8>,
        deadline: Instant,
    ) -> Result<SensitiveBytes, Status> {
        let request = wire::SymmetricDecryptRequest {
            key_id: system_key_id.to_owned(),
            aad_context: associated_data,
            ciphertext,
        };
        let response = self.crypto.clone().decrypt(within(request, deadline)).await?;
        Ok(Sensitive::new(response.into_inner().plaintext))
    }

    /// Makes a data key under a customer's key, on behalf of the caller.
    ///
    /// # Errors
    /// [`ApiError`], already mapped for the caller of a secret's method.
    pub async fn generate_data_key(
        &self,
        key: &KmsKeyId,
        assertion: &CallerAssertion,
        associated_data: Vec<u8>,
        deadline: Instant,
    ) -> Result<GeneratedDataKey, ApiError> {
        let request = wire::GenerateDataKeyRequest {
            key_id: key.to_string(),
            version_id: String::new(),
            aad_context: associated_data,
            data_key_spec: wire::SymmetricAlgorithm::Aes256.into(),
            skip_plaintext: false,
        };
        let request = on_behalf(within(request, deadline), assertion);
        let answer = self.crypto.clone().generate_data_key(request).await;
        let response = answer.map_err(|status| refused(&status, key))?;
        let kms_index = kms_index(response.metadata());
        let response = response.into_inner();
        let plaintext = Sensitive::new(response.data_key_plaintext);
        let key_version_id = KmsKeyVersionId::parse(&response.version_id)
            .map_err(|_| ApiError::internal("the KMS answered with a malformed version id"))?;
        let ciphertext = response.data_key_ciphertext;
        Ok(GeneratedDataKey { plaintext, ciphertext, key_version_id, kms_index })
    }

    /// Opens a data key under a customer's key, on behalf of the caller: one billed operation.
    ///
    /// # Errors
    /// [`ApiError`], already mapped for the caller of a secret's method.
    pub async fn decrypt_data_key(
        &self,
        key: &KmsKeyId,
        assertion: &CallerAssertion,
        associated_data: Vec<u8>,
        ciphertext: Vec<u8>,
        deadline: Instant,
    ) -> Result<OpenedDataKey, ApiError> {
        let key_id = key.to_string();
        let request =
            wire::SymmetricDecryptRequest { key_id, aad_context: associated_data, ciphertext };
        let request = on_behalf(within(request, deadline), assertion);
        let answer = self.crypto.clone().decrypt(request).await;
        let response = answer.map_err(|status| refused(&status, key))?;
        let kms_index = kms_index(response.metadata());
        let plaintext = Sensitive::new(response.into_inner().plaintext);
        Ok(OpenedDataKey { plaintext, kms_index })
    }
}

/// A request that ends with its caller's deadline.
fn within<T>(message: T, deadline: Instant) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(deadline.saturating_duration_since(Instant::now()));
    request
}

fn on_behalf<T>(mut request: Request<T>, assertion: &CallerAssertion) -> Request<T> {
    let value = BinaryMetadataValue::from_bytes(&assertion.encode_to_vec());
    request.metadata_mut().insert_bin(ASSERTION_HEADER, value);
    request
}

fn kms_index(metadata: &MetadataMap) -> Option<String> {
    metadata.get(KMS_INDEX_HEADER)?.to_str().ok().map(str::to_owned)
}

/// What a refusal of the KMS means for the secret (`contract §3.4`).
///
/// A key that is gone is a state of the secret, never NOT_FOUND: clients would believe that the
/// secret is gone (`contract §5.2`).
fn refused(status: &Status, key: &KmsKeyId) -> ApiError {
    let unusable = |description: &str| {
        ErrorKind::FailedPrecondition(Precondition {
            kind: "KMS_KEY",
            subject: key.to_string(),
            description: description.to_owned(),
        })
    };
    let (kind, message) = match status.code() {
        Code::NotFound => (unusable("the key does not exist"), "the secret's key is unusable"),
        Code::FailedPrecondition => {
            (unusable("the key or its version is not active"), "the secret's key is unusable")
        }
        Code::PermissionDenied => (ErrorKind::PermissionDenied, "permission denied on the KMS key"),
        Code::InvalidArgument | Code::DataLoss => {
            (ErrorKind::DataLoss, "the secret's data key does not open")
        }
        Code::Unauthenticated => (ErrorKind::Unauthenticated, "the KMS refused the caller"),
        Code::DeadlineExceeded => (ErrorKind::DeadlineExceeded, "the KMS did not answer in time"),
        Code::Ok
        | Code::Cancelled
        | Code::Unknown
        | Code::AlreadyExists
        | Code::ResourceExhausted
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::Internal
        | Code::Unavailable => {
            let retry_after = Some(RETRY_AFTER);
            (ErrorKind::Unavailable { retry_after }, "the KMS is not available")
        }
    };
    let error = ApiError::new(kind, message, Outcome::NotProposed);
    match kms_index(status.metadata()) {
        Some(index) => error.with_header(KMS_INDEX_HEADER, index),
        None => error,
    }
}
