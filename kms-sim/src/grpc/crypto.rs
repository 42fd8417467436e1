//! SymmetricCryptoService: reads requests, hands them to [`crate::crypto`], answers.

use std::sync::Arc;

use lockbox_core::Sensitive;
use lockbox_platform::request_layer::code_name;
use lockbox_platform::status::ApiError;
use lockbox_proto::validate::Validate;
use lockbox_proto::yandex::cloud::kms::v1::symmetric_crypto_service_server::SymmetricCryptoService;
use lockbox_proto::yandex::cloud::kms::v1::{
    GenerateDataKeyRequest, GenerateDataKeyResponse, SymmetricDecryptRequest,
    SymmetricDecryptResponse, SymmetricEncryptRequest, SymmetricEncryptResponse,
    SymmetricReEncryptRequest, SymmetricReEncryptResponse,
};
use tonic::{Code, Request, Response, Status};

use super::attended::attended;
use super::call::Call;
use super::{Edge, convert, events};
use crate::ciphertext::CIPHERTEXT_BYTES_MAX;
use crate::crypto::{self, CryptoInput, CryptoOutput, Observed, Source, Target};
use crate::error::KmsError;
use crate::keys::service::Answer;
use crate::ledger::record::CryptoOperation;

/// The service.
pub(crate) struct CryptoService {
    edge: Arc<Edge>,
}

impl CryptoService {
    pub(crate) const fn new(edge: Arc<Edge>) -> Self {
        Self { edge }
    }

    /// Runs one call: admit, read, execute, audit, answer.
    async fn run<M: Validate + Send + Sync + 'static, T: Send + 'static>(
        &self,
        request: Request<M>,
        operation: CryptoOperation,
        ids: impl FnOnce(&M) -> (String, String) + Send + 'static,
        read: impl FnOnce(M) -> Result<CryptoInput, KmsError> + Send + 'static,
        write: impl FnOnce(CryptoOutput) -> T + Send + 'static,
    ) -> Result<Response<T>, Status> {
        attended(&self.edge, request, move |edge, call, message| async move {
            Self::answer(&edge, call, message, operation, ids, read, write).await
        })
        .await
    }

    async fn answer<M: Validate, T>(
        edge: &Edge,
        mut call: Call,
        message: M,
        operation: CryptoOperation,
        ids: impl FnOnce(&M) -> (String, String),
        read: impl FnOnce(M) -> Result<CryptoInput, KmsError>,
        write: impl FnOnce(CryptoOutput) -> T,
    ) -> Result<Response<T>, Status> {
        let (key_id, source_key_id) = ids(&message);
        let mut observed = Observed::default();
        let result = Self::execute(edge, &mut call, message, read, &mut observed).await;
        let result = result.map(|output| {
            let index = output.index;
            Answer { value: write(output), index }
        });
        let event = events::crypto(operation, &observed, &key_id, &source_key_id);
        let answer = call.finish(edge, event, result).await;
        let code = answer.as_ref().map_or_else(Status::code, |_| Code::Ok);
        let labels = [operation.as_str(), code_name(code)];
        edge.metrics.crypto.with_label_values(&labels).inc();
        if answer.is_ok()
            && let Some(key) = observed.key
        {
            // The key that is billed: of a re-encryption the target.
            edge.key_operations.count(key.id);
        }
        answer
    }

    async fn execute<M: Validate>(
        edge: &Edge,
        call: &mut Call,
        message: M,
        read: impl FnOnce(M) -> Result<CryptoInput, KmsError>,
        observed: &mut Observed,
    ) -> Result<CryptoOutput, ApiError> {
        let caller = call.admit(edge, &message).await?;
        let input = read(message)?;
        let work = crypto::execute(&edge.engine, &caller, call.request_id(), &input, observed);
        call.commit(work).await
    }
}

#[tonic::async_trait]
impl SymmetricCryptoService for CryptoService {
    async fn encrypt(
        &self,
        request: Request<SymmetricEncryptRequest>,
    ) -> Result<Response<SymmetricEncryptResponse>, Status> {
        self.run(
            request,
            CryptoOperation::Encrypt,
            |message| (message.key_id.clone(), String::new()),
            |message| {
                let SymmetricEncryptRequest { key_id, version_id, aad_context, plaintext } =
                    message;
                // Into custody before anything that can fail.
                let plaintext = Sensitive::new(plaintext);
                Ok(CryptoInput::Encrypt(target(&key_id, &version_id, aad_context)?, plaintext))
            },
            |output| SymmetricEncryptResponse {
                key_id: output.target.key_id.into(),
                version_id: output.target.version_id.into(),
                ciphertext: output.ciphertext.unwrap_or_default(),
            },
        )
        .await
    }

    async fn decrypt(
        &self,
        request: Request<SymmetricDecryptRequest>,
    ) -> Result<Response<SymmetricDecryptResponse>, Status> {
        self.run(
            request,
            CryptoOperation::Decrypt,
            |message| (message.key_id.clone(), String::new()),
            |message| {
                let SymmetricDecryptRequest { key_id, aad_context, ciphertext } = message;
                source("key_id", &key_id, aad_context, ciphertext).map(CryptoInput::Decrypt)
            },
            |output| SymmetricDecryptResponse {
                key_id: output.target.key_id.into(),
                version_id: output.target.version_id.into(),
                plaintext: output.plaintext.map(|p| p.expose().clone()).unwrap_or_default(),
            },
        )
        .await
    }

    async fn re_encrypt(
        &self,
        request: Request<SymmetricReEncryptRequest>,
    ) -> Result<Response<SymmetricReEncryptResponse>, Status> {
        self.run(
            request,
            CryptoOperation::ReEncrypt,
            |message| (message.key_id.clone(), message.source_key_id.clone()),
            |message| {
                let target = target(&message.key_id, &message.version_id, message.aad_context)?;
                let source = source(
                    "source_key_id",
                    &message.source_key_id,
                    message.source_aad_context,
                    message.ciphertext,
                )?;
                Ok(CryptoInput::ReEncrypt(target, source))
            },
            |output| {
                let (source_key_id, source_version_id) = output
                    .source
                    .map(|source| (source.key_id.into(), source.version_id.into()))
                    .unwrap_or_default();
                SymmetricReEncryptResponse {
                    key_id: output.target.key_id.into(),
                    version_id: output.target.version_id.into(),
                    source_key_id,
                    source_version_id,
                    ciphertext: output.ciphertext.unwrap_or_default(),
                }
            },
        )
        .await
    }

    async fn generate_data_key(
        &self,
        request: Request<GenerateDataKeyRequest>,
    ) -> Result<Response<GenerateDataKeyResponse>, Status> {
        self.run(
            request,
            CryptoOperation::GenerateDataKey,
            |message| (message.key_id.clone(), String::new()),
            |message| {
                Ok(CryptoInput::GenerateDataKey {
                    spec: convert::data_key_spec(message.data_key_spec)?,
                    skip_plaintext: message.skip_plaintext,
                    target: target(&message.key_id, &message.version_id, message.aad_context)?,
                })
            },
            |output| GenerateDataKeyResponse {
                key_id: output.target.key_id.into(),
                version_id: output.target.version_id.into(),
                data_key_plaintext: output
                    .plaintext
                    .map(|plaintext| plaintext.expose().clone())
                    .unwrap_or_default(),
                data_key_ciphertext: output.ciphertext.unwrap_or_default(),
            },
        )
        .await
    }
}

fn target(key_id: &str, version_id: &str, context: Vec<u8>) -> Result<Target, KmsError> {
    Ok(Target {
        key_id: convert::key_id("key_id", key_id)?,
        version_id: convert::version_id(version_id)?,
        context,
    })
}

fn source(
    field: &'static str,
    key_id: &str,
    context: Vec<u8>,
    ciphertext: Vec<u8>,
) -> Result<Source, KmsError> {
    if ciphertext.len() > CIPHERTEXT_BYTES_MAX {
        let problem = format!("must be at most {CIPHERTEXT_BYTES_MAX} bytes");
        return Err(KmsError::invalid("ciphertext", problem));
    }
    Ok(Source { key_id: convert::key_id(field, key_id)?, context, ciphertext })
}
