//! The KMS as the node uses it: system calls for the keyring, calls on behalf of callers for
//! secrets with an own key.
//!
//! Speaks the public KMS API (`contract §1.6`), so another KMS of that API takes its place by an
//! address and an identity. One call for each access; nothing is cached (`design §6`).

use std::future::Future;
use std::time::Duration;

use lockbox_core::{KmsKeyId, KmsKeyVersionId, Sensitive, SensitiveBytes};
use lockbox_platform::headers;
use lockbox_platform::status::{ApiError, ErrorKind, FieldViolation, Outcome, Precondition};
use lockbox_proto::lockbox::kms::v1::key_access_service_client::KeyAccessServiceClient;
use lockbox_proto::lockbox::kms::v1::{CallerAssertion, CheckAttachRequest};
use lockbox_proto::yandex::cloud::kms::v1 as wire;
use lockbox_proto::yandex::cloud::kms::v1::symmetric_crypto_service_client::SymmetricCryptoServiceClient;
use prost::Message;
use tokio::time::Instant;
use tonic::metadata::{BinaryMetadataValue, MetadataMap};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status};

/// Metadata that carries the caller's assertion.
const ASSERTION_HEADER: &str = "lockbox-assertion-bin";
/// When a caller may try again while the KMS does not answer.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// How often the connection is probed: a KMS that hangs must not be waited for much longer than
/// one that is gone.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(3);
/// How long a probe may stay unanswered.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(2);

/// A channel to the KMS that connects when it is first used. A connection on which nothing comes
/// back any more is given up within seconds.
#[must_use]
pub fn kms_channel(endpoint: Endpoint) -> Channel {
    endpoint
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .connect_lazy()
}

/// Where a key's id came from: who can mend it when the KMS does not know what to do with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyOrigin {
    /// The request names it in `kms_key_id`.
    Request,
    /// The secret has it.
    Secret,
}

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
    access: KeyAccessServiceClient<Channel>,
}

impl KmsClient {
    /// A client over a channel that presents the node's certificate.
    #[must_use]
    pub fn new(channel: Channel) -> Self {
        Self {
            crypto: SymmetricCryptoServiceClient::new(channel.clone()),
            access: KeyAccessServiceClient::new(channel),
        }
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
        let mut client = self.crypto.clone();
        let response = in_time(deadline, client.encrypt(within(request, deadline))).await?;
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
        let mut client = self.crypto.clone();
        let response = in_time(deadline, client.decrypt(within(request, deadline))).await?;
        Ok(Sensitive::new(response.into_inner().plaintext))
    }

    /// Asks whether the caller may attach a key that nothing is encrypted with yet
    /// (`contract §13` no. 19). Not billed. A KMS that does not know the question is taken to say
    /// yes: the first version decides there.
    ///
    /// Gives the KMS's commit sequence.
    ///
    /// # Errors
    /// [`ApiError`], already mapped for the caller of a secret's method.
    pub async fn check_attach(
        &self,
        key: &KmsKeyId,
        assertion: &CallerAssertion,
        deadline: Instant,
    ) -> Result<Option<String>, ApiError> {
        let message = CheckAttachRequest { key_id: key.to_string() };
        let request = on_behalf(within(message, deadline), assertion);
        let mut client = self.access.clone();
        match in_time(deadline, client.check_attach(request)).await {
            Ok(response) => Ok(kms_index(response.metadata())),
            Err(status) if status.code() == Code::Unimplemented => Ok(None),
            Err(status) => Err(refused(&status, key, Step::Make(KeyOrigin::Request))),
        }
    }

    /// Makes a data key under a customer's key, on behalf of the caller.
    ///
    /// # Errors
    /// [`ApiError`], already mapped for the caller of a secret's method.
    pub async fn generate_data_key(
        &self,
        key: &KmsKeyId,
        origin: KeyOrigin,
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
        let mut client = self.crypto.clone();
        let answer = in_time(deadline, client.generate_data_key(request)).await;
        let response = answer.map_err(|status| refused(&status, key, Step::Make(origin)))?;
        let kms_index = kms_index(response.metadata());
        let response = response.into_inner();
        let plaintext = Sensitive::new(response.data_key_plaintext);
        let key_version_id = KmsKeyVersionId::parse(&response.version_id).map_err(|_| {
            let error = ApiError::internal("the KMS answered with a malformed version id");
            with_kms_index(error, kms_index.as_deref())
        })?;
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
        let mut client = self.crypto.clone();
        let answer = in_time(deadline, client.decrypt(request)).await;
        let response = answer.map_err(|status| refused(&status, key, Step::Open))?;
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

/// Waits for an answer no longer than the caller does. The deadline in the request is the KMS's
/// to keep, and the transport's once there is a connection: the wait for one has no other end.
async fn in_time<T>(
    deadline: Instant,
    exchange: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<Response<T>, Status> {
    let answer = tokio::time::timeout_at(deadline, exchange).await;
    answer.unwrap_or_else(|_elapsed| Err(Status::deadline_exceeded("no answer in time")))
}

fn on_behalf<T>(mut request: Request<T>, assertion: &CallerAssertion) -> Request<T> {
    let value = BinaryMetadataValue::from_bytes(&assertion.encode_to_vec());
    request.metadata_mut().insert_bin(ASSERTION_HEADER, value);
    request
}

fn kms_index(metadata: &MetadataMap) -> Option<String> {
    metadata.get(headers::KMS_INDEX)?.to_str().ok().map(str::to_owned)
}

/// An error that comes after the KMS has answered: it reflects the KMS's state as well.
#[must_use]
pub fn with_kms_index(error: ApiError, kms_index: Option<&str>) -> ApiError {
    match kms_index {
        Some(index) => error.with_header(headers::KMS_INDEX, index),
        None => error,
    }
}

/// What the KMS was asked for.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// A new data key, or whether one could be made.
    Make(KeyOrigin),
    /// A stored data key in clear.
    Open,
}

/// What a refusal of the KMS means for the secret (`contract §3.4`).
///
/// A key that is gone is a state of the secret, never NOT_FOUND: clients would believe that the
/// secret is gone (`contract §5.2`). Nothing here is DEADLINE_EXCEEDED: nothing was proposed, and
/// a KMS that does not answer is one that is not available.
fn refused(status: &Status, key: &KmsKeyId, step: Step) -> ApiError {
    let unusable = |description: &str| {
        let kind = ErrorKind::FailedPrecondition(Precondition {
            kind: "KMS_KEY",
            subject: key.to_string(),
            description: description.to_owned(),
        });
        // Who names the key in the request can name another.
        let message = match step {
            Step::Make(KeyOrigin::Request) => format!("kms_key_id: {description}"),
            Step::Make(KeyOrigin::Secret) | Step::Open => "the secret's key is unusable".to_owned(),
        };
        (kind, message)
    };
    let unavailable = |message: &str| {
        (ErrorKind::Unavailable { retry_after: Some(RETRY_AFTER) }, message.to_owned())
    };
    let (kind, message) = match (status.code(), step) {
        (Code::NotFound, _) => unusable("the key does not exist"),
        (Code::FailedPrecondition, _) => unusable("the key or its version is not active"),
        (Code::PermissionDenied, _) => {
            (ErrorKind::PermissionDenied, "permission denied on the KMS key".to_owned())
        }
        (Code::InvalidArgument, Step::Make(KeyOrigin::Request)) => {
            let (field, description) = ("kms_key_id", "is not taken by the KMS");
            let violation =
                FieldViolation { field: field.to_owned(), description: description.to_owned() };
            let message = format!("{field}: {description}");
            (ErrorKind::InvalidArgument(vec![violation]), message)
        }
        (Code::InvalidArgument, Step::Make(KeyOrigin::Secret)) => {
            unusable("the KMS makes no data key under it")
        }
        (Code::InvalidArgument, Step::Open) => {
            (ErrorKind::DataLoss, "the secret's data key does not open".to_owned())
        }
        (Code::DataLoss, _) => {
            (ErrorKind::DataLoss, "the KMS key's material is damaged".to_owned())
        }
        (Code::Unauthenticated, _) => {
            // The caller was authenticated here: what the KMS refuses is this node.
            tracing::error!(reason = status.message(), "the KMS refuses this node");
            unavailable("the KMS does not accept this node")
        }
        (Code::DeadlineExceeded, _) => unavailable("the KMS did not answer in time"),
        (Code::ResourceExhausted, _) => unavailable("the KMS is busy"),
        (
            Code::Ok
            | Code::Cancelled
            | Code::Unknown
            | Code::AlreadyExists
            | Code::Aborted
            | Code::OutOfRange
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable,
            _,
        ) => unavailable("the KMS is not available"),
    };
    let error = ApiError::new(kind, message, Outcome::NotProposed);
    with_kms_index(error, kms_index(status.metadata()).as_deref())
}

#[cfg(test)]
mod tests {
    use lockbox_platform::tls::endpoint;

    use super::*;

    /// As a KMS is that takes connections and says nothing on them. tonic's own deadline does not
    /// run before there is a connection.
    #[tokio::test]
    async fn no_call_waits_for_a_connection_past_its_deadline() {
        let never = tower::service_fn(|_| std::future::pending::<Result<Dead, std::io::Error>>());
        let channel = endpoint("localhost:1", None).unwrap().connect_with_connector_lazy(never);
        let kms = KmsClient::new(channel);
        let deadline = || Instant::now() + Duration::from_millis(20);
        let (key, caller) = (KmsKeyId::parse("abjkey").unwrap(), CallerAssertion::default());

        let unavailable = |error: ApiError| {
            assert_eq!(error.message(), "the KMS did not answer in time");
            assert_eq!(*error.kind(), ErrorKind::Unavailable { retry_after: Some(RETRY_AFTER) });
        };
        let origin = KeyOrigin::Secret;
        unavailable(kms.check_attach(&key, &caller, deadline()).await.unwrap_err());
        let made = kms.generate_data_key(&key, origin, &caller, vec![], deadline()).await;
        unavailable(made.err().unwrap());
        let opened = kms.decrypt_data_key(&key, &caller, vec![], vec![], deadline()).await;
        unavailable(opened.err().unwrap());

        let late = |status: Status| assert_eq!(status.code(), Code::DeadlineExceeded);
        let plaintext = Sensitive::new(vec![1]);
        late(kms.system_encrypt("abjkey", vec![], &plaintext, deadline()).await.unwrap_err());
        late(kms.system_decrypt("abjkey", vec![], vec![], deadline()).await.err().unwrap());
    }

    type Dead = hyper_util::rt::TokioIo<tokio::io::DuplexStream>;

    fn mapped(code: Code, step: Step) -> Code {
        let mut status = Status::new(code, "as the KMS says");
        status.metadata_mut().insert(headers::KMS_INDEX, "7".parse().unwrap());
        let key = KmsKeyId::parse("abjkey").unwrap();
        let answer = refused(&status, &key, step).into_status("r");
        assert_eq!(answer.metadata().get(headers::KMS_INDEX).unwrap(), "7", "{code:?}");
        assert!(answer.metadata().get(headers::OUTCOME).is_some(), "{code:?}");
        answer.code()
    }

    #[test]
    fn refusals_of_the_kms_are_told_by_what_was_asked() {
        let (create, add) = (Step::Make(KeyOrigin::Request), Step::Make(KeyOrigin::Secret));
        for (code, step, expected) in [
            (Code::NotFound, create, Code::FailedPrecondition),
            (Code::NotFound, Step::Open, Code::FailedPrecondition),
            (Code::FailedPrecondition, add, Code::FailedPrecondition),
            (Code::PermissionDenied, Step::Open, Code::PermissionDenied),
            (Code::InvalidArgument, create, Code::InvalidArgument),
            (Code::InvalidArgument, add, Code::FailedPrecondition),
            (Code::InvalidArgument, Step::Open, Code::DataLoss),
            (Code::DataLoss, Step::Open, Code::DataLoss),
            (Code::Unauthenticated, Step::Open, Code::Unavailable),
            (Code::ResourceExhausted, add, Code::Unavailable),
            (Code::DeadlineExceeded, Step::Open, Code::Unavailable),
            (Code::Unavailable, Step::Open, Code::Unavailable),
        ] {
            assert_eq!(mapped(code, step), expected, "{code:?} {step:?}");
        }
    }

    /// `contract §13` no. 19: the key is a field of the request, and a fault in it is one there.
    #[test]
    fn a_key_that_the_request_names_is_named_in_its_refusal() {
        let key = KmsKeyId::parse("abjkey").unwrap();
        let told = |step| refused(&Status::not_found("no key"), &key, step).message().to_owned();
        assert_eq!(told(Step::Make(KeyOrigin::Request)), "kms_key_id: the key does not exist");
        assert_eq!(told(Step::Open), "the secret's key is unusable");
    }

    #[test]
    fn what_may_be_tried_again_says_when() {
        let key = KmsKeyId::parse("abjkey").unwrap();
        for code in [Code::ResourceExhausted, Code::Unauthenticated, Code::DeadlineExceeded] {
            let error = refused(&Status::new(code, ""), &key, Step::Open);
            assert_eq!(*error.kind(), ErrorKind::Unavailable { retry_after: Some(RETRY_AFTER) });
        }
    }
}
