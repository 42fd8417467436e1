//! A FAKE KMS for tests: it keeps what it encrypted in memory and hands out a number instead.
//!
//! Enough to see that the node asks under the right key, with the same associated data, and on
//! whose behalf. It proves nothing about cryptography; `kms-sim` has its own tests for that.

mod heads;

use std::sync::{Arc, Mutex};

use lockbox_core::Randomness;
use lockbox_platform::system::SystemRandom;
use lockbox_proto::lockbox::kms::v1::key_access_service_server::KeyAccessService;
use lockbox_proto::lockbox::kms::v1::{CallerAssertion, CheckAttachRequest, CheckAttachResponse};
use lockbox_proto::yandex::cloud::kms::v1::symmetric_crypto_service_server::SymmetricCryptoService;
use lockbox_proto::yandex::cloud::kms::v1::{
    GenerateDataKeyRequest, GenerateDataKeyResponse, SymmetricDecryptRequest,
    SymmetricDecryptResponse, SymmetricEncryptRequest, SymmetricEncryptResponse,
    SymmetricReEncryptRequest, SymmetricReEncryptResponse,
};
use lockbox_proto::yandex::cloud::operation::operation_service_server::OperationService;
use lockbox_proto::yandex::cloud::operation::{
    CancelOperationRequest, GetOperationRequest, Operation,
};
use prost::Message;
use tokio::sync::Barrier;
use tonic::{Code, Request, Response, Status};

pub(crate) use self::heads::{FakeHead, Telling};
use crate::fixture::SYSTEM_KEY;

/// The keys that the fake has: the system key and one of a customer.
const KEYS: [&str; 2] = [SYSTEM_KEY, "abjownkey"];

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
    pub(crate) subject_name: String,
    pub(crate) roles: Vec<String>,
    pub(crate) kms_request_id: Vec<u8>,
}

#[derive(Default)]
struct State {
    kept: Vec<Kept>,
    used: Vec<Used>,
    down: bool,
    hung: bool,
    /// Decryptions that came while it was hung.
    unanswered: usize,
    /// The `authorization` of each call that had one.
    tokens: Vec<String>,
    meeting: Option<(Arc<Barrier>, usize)>,
    refusing: Option<(&'static str, Code)>,
    heads: heads::Heads,
}

/// The fake; clones share their memory.
#[derive(Clone, Default)]
pub(crate) struct FakeKms(Arc<Mutex<State>>);

impl FakeKms {
    /// The calls made on behalf of callers, in order.
    pub(crate) fn used(&self) -> Vec<Used> {
        self.0.lock().unwrap().used.clone()
    }

    /// The tokens that were shown, in order.
    pub(crate) fn tokens(&self) -> Vec<String> {
        self.0.lock().unwrap().tokens.clone()
    }

    /// Answers nothing but UNAVAILABLE from now on, or answers again.
    pub(crate) fn set_down(&self, down: bool) {
        self.0.lock().unwrap().down = down;
    }

    /// Answers no decryption from now on: not even with a failure.
    pub(crate) fn hang(&self) {
        self.0.lock().unwrap().hung = true;
    }

    /// How many decryptions it has left without an answer.
    pub(crate) fn unanswered(&self) -> usize {
        self.0.lock().unwrap().unanswered
    }

    /// Answers whatever comes from now on, as at first.
    pub(crate) fn recover(&self) {
        let mut state = self.0.lock().unwrap();
        (state.hung, state.down, state.refusing) = (false, false, None);
    }

    /// Holds the next data keys back until this many are asked for; all of their callers have
    /// read the same state then, and only one of them can win.
    pub(crate) fn meet_at_data_keys(&self, callers: usize) {
        self.0.lock().unwrap().meeting = Some((Arc::new(Barrier::new(callers)), callers));
    }

    /// Answers one operation with this code from now on.
    pub(crate) fn refuse(&self, operation: &'static str, code: Code) {
        self.0.lock().unwrap().refusing = Some((operation, code));
    }

    /// Waits for the others of a meeting; whoever comes after the last one passes.
    pub(crate) async fn meet(&self) {
        let barrier = {
            let mut state = self.0.lock().unwrap();
            let Some((barrier, missing)) = state.meeting.take() else { return };
            if missing > 1 {
                state.meeting = Some((Arc::clone(&barrier), missing - 1));
            }
            barrier
        };
        barrier.wait().await;
    }

    /// What the fake says before it does anything.
    fn admit(&self, operation: &'static str, key_id: &str) -> Result<(), Status> {
        let state = self.0.lock().unwrap();
        let refused = |code, message: &str| {
            let mut status = Status::new(code, message);
            status.metadata_mut().insert("kms-index", "5".parse().unwrap());
            Err(status)
        };
        match state.refusing {
            _ if state.down => Err(Status::unavailable("the fake is down")),
            Some((refusing, code)) if refusing == operation => refused(code, "as told"),
            _ if !KEYS.contains(&key_id) => refused(Code::NotFound, "no such key"),
            _ => Ok(()),
        }
    }

    fn note<T>(&self, operation: &'static str, key_id: &str, request: &Request<T>) {
        if let Some(shown) = request.metadata().get("authorization") {
            self.0.lock().unwrap().tokens.push(shown.to_str().unwrap().to_owned());
        }
        let Some(header) = request.metadata().get_bin("lockbox-assertion-bin") else { return };
        let assertion = CallerAssertion::decode(header.to_bytes().unwrap()).unwrap();
        let billed = !["check_attach", "get_operation"].contains(&operation);
        assert_eq!(matches!(assertion.kms_request_id.len(), 16 | 32), billed);
        assert!(assertion.index > 0);
        self.0.lock().unwrap().used.push(Used {
            operation,
            key_id: key_id.to_owned(),
            subject_id: assertion.subject_id,
            subject_name: assertion.subject_name,
            roles: assertion.grants.into_iter().map(|grant| grant.role_id).collect(),
            kms_request_id: assertion.kms_request_id,
        });
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
        self.admit("encrypt", &request.get_ref().key_id)?;
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
        let hung = {
            let mut state = self.0.lock().unwrap();
            state.unanswered += usize::from(state.hung);
            state.hung
        };
        if hung {
            return std::future::pending().await;
        }
        self.admit("decrypt", &request.get_ref().key_id)?;
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
        Ok(indexed(SymmetricDecryptResponse { key_id, version_id, plaintext }))
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
        self.admit("generate_data_key", &request.get_ref().key_id)?;
        self.note("generate_data_key", &request.get_ref().key_id, &request);
        self.meet().await;
        let message = request.into_inner();
        let mut key = vec![0; 32];
        SystemRandom.fill(&mut key);
        let ciphertext = self.keep(&message.key_id, message.aad_context, key.clone());
        Ok(indexed(GenerateDataKeyResponse {
            key_id: message.key_id,
            version_id: "version".to_owned(),
            data_key_plaintext: key,
            data_key_ciphertext: ciphertext,
        }))
    }
}

#[tonic::async_trait]
impl KeyAccessService for FakeKms {
    async fn check_attach(
        &self,
        request: Request<CheckAttachRequest>,
    ) -> Result<Response<CheckAttachResponse>, Status> {
        self.admit("check_attach", &request.get_ref().key_id)?;
        self.note("check_attach", &request.get_ref().key_id, &request);
        Ok(indexed(CheckAttachResponse {}))
    }
}

/// The one operation that the fake knows.
pub(crate) const OPERATION: &str = "abjoperation";

#[tonic::async_trait]
impl OperationService for FakeKms {
    async fn get(
        &self,
        request: Request<GetOperationRequest>,
    ) -> Result<Response<Operation>, Status> {
        let id = request.get_ref().operation_id.clone();
        self.admit("get_operation", KEYS[1])?;
        self.note("get_operation", &id, &request);
        if id != OPERATION {
            return Err(Status::not_found("no such operation"));
        }
        Ok(indexed(Operation { id, done: true, ..Operation::default() }))
    }

    async fn cancel(
        &self,
        _request: Request<CancelOperationRequest>,
    ) -> Result<Response<Operation>, Status> {
        Err(Status::unimplemented("nodes do not cancel"))
    }
}

/// An answer with a commit sequence, as the real KMS gives it.
fn indexed<T>(message: T) -> Response<T> {
    let mut response = Response::new(message);
    response.metadata_mut().insert("kms-index", "4".parse().unwrap());
    response
}
