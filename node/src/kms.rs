//! The KMS as the node uses it: system calls for the keyring, calls on behalf of callers for
//! secrets with an own key.
//!
//! Speaks the public KMS API (`contract §1.6`), so another KMS of that API takes its place by an
//! address and a token (`identity`). One call for each access; nothing is cached (`design §6`).
//! While the KMS does not answer, calls fail at once (`breaker`).

mod asked;
mod audit_head;
mod breaker;
mod identity;
mod line;
mod metrics;
pub mod operations;
mod refusal;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use lockbox_core::{KmsKeyId, KmsKeyVersionId, Randomness, Sensitive, SensitiveBytes};
use lockbox_platform::headers;
use lockbox_platform::metrics::{Metrics, MetricsError};
use lockbox_platform::request_layer::code_name;
use lockbox_platform::status::ApiError;
use lockbox_platform::trace;
use lockbox_proto::lockbox::kms::v1::key_access_service_client::KeyAccessServiceClient;
use lockbox_proto::lockbox::kms::v1::{CallerAssertion, CheckAttachRequest};
use lockbox_proto::yandex::cloud::kms::v1 as wire;
use lockbox_proto::yandex::cloud::kms::v1::symmetric_crypto_service_client::SymmetricCryptoServiceClient;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::metadata::MetadataMap;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status};
use tracing::Instrument;
use tracing::field::Empty;

use self::asked::KmsCall;
use self::breaker::Breaker;
pub use self::breaker::Load;
pub use self::identity::KmsIdentity;
use self::line::Line;
use self::metrics::CallMetrics;
pub use self::metrics::KmsCollector;
use self::refusal::{RETRY_AFTER, Step, Unanswered, failed, was_answered};

/// How often the connection is probed: a KMS that hangs must not be waited for much longer than
/// one that is gone.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(3);
/// How long a probe may stay unanswered.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long one call may take, whatever time its caller has: a KMS that works on it for longer is
/// not waited for.
const CALL_MAX: Duration = Duration::from_secs(10);
/// A call that ends without an answer in less than this says nothing of the KMS: its caller was in
/// a hurry, and hurried callers must not keep the others from a KMS that is well.
const PATIENCE: Duration = Duration::from_secs(1);

/// Sets what the channel to the KMS has beside what every one has: a connection on which nothing
/// comes back any more is given up within seconds.
#[must_use]
pub fn kms_endpoint(endpoint: Endpoint) -> Endpoint {
    endpoint
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
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
    line: Arc<Line>,
    hung_up: CancellationToken,
    breaker: Arc<Breaker>,
    identity: KmsIdentity,
    /// Nothing where nobody looks, as in a test.
    measured: Option<CallMetrics>,
}

impl KmsClient {
    /// A client over channels that present the node's certificate. Clones share the channel and
    /// what they know of the KMS.
    #[must_use]
    pub fn new(
        connect: impl Fn() -> Channel + Send + Sync + 'static,
        random: Arc<dyn Randomness>,
    ) -> Self {
        Self {
            line: Arc::new(Line::new(Box::new(connect))),
            hung_up: CancellationToken::new(),
            breaker: Arc::new(Breaker::new(random)),
            identity: KmsIdentity::default(),
            measured: None,
        }
    }

    /// The same, as somebody else to the KMS.
    #[must_use]
    pub fn identified_by(self, identity: KmsIdentity) -> Self {
        Self { identity, ..self }
    }

    /// The same; its calls are counted and timed here.
    ///
    /// # Errors
    /// [`MetricsError`] when another client's are.
    pub fn measured_by(self, metrics: &Metrics) -> Result<Self, MetricsError> {
        Ok(Self { measured: Some(CallMetrics::register(metrics)?), ..self })
    }

    /// How many calls there are.
    #[must_use]
    pub fn load(&self) -> Load {
        self.breaker.load()
    }

    /// Whether the KMS judges the rights of callers on its keys; otherwise whoever asks it does.
    #[must_use]
    pub const fn knows_callers(&self) -> bool {
        self.identity.knows_callers()
    }

    /// Goes on over another connection: what came over the present one leaves the memory of this
    /// process when the last call on it has ended. Keys stay in the buffers of a connection that is
    /// quiet.
    pub fn renew_connection(&self) {
        self.line.renew();
    }

    fn crypto(&self) -> SymmetricCryptoServiceClient<Channel> {
        SymmetricCryptoServiceClient::new(self.line.channel())
    }

    /// Lets all who wait for the KMS go with UNAVAILABLE, now and later: the node stops, and a call
    /// that waited on would end without its audit record.
    pub fn hang_up(&self) {
        self.hung_up.cancel();
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
        let (mut client, identity) = (self.crypto(), &self.identity);
        let ask = move |until| async move {
            client.encrypt(identity.own(within(request, until)).await?).await
        };
        let response =
            self.in_time(KmsCall::WrapKeyring, deadline, ask).await.map_err(Status::from)?;
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
        let (mut client, identity) = (self.crypto(), &self.identity);
        let ask = move |until| async move {
            client.decrypt(identity.own(within(request, until)).await?).await
        };
        let response =
            self.in_time(KmsCall::UnwrapKeyring, deadline, ask).await.map_err(Status::from)?;
        Ok(Sensitive::new(response.into_inner().plaintext))
    }

    /// Asks whether the caller may attach a key that nothing is encrypted with yet
    /// (`contract §13` no. 19). Not billed. A KMS that does not know the question, or no callers,
    /// is taken to say yes: the first version decides there.
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
        if !self.knows_callers() {
            return Ok(None);
        }
        let message = CheckAttachRequest { key_id: key.to_string() };
        let identity = &self.identity;
        let mut client = KeyAccessServiceClient::new(self.line.channel());
        let ask = move |until| async move {
            client.check_attach(identity.on_behalf(within(message, until), assertion).await?).await
        };
        match self.in_time(KmsCall::CheckAttach, deadline, ask).await {
            Ok(response) => Ok(kms_index(response.metadata())),
            Err(Unanswered::Status(status)) if status.code() == Code::Unimplemented => Ok(None),
            Err(unanswered) => Err(self.failed(&unanswered, key, Step::Make(KeyOrigin::Request))),
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
        let (mut client, identity) = (self.crypto(), &self.identity);
        let ask = move |until| async move {
            let request = identity.on_behalf(within(request, until), assertion).await?;
            client.generate_data_key(request).await
        };
        let answer = self.in_time(KmsCall::GenerateDataKey, deadline, ask).await;
        let response = answer.map_err(|none| self.failed(&none, key, Step::Make(origin)))?;
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
        let (mut client, identity) = (self.crypto(), &self.identity);
        let ask = move |until| async move {
            client.decrypt(identity.on_behalf(within(request, until), assertion).await?).await
        };
        let answer = self.in_time(KmsCall::DecryptDataKey, deadline, ask).await;
        let response = answer.map_err(|none| self.failed(&none, key, Step::Open))?;
        let kms_index = kms_index(response.metadata());
        let plaintext = Sensitive::new(response.into_inner().plaintext);
        Ok(OpenedDataKey { plaintext, kms_index })
    }

    /// What it means for the secret that the KMS did not say yes.
    fn failed(&self, unanswered: &Unanswered, key: &KmsKeyId, step: Step) -> ApiError {
        failed(unanswered, key, step, self.pause())
    }

    /// When one caller may try again: not the same time as the others.
    fn pause(&self) -> Duration {
        self.breaker.around(RETRY_AFTER)
    }

    /// Asks once the breaker lets it, and waits for an answer no longer than the caller does, or
    /// the node runs. The deadline in the request is the KMS's to keep, and the transport's once
    /// there is a connection: the wait for one has no other end. The request is made when it is
    /// sent, so that it carries the end of the wait as it is then.
    async fn in_time<T, F>(
        &self,
        call: KmsCall,
        deadline: Instant,
        ask: impl FnOnce(Instant) -> F,
    ) -> Result<Response<T>, Unanswered>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let ticket = tokio::select! {
            // ORDER: what has not been sent when the node stops is not sent: it would be billed.
            biased;
            () = self.hung_up.cancelled() => return Err(hung_up()),
            ticket = self.breaker.enter(deadline) => ticket.map_err(Unanswered::NotAsked)?,
        };
        let span = tracing::trace_span!(
            target: "lockbox_trace",
            "call_kms",
            operation = call.name(),
            code = Empty,
        );
        let traced = span.clone();
        let begun = Instant::now();
        let until = deadline.min(begun + CALL_MAX);
        let answer = tokio::select! {
            biased;
            () = self.hung_up.cancelled() => return Err(hung_up()),
            answer = ask(until).instrument(span) => answer,
            () = tokio::time::sleep_until(until) => {
                Err(Status::deadline_exceeded("no answer in time"))
            }
        };
        let code = answer.as_ref().err().map_or(Code::Ok, Status::code);
        traced.record("code", code_name(code));
        if let Some(measured) = &self.measured {
            measured.note(call, answer.as_ref().err(), begun.elapsed());
        }
        match was_answered(answer.as_ref().err(), begun.elapsed()) {
            Some(true) => ticket.answered(),
            Some(false) => ticket.failed(),
            None => drop(ticket),
        }
        answer.map_err(Unanswered::Status)
    }
}

/// The node stops.
fn hung_up() -> Unanswered {
    Unanswered::Status(Status::unavailable("the node is shutting down"))
}

/// A request that nobody waits for any longer than this.
fn within<T>(message: T, deadline: Instant) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(deadline.saturating_duration_since(Instant::now()));
    trace::tell(request.metadata_mut());
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
