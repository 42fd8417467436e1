//! Versions: which one is primary, and their scheduled destruction, to the millisecond.

use std::path::Path;
use std::time::Duration;

use lockbox_core::{KmsKeyId, KmsKeyVersionId};
use lockbox_kms_sim::algorithm::Algorithm;
use lockbox_kms_sim::caller::Caller;
use lockbox_kms_sim::crypto::{CryptoInput, Target};
use lockbox_kms_sim::error::{KmsError, Rejection};
use lockbox_kms_sim::keys::Done;
use lockbox_kms_sim::keys::apply::read_versions;
use lockbox_kms_sim::keys::command::VersionOf;
use lockbox_kms_sim::keys::versions;
use lockbox_kms_sim::schedule::Scheduler;
use lockbox_kms_sim::store::records::{OperationKind, VersionStatus};
use lockbox_kms_sim::store::tables::{self, Table};

use crate::canary::search;
use crate::consistency::assert_consistent;
use crate::support::{
    Running, TestClock, admin, decrypt, encrypt, open, open_at, pass, rejection, target, user,
};

const PENDING: Duration = Duration::from_hours(24);
const MS: Duration = Duration::from_millis(1);

fn version(key: &KmsKeyId, version_id: &KmsKeyVersionId) -> VersionOf {
    VersionOf { key_id: key.clone(), version_id: version_id.clone() }
}

async fn set_primary(
    kms: &Running,
    caller: &Caller,
    version: &VersionOf,
) -> Result<Done, KmsError> {
    versions::set_primary(&kms.engine, caller, version, None, &mut None).await
}

async fn schedule(kms: &Running, version: &VersionOf, pending: Duration) -> Result<Done, KmsError> {
    versions::schedule_destruction(&kms.engine, &admin(), version, pending, None, &mut None).await
}

async fn cancel(kms: &Running, version: &VersionOf) -> Result<Done, KmsError> {
    versions::cancel_destruction(&kms.engine, &admin(), version, None, &mut None).await
}

/// A key that was rotated once: it, its first version, and its primary one.
async fn rotated(kms: &Running) -> (KmsKeyId, VersionOf, VersionOf) {
    let key = kms.create(&admin(), Algorithm::Aes256).await;
    let reading = kms.engine.reading().unwrap();
    let record = reading.key(&key, &mut None).unwrap();
    let first = read_versions(&reading.view, &record).unwrap().remove(0).id;
    drop(reading);
    let primary = kms.rotate(&admin(), &key).await.primary_version.id;
    (key.clone(), version(&key, &first), version(&key, &primary))
}

fn status(kms: &Running, version: &VersionOf) -> VersionStatus {
    let reading = kms.engine.reading().unwrap();
    let key = reading.key(&version.key_id, &mut None).unwrap();
    let versions = read_versions(&reading.view, &key).unwrap();
    versions.into_iter().find(|found| found.id == version.version_id).unwrap().status
}

fn wrapped(kms: &Running, version: &VersionOf) -> Option<Vec<u8>> {
    let row = tables::version(&version.key_id, &version.version_id);
    kms.engine.view().get(Table::Materials, &row).unwrap()
}

fn encrypt_with(version: &VersionOf) -> CryptoInput {
    let version_id = Some(version.version_id.clone());
    let target = Target { version_id, ..target(&version.key_id) };
    let CryptoInput::Encrypt(_, plaintext) = encrypt(&version.key_id, b"value") else { panic!() };
    CryptoInput::Encrypt(target, plaintext)
}

#[tokio::test]
async fn any_active_version_becomes_primary_and_no_other() {
    let directory = tempfile::tempdir().unwrap();
    let kms = open(directory.path()).await;
    let (key, first, second) = rotated(&kms).await;
    let changed = set_primary(&kms, &admin(), &first).await.unwrap().value;
    assert_eq!(
        changed.kind,
        OperationKind::SetPrimaryVersion { before: second.version_id.clone() }
    );
    assert_eq!(changed.primary_version.id, first.version_id);
    let made = kms.encrypt(&admin(), &key, b"value").await;
    assert_eq!(made.target.version_id, first.version_id);
    // To name the one that is primary is no mistake.
    set_primary(&kms, &admin(), &first).await.unwrap();

    let unknown = version(&key, &KmsKeyVersionId::parse("abjunknown").unwrap());
    let expected = Rejection::VersionNotFound(key.clone(), unknown.version_id.clone());
    assert_eq!(rejection(set_primary(&kms, &admin(), &unknown).await), expected);
    let (_, foreign, _) = rotated(&kms).await;
    let foreign = version(&key, &foreign.version_id);
    let expected = Rejection::VersionNotFound(key.clone(), foreign.version_id.clone());
    assert_eq!(rejection(set_primary(&kms, &admin(), &foreign).await), expected);
    schedule(&kms, &second, PENDING).await.unwrap();
    let expected = Rejection::VersionNotActive(key.clone(), second.version_id.clone());
    assert_eq!(rejection(set_primary(&kms, &admin(), &second).await), expected);
    let editor = user("editor", "kms.editor");
    assert_eq!(rejection(set_primary(&kms, &editor, &first).await), Rejection::Denied);
    assert_consistent(&kms.engine.view());
    kms.stop().await;
}

#[tokio::test]
async fn a_scheduled_version_is_closed_at_once_and_may_be_kept() {
    let directory = tempfile::tempdir().unwrap();
    let kms = open(directory.path()).await;
    let (key, first, primary) = rotated(&kms).await;
    let sealed = kms.call(&admin(), encrypt_with(&first)).await.unwrap().ciphertext.unwrap();
    let expected = Rejection::VersionIsPrimary(key.clone(), primary.version_id.clone());
    assert_eq!(rejection(schedule(&kms, &primary, PENDING).await), expected);
    let expected = Rejection::VersionNotScheduled(key.clone(), first.version_id.clone());
    assert_eq!(rejection(cancel(&kms, &first).await), expected);

    let done = schedule(&kms, &first, PENDING).await.unwrap().value;
    let OperationKind::ScheduleVersionDestruction { version } = &done.kind else { panic!() };
    assert_eq!(version.destroy_at, Some(done.created_at.plus(PENDING)));
    let closed = Rejection::VersionNotActive(key.clone(), first.version_id.clone());
    let refused = kms.call(&admin(), decrypt(&key, &sealed)).await;
    assert_eq!(rejection(refused), closed);
    assert_eq!(rejection(kms.call(&admin(), encrypt_with(&first)).await), closed);
    kms.encrypt(&admin(), &key, b"the primary one still does").await;
    // Once more, with another time: only that one counts.
    let again = schedule(&kms, &first, 2 * PENDING).await.unwrap().value;
    let OperationKind::ScheduleVersionDestruction { version } = &again.kind else { panic!() };
    assert_eq!(version.destroy_at, Some(again.created_at.plus(2 * PENDING)));
    assert_consistent(&kms.engine.view());

    let kept = cancel(&kms, &first).await.unwrap().value;
    let OperationKind::CancelVersionDestruction { version } = &kept.kind else { panic!() };
    assert_eq!((version.status, version.destroy_at), (VersionStatus::Active, None));
    assert_eq!(kept.key.primary_version_id, primary.version_id, "it does not become primary");
    kms.call(&admin(), decrypt(&key, &sealed)).await.unwrap();
    assert_consistent(&kms.engine.view());
    kms.stop().await;
}

#[tokio::test]
async fn a_version_is_destroyed_at_its_time_and_not_before_also_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let kms = open_at(directory.path(), clock.clone()).await;
    let (key, first, _) = rotated(&kms).await;
    let sealed = kms.call(&admin(), encrypt_with(&first)).await.unwrap().ciphertext.unwrap();
    schedule(&kms, &first, PENDING).await.unwrap();
    let material = wrapped(&kms, &first).unwrap();
    let mut scheduler = Scheduler::default();
    clock.advance(PENDING - MS);
    assert_eq!(pass(&kms, &mut scheduler).await.destroyed, 0);
    assert_eq!(status(&kms, &first), VersionStatus::ScheduledForDestruction);
    kms.stop().await;

    let kms = open_at(directory.path(), clock.clone()).await;
    let mut scheduler = Scheduler::default();
    assert_eq!(pass(&kms, &mut scheduler).await.destroyed, 0);
    clock.advance(MS);
    assert_eq!(pass(&kms, &mut scheduler).await.destroyed, 1);
    assert_eq!(pass(&kms, &mut scheduler).await.destroyed, 0);
    assert_eq!(status(&kms, &first), VersionStatus::Destroyed);
    assert_eq!(wrapped(&kms, &first), None);
    let gone = Rejection::VersionNotActive(key.clone(), first.version_id.clone());
    assert_eq!(rejection(kms.call(&admin(), decrypt(&key, &sealed)).await), gone);
    assert_eq!(rejection(schedule(&kms, &first, PENDING).await), gone);
    assert_eq!(rejection(set_primary(&kms, &admin(), &first).await), gone);
    let expected = Rejection::VersionNotScheduled(key.clone(), first.version_id.clone());
    assert_eq!(rejection(cancel(&kms, &first).await), expected);
    assert_consistent(&kms.engine.view());

    // The wrap is gone from the files too, not only from sight.
    let body = &material[material.len() - 32..];
    assert!(kms.engine.purge_destroyed().unwrap());
    kms.stop().await;
    assert_eq!(search(directory.path(), body), None);
}

#[tokio::test]
async fn a_destroyed_version_makes_room_and_is_listed_on() {
    let directory = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let quotas = lockbox_kms_sim::keys::command::Quotas { keys_per_cloud: 10, versions_per_key: 2 };
    let root = crate::support::ROOT;
    let opened = crate::support::open_with(directory.path(), root, clock.clone(), quotas).await;
    let kms = opened.unwrap();
    let (key, first, _) = rotated(&kms).await;
    let rotate = async || {
        let engine = &kms.engine;
        lockbox_kms_sim::keys::service::rotate(engine, &admin(), &key, None, &mut None).await
    };
    schedule(&kms, &first, PENDING).await.unwrap();
    assert_eq!(rejection(rotate().await), Rejection::TooManyVersions, "a scheduled one counts");
    clock.advance(PENDING);
    pass(&kms, &mut Scheduler::default()).await;
    rotate().await.unwrap();
    assert_eq!(status(&kms, &first), VersionStatus::Destroyed);
    kms.stop().await;
}

async fn race(path: &Path) {
    let kms = open(path).await;
    let (key, first, second) = rotated(&kms).await;
    let rotations = (0..8).map(|_| async {
        let engine = &kms.engine;
        let service = lockbox_kms_sim::keys::service::rotate;
        service(engine, &admin(), &key, None, &mut None).await.map(drop)
    });
    let primaries = (0..16).map(|n| {
        let (kms, of) = (&kms, if n % 2 == 0 { &first } else { &second });
        async move { set_primary(kms, &admin(), of).await.map(drop) }
    });
    // One version is made primary and destroyed at the same time, again and again.
    let schedules = (0..16).map(|n| {
        let (kms, of) = (&kms, &first);
        async move {
            if n % 2 == 0 {
                schedule(kms, of, PENDING).await.map(drop)
            } else {
                cancel(kms, of).await.map(drop)
            }
        }
    });
    let (rotations, primaries, schedules) = tokio::join!(
        futures::future::join_all(rotations),
        futures::future::join_all(primaries),
        futures::future::join_all(schedules)
    );
    assert!(rotations.iter().all(Result::is_ok), "nothing stands against a rotation");
    for result in primaries.into_iter().chain(schedules) {
        // What loses the race is refused for what it finds, and for nothing else.
        if let Err(error) = result {
            let found = error.rejection();
            let fitting = matches!(
                found,
                Some(
                    Rejection::VersionNotActive(..)
                        | Rejection::VersionIsPrimary(..)
                        | Rejection::VersionNotScheduled(..)
                )
            );
            assert!(fitting, "{error}");
        }
    }
    assert_consistent(&kms.engine.view());
    let reading = kms.engine.reading().unwrap();
    let record = reading.key(&key, &mut None).unwrap();
    assert_eq!(read_versions(&reading.view, &record).unwrap().len(), 10);
    drop(reading);
    kms.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn racing_rotations_primaries_and_schedules_leave_one_active_primary() {
    for _ in 0..8 {
        let directory = tempfile::tempdir().unwrap();
        race(directory.path()).await;
    }
}
