//! What the durable ledger costs a `Decrypt`: `cargo bench -p lockbox-kms-sim`.
//!
//! So many clients decrypt a data key at the same time; an iteration ends when all of them are
//! answered. `durable` is what is served: an answer waits for the sync of the group that its record
//! is in. `unsynced` is the same without the wait, as no server runs. The temporary directory
//! decides which disk is measured: set `TMPDIR`.

use std::sync::Arc;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use futures::future::join_all;
use lockbox_core::{
    FolderId, KmsKeyId, ResourceKind, ResourceRef, Sensitive, Subject, SubjectKind,
};
use lockbox_kms_sim::algorithm::Algorithm;
use lockbox_kms_sim::caller::{Caller, Grant, Rights, Via};
use lockbox_kms_sim::crypto::{self, CryptoInput, Observed, Source, Target};
use lockbox_kms_sim::engine::{Engine, EngineParts};
use lockbox_kms_sim::keys::command::Quotas;
use lockbox_kms_sim::keys::service::{self, NewKey};
use lockbox_kms_sim::metrics::KmsMetrics;
use lockbox_kms_sim::root_key::RootKey;
use lockbox_platform::exit::FatalExit;
use lockbox_platform::metrics::{Metrics, Prefix};
use lockbox_platform::system::{SystemClock, SystemRandom};
use lockbox_platform::tasks::Tasks;
use tempfile::TempDir;
use tokio::runtime::Runtime;

const CLIENTS: [usize; 3] = [1, 64, 256];
const FOLDER: &str = "folder";
/// What the ledger's tasks may take to end.
const GRACE: Duration = Duration::from_secs(10);

/// A KMS with one key, and what one data key is under it.
struct Kms {
    engine: Engine,
    tasks: Tasks,
    caller: Caller,
    input: CryptoInput,
    _directory: TempDir,
}

impl Kms {
    async fn open(is_durable: bool) -> Self {
        let directory = TempDir::new().expect("there is room for a directory");
        let tasks = Tasks::new(FatalExit::new());
        let metrics = Metrics::new(Prefix::Kms).expect("the names are distinct");
        let parts = EngineParts {
            root: RootKey::from_bytes(&[7; 32]),
            clock: Arc::new(SystemClock::new()),
            random: Arc::new(SystemRandom),
            quotas: Quotas { keys_per_cloud: 10, versions_per_key: 10 },
            metrics: KmsMetrics::register(&metrics).expect("the names are distinct").ledger,
            tasks: tasks.clone(),
        };
        let opened = match is_durable {
            true => Engine::open(directory.path(), parts).await,
            false => Engine::open_without_sync(directory.path(), parts).await,
        };
        let engine = opened.expect("the directory is new");
        let caller = caller();
        let key = new_key(&engine, &caller).await;
        let input = CryptoInput::Decrypt(Source {
            ciphertext: data_key(&engine, &caller, &key).await,
            context: Vec::new(),
            key_id: key,
        });
        Self { engine, tasks, caller, input, _directory: directory }
    }

    async fn decrypt(&self) {
        let mut observed = Observed::default();
        let done =
            crypto::execute(&self.engine, &self.caller, "bench", &self.input, &mut observed).await;
        assert!(done.is_ok(), "a data key opens");
    }

    async fn stop(self) {
        self.engine.stop().await;
        self.tasks.shutdown(GRACE).await.expect("the writer ends");
    }
}

/// An account with every right on the folder.
fn caller() -> Caller {
    let mut rights = Rights::default();
    rights.add_folder(FOLDER, "cloud", "organization");
    rights.grants.push(Grant {
        resource: ResourceRef::new(ResourceKind::Folder, FOLDER),
        role_id: "kms.admin".to_owned(),
    });
    Caller {
        subject: Subject { kind: SubjectKind::ServiceAccount, id: "bench".to_owned() },
        subject_name: "bench".to_owned(),
        token_id: String::new(),
        borrowed: false,
        via: Via::Token,
        rights,
    }
}

async fn new_key(engine: &Engine, caller: &Caller) -> KmsKeyId {
    let new = NewKey {
        folder_id: FolderId::parse(FOLDER).expect("a constant of the right form"),
        name: "bench".to_owned(),
        description: String::new(),
        labels: std::collections::BTreeMap::new(),
        default_algorithm: Algorithm::Aes256,
        rotation_period_ms: None,
        deletion_protection: false,
    };
    let created = service::create(engine, caller, new, None).await;
    created.expect("an administrator may").value.key.id
}

async fn data_key(engine: &Engine, caller: &Caller, key: &KmsKeyId) -> Vec<u8> {
    let target = Target { key_id: key.clone(), version_id: None, context: Vec::new() };
    let input = CryptoInput::Encrypt(target, Sensitive::new(vec![0xA5; 32]));
    let mut observed = Observed::default();
    let done = crypto::execute(engine, caller, "bench", &input, &mut observed).await;
    let output = done.unwrap_or_else(|error| panic!("a data key is made: {error}"));
    output.ciphertext.expect("an encryption has one")
}

fn benchmark(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime starts");
    let mut group = criterion.benchmark_group("decrypt");
    for (name, is_durable) in [("durable", true), ("unsynced", false)] {
        let kms = runtime.block_on(Kms::open(is_durable));
        for clients in CLIENTS {
            group.throughput(Throughput::Elements(clients as u64));
            group.bench_function(BenchmarkId::new(name, clients), |bencher| {
                bencher.iter(|| runtime.block_on(join_all((0..clients).map(|_| kms.decrypt()))));
            });
        }
        runtime.block_on(kms.stop());
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(5))
        .sample_size(20);
    targets = benchmark
}
criterion_main!(benches);
