//! A FAKE KMS for tests: it keeps what it encrypted in memory and hands out a number instead.
//!
//! Enough to see that the node asks under the right key, with the same associated data, and on
//! whose behalf. It proves nothing about cryptography; `kms-sim` has its own tests for that.

use std::sync::{Arc, Mutex};

use lockbox_core::Randomness;
use lockbox_platform::system::SystemRandom;
use lockbox_proto::lockbox::kms::v1::CallerAssertion;
use lockbox_proto::yandex::cloud::kms::v1::symmetric_crypto_service_server::SymmetricCryptoService;
use lockbox_proto::yandex::cloud::kms::v1::{
    GenerateDataKeyRequest, GenerateDataKeyResponse, SymmetricDecryptRequest,
    SymmetricDecryptResponse, SymmetricEncryptRequest, SymmetricEncryptResponse,
    SymmetricReEncryptRequest, SymmetricReEncryptResponse,
};
use prost::Message;
use tonic::{Request, Response, Status};

struct Kept {
    key_id: String,
    aad: Vec<u8>,
    plaintext: Vec<u8>,
}

/// What one call on behalf of a caller was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Used {
    pub(crate) operation: &'static str,
    pub(crate) key_id: String,
    pub(crate) subject_id: String,
    pub(crate) kms_request_id: Vec<u8>,
}

#[derive(Default)]
struct State {
    kept: Vec<Kept>,
    used: Vec<Used>,
    down: bool,
}

/// The fake; clones share their memory.
#[derive(Clone, Default)]
pub(crate) struct FakeKms(Arc<Mutex<State>>);

impl FakeKms {
    /// The calls made on behalf of callers, in order.
    pub(crate) fn used(&self) -> Vec<Used> {
        self.0.lock().unwrap().used.clone()
    }

    /// Answers nothing but UNAVAILABLE from now on, or answers again.
    pub(crate) fn set_down(&self, down: bool) {
        self.0.lock().unwrap().down = down;
    }

    fn check_up(&self) -> Result<(), Status> {
        match self.0.lock().unwrap().down {
            true => Err(Status::unavailable("the fake is down")),
            false => Ok(()),
        }
    }

    fn note<T>(&self, operation: &'static str, key_id: &str, request: &Request<T>) {
        let Some(header) = request.metadata().get_bin("lockbox-assertion-bin") else { return };
        let assertion = CallerAssertion::decode(header.to_bytes().unwrap()).unwrap();
        assert!(matches!(assertion.kms_request_id.len(), 16 | 32));
        let (key_id, subject_id) = (key_id.to_owned(), assertion.subject_id);
        let kms_request_id = assertion.kms_request_id;
        self.0.lock().unwrap().used.push(Used { operation, key_id, subject_id, kms_request_id });
    }

    fn keep(&self, key_id: &str, aad: Vec<u8>, plaintext: Vec<u8>) -> Vec<u8> {
        let mut state = self.0.lock().unwrap();
        state.kept.push(Kept { key_id: key_id.to_owned(), aad, plaintext });
        (state.kept.len() as u64 - 1).to_be_bytes().to_vec()
    }
}

#[tonic::async_trait]
impl SymmetricCryptoService for FakeKms {
    async fn encrypt(
        &self,
        request: Request<SymmetricEncryptRequest>,
    ) -> Result<Response<SymmetricEncryptResponse>, Status> {
        self.check_up()?;
        self.note("encrypt", &request.get_ref().key_id, &request);
        let message = request.into_inner();
        let ciphertext = self.keep(&message.key_id, message.aad_context, message.plaintext);
        let (key_id, version_id) = (message.key_id, "version".to_owned());
        Ok(Response::new(SymmetricEncryptResponse { key_id, version_id, ciphertext }))
    }

    async fn decrypt(
        &self,
        request: Request<SymmetricDecryptRequest>,
    ) -> Result<Response<SymmetricDecryptResponse>, Status> {
        self.check_up()?;
        self.note("decrypt", &request.get_ref().key_id, &request);
        let message = request.into_inner();
        let refused = || Status::invalid_argument("the ciphertext cannot be decrypted");
        let number = message.ciphertext.try_into().map_err(|_| refused())?;
        let state = self.0.lock().unwrap();
        let kept = state.kept.get(u64::from_be_bytes(number) as usize).ok_or_else(refused)?;
        if kept.key_id != message.key_id || kept.aad != message.aad_context {
            return Err(refused());
        }
        let plaintext = kept.plaintext.clone();
        let (key_id, version_id) = (message.key_id, "version".to_owned());
        Ok(Response::new(SymmetricDecryptResponse { key_id, version_id, plaintext }))
    }

    async fn re_encrypt(
        &self,
        _: Request<SymmetricReEncryptRequest>,
    ) -> Result<Response<SymmetricReEncryptResponse>, Status> {
        Err(Status::unimplemented("the node does not re-encrypt"))
    }

    async fn generate_data_key(
        &self,
        request: Request<GenerateDataKeyRequest>,
    ) -> Result<Response<GenerateDataKeyResponse>, Status> {
        self.check_up()?;
        self.note("generate_data_key", &request.get_ref().key_id, &request);
        let message = request.into_inner();
        let mut key = vec![0; 32];
        SystemRandom.fill(&mut key);
        let ciphertext = self.keep(&message.key_id, message.aad_context, key.clone());
        Ok(Response::new(GenerateDataKeyResponse {
            key_id: message.key_id,
            version_id: "version".to_owned(),
            data_key_plaintext: key,
            data_key_ciphertext: ciphertext,
        }))
    }
}
