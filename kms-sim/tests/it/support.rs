//! An engine in a temporary directory, and callers with the rights that a test needs.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lockbox_core::{
    Clock, FolderId, KmsKeyId, ResourceKind, ResourceRef, Sensitive, Subject, SubjectKind,
};
use lockbox_kms_sim::algorithm::Algorithm;
use lockbox_kms_sim::caller::{Caller, Grant, KmsRequestId, Rights, Via};
use lockbox_kms_sim::crypto::{self, CryptoInput, CryptoOutput, Observed, Source, Target};
use lockbox_kms_sim::engine::{Engine, EngineParts, OpenError};
use lockbox_kms_sim::error::{KmsError, Rejection};
use lockbox_kms_sim::keys::command::{Quotas, UpdateKey};
use lockbox_kms_sim::keys::service::{self, NewKey};
use lockbox_kms_sim::metrics::KmsMetrics;
use lockbox_kms_sim::root_key::RootKey;
use lockbox_kms_sim::schedule::{Pass, Scheduler};
use lockbox_kms_sim::store::records::{KeyStatus, OperationRecord};
use lockbox_kms_sim::witness::Keeper;
use lockbox_platform::exit::FatalExit;
use lockbox_platform::metrics::{Metrics, Prefix};
use lockbox_platform::system::SystemRandom;
use lockbox_platform::tasks::Tasks;

pub(crate) const FOLDER: &str = "folder";
pub(crate) const CLOUD: &str = "cloud";
pub(crate) const ROOT: [u8; 32] = [0x5a; 32];

/// A clock that a test moves. It starts late enough to be a plausible time.
pub(crate) struct TestClock(AtomicU64);

impl TestClock {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(AtomicU64::new(1_790_000_000_000)))
    }

    pub(crate) fn advance(&self, by: Duration) {
        self.0.fetch_add(by.as_millis() as u64, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn wall_ms(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.wall_ms())
    }
}

/// An engine with the tasks that it runs on.
pub(crate) struct Running {
    pub(crate) engine: Arc<Engine>,
    pub(crate) tasks: Tasks,
}

pub(crate) async fn open_with(
    directory: &Path,
    root: [u8; 32],
    clock: Arc<dyn Clock>,
    quotas: Quotas,
) -> Result<Running, OpenError> {
    let tasks = Tasks::new(FatalExit::new());
    let metrics = Metrics::new(Prefix::Kms).unwrap();
    let parts = EngineParts {
        root: RootKey::from_bytes(&root),
        clock,
        random: Arc::new(SystemRandom),
        quotas,
        metrics: KmsMetrics::register(&metrics).unwrap().ledger,
        tasks: tasks.clone(),
    };
    Ok(Running { engine: Arc::new(Engine::open(directory, parts).await?), tasks })
}

pub(crate) async fn open(directory: &Path) -> Running {
    open_at(directory, TestClock::new()).await
}

/// With a clock that the test moves.
pub(crate) async fn open_at(directory: &Path, clock: Arc<TestClock>) -> Running {
    let quotas = Quotas { keys_per_cloud: 100, versions_per_key: 100 };
    open_with(directory, ROOT, clock, quotas).await.unwrap()
}

impl Running {
    /// Ends everything, so that the directory can be opened again.
    pub(crate) async fn stop(self) {
        self.engine.stop().await;
        self.tasks.shutdown(Duration::from_secs(10)).await.unwrap();
        assert_eq!(self.tasks.fatal().raised(), None);
    }

    /// The same where somebody else still has the engine.
    pub(crate) async fn stop_with(self, keeper: Arc<Keeper>) {
        assert_eq!(Arc::strong_count(&keeper), 1, "nobody else has it");
        drop(keeper);
        self.stop().await;
    }

    pub(crate) async fn create(&self, caller: &Caller, algorithm: Algorithm) -> KmsKeyId {
        let created = service::create(&self.engine, caller, new_key(algorithm), None).await;
        created.unwrap().value.key.id
    }

    pub(crate) async fn rotate(&self, caller: &Caller, key_id: &KmsKeyId) -> Box<OperationRecord> {
        service::rotate(&self.engine, caller, key_id, None, &mut None).await.unwrap().value
    }

    /// Sets the status; gives the commit sequence from which on it holds.
    pub(crate) async fn set_status(
        &self,
        caller: &Caller,
        key_id: &KmsKeyId,
        status: KeyStatus,
    ) -> u64 {
        let update = UpdateKey { status: Some(status), ..no_update(key_id) };
        service::update(&self.engine, caller, update, None, &mut None).await.unwrap().index
    }

    pub(crate) async fn call(
        &self,
        caller: &Caller,
        input: CryptoInput,
    ) -> Result<CryptoOutput, KmsError> {
        crypto::execute(&self.engine, caller, "request", &input, &mut Observed::default()).await
    }

    pub(crate) async fn encrypt(
        &self,
        caller: &Caller,
        key_id: &KmsKeyId,
        plaintext: &[u8],
    ) -> CryptoOutput {
        self.call(caller, encrypt(key_id, plaintext)).await.unwrap()
    }
}

pub(crate) fn new_key(algorithm: Algorithm) -> NewKey {
    NewKey {
        folder_id: FolderId::parse(FOLDER).unwrap(),
        name: "name".to_owned(),
        description: String::new(),
        labels: BTreeMap::new(),
        default_algorithm: algorithm,
        rotation_period_ms: None,
        deletion_protection: false,
    }
}

pub(crate) fn no_update(key_id: &KmsKeyId) -> UpdateKey {
    UpdateKey {
        key_id: key_id.clone(),
        name: None,
        description: None,
        labels: None,
        status: None,
        default_algorithm: None,
        rotation_period_ms: None,
        deletion_protection: None,
    }
}

pub(crate) fn target(key_id: &KmsKeyId) -> Target {
    Target { key_id: key_id.clone(), version_id: None, context: b"context".to_vec() }
}

pub(crate) fn source(key_id: &KmsKeyId, ciphertext: &[u8]) -> Source {
    let ciphertext = ciphertext.to_vec();
    Source { key_id: key_id.clone(), context: b"context".to_vec(), ciphertext }
}

pub(crate) fn encrypt(key_id: &KmsKeyId, plaintext: &[u8]) -> CryptoInput {
    CryptoInput::Encrypt(target(key_id), Sensitive::new(plaintext.to_vec()))
}

pub(crate) fn decrypt(key_id: &KmsKeyId, ciphertext: &[u8]) -> CryptoInput {
    CryptoInput::Decrypt(source(key_id, ciphertext))
}

pub(crate) fn data_key(key_id: &KmsKeyId) -> CryptoInput {
    let target = target(key_id);
    CryptoInput::GenerateDataKey { target, spec: Algorithm::Aes256, skip_plaintext: false }
}

/// A service account with one role on the folder, with a token of its own.
pub(crate) fn user(id: &str, role: &str) -> Caller {
    let mut rights = Rights::default();
    rights.add_folder(FOLDER, CLOUD, "organization");
    rights.grants.push(Grant {
        resource: ResourceRef::new(ResourceKind::Folder, FOLDER),
        role_id: role.to_owned(),
    });
    Caller {
        subject: Subject { kind: SubjectKind::ServiceAccount, id: id.to_owned() },
        subject_name: id.to_owned(),
        token_id: String::new(),
        borrowed: false,
        via: Via::Token,
        rights,
    }
}

pub(crate) fn admin() -> Caller {
    user("admin", "kms.admin")
}

/// The same caller through a node, with the KMS request id of one call.
pub(crate) fn through_node(caller: &Caller, request: &[u8; 16]) -> Caller {
    let kms_request_id = KmsRequestId::from_bytes(request.to_vec());
    let via = Via::Assertion { node: "node-1.lockbox.internal".to_owned(), kms_request_id };
    Caller { via, ..caller.clone() }
}

/// Somebody with a token and no role at all.
pub(crate) fn nobody(id: &str) -> Caller {
    let mut caller = user(id, "kms.viewer");
    caller.rights.grants.clear();
    caller
}

/// Does what is due at the test's present time.
pub(crate) async fn pass(kms: &Running, scheduler: &mut Scheduler) -> Pass {
    let mut done = Pass::default();
    scheduler.pass(&kms.engine, &mut done).await.unwrap();
    done
}

/// The refusal of a call that was refused.
pub(crate) fn rejection<T>(result: Result<T, KmsError>) -> Rejection {
    match result {
        Ok(_) => panic!("the call was not refused"),
        Err(error) => match error.rejection() {
            Some(rejection) => rejection.clone(),
            None => panic!("the call failed in another way: {error}"),
        },
    }
}
