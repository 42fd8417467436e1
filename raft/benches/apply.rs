//! What applying commands costs: `cargo bench -p lockbox-raft --bench apply`.
//!
//! Measured on RocksDB with 10,000 secrets of one version each: decode, decide and collect the
//! writes, a batch at a time as the state machine does, without the commit. The state stays as it
//! is, so every iteration does the same.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use lockbox_core::{
    AuthorizedKeyId, CloudId, ClusterId, FolderId, LogTime, OperationId, OrganizationId, RequestId,
    SecretId, ServiceAccountId, Subject, TokenId, VersionId,
};
use lockbox_raft::apply::{EntryPosition, apply_entry};
use lockbox_raft::domain::command::{
    AddVersion, CreateAuthorizedKey, CreateSecret, CreateServiceAccount, InitCluster, MergeBase,
    NewVersion,
};
use lockbox_raft::domain::identity::{ClusterRecord, KeyAlgorithm};
use lockbox_raft::domain::version::{SealedPayload, WrappedDataKey};
use lockbox_raft::domain::{Command, Envelope, Outcome, TokenRef, encode};
use lockbox_raft::state::{Overlay, StateRead};
use lockbox_raft::store::{Engines, RocksEngines, StateEngine};
use tempfile::TempDir;

const SECRETS: u64 = 10_000;
const VALUE_BYTES: usize = 1024;
/// Commands applied together; the state machine takes at most 1,024.
const BATCHES: [u64; 3] = [1, 64, 1024];
const FILL_BATCH: u64 = 100;
const NOW: LogTime = LogTime::from_ms(1_700_000_000_000);
const WELL_FORMED: &str = "the id is made of letters and digits";

fn secret_id(number: u64) -> SecretId {
    SecretId::parse(&format!("e6q{number:017}")).expect(WELL_FORMED)
}

fn version_id(number: u64) -> VersionId {
    VersionId::parse(&format!("e6v{number:017}")).expect(WELL_FORMED)
}

fn folder_id() -> FolderId {
    FolderId::parse("folder").expect(WELL_FORMED)
}

fn admin_id() -> ServiceAccountId {
    ServiceAccountId::parse("admin").expect(WELL_FORMED)
}

fn admin_key_id() -> AuthorizedKeyId {
    AuthorizedKeyId::parse("admin-key").expect(WELL_FORMED)
}

/// The command in an envelope of the administrator, encoded as it lies in the log.
fn encoded(number: u64, command: Command) -> Vec<u8> {
    let mut request = [0; 16];
    request[..8].copy_from_slice(&number.to_be_bytes());
    let token = TokenRef {
        token_id: TokenId::parse("token").expect(WELL_FORMED),
        credential_id: Some(admin_key_id()),
        expires_at: LogTime::from_ms(u64::MAX),
        maker: None,
    };
    let by_the_system = matches!(command, Command::InitCluster(_));
    let admin = Subject::service_account(&admin_id());
    encode(&Envelope {
        request_id: RequestId::from_bytes(request),
        subject: if by_the_system { Subject::internal() } else { admin },
        token: (!by_the_system).then_some(token),
        operation_id: OperationId::parse(&format!("e6o{number:017}")).expect(WELL_FORMED),
        idempotency: None,
        if_version: None,
        proposed_at: NOW,
        command,
    })
}

fn init_cluster() -> Command {
    let organization_id = OrganizationId::parse("organization").expect(WELL_FORMED);
    Command::InitCluster(Box::new(InitCluster {
        cluster: ClusterRecord {
            id: ClusterId::parse("cluster").expect(WELL_FORMED),
            created_at: LogTime::default(),
            organization_id: organization_id.clone(),
            system_key_id: "system".to_owned(),
            keyring_cluster: None,
        },
        organization_id,
        cloud_id: CloudId::parse("cloud").expect(WELL_FORMED),
        folder_id: folder_id(),
        folder_name: "default".to_owned(),
        admin: CreateServiceAccount {
            id: admin_id(),
            folder_id: folder_id(),
            name: "admin".to_owned(),
            description: String::new(),
            labels: BTreeMap::new(),
            expires_at: None,
        },
        admin_key: CreateAuthorizedKey {
            id: admin_key_id(),
            service_account_id: admin_id(),
            description: String::new(),
            algorithm: KeyAlgorithm::Rsa2048,
            public_key_pem: String::new(),
            keys_per_account_max: 0,
        },
        keyring: Vec::new(),
        feature_level: 0,
    }))
}

fn new_version(number: u64) -> NewVersion {
    NewVersion {
        id: version_id(number),
        description: String::new(),
        entry_keys: vec!["password".to_owned()],
        password_spec: None,
        payload: SealedPayload {
            format: 1,
            commitment: [1; 32],
            nonce: [2; 12],
            ciphertext: vec![3; VALUE_BYTES],
            wrapped_key: WrappedDataKey::Keyring {
                keyring_key_id: 1,
                salt: [4; 32],
                ciphertext: vec![5; 48],
            },
        },
    }
}

fn create_secret(number: u64) -> Command {
    Command::CreateSecret(Box::new(CreateSecret {
        id: secret_id(number),
        folder_id: folder_id(),
        name: format!("secret {number}"),
        description: String::new(),
        labels: BTreeMap::new(),
        kms_key_id: None,
        deletion_protection: false,
        password_spec: None,
        version: Some(new_version(number)),
        secrets_per_cloud_max: u32::MAX,
        unique_name: false,
    }))
}

/// A second version of a secret that [`filled`] made with the first.
fn add_version(number: u64) -> Command {
    let secret = number % SECRETS;
    Command::AddVersion(Box::new(AddVersion {
        secret_id: secret_id(secret),
        version: new_version(number),
        base: MergeBase::Default(Some(version_id(secret))),
        versions_per_secret_max: u32::MAX,
    }))
}

/// Applies commands to a view; every one has to take effect.
fn apply(
    view: &dyn StateRead,
    commands: &[Vec<u8>],
    first: u64,
) -> Vec<lockbox_raft::state::Write> {
    let mut overlay = Overlay::new(view);
    for (index, command) in (first..).zip(commands) {
        let at = EntryPosition { index, term: 1 };
        let outcome = apply_entry(&mut overlay, command, at).expect("the state is whole");
        assert!(matches!(outcome, Outcome::Done(_)), "{outcome:?}");
    }
    overlay.into_writes()
}

/// A state with every secret at its first version.
fn filled(directory: &TempDir) -> Arc<dyn StateEngine> {
    let engine = RocksEngines::new().open_state(directory.path()).expect("it opens");
    let commit = |commands: &[Vec<u8>], first: u64| {
        let mut writes = Vec::new();
        engine.with_view(&mut |view| writes = apply(view, commands, first));
        engine.commit(&writes).expect("it commits");
    };
    commit(&[encoded(u64::MAX, init_cluster())], 0);
    for start in (0..SECRETS).step_by(usize::try_from(FILL_BATCH).expect("it is small")) {
        let commands: Vec<_> =
            (start..start + FILL_BATCH).map(|n| encoded(n, create_secret(n))).collect();
        commit(&commands, start + 1);
    }
    engine.flush().expect("it flushes");
    engine
}

/// Makes the command of a number.
type MakeCommand = fn(u64) -> Command;

fn benchmark(criterion: &mut Criterion) {
    let directory = TempDir::new().expect("there is room for a directory");
    let engine = filled(&directory);
    let kinds: [(&str, MakeCommand); 2] =
        [("create_secret", create_secret), ("add_version", add_version)];
    let mut group = criterion.benchmark_group("apply");
    for (kind, command) in kinds {
        for batch in BATCHES {
            let first = SECRETS + 1;
            let commands: Vec<_> = (first..first + batch).map(|n| encoded(n, command(n))).collect();
            group.throughput(Throughput::Elements(batch));
            group.bench_function(BenchmarkId::new(kind, batch), |bencher| {
                engine.with_view(&mut |view| {
                    bencher.iter(|| apply(view, black_box(&commands), first));
                });
            });
        }
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3))
        .sample_size(20);
    targets = benchmark
}
criterion_main!(benches);
