//! Rotation without anybody asking: by time, and by use.

use std::time::Duration;

use lockbox_core::codec::encode;
use lockbox_core::{KmsKeyId, Subject};
use lockbox_kms_sim::algorithm::Algorithm;
use lockbox_kms_sim::commit::staged::ENCRYPTIONS_WARN;
use lockbox_kms_sim::engine::db_directory;
use lockbox_kms_sim::keys::apply::read_keys;
use lockbox_kms_sim::keys::command::{Quotas, UpdateKey};
use lockbox_kms_sim::keys::service;
use lockbox_kms_sim::schedule::{Pass, Scheduler};
use lockbox_kms_sim::store::records::{KeyRecord, KeyStatus, OperationKind};
use lockbox_kms_sim::store::tables::{self, Table};
use lockbox_kms_sim::store::{Db, Write};

use crate::consistency::assert_consistent;
use crate::support::{
    ROOT, Running, TestClock, admin, decrypt, no_update, open, open_at, open_with, pass,
};

const DAY: Duration = Duration::from_hours(24);
const MS: Duration = Duration::from_millis(1);

fn record(kms: &Running, key: &KmsKeyId) -> KeyRecord {
    let keys = read_keys(&kms.engine.view()).unwrap();
    keys.into_iter().find(|found| found.id == *key).unwrap()
}

/// Operations that the audit does not have yet.
fn owed(kms: &Running) -> usize {
    kms.engine.view().scan(Table::AuditOwed, b"", b"").count()
}

pub(crate) async fn set_period(kms: &Running, key: &KmsKeyId, period: Option<Duration>) {
    let ms = period.map(|period| period.as_millis() as u64);
    let update = UpdateKey { rotation_period_ms: Some(ms), ..no_update(key) };
    service::update(&kms.engine, &admin(), update, None, &mut None).await.unwrap();
}

#[tokio::test]
async fn a_key_rotates_at_its_period_and_old_versions_decrypt_on() {
    let directory = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let kms = open_at(directory.path(), clock.clone()).await;
    let key = kms.create(&admin(), Algorithm::Aes128).await;
    let sealed = kms.encrypt(&admin(), &key, b"value").await.ciphertext.unwrap();
    set_period(&kms, &key, Some(DAY)).await;
    let update = UpdateKey { default_algorithm: Some(Algorithm::Aes256), ..no_update(&key) };
    service::update(&kms.engine, &admin(), update, None, &mut None).await.unwrap();
    let mut scheduler = Scheduler::default();
    clock.advance(DAY - MS);
    assert_eq!(pass(&kms, &mut scheduler).await.rotated.len(), 0);
    kms.stop().await;

    let kms = open_at(directory.path(), clock.clone()).await;
    clock.advance(MS);
    let rotated = pass(&kms, &mut scheduler).await.rotated;
    assert_eq!(rotated.len(), 1);
    assert_eq!(rotated[0].kind, OperationKind::RotateKey);
    assert_eq!(rotated[0].created_by, Subject::internal());
    assert_eq!(rotated[0].primary_version.algorithm, Algorithm::Aes256);
    assert_eq!(pass(&kms, &mut scheduler).await.rotated.len(), 0, "once for each period");
    assert_eq!(owed(&kms), 1, "what nobody asked for is to be recorded");
    kms.call(&admin(), decrypt(&key, &sealed)).await.unwrap();
    // By hand, too: the period begins anew.
    clock.advance(DAY / 2);
    kms.rotate(&admin(), &key).await;
    assert_eq!(owed(&kms), 1, "the call that asked for it is its record");
    clock.advance(DAY / 2);
    assert_eq!(pass(&kms, &mut scheduler).await.rotated.len(), 0);
    clock.advance(DAY / 2);
    assert_eq!(pass(&kms, &mut scheduler).await.rotated.len(), 1);
    assert_consistent(&kms.engine.view());
    kms.stop().await;
}

#[tokio::test]
async fn inactive_deleted_and_unset_keys_do_not_rotate() {
    let directory = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let kms = open_at(directory.path(), clock.clone()).await;
    let mut scheduler = Scheduler::default();
    let (inactive, deleted, unset) = (
        kms.create(&admin(), Algorithm::Aes256).await,
        kms.create(&admin(), Algorithm::Aes256).await,
        kms.create(&admin(), Algorithm::Aes256).await,
    );
    for key in [&inactive, &deleted, &unset] {
        set_period(&kms, key, Some(DAY)).await;
    }
    kms.set_status(&admin(), &inactive, KeyStatus::Inactive).await;
    service::delete(&kms.engine, &admin(), &deleted, 3 * DAY, None, &mut None).await.unwrap();
    set_period(&kms, &unset, None).await;
    clock.advance(2 * DAY);
    assert_eq!(pass(&kms, &mut scheduler).await.rotated.len(), 0);
    assert_consistent(&kms.engine.view());
    // What comes back is late, and rotates at once.
    kms.set_status(&admin(), &inactive, KeyStatus::Active).await;
    let operator = lockbox_kms_sim::caller::Caller::operator("operator");
    service::undelete(&kms.engine, &operator, &deleted).await.unwrap();
    let rotated = pass(&kms, &mut scheduler).await.rotated;
    let mut ids: Vec<_> = rotated.into_iter().map(|operation| operation.key.id).collect();
    ids.sort();
    let mut expected = vec![inactive, deleted];
    expected.sort();
    assert_eq!(ids, expected);
    assert_consistent(&kms.engine.view());
    kms.stop().await;
}

#[tokio::test]
async fn a_full_key_stands_in_no_others_way() {
    let directory = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let quotas = Quotas { keys_per_cloud: 10, versions_per_key: 2 };
    let kms = open_with(directory.path(), ROOT, clock.clone(), quotas).await.unwrap();
    let full = kms.create(&admin(), Algorithm::Aes256).await;
    kms.rotate(&admin(), &full).await;
    set_period(&kms, &full, Some(DAY)).await;
    clock.advance(MS);
    let other = kms.create(&admin(), Algorithm::Aes256).await;
    set_period(&kms, &other, Some(DAY)).await;
    clock.advance(DAY);
    let mut scheduler = Scheduler::default();
    for expected in [1, 0] {
        let rotated = pass(&kms, &mut scheduler).await.rotated;
        assert_eq!(rotated.len(), expected);
        assert!(rotated.iter().all(|operation| operation.key.id == other));
    }
    // Once there is room again, it is tried again, and not before a while has passed.
    let version =
        lockbox_kms_sim::keys::apply::read_versions(&kms.engine.view(), &record(&kms, &full));
    let primary = record(&kms, &full).primary_version_id;
    let old = version.unwrap().into_iter().find(|version| version.id != primary).unwrap();
    let of = lockbox_kms_sim::keys::command::VersionOf { key_id: full.clone(), version_id: old.id };
    let pending = Duration::from_secs(1);
    let engine = &kms.engine;
    lockbox_kms_sim::keys::versions::schedule_destruction(
        engine,
        &admin(),
        &of,
        pending,
        None,
        &mut None,
    )
    .await
    .unwrap();
    clock.advance(pending);
    let done = pass(&kms, &mut scheduler).await;
    assert_eq!((done.destroyed, done.rotated.len()), (1, 0));
    clock.advance(Duration::from_mins(10));
    assert_eq!(pass(&kms, &mut scheduler).await.rotated.len(), 1);
    assert_consistent(&kms.engine.view());
    kms.stop().await;
}

#[tokio::test]
async fn a_version_that_has_encrypted_enough_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let kms = open(directory.path()).await;
    let worn = kms.create(&admin(), Algorithm::Aes256).await;
    let fresh = kms.create(&admin(), Algorithm::Aes256).await;
    let version = |kms: &Running, key: &KmsKeyId| record(kms, key).primary_version_id;
    let (worn_version, fresh_version) = (version(&kms, &worn), version(&kms, &fresh));
    kms.stop().await;
    {
        let db = Db::open(&db_directory(directory.path())).unwrap();
        let used = |id, uses: u64| Write::put(Table::Usage, tables::usage(id), encode(&uses));
        let writes =
            [used(&worn_version, ENCRYPTIONS_WARN), used(&fresh_version, ENCRYPTIONS_WARN - 1)];
        db.commit(&writes).unwrap();
    }
    let kms = open(directory.path()).await;
    let (mut scheduler, mut done) = (Scheduler::default(), Pass::default());
    for _ in 0..2 {
        scheduler.replace_worn(&kms.engine, &mut done).await.unwrap();
    }
    assert_eq!(done.rotated.len(), 1);
    assert_ne!(version(&kms, &worn), worn_version);
    assert_eq!(version(&kms, &fresh), fresh_version);
    kms.stop().await;
}
