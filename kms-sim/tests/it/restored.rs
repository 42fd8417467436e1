//! The disk of the KMS is gone, and an older backup takes its place: nothing that was destroyed
//! comes back, and nothing counts backwards.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use lockbox_core::{KmsKeyId, LogTime, Sensitive};
use lockbox_kms_sim::algorithm::Algorithm;
use lockbox_kms_sim::backup::{directory, restore};
use lockbox_kms_sim::caller::Caller;
use lockbox_kms_sim::commit::staged::ENCRYPTIONS_MAX;
use lockbox_kms_sim::crypto::{CryptoInput, Target};
use lockbox_kms_sim::engine::db_directory;
use lockbox_kms_sim::error::Rejection;
use lockbox_kms_sim::keys::apply::{read_keys, read_versions};
use lockbox_kms_sim::keys::command::VersionOf;
use lockbox_kms_sim::keys::{service, versions};
use lockbox_kms_sim::root_key::RootKey;
use lockbox_kms_sim::root_secret::RootSecret;
use lockbox_kms_sim::schedule::{Pass, Scheduler};
use lockbox_kms_sim::store::identity::{RestoreMark, Restores, StoreIdentity};
use lockbox_kms_sim::store::records::KeyRecord;
use lockbox_kms_sim::store::tables::{Table, versions_prefix};
use lockbox_kms_sim::store::{Db, View};
use lockbox_kms_sim::witness::{AHEAD, AttestError, STANDALONE_JUMP, SettleError, Witness, settle};
use lockbox_platform::exit::ExitCode;
use lockbox_platform::system::SystemRandom;

use crate::canary::search;
use crate::consistency::assert_consistent;
use crate::support::{
    ROOT, Running, TestClock, admin, decrypt, encrypt, open_at, pass, rejection, target,
};
use crate::witnesses::{Memory, caught_up, keeper};

const DAY: Duration = Duration::from_hours(24);

fn root() -> RootSecret {
    RootSecret::Key(RootKey::from_bytes(&ROOT))
}

/// A KMS of a cluster, and where its data and backups are.
struct Site {
    place: tempfile::TempDir,
    clock: Arc<TestClock>,
    memory: Arc<Memory>,
}

impl Site {
    fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        Self { place, clock: TestClock::new(), memory: Memory::new() }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    async fn open(&self, name: &str) -> Running {
        open_at(&self.at(name), Arc::clone(&self.clock)).await
    }

    fn back_up(&self, kms: &Running) -> PathBuf {
        directory::add(&kms.engine, &self.at("backups")).unwrap().0
    }

    /// Restores a backup into a new directory, and lets it catch up.
    async fn restored(&self, file: &Path, name: &str) -> Running {
        restore(file, &self.at(name), root(), false).unwrap();
        caught_up(&self.at(name), &self.memory, &self.clock).await.unwrap();
        self.open(name).await
    }
}

fn record(view: &View<'_>, key: &KmsKeyId) -> KeyRecord {
    read_keys(view).unwrap().into_iter().find(|found| found.id == *key).unwrap()
}

fn primary(kms: &Running, key: &KmsKeyId) -> VersionOf {
    let record = record(&kms.engine.view(), key);
    VersionOf { key_id: key.clone(), version_id: record.primary_version_id }
}

async fn sealed(kms: &Running, key: &KmsKeyId) -> Vec<u8> {
    kms.encrypt(&admin(), key, b"value").await.ciphertext.unwrap()
}

async fn schedule(kms: &Running, version: &VersionOf) {
    let schedule = versions::schedule_destruction;
    schedule(&kms.engine, &admin(), version, DAY, None, &mut None).await.unwrap();
}

/// The wraps of a key's versions.
fn wraps(kms: &Running, key: &KmsKeyId) -> Vec<Vec<u8>> {
    let view = kms.engine.view();
    let rows = view.scan(Table::Materials, &versions_prefix(key), b"");
    rows.map(|row| row.unwrap().1.into_vec()).collect()
}

#[tokio::test]
async fn security_s14_a_restored_backup_revives_nothing_that_was_destroyed() {
    let site = Site::new();
    let kms = site.open("data").await;
    let told = keeper(&kms, &site.memory);
    told.attest(Vec::new()).await.unwrap();
    let mut keys = Vec::new();
    for _ in 0..4 {
        keys.push(kms.create(&admin(), Algorithm::Aes256).await);
    }
    let [whole, rotated, replaced, kept] = &keys[..] else { panic!() };
    let mut made = Vec::new();
    for key in &keys {
        made.push(sealed(&kms, key).await);
    }
    // Rotated before the backup is made: its first version is not primary in it.
    let old = primary(&kms, rotated);
    kms.rotate(&admin(), rotated).await;
    let young = sealed(&kms, rotated).await;
    let file = site.back_up(&kms);
    let doomed = [wraps(&kms, whole), wraps(&kms, replaced)].concat();
    assert_eq!(doomed.len(), 2);

    // After it: one key is deleted as a whole, one loses its first version, and one the version that
    // is primary in the backup.
    service::delete(&kms.engine, &admin(), whole, DAY, None, &mut None).await.unwrap();
    schedule(&kms, &old).await;
    let last = primary(&kms, replaced);
    kms.rotate(&admin(), replaced).await;
    schedule(&kms, &last).await;
    site.clock.advance(DAY);
    let mut scheduler = Scheduler::announcing(Some(Arc::clone(&told)));
    assert_eq!(pass(&kms, &mut scheduler).await.destroyed, 3);
    drop(scheduler);
    kms.stop_with(told).await;
    std::fs::remove_dir_all(site.at("data")).unwrap();

    let kms = site.restored(&file, "restored").await;
    assert_consistent(&kms.engine.view());
    let gone = rejection(kms.call(&admin(), decrypt(whole, &made[0])).await);
    assert_eq!(gone, Rejection::KeyNotFound(whole.clone()));
    let operator = Caller::operator("operator");
    let undeleted = service::undelete(&kms.engine, &operator, whole).await;
    assert_eq!(rejection(undeleted), Rejection::KeyNotDeleted(whole.clone()));
    for (key, version, ciphertext) in [(rotated, &old, &made[1]), (replaced, &last, &made[2])] {
        let gone = rejection(kms.call(&admin(), decrypt(key, ciphertext)).await);
        assert_eq!(gone, Rejection::VersionNotActive(key.clone(), version.version_id.clone()));
        // The key lives on.
        let again = sealed(&kms, key).await;
        kms.call(&admin(), decrypt(key, &again)).await.unwrap();
    }
    for (key, ciphertext) in [(rotated, &young), (kept, &made[3])] {
        let opened = kms.call(&admin(), decrypt(key, ciphertext)).await.unwrap();
        assert_eq!(opened.plaintext.unwrap().expose(), b"value");
    }
    assert!(kms.engine.purge_destroyed().unwrap());
    kms.stop().await;
    for wrap in doomed {
        assert_eq!(search(&site.at("restored"), &wrap[wrap.len() - 32..]), None);
    }
}

#[tokio::test]
async fn no_counter_goes_back() {
    let site = Site::new();
    let kms = site.open("data").await;
    let told = keeper(&kms, &site.memory);
    told.attest(Vec::new()).await.unwrap();
    let key = kms.create(&admin(), Algorithm::Aes256).await;
    sealed(&kms, &key).await;
    let file = site.back_up(&kms);
    let backed_up = kms.engine.view().head().unwrap();
    let made_at = primary(&kms, &key);
    let mut answered = 0;
    for _ in 0..5 {
        answered = kms.encrypt(&admin(), &key, b"value").await.index;
    }
    // What the cluster has not heard of is behind it all the same.
    let reserved = site.memory.seen().reserved;
    assert!(answered < reserved);
    kms.stop_with(told).await;

    let kms = site.restored(&file, "restored").await;
    let view = kms.engine.view();
    let head = view.head().unwrap();
    assert_eq!(head.sequence, reserved + 1);
    assert!(head.time >= backed_up.time);
    let restores = Restores::read(&view).unwrap();
    let [restore] = &restores.restores[..] else { panic!("{restores:?}") };
    assert_eq!((restore.from, restore.to), (backed_up.sequence, reserved + 1));
    // More than it can have done in between, and far less than it may do.
    let versions = read_versions(&view, &record(&view, &key)).unwrap();
    let version = versions.iter().find(|version| version.id == made_at.version_id).unwrap();
    let carried = restores.carried(version.created_at);
    assert!((5..=AHEAD + 100).contains(&carried), "{carried}");
    drop(view);
    let next = kms.encrypt(&admin(), &key, b"value").await;
    assert!(next.index > reserved);
    assert_eq!(site.memory.seen().epoch, 2);

    // And once more, out of the same backup.
    let told = keeper(&kms, &site.memory);
    told.attest(Vec::new()).await.unwrap();
    kms.stop_with(told).await;
    let kms = site.restored(&file, "again").await;
    assert!(kms.engine.view().head().unwrap().sequence > next.index);
    assert_eq!(site.memory.seen().epoch, 3);
    kms.stop().await;
}

#[tokio::test]
async fn whoever_still_runs_on_the_old_disk_is_shut_out() {
    let site = Site::new();
    let kms = site.open("data").await;
    let told = keeper(&kms, &site.memory);
    told.attest(Vec::new()).await.unwrap();
    let file = site.back_up(&kms);
    let restored = site.restored(&file, "restored").await;
    let refused = told.attest(Vec::new()).await.unwrap_err();
    assert!(matches!(refused, AttestError::Replaced { epoch: 2 }), "{refused}");
    assert_eq!(kms.tasks.fatal().wait().await.code, ExitCode::IdentityMismatch);
    // It could not have answered under a number that the other one uses.
    let limit = StoreIdentity::read(&kms.engine.view()).unwrap().unwrap().limit();
    assert!(restored.engine.view().head().unwrap().sequence > limit);
    restored.stop().await;
    drop(told);
    kms.engine.stop().await;
    kms.tasks.shutdown(Duration::from_secs(10)).await.unwrap();
}

#[tokio::test]
async fn what_a_crash_interrupts_is_gone_on_with() {
    let site = Site::new();
    let kms = site.open("data").await;
    let told = keeper(&kms, &site.memory);
    told.attest(Vec::new()).await.unwrap();
    let file = site.back_up(&kms);
    kms.stop_with(told).await;
    let data = site.at("restored");
    restore(&file, &data, root(), false).unwrap();
    let mark = || {
        let db = Db::open(&db_directory(&data)).unwrap();
        RestoreMark::read(&db.view()).unwrap()
    };
    // While nobody answers it waits, and may be stopped at any moment.
    site.memory.set_down(true);
    let waiting = caught_up(&data, &site.memory, &site.clock);
    assert!(tokio::time::timeout(Duration::from_millis(200), waiting).await.is_err());
    assert!(!mark().unwrap().claimed);
    // The cluster has begun its next life, and nobody has told it so.
    site.memory.set_down(false);
    site.memory.lose_answers(u32::MAX);
    let waiting = caught_up(&data, &site.memory, &site.clock);
    assert!(tokio::time::timeout(Duration::from_millis(200), waiting).await.is_err());
    assert!(mark().unwrap().claimed);
    assert_eq!(site.memory.seen().epoch, 2);
    site.memory.lose_answers(0);
    caught_up(&data, &site.memory, &site.clock).await.unwrap();
    assert_eq!(site.memory.seen().epoch, 2, "it is the same life");
    assert_eq!(mark(), None);
    // Once it has caught up there is nothing to catch up with.
    caught_up(&data, &site.memory, &site.clock).await.unwrap();
    assert_eq!(site.memory.seen().epoch, 2);
    site.open("restored").await.stop().await;
}

#[tokio::test]
async fn a_restored_store_without_its_cluster_is_refused_with_a_sentence() {
    let site = Site::new();
    let kms = site.open("data").await;
    let file = site.back_up(&kms);
    kms.stop().await;
    let data = site.at("restored");
    restore(&file, &data, root(), false).unwrap();
    let (key_of_root, wall, nobody) =
        (RootKey::from_bytes(&ROOT), LogTime::default(), None::<&dyn Witness>);
    let alone = settle(&data, &key_of_root, nobody, &SystemRandom, wall).await;
    let refused = alone.unwrap_err();
    assert!(matches!(refused, SettleError::NoCluster { .. }), "{refused}");
    let refused = caught_up(&data, &site.memory, &site.clock).await.unwrap_err();
    assert!(matches!(refused, SettleError::Unknown), "{refused}");
    // The witness of another KMS.
    let other = site.open("other").await;
    let told = keeper(&other, &site.memory);
    told.attest(Vec::new()).await.unwrap();
    let refused = caught_up(&data, &site.memory, &site.clock).await.unwrap_err();
    assert!(matches!(refused, SettleError::Foreign), "{refused}");
    other.stop_with(told).await;
}

/// Nobody knows what was encrypted since: so no version of the backup encrypts any more.
#[tokio::test]
async fn a_kms_that_stands_alone_encrypts_with_new_versions_only() {
    let site = Site::new();
    let kms = site.open("data").await;
    let key = kms.create(&admin(), Algorithm::Aes256).await;
    let made = sealed(&kms, &key).await;
    let first = primary(&kms, &key);
    let file = site.back_up(&kms);
    let head = kms.engine.view().head().unwrap().sequence;
    kms.stop().await;
    let data = site.at("restored");
    restore(&file, &data, root(), true).unwrap();
    let (key_of_root, wall) = (RootKey::from_bytes(&ROOT), LogTime::default());
    settle(&data, &key_of_root, None, &SystemRandom, wall).await.unwrap();
    let kms = site.open("restored").await;
    let view = kms.engine.view();
    assert_eq!(view.head().unwrap().sequence, head + STANDALONE_JUMP + 1);
    assert_eq!(Restores::read(&view).unwrap().restores[0].encryptions, ENCRYPTIONS_MAX);
    drop(view);
    let opened = kms.call(&admin(), decrypt(&key, &made)).await.unwrap();
    assert_eq!(opened.plaintext.unwrap().expose(), b"value");
    let exhausted = || Rejection::VersionExhausted(key.clone(), first.version_id.clone());
    assert_eq!(rejection(kms.call(&admin(), encrypt(&key, b"x")).await), exhausted());
    // A version is newer than the restore only from the next millisecond on.
    site.clock.advance(Duration::from_millis(1));
    let mut done = Pass::default();
    Scheduler::default().replace_worn(&kms.engine, &mut done).await.unwrap();
    // The system key, too.
    assert_eq!(done.rotated.len(), 2);
    sealed(&kms, &key).await;
    let old = Target { version_id: Some(first.version_id.clone()), ..target(&key) };
    let old = CryptoInput::Encrypt(old, Sensitive::new(b"x".to_vec()));
    assert_eq!(rejection(kms.call(&admin(), old).await), exhausted());
    kms.stop().await;
}
