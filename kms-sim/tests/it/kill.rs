//! SIGKILL: nothing acknowledged is missing from the bill, and retries are billed once.
//!
//! A child process (this test binary again) makes crypto calls and is killed in the middle, many
//! times. It says on stderr which call it begins and which was answered; what it has written
//! survives it. Calls without an answer are made again by the next child, under the same id.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use lockbox_core::KmsKeyId;
use lockbox_kms_sim::algorithm::Algorithm;
use lockbox_kms_sim::crypto::CryptoInput;
use lockbox_kms_sim::engine::db_directory;
use lockbox_kms_sim::ledger::verify::verify;
use lockbox_kms_sim::store::Db;

use crate::support::{
    Running, admin, data_key, decrypt, encrypt, open, source, target, through_node,
};

const KILLS: u64 = 20;
const WORKERS: u64 = 8;
const DIRECTORY: &str = "KMS_KILL_DIRECTORY";
const PENDING: &str = "KMS_KILL_PENDING";
const FIRST: &str = "KMS_KILL_FIRST";

/// Everything about call `n` follows from `n`, so that a retry is the same call.
fn input(n: u64, key: &KmsKeyId, made: &[u8]) -> CryptoInput {
    match n % 4 {
        0 => encrypt(key, &n.to_be_bytes()),
        1 => decrypt(key, made),
        2 => data_key(key),
        _ => CryptoInput::ReEncrypt(target(key), source(key, made)),
    }
}

async fn call(kms: &Running, n: u64, key: &KmsKeyId, made: &[u8]) {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&n.to_be_bytes());
    kms.call(&through_node(&admin(), &id), input(n, key, made)).await.unwrap();
}

async fn reported_call(kms: &Running, n: u64, key: &KmsKeyId, made: &[u8]) {
    say("begin", n);
    call(kms, n, key, made).await;
    say("answered", n);
}

fn say(word: &str, n: u64) {
    let mut stderr = std::io::stderr().lock();
    writeln!(stderr, "{word} {n}").unwrap();
}

fn setup_file(directory: &Path) -> PathBuf {
    directory.join("setup")
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "the child of the test below"]
async fn child() {
    let directory = PathBuf::from(std::env::var(DIRECTORY).unwrap());
    let setup = std::fs::read_to_string(setup_file(&directory)).unwrap();
    let (key, made) = setup.split_once(' ').unwrap();
    let key = KmsKeyId::parse(key).unwrap();
    let made = hex::decode(made).unwrap();
    let pending = std::env::var(PENDING).unwrap();
    let pending: Vec<u64> = pending.split_whitespace().map(|n| n.parse().unwrap()).collect();
    let first: u64 = std::env::var(FIRST).unwrap().parse().unwrap();
    let kms = open(&directory.join("data")).await;
    for n in pending {
        reported_call(&kms, n, &key, &made).await;
    }
    let workers = (0..WORKERS).map(|worker| {
        let (kms, key, made) = (&kms, &key, &made);
        async move {
            let mut n = first + worker;
            loop {
                reported_call(kms, n, key, made).await;
                n += WORKERS;
            }
        }
    });
    futures::future::join_all(workers).await;
}

#[tokio::test]
async fn acknowledged_is_billed_and_a_retry_is_billed_once() {
    let directory = tempfile::tempdir().unwrap();
    let kms = open(&directory.path().join("data")).await;
    let key = kms.create(&admin(), Algorithm::Aes256).await;
    let made = kms.encrypt(&admin(), &key, b"value").await.ciphertext.unwrap();
    kms.stop().await;
    let setup = format!("{key} {}", hex::encode(made));
    std::fs::write(setup_file(directory.path()), setup).unwrap();

    let mut begun = BTreeSet::new();
    let mut answered = BTreeSet::new();
    for kill in 0..KILLS {
        let pending: Vec<u64> = begun.difference(&answered).copied().collect();
        let first = (kill + 1) << 32;
        run_and_kill(directory.path(), &pending, first, 20 + kill * 7, &mut begun, &mut answered);
        let db = Db::open_read_only(&db_directory(&directory.path().join("data"))).unwrap();
        let result = verify(&db.view()).unwrap();
        assert_eq!(result.problems, [], "after kill {kill}");
        // One call was made by the setup.
        let billed: u64 = result.counters.values().map(|counts| counts.billed).sum::<u64>() - 1;
        let (least, most) = (answered.len() as u64, begun.len() as u64);
        assert!((least..=most).contains(&billed), "{least} ≤ {billed} ≤ {most}");
        assert!(most - least <= WORKERS, "only calls in flight are undecided");
    }

    // The calls that are still open, made once more: then the bill is exact.
    let pending: Vec<u64> = begun.difference(&answered).copied().collect();
    let kms = open(&directory.path().join("data")).await;
    let setup = std::fs::read_to_string(setup_file(directory.path())).unwrap();
    let made = hex::decode(setup.split_once(' ').unwrap().1).unwrap();
    for n in pending {
        call(&kms, n, &key, &made).await;
    }
    let result = verify(&kms.engine.view()).unwrap();
    assert_eq!(result.problems, []);
    let billed: u64 = result.counters.values().map(|counts| counts.billed).sum();
    assert_eq!(billed, begun.len() as u64 + 1);
    assert!(begun.len() > 500, "the children did work: {}", begun.len());
    kms.stop().await;
}

fn run_and_kill(
    directory: &Path,
    pending: &[u64],
    first: u64,
    answers: u64,
    begun: &mut BTreeSet<u64>,
    answered: &mut BTreeSet<u64>,
) {
    let pending: Vec<String> = pending.iter().map(u64::to_string).collect();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["kill::child", "--exact", "--ignored", "--nocapture"])
        .env(DIRECTORY, directory)
        .env(PENDING, pending.join(" "))
        .env(FIRST, first.to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut seen = 0;
    let mut other = Vec::new();
    // After the kill the pipe still holds what was said before it.
    while let Some(Ok(line)) = lines.next() {
        match line.split_once(' ').and_then(|(word, n)| Some((word, n.parse::<u64>().ok()?))) {
            Some(("begin", n)) => {
                begun.insert(n);
            }
            Some(("answered", n)) => {
                answered.insert(n);
                seen += 1;
                if seen == answers {
                    child.kill().unwrap();
                }
            }
            _ => other.push(line),
        }
    }
    let status = child.wait().unwrap();
    assert!(seen >= answers, "the child ended by itself ({status}): {other:?}");
}
