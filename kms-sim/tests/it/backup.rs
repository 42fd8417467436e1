//! Backups: whole and consistent while calls run, and nothing is restored from what is not whole.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lockbox_core::KmsKeyId;
use lockbox_kms_sim::algorithm::Algorithm;
use lockbox_kms_sim::backup::directory::{add, list};
use lockbox_kms_sim::backup::{self, BackupError, Contents, restore, verify};
use lockbox_kms_sim::engine::{OpenError, db_directory};
use lockbox_kms_sim::keys::command::Quotas;
use lockbox_kms_sim::ledger;
use lockbox_kms_sim::root_key::RootKey;
use lockbox_kms_sim::root_rotation::rotate;
use lockbox_kms_sim::root_secret::{Passphrase, RootSecret};
use lockbox_kms_sim::shares::{combine, split};
use lockbox_kms_sim::store::Db;
use lockbox_platform::system::SystemRandom;

use crate::canary::encodings;
use crate::support::{ROOT, Running, TestClock, admin, decrypt, open, open_with};
use crate::witnesses::{Memory, caught_up, keeper};

fn root() -> RootSecret {
    RootSecret::Key(RootKey::from_bytes(&ROOT))
}

fn back_up(kms: &Running, directory: &Path) -> PathBuf {
    add(&kms.engine, directory).unwrap().0
}

/// Restores a backup of a KMS without a cluster, and opens it.
async fn reopened(file: &Path, data: &Path) -> Running {
    restore(file, data, root(), true).unwrap();
    let clock = TestClock::new();
    let wall = lockbox_core::LogTime::from_ms(lockbox_core::Clock::wall_ms(clock.as_ref()));
    let root = RootKey::from_bytes(&ROOT);
    lockbox_kms_sim::witness::settle(data, &root, None, &SystemRandom, wall).await.unwrap();
    let quotas = Quotas { keys_per_cloud: 100, versions_per_key: 100 };
    open_with(data, ROOT, clock, quotas).await.unwrap()
}

async fn opens(kms: &Running, key: &KmsKeyId, ciphertext: &[u8], plaintext: &[u8]) {
    let opened = kms.call(&admin(), decrypt(key, ciphertext)).await.unwrap();
    assert_eq!(opened.plaintext.unwrap().expose(), plaintext);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_made_while_calls_run_is_one_moment_of_the_store() {
    let place = tempfile::tempdir().unwrap();
    let kms = Arc::new(open(&place.path().join("data")).await);
    let key = kms.create(&admin(), Algorithm::Aes256).await;
    let made = kms.encrypt(&admin(), &key, b"before").await.ciphertext.unwrap();
    let calls = {
        let (kms, key) = (Arc::clone(&kms), key.clone());
        async move {
            for n in 0..300_u32 {
                if n % 50 == 0 {
                    kms.rotate(&admin(), &key).await;
                }
                kms.encrypt(&admin(), &key, &n.to_be_bytes()).await;
            }
        }
    };
    let backups = {
        let (engine, directory) = (Arc::clone(&kms.engine), place.path().join("backups"));
        tokio::task::spawn_blocking(move || {
            (0..5).map(|_| add(&engine, &directory).unwrap().1.head).collect::<Vec<u64>>()
        })
    };
    let (backups, ()) = tokio::join!(backups, calls);
    let heads = backups.unwrap();
    let kms = Arc::into_inner(kms).unwrap();
    kms.stop().await;

    let found = list(&place.path().join("backups")).unwrap();
    assert!(!found.is_empty());
    for (n, backup) in found.iter().enumerate() {
        assert!(heads.contains(&backup.head));
        let contents = verify(&backup.path, place.path(), root()).unwrap();
        assert_eq!((contents.head, contents.keys), (backup.head, 2), "{contents:?}");
        let restored = reopened(&backup.path, &place.path().join(format!("restored-{n}"))).await;
        opens(&restored, &key, &made, b"before").await;
        let checked = ledger::verify::verify(&restored.engine.view()).unwrap();
        assert!(checked.problems.is_empty(), "{:?}", checked.problems);
        restored.stop().await;
    }
    assert!(!place.path().join("db.verifying").exists());
}

#[tokio::test]
async fn what_was_changed_or_cut_restores_nothing_and_leaves_nothing() {
    let place = tempfile::tempdir().unwrap();
    let kms = open(&place.path().join("data")).await;
    kms.create(&admin(), Algorithm::Aes256).await;
    let file = back_up(&kms, &place.path().join("backups"));
    kms.stop().await;
    let whole = fs::read(&file).unwrap();
    let (altered, target) = (place.path().join("altered"), place.path().join("target"));
    let attempt = |bytes: &[u8]| {
        fs::write(&altered, bytes).unwrap();
        let refused = restore(&altered, &target, root(), true).unwrap_err();
        assert!(!db_directory(&target).exists(), "{refused}");
        assert!(!target.join("db.restoring").exists(), "{refused}");
        refused
    };
    for cut in [0, 1, 18, 19, 23, 60, 200, whole.len() / 2, whole.len() - 1] {
        let refused = attempt(&whole[..cut]);
        let known = matches!(refused, BackupError::NotABackup | BackupError::Altered(_));
        assert!(known, "cut at {cut}: {refused}");
    }
    for at in (0..whole.len()).step_by(97) {
        let mut changed = whole.clone();
        changed[at] ^= 0x10;
        attempt(&changed);
    }
    let longer = [&whole[..], b"x"].concat();
    assert!(matches!(attempt(&longer), BackupError::Altered(_)));
    assert!(matches!(attempt(b"something else entirely"), BackupError::NotABackup));
    // What is left is good.
    restore(&file, &target, root(), true).unwrap();
    let again = restore(&file, &target, root(), true).unwrap_err();
    assert!(matches!(again, BackupError::Exists { .. }), "{again}");
}

#[tokio::test]
async fn only_its_root_key_opens_a_backup_and_the_backup_does_not_hold_it() {
    let place = tempfile::tempdir().unwrap();
    let kms = open(&place.path().join("data")).await;
    let key = kms.create(&admin(), Algorithm::Aes256).await;
    let file = back_up(&kms, &place.path().join("backups"));
    kms.stop().await;
    let content = fs::read(&file).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&file).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    for (name, encoded) in encodings(&ROOT) {
        let holds = content.windows(encoded.len()).any(|window| window == encoded);
        assert!(!holds, "the root key is in the backup, in {name}");
    }
    // Names and subjects are nobody's business either.
    let id = key.as_str().as_bytes();
    assert!(!content.windows(id.len()).any(|window| window == id));
    let other = RootSecret::Key(RootKey::from_bytes(&[1; 32]));
    let refused = verify(&file, place.path(), other).unwrap_err();
    assert!(matches!(refused, BackupError::WrongRootKey { .. }), "{refused}");
    assert!(refused.to_string().contains(&hex::encode(RootKey::from_bytes(&ROOT).id())));
    let words = words(place.path());
    let refused = verify(&file, place.path(), words).unwrap_err();
    assert!(matches!(refused, BackupError::NoPassphrase), "{refused}");
    assert!(!place.path().join("db.verifying").exists());
}

fn words(place: &Path) -> RootSecret {
    let path = place.join("words");
    fs::write(&path, "correct horse battery\n").unwrap();
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    RootSecret::Passphrase(Passphrase::read_file(&path).unwrap())
}

/// The words alone open a backup on a machine that has nothing else, and so do the shares of the key
/// that they stand for.
#[tokio::test]
async fn a_passphrase_or_the_shares_of_its_key_open_a_backup() {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data");
    let kms = open(&data).await;
    let key = kms.create(&admin(), Algorithm::Aes256).await;
    let made = kms.encrypt(&admin(), &key, b"value").await.ciphertext.unwrap();
    kms.stop().await;
    rotate(&data, root(), words(place.path()), &SystemRandom).unwrap();
    let derived = words(place.path()).open(&data, &SystemRandom).unwrap();
    let shares = split(&derived, 3, 2, &SystemRandom).unwrap();
    let name = derived.id();
    let quotas = Quotas { keys_per_cloud: 100, versions_per_key: 100 };
    let kms = open_under(&data, derived, quotas).await.unwrap();
    let file = back_up(&kms, &place.path().join("backups"));
    kms.stop().await;
    fs::remove_dir_all(&data).unwrap();

    let by_words = place.path().join("by-words");
    let contents: Contents = restore(&file, &by_words, words(place.path()), true).unwrap();
    assert!(contents.by_passphrase);
    assert_eq!(contents.root_key_id, hex::encode(name));
    let by_shares = place.path().join("by-shares");
    let recovered = combine(&shares[1..]).unwrap();
    restore(&file, &by_shares, RootSecret::Key(recovered), true).unwrap();
    for (data, root) in [
        (&by_words, words(place.path()).open(&by_words, &SystemRandom).unwrap()),
        (&by_shares, combine(&shares[..2]).unwrap()),
    ] {
        let wall = lockbox_core::LogTime::from_ms(1);
        lockbox_kms_sim::witness::settle(data, &root, None, &SystemRandom, wall).await.unwrap();
        let kms = open_under(data, root, quotas).await.unwrap();
        opens(&kms, &key, &made, b"value").await;
        kms.stop().await;
    }
}

/// As [`open_with`], by a root key whose bytes the test does not know.
async fn open_under(data: &Path, root: RootKey, quotas: Quotas) -> Result<Running, OpenError> {
    use lockbox_kms_sim::engine::{Engine, EngineParts};
    use lockbox_kms_sim::metrics::KmsMetrics;
    use lockbox_platform::exit::FatalExit;
    use lockbox_platform::metrics::{Metrics, Prefix};
    use lockbox_platform::tasks::Tasks;

    let tasks = Tasks::new(FatalExit::new());
    let metrics = KmsMetrics::register(&Metrics::new(Prefix::Kms).unwrap()).unwrap();
    let parts = EngineParts {
        root,
        clock: TestClock::new(),
        random: Arc::new(SystemRandom),
        quotas,
        metrics: metrics.ledger,
        tasks: tasks.clone(),
    };
    Ok(Running { engine: Arc::new(Engine::open(data, parts).await?), tasks })
}

#[tokio::test]
async fn a_restored_store_serves_nobody_before_it_has_caught_up() {
    let place = tempfile::tempdir().unwrap();
    let (data, target) = (place.path().join("data"), place.path().join("target"));
    let memory = Memory::new();
    let kms = open(&data).await;
    let told = keeper(&kms, &memory);
    told.attest(Vec::new()).await.unwrap();
    drop(told);
    let file = back_up(&kms, &place.path().join("backups"));
    kms.stop().await;
    restore(&file, &target, root(), false).unwrap();
    let quotas = Quotas { keys_per_cloud: 100, versions_per_key: 100 };
    let refused = open_with(&target, ROOT, TestClock::new(), quotas).await.err().unwrap();
    assert!(matches!(refused, OpenError::Restored { .. }), "{refused}");
    caught_up(&target, &memory, &TestClock::new()).await.unwrap();
    open(&target).await.stop().await;
}

/// A backup that opens and contradicts itself was made by a store that was damaged.
#[tokio::test]
async fn a_backup_of_a_damaged_ledger_is_found_out() {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data");
    let kms = open(&data).await;
    let key = kms.create(&admin(), Algorithm::Aes256).await;
    kms.encrypt(&admin(), &key, b"value").await;
    kms.stop().await;
    {
        use lockbox_kms_sim::store::Write;
        use lockbox_kms_sim::store::tables::Table;
        let db = Db::open(&db_directory(&data)).unwrap();
        let row = db.view().scan(Table::Ledger, b"", b"").next().unwrap().unwrap().0;
        db.commit(&[Write::delete(Table::Ledger, row.into_vec())]).unwrap();
    }
    let kms = open(&data).await;
    let mut file = Vec::new();
    backup::write(&kms.engine, &mut file).unwrap();
    kms.stop().await;
    let path = place.path().join("file");
    fs::write(&path, file).unwrap();
    let refused = verify(&path, place.path(), root()).unwrap_err();
    assert!(matches!(refused, BackupError::Wrong(_)), "{refused}");
    assert!(refused.to_string().contains("the ledger ends after 0 records"), "{refused}");
}
