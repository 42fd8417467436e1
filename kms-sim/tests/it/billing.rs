//! The ledger: billed once, counted exactly, and damage found.

use std::path::{Path, PathBuf};
use std::time::Duration;

use lockbox_core::codec::encode as encode_row;
use lockbox_core::{KmsKeyId, LogTime};
use lockbox_kms_sim::algorithm::Algorithm;
use lockbox_kms_sim::caller::Caller;
use lockbox_kms_sim::commit::staged::{BILLED_REQUEST_RETENTION, head_write};
use lockbox_kms_sim::crypto::CryptoInput;
use lockbox_kms_sim::engine::{SYSTEM_KEY_ID, db_directory};
use lockbox_kms_sim::error::Rejection;
use lockbox_kms_sim::keys::command::Quotas;
use lockbox_kms_sim::ledger::counters::{CounterKey, Counts};
use lockbox_kms_sim::ledger::record::{self, CHAIN_BYTES};
use lockbox_kms_sim::ledger::report::report;
use lockbox_kms_sim::ledger::verify::{Problem, Recomputed, verify};
use lockbox_kms_sim::store::records::Head;
use lockbox_kms_sim::store::tables::Table;
use lockbox_kms_sim::store::{Db, Write};
use lockbox_platform::billing::Span;
use proptest::prelude::*;

use crate::support::{
    ROOT, Running, TestClock, admin, data_key, decrypt, encrypt, open, open_with, rejection,
    source, target, through_node, user,
};

fn verified(kms: &Running) -> Recomputed {
    verify(&kms.engine.view()).unwrap()
}

fn billed(recomputed: &Recomputed, key: &KmsKeyId) -> (u64, u64) {
    let mine = recomputed.counters.iter().filter(|(counter, _)| counter.key_id == *key);
    mine.fold((0, 0), |sum, (_, c)| (sum.0 + c.billed, sum.1 + c.unbilled))
}

#[tokio::test]
async fn a_node_retry_is_done_again_and_billed_once() {
    let directory = tempfile::tempdir().unwrap();
    let kms = open(directory.path()).await;
    let key = kms.create(&admin(), Algorithm::Aes256).await;
    let caller = through_node(&admin(), &[1; 16]);
    let first = kms.call(&caller, data_key(&key)).await.unwrap();
    let again = kms.call(&caller, data_key(&key)).await.unwrap();
    assert!(first.billable && !again.billable);
    assert_ne!(first.ciphertext, again.ciphertext);
    assert!(again.index > first.index);

    // The same id for anything else is refused: another operation, key, input, subject.
    let other_key = kms.create(&admin(), Algorithm::Aes256).await;
    let other_subject = through_node(&user("b", "kms.admin"), &[1; 16]);
    for (caller, input) in [
        (&caller, encrypt(&key, b"x")),
        (&caller, data_key(&other_key)),
        (
            &caller,
            CryptoInput::GenerateDataKey {
                target: target(&key),
                spec: Algorithm::Aes128,
                skip_plaintext: false,
            },
        ),
        (&other_subject, data_key(&key)),
    ] {
        assert_eq!(rejection(kms.call(caller, input).await), Rejection::RequestIdReused);
    }
    // Another id is another access.
    assert!(kms.call(&through_node(&admin(), &[2; 16]), data_key(&key)).await.unwrap().billable);
    let result = verified(&kms);
    assert_eq!(result.problems, []);
    assert_eq!(billed(&result, &key), (2, 1));
    assert_eq!(billed(&result, &other_key), (0, 0));
    kms.stop().await;
}

#[tokio::test]
async fn a_retry_is_recognised_after_a_restart_and_forgotten_after_its_time() {
    let directory = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let quotas = Quotas { keys_per_cloud: 100, versions_per_key: 100 };
    let open = || open_with(directory.path(), ROOT, clock.clone(), quotas);
    let kms = open().await.unwrap();
    let key = kms.create(&admin(), Algorithm::Aes256).await;
    let caller = through_node(&admin(), &[7; 16]);
    assert!(kms.call(&caller, encrypt(&key, b"x")).await.unwrap().billable);
    kms.stop().await;

    clock.advance(BILLED_REQUEST_RETENTION - Duration::from_secs(1));
    let kms = open().await.unwrap();
    assert!(!kms.call(&caller, encrypt(&key, b"x")).await.unwrap().billable);
    clock.advance(Duration::from_secs(2));
    for n in 10..14 {
        kms.call(&through_node(&admin(), &[n; 16]), encrypt(&key, b"x")).await.unwrap();
    }
    assert!(kms.call(&caller, encrypt(&key, b"x")).await.unwrap().billable);
    assert_eq!(verified(&kms).problems, []);
    kms.stop().await;
}

#[tokio::test]
async fn failures_are_not_billed_and_the_system_is_not_charged() {
    let directory = tempfile::tempdir().unwrap();
    let kms = open(directory.path()).await;
    let key = kms.create(&admin(), Algorithm::Aes256).await;
    assert!(kms.call(&admin(), decrypt(&key, b"garbage")).await.is_err());
    assert!(kms.call(&user("viewer", "kms.viewer"), encrypt(&key, b"x")).await.is_err());
    let system = KmsKeyId::parse(SYSTEM_KEY_ID).unwrap();
    let node = Caller::node("node-1.lockbox.internal");
    kms.call(&node, encrypt(&system, b"x")).await.unwrap();
    let result = verified(&kms);
    assert_eq!(billed(&result, &key), (0, 0));
    assert_eq!(billed(&result, &system), (0, 1));
    let span = Span::covering(LogTime::default(), LogTime::from_ms(1 << 42));
    let now = LogTime::from_ms(1_790_000_000_000);
    let bill = report(&kms.engine.view(), span, now, None).unwrap();
    assert_eq!(bill.meters[0].counted, 0);
    kms.stop().await;
}

#[tokio::test]
async fn the_report_of_a_span_counts_what_happened_in_it() {
    let directory = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let quotas = Quotas { keys_per_cloud: 100, versions_per_key: 100 };
    let kms = open_with(directory.path(), ROOT, clock.clone(), quotas).await.unwrap();
    let start = LogTime::from_ms(1_790_000_000_000);
    let key = kms.create(&admin(), Algorithm::Aes256).await;
    for _ in 0..3 {
        kms.encrypt(&admin(), &key, b"x").await;
    }
    clock.advance(Duration::from_secs(3 * 3600));
    let made = kms.encrypt(&admin(), &key, b"x").await.ciphertext.unwrap();
    kms.call(&admin(), decrypt(&key, &made)).await.unwrap();
    let now = start.plus(Duration::from_secs(3 * 3600));
    let bill = |from: LogTime, to: LogTime| {
        report(&kms.engine.view(), Span::covering(from, to), now, None).unwrap()
    };
    let first = bill(start, start.plus(Duration::from_secs(60)));
    assert_eq!(first.meters[0].counted, 3);
    let whole = bill(start, now.plus(Duration::from_secs(1)));
    assert_eq!(whole.meters[0].counted, 5);
    let operations: Vec<_> =
        whole.lines.iter().map(|line| (line.key.operation, line.counts.billed)).collect();
    assert_eq!(operations, [("Decrypt", 1), ("Encrypt", 4)]);
    assert_eq!(whole.meters[1].counted, 3 * 3_600_000, "one version, three hours");
    kms.stop().await;

    let reader = Db::open_read_only(&db_directory(directory.path())).unwrap();
    assert_eq!(verify(&reader.view()).unwrap().problems, []);
}

/// The ledger of a KMS with five records, closed.
async fn ledger_of_five(directory: &Path) -> (Db, Vec<(Vec<u8>, Vec<u8>)>) {
    let kms = open(directory).await;
    let key = kms.create(&admin(), Algorithm::Aes256).await;
    for _ in 0..5 {
        kms.encrypt(&admin(), &key, b"x").await;
    }
    kms.stop().await;
    let db = Db::open(&db_directory(directory)).unwrap();
    let rows: Vec<(Vec<u8>, Vec<u8>)> = db
        .view()
        .scan(Table::Ledger, b"", b"")
        .map(|row| row.map(|(k, v)| (k.into_vec(), v.into_vec())).unwrap())
        .collect();
    assert_eq!(rows.len(), 5);
    (db, rows)
}

async fn rows_of_another_kms() -> Vec<(Vec<u8>, Vec<u8>)> {
    let directory = tempfile::tempdir().unwrap();
    ledger_of_five(directory.path()).await.1
}

#[tokio::test]
async fn security_s19_every_kind_of_damage_to_the_ledger_is_found() {
    let directory = tempfile::tempdir().unwrap();
    let (db, rows) = ledger_of_five(directory.path()).await;
    let problems = || verify(&db.view()).unwrap().problems;
    let put = |row: &[u8], value: &[u8]| {
        db.commit(&[Write::put(Table::Ledger, row.to_vec(), value.to_vec())]).unwrap();
    };
    assert_eq!(problems(), []);
    for (row, value) in &rows {
        for at in 0..value.len() {
            let mut damaged = value.clone();
            damaged[at] ^= 0x10;
            put(row, &damaged);
            assert_ne!(problems(), [], "byte {at}");
        }
        for length in [0, 1, value.len() / 2, value.len() - 1] {
            put(row, &value[..length]);
            assert_ne!(problems(), [], "a record of {length} bytes");
        }
        db.commit(&[Write::delete(Table::Ledger, row.clone())]).unwrap();
        assert_ne!(problems(), [], "a lost record");
        put(row, value);
    }
    let last = u64::from_be_bytes(rows[4].0[..].try_into().unwrap());
    let next = (last + 1).to_be_bytes();
    for replayed in [&rows[0].1, &rows[4].1] {
        put(&next, replayed);
        assert_ne!(problems(), [], "a record that is there twice");
    }
    db.commit(&[Write::delete(Table::Ledger, next.to_vec())]).unwrap();
    for ((row, value), (_, foreign)) in rows.iter().zip(rows_of_another_kms().await) {
        put(row, &foreign);
        assert_ne!(problems(), [], "a foreign record");
        put(row, value);
    }
    assert_eq!(problems(), []);
    put(&rows[1].0, &rows[2].1);
    put(&rows[2].0, &rows[1].1);
    assert_ne!(problems(), [], "two swapped records");
    put(&rows[1].0, &rows[1].1);
    put(&rows[2].0, &rows[2].1);
    assert_eq!(problems(), []);

    let (counter, _) = db.view().scan(Table::Counters, b"", b"").next().unwrap().unwrap();
    db.commit(&[Write::delete(Table::Counters, counter.to_vec())]).unwrap();
    assert!(matches!(problems().as_slice(), [Problem::WrongCounter { .. }]));
}

/// A KMS that charges a request twice, with a chain and counters that agree.
#[tokio::test]
async fn security_s19_a_request_that_is_charged_twice_is_found() {
    let directory = tempfile::tempdir().unwrap();
    let kms = open(directory.path()).await;
    let key = kms.create(&admin(), Algorithm::Aes256).await;
    let caller = through_node(&admin(), &[7; 16]);
    assert!(kms.call(&caller, encrypt(&key, b"x")).await.unwrap().billable);
    assert!(!kms.call(&caller, encrypt(&key, b"x")).await.unwrap().billable);
    kms.stop().await;

    let db = Db::open(&db_directory(directory.path())).unwrap();
    assert_eq!(verify(&db.view()).unwrap().problems, []);
    let (row, value) = db.view().scan(Table::Ledger, b"", b"").last().unwrap().unwrap();
    let (first_row, first) = db.view().scan(Table::Ledger, b"", b"").next().unwrap().unwrap();
    assert_ne!(row, first_row);
    let previous = first.last_chunk::<CHAIN_BYTES>().unwrap();
    let (mut repeat, _, follows) = record::decode(&value, previous).unwrap();
    assert!(follows);
    repeat.billable = true;
    let (value, chain) = record::encode(&repeat, previous);
    let counter = CounterKey::of(&repeat);
    let counts = Counts { billed: 2, unbilled: 0 };
    let head = Head { chain, ..db.view().head().unwrap() };
    db.commit(&[
        Write::put(Table::Ledger, row.to_vec(), value),
        Write::put(Table::Counters, counter.row(), encode_row(&counts)),
        head_write(&head),
    ])
    .unwrap();
    let sequence = repeat.sequence;
    assert_eq!(verify(&db.view()).unwrap().problems, [Problem::WrongCharge { sequence }]);
}

/// Whether the ledger of a store that nobody has open is whole.
fn is_whole(store: &Path) -> bool {
    let Ok(db) = Db::open_read_only(store) else { return false };
    let verified = verify(&db.view());
    verified.is_ok_and(|result| result.problems.is_empty())
}

/// A store that was closed in order has all of its ledger in files whose blocks have checksums.
#[tokio::test]
async fn a_changed_bit_in_a_file_of_the_ledger_is_found() {
    let directory = tempfile::tempdir().unwrap();
    let kms = open(directory.path()).await;
    let caller = admin();
    let key = kms.create(&caller, Algorithm::Aes256).await;
    futures::future::join_all((0..200).map(|_| kms.encrypt(&caller, &key, b"x"))).await;
    kms.stop().await;
    let store = db_directory(directory.path());
    assert!(is_whole(&store));

    // What describes a file is at its end, the name of its table among it.
    let is_ledgers = |path: &PathBuf| {
        let bytes = std::fs::read(path).unwrap();
        let end = &bytes[bytes.len().saturating_sub(8192)..];
        path.extension().is_some_and(|extension| extension == "sst")
            && end.windows(6).any(|window| window == b"ledger")
    };
    let files = std::fs::read_dir(&store).unwrap().map(|entry| entry.unwrap().path());
    let files: Vec<PathBuf> = files.filter(|path| path.is_file() && is_ledgers(path)).collect();
    assert!(!files.is_empty(), "nothing of the ledger is in a file");
    for file in files {
        let bytes = std::fs::read(&file).unwrap();
        for at in (0..bytes.len() / 2).step_by(bytes.len() / 24) {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x10;
            std::fs::write(&file, damaged).unwrap();
            assert!(!is_whole(&store), "byte {at} of {}", bytes.len());
        }
        std::fs::write(&file, bytes).unwrap();
    }
    assert!(is_whole(&store));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]
    /// Random calls by random callers, in parallel: the counters are what the ledger gives.
    #[test]
    fn counters_are_what_the_ledger_gives(
        calls in proptest::collection::vec((0_u8..4, 0_usize..2, 0_u8..6, any::<bool>()), 1..80),
    ) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let directory = tempfile::tempdir().unwrap();
            let kms = open(directory.path()).await;
            let keys = [
                kms.create(&admin(), Algorithm::Aes128).await,
                kms.create(&admin(), Algorithm::Aes256).await,
            ];
            let made = kms.encrypt(&admin(), &keys[0], b"x").await.ciphertext.unwrap();
            let runs = calls.iter().map(|(operation, key, id, by_node)| {
                let key = &keys[*key];
                let input = match operation {
                    0 => encrypt(key, b"x"),
                    1 => decrypt(&keys[0], &made),
                    2 => data_key(key),
                    _ => CryptoInput::ReEncrypt(target(key), source(&keys[0], &made)),
                };
                let caller = if *by_node { through_node(&admin(), &[*id; 16]) } else { admin() };
                let kms = &kms;
                async move { kms.call(&caller, input).await }
            });
            let results = futures::future::join_all(runs).await;
            let acknowledged = results.iter().flatten().filter(|output| output.billable).count();
            let result = verified(&kms);
            assert_eq!(result.problems, []);
            let billed: u64 = result.counters.values().map(|counts| counts.billed).sum();
            assert_eq!(billed, acknowledged as u64 + 1);
            kms.stop().await;
        });
    }
}
