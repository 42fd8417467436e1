//! The cluster is told ahead: before what is destroyed, and before what is committed.

use std::sync::Arc;
use std::time::Duration;

use lockbox_core::KmsKeyId;
use lockbox_kms_sim::algorithm::Algorithm;
use lockbox_kms_sim::commit::CommitFailure;
use lockbox_kms_sim::engine::db_directory;
use lockbox_kms_sim::error::{KmsError, Rejection};
use lockbox_kms_sim::keys::apply::{read_keys, read_versions, tombstones};
use lockbox_kms_sim::keys::command::VersionOf;
use lockbox_kms_sim::keys::{service, versions};
use lockbox_kms_sim::schedule::{Pass, Scheduler};
use lockbox_kms_sim::store::Db;
use lockbox_kms_sim::store::identity::StoreIdentity;
use lockbox_kms_sim::store::records::VersionStatus;
use lockbox_kms_sim::witness::{AHEAD, AttestError};
use lockbox_platform::exit::ExitCode;

use crate::support::{Running, TestClock, admin, encrypt, open_at, pass, rejection};
use crate::witnesses::{Memory, keeper};

const PENDING: Duration = Duration::from_hours(24);

/// A version that is not primary, and is going to be destroyed.
async fn scheduled(kms: &Running, key: &KmsKeyId) -> VersionOf {
    let first = {
        let view = kms.engine.view();
        let found = read_keys(&view).unwrap().into_iter().find(|found| found.id == *key).unwrap();
        found.primary_version_id
    };
    kms.rotate(&admin(), key).await;
    let of = VersionOf { key_id: key.clone(), version_id: first };
    let schedule = versions::schedule_destruction;
    schedule(&kms.engine, &admin(), &of, PENDING, None, &mut None).await.unwrap();
    of
}

fn status(kms: &Running, of: &VersionOf) -> VersionStatus {
    let view = kms.engine.view();
    let key = read_keys(&view).unwrap().into_iter().find(|key| key.id == of.key_id).unwrap();
    let all = read_versions(&view, &key).unwrap();
    all.into_iter().find(|version| version.id == of.version_id).unwrap().status
}

fn identity(kms: &Running) -> StoreIdentity {
    StoreIdentity::read(&kms.engine.view()).unwrap().unwrap()
}

#[tokio::test]
async fn nothing_is_destroyed_before_the_cluster_knows_of_it() {
    let directory = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let kms = open_at(directory.path(), clock.clone()).await;
    let memory = Memory::new();
    let keeper = keeper(&kms, &memory);
    keeper.attest(Vec::new()).await.unwrap();
    let one = kms.create(&admin(), Algorithm::Aes256).await;
    let whole = kms.create(&admin(), Algorithm::Aes256).await;
    let version = scheduled(&kms, &one).await;
    let retention = Duration::from_hours(24);
    service::delete(&kms.engine, &admin(), &whole, retention, None, &mut None).await.unwrap();

    clock.advance(PENDING);
    memory.set_down(true);
    let mut scheduler = Scheduler::announcing(Some(Arc::clone(&keeper)));
    assert_eq!(pass(&kms, &mut scheduler).await.destroyed, 0);
    assert_eq!(status(&kms, &version), VersionStatus::ScheduledForDestruction);
    // What may have been told cannot be called off any more.
    let engine = &kms.engine;
    let kept = versions::cancel_destruction(engine, &admin(), &version, None, &mut None).await;
    let (key_id, version_id) = (version.key_id.clone(), version.version_id.clone());
    let expected = Rejection::VersionNotScheduled(key_id.clone(), version_id.clone());
    assert_eq!(rejection(kept), expected);
    let later =
        versions::schedule_destruction(engine, &admin(), &version, PENDING, None, &mut None).await;
    assert_eq!(rejection(later), Rejection::VersionNotActive(key_id, version_id));

    memory.set_down(false);
    assert_eq!(pass(&kms, &mut scheduler).await.destroyed, 2);
    assert_eq!(status(&kms, &version), VersionStatus::Destroyed);
    // The cluster has just what the store has: the version, the key, and the key's own version.
    let mut told = memory.told();
    let mut own = tombstones(&kms.engine.view()).unwrap();
    let ids = |all: &mut Vec<lockbox_kms_sim::keys::apply::Tombstone>| {
        all.sort();
        all.iter().map(|t| (t.key_id.clone(), t.version_id.clone())).collect::<Vec<_>>()
    };
    assert_eq!(ids(&mut told), ids(&mut own));
    assert_eq!(own.len(), 3);
    drop(scheduler);
    kms.stop_with(keeper).await;
}

#[tokio::test]
async fn without_a_witness_a_destruction_waits_for_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let kms = open_at(directory.path(), clock.clone()).await;
    let memory = Memory::new();
    // The cluster has never heard of this KMS, so it would not be asked after a restore either.
    memory.set_down(true);
    let keeper = keeper(&kms, &memory);
    let key = kms.create(&admin(), Algorithm::Aes256).await;
    let version = scheduled(&kms, &key).await;
    clock.advance(PENDING);
    let mut scheduler = Scheduler::announcing(Some(keeper));
    let mut done = Pass::default();
    scheduler.pass(&kms.engine, &mut done).await.unwrap();
    assert_eq!(done.destroyed, 1);
    assert_eq!(status(&kms, &version), VersionStatus::Destroyed);
    drop(scheduler);
    kms.stop().await;
}

#[tokio::test]
async fn no_commit_is_made_that_the_cluster_has_not_reserved() {
    let directory = tempfile::tempdir().unwrap();
    let kms = open_at(directory.path(), TestClock::new()).await;
    let memory = Memory::new();
    let keeper = keeper(&kms, &memory);
    let key = kms.create(&admin(), Algorithm::Aes256).await;
    let seen = keeper.attest(Vec::new()).await.unwrap();
    let head = kms.engine.view().head().unwrap().sequence;
    assert_eq!((seen.head, seen.reserved), (head, head + AHEAD));
    assert_eq!(identity(&kms).reserved, head + AHEAD);
    // As if all but two had been used.
    let nearly = StoreIdentity { reserved: head + 2, ..identity(&kms) };
    kms.stop_with(keeper).await;
    let db = Db::open(&db_directory(directory.path())).unwrap();
    db.commit(&[nearly.write()]).unwrap();
    drop(db);
    let kms = open_at(directory.path(), TestClock::new()).await;
    let keeper = crate::witnesses::keeper(&kms, &memory);
    for n in [1, 2] {
        let made = kms.encrypt(&admin(), &key, b"value").await;
        assert_eq!(made.index, head + n);
    }
    let refused = kms.call(&admin(), encrypt(&key, b"value")).await.err().unwrap();
    assert!(matches!(refused, KmsError::Commit(CommitFailure::Unreserved)), "{refused}");
    let rotated = service::rotate(&kms.engine, &admin(), &key, None, &mut None).await;
    let refused = rotated.err().unwrap();
    assert!(matches!(refused, KmsError::Commit(CommitFailure::Unreserved)), "{refused}");
    keeper.attest(Vec::new()).await.unwrap();
    assert_eq!(kms.encrypt(&admin(), &key, b"value").await.index, head + 3);
    kms.stop_with(keeper).await;
}

#[tokio::test]
async fn a_cluster_that_was_set_back_learns_everything_again() {
    let directory = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let kms = open_at(directory.path(), clock.clone()).await;
    let memory = Memory::new();
    let keeper = keeper(&kms, &memory);
    let key = kms.create(&admin(), Algorithm::Aes256).await;
    let version = scheduled(&kms, &key).await;
    clock.advance(PENDING);
    let before = keeper.attest(Vec::new()).await.unwrap();
    let mut scheduler = Scheduler::announcing(Some(Arc::clone(&keeper)));
    assert_eq!(pass(&kms, &mut scheduler).await.destroyed, 1);
    memory.forget();
    let told = keeper.attest(Vec::new()).await.unwrap();
    assert!(told.reserved >= before.reserved, "what was reserved stays reserved");
    assert_eq!(told.tombstones, 0);
    keeper.tell_all(&told).await.unwrap();
    let known: Vec<_> = memory.told().into_iter().map(|t| (t.key_id, t.version_id)).collect();
    assert_eq!(known, [(version.key_id, Some(version.version_id))]);
    drop(scheduler);
    kms.stop_with(keeper).await;
}

#[tokio::test]
async fn another_clusters_witness_says_nothing_and_stops_nobody() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let memory = Memory::new();
    let kms = open_at(one.path(), TestClock::new()).await;
    let own = keeper(&kms, &memory);
    own.attest(Vec::new()).await.unwrap();
    let other = open_at(two.path(), TestClock::new()).await;
    let foreign = keeper(&other, &memory);
    let refused = foreign.attest(Vec::new()).await.unwrap_err();
    assert!(matches!(refused, AttestError::Foreign), "{refused}");
    assert_eq!(identity(&other).reserved, 0, "it serves on without a bound");
    other.create(&admin(), Algorithm::Aes256).await;
    other.stop_with(foreign).await;
    kms.stop_with(own).await;
}

/// Somebody puts an older copy of the data in the place of the newer, and starts the server.
#[tokio::test]
async fn data_that_are_older_than_the_cluster_knows_are_noticed_and_catch_up() {
    let place = tempfile::tempdir().unwrap();
    let (data, copy) = (place.path().join("data"), place.path().join("copy"));
    let (memory, clock) = (Memory::new(), TestClock::new());
    let kms = open_at(&data, clock.clone()).await;
    let told = keeper(&kms, &memory);
    let key = kms.create(&admin(), Algorithm::Aes256).await;
    told.attest(Vec::new()).await.unwrap();
    kms.stop_with(told).await;
    copied(&data, &copy);
    let kms = open_at(&data, clock.clone()).await;
    let told = keeper(&kms, &memory);
    let last = kms.encrypt(&admin(), &key, b"value").await.index;
    told.attest(Vec::new()).await.unwrap();
    kms.stop_with(told).await;

    let kms = open_at(&copy, clock.clone()).await;
    let told = keeper(&kms, &memory);
    let refused = told.attest(Vec::new()).await.unwrap_err();
    assert!(matches!(refused, AttestError::Behind { .. }), "{refused}");
    assert_eq!(kms.tasks.fatal().wait().await.code, ExitCode::IdentityMismatch);
    drop(told);
    kms.engine.stop().await;
    kms.tasks.shutdown(Duration::from_secs(10)).await.unwrap();
    drop(kms);
    crate::witnesses::caught_up(&copy, &memory, &clock).await.unwrap();
    let kms = open_at(&copy, clock).await;
    assert!(kms.encrypt(&admin(), &key, b"value").await.index > last);
    kms.stop().await;
}

fn copied(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let (path, name) = (entry.as_ref().unwrap().path(), entry.as_ref().unwrap().file_name());
        if path.is_dir() {
            copied(&path, &to.join(name));
        } else {
            std::fs::copy(&path, to.join(name)).unwrap();
        }
    }
}
