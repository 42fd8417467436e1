//! The end of keys: hidden at once, restorable for 72 hours, then without material.

use std::time::Duration;

use lockbox_core::{FolderId, KmsKeyId, Permission};
use lockbox_kms_sim::algorithm::Algorithm;
use lockbox_kms_sim::caller::Caller;
use lockbox_kms_sim::error::{KmsError, Rejection};
use lockbox_kms_sim::keys::apply::{read_keys, read_versions};
use lockbox_kms_sim::keys::command::{Quotas, UpdateKey, VersionOf};
use lockbox_kms_sim::keys::page::PageRequest;
use lockbox_kms_sim::keys::service;
use lockbox_kms_sim::keys::{Done, operations, versions};
use lockbox_kms_sim::schedule::Scheduler;
use lockbox_kms_sim::store::records::{KeyRecord, KeyStatus, VersionStatus};
use lockbox_kms_sim::store::tables::Table;

use crate::canary::search;
use crate::consistency::assert_consistent;
use crate::keys::claim;
use crate::support::{
    FOLDER, ROOT, Running, TestClock, admin, decrypt, encrypt, new_key, no_update, open, open_at,
    open_with, pass, rejection, through_node, user,
};

const RETENTION: Duration = Duration::from_hours(72);
const MS: Duration = Duration::from_millis(1);

async fn delete(kms: &Running, caller: &Caller, key: &KmsKeyId) -> Result<Done, KmsError> {
    service::delete(&kms.engine, caller, key, RETENTION, None, &mut None).await
}

async fn undelete(kms: &Running, key: &KmsKeyId) -> Result<Done, KmsError> {
    service::undelete(&kms.engine, &Caller::operator("operator.lockbox.internal"), key).await
}

fn listed(kms: &Running) -> Vec<KmsKeyId> {
    let (folder, page) = (FolderId::parse(FOLDER).unwrap(), PageRequest::new(0, "").unwrap());
    let answer = service::list(&kms.engine, &admin(), &folder, &page).unwrap();
    answer.value.rows.into_iter().map(|row| row.key.id).collect()
}

fn record(kms: &Running, key: &KmsKeyId) -> KeyRecord {
    let keys = read_keys(&kms.engine.view()).unwrap();
    keys.into_iter().find(|found| found.id == *key).unwrap()
}

#[tokio::test]
async fn a_deleted_key_is_hidden_from_everything_and_comes_back_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let kms = open_at(directory.path(), clock.clone()).await;
    let key = kms.create(&admin(), Algorithm::Aes256).await;
    let other = kms.create(&admin(), Algorithm::Aes256).await;
    let sealed = kms.encrypt(&admin(), &key, b"value").await.ciphertext.unwrap();
    let first = record(&kms, &key).primary_version_id;
    kms.rotate(&admin(), &key).await;
    let scheduled = VersionOf { key_id: key.clone(), version_id: first };
    let week = Duration::from_hours(7 * 24);
    let engine = &kms.engine;
    versions::schedule_destruction(engine, &admin(), &scheduled, week, None, &mut None)
        .await
        .unwrap();
    let before = record(&kms, &key);
    let editor = user("editor", "kms.editor");
    assert_eq!(rejection(delete(&kms, &editor, &key).await), Rejection::Denied);

    let done = delete(&kms, &admin(), &key).await.unwrap().value;
    assert_eq!(done.primary_version.status, VersionStatus::ScheduledForDestruction);
    assert_eq!(done.primary_version.destroy_at, Some(done.created_at.plus(RETENTION)));
    let gone = || Rejection::KeyNotFound(key.clone());
    assert_eq!(listed(&kms), [other]);
    let page = PageRequest::new(0, "").unwrap();
    let none = &mut None;
    assert_eq!(rejection(service::get(engine, &admin(), &key, none)), gone());
    assert_eq!(rejection(service::list_versions(engine, &admin(), &key, &page, none)), gone());
    assert_eq!(rejection(operations::list(engine, &admin(), &key, &page, none)), gone());
    let node = through_node(&admin(), &[1; 16]);
    assert_eq!(rejection(service::attachable(engine, &node, &key, none)), gone());
    assert_eq!(rejection(kms.call(&admin(), encrypt(&key, b"x")).await), gone());
    assert_eq!(rejection(kms.call(&admin(), decrypt(&key, &sealed)).await), gone());
    let rename = UpdateKey { name: Some("new".to_owned()), ..no_update(&key) };
    assert_eq!(rejection(service::update(engine, &admin(), rename, None, none).await), gone());
    assert_eq!(rejection(service::rotate(engine, &admin(), &key, None, none).await), gone());
    assert_eq!(rejection(delete(&kms, &admin(), &key).await), gone());
    let keep = versions::cancel_destruction(engine, &admin(), &scheduled, None, none).await;
    assert_eq!(rejection(keep), gone());
    // Whoever waits for the end of the deletion is told of it.
    assert_eq!(operations::get(engine, &admin(), &done.id).unwrap().value.key.id, key);
    assert_consistent(&kms.engine.view());
    kms.stop().await;

    let kms = open_at(directory.path(), clock.clone()).await;
    clock.advance(RETENTION - MS);
    assert_eq!(pass(&kms, &mut Scheduler::default()).await.destroyed, 0);
    undelete(&kms, &key).await.unwrap();
    assert_eq!(rejection(undelete(&kms, &key).await), Rejection::KeyNotDeleted(key.clone()));
    let after = record(&kms, &key);
    assert_eq!(KeyRecord { revision: before.revision, ..after }, before);
    assert_eq!(listed(&kms).len(), 2);
    kms.encrypt(&admin(), &key, b"again").await;
    // Its first version is still scheduled for the time that it was scheduled for.
    clock.advance(Duration::from_hours(97));
    assert_eq!(pass(&kms, &mut Scheduler::default()).await.destroyed, 1);
    assert_consistent(&kms.engine.view());
    kms.stop().await;
}

#[tokio::test]
async fn security_s14_at_the_end_of_the_retention_the_material_goes_for_good() {
    let directory = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let kms = open_at(directory.path(), clock.clone()).await;
    let key = kms.create(&admin(), Algorithm::Aes256).await;
    kms.rotate(&admin(), &key).await;
    kms.rotate(&admin(), &key).await;
    let first = read_versions(&kms.engine.view(), &record(&kms, &key)).unwrap().remove(0);
    delete(&kms, &admin(), &key).await.unwrap();
    let wraps: Vec<Vec<u8>> = {
        let view = kms.engine.view();
        let prefix = lockbox_kms_sim::store::tables::versions_prefix(&key);
        view.scan(Table::Materials, &prefix, b"").map(|row| row.unwrap().1.into_vec()).collect()
    };
    assert_eq!(wraps.len(), 3);
    clock.advance(RETENTION);
    // From this moment on it is too late, whether or not anybody has looked yet.
    assert_eq!(rejection(undelete(&kms, &key).await), Rejection::KeyNotDeleted(key.clone()));
    assert_eq!(pass(&kms, &mut Scheduler::default()).await.destroyed, 1);
    assert_eq!(pass(&kms, &mut Scheduler::default()).await.destroyed, 0);
    assert_eq!(rejection(undelete(&kms, &key).await), Rejection::KeyNotDeleted(key.clone()));
    let left = read_versions(&kms.engine.view(), &record(&kms, &key)).unwrap();
    assert!(left.iter().all(|version| version.status == VersionStatus::Destroyed));
    assert!(left.iter().any(|version| version.id == first.id), "kept for the bill");
    assert_consistent(&kms.engine.view());
    assert!(kms.engine.purge_destroyed().unwrap());
    kms.stop().await;
    for wrap in wraps {
        assert_eq!(search(directory.path(), &wrap[wrap.len() - 32..]), None);
    }
}

#[tokio::test]
async fn a_protected_key_is_not_deleted_and_an_inactive_one_is() {
    let directory = tempfile::tempdir().unwrap();
    let kms = open(directory.path()).await;
    let key = kms.create(&admin(), Algorithm::Aes256).await;
    let protect = async |protection| {
        let update = UpdateKey { deletion_protection: Some(protection), ..no_update(&key) };
        service::update(&kms.engine, &admin(), update, None, &mut None).await.unwrap();
    };
    protect(true).await;
    let expected = Rejection::DeletionProtected(key.clone());
    assert_eq!(rejection(delete(&kms, &admin(), &key).await), expected);
    kms.encrypt(&admin(), &key, b"still there").await;
    protect(false).await;
    kms.set_status(&admin(), &key, KeyStatus::Inactive).await;
    delete(&kms, &admin(), &key).await.unwrap();
    undelete(&kms, &key).await.unwrap();
    assert_eq!(record(&kms, &key).status, KeyStatus::Inactive);
    assert_eq!(rejection(undelete(&kms, &key).await), Rejection::KeyNotDeleted(key.clone()));
    let unknown = KmsKeyId::parse("abjunknown").unwrap();
    let expected = Rejection::KeyNotFound(unknown.clone());
    assert_eq!(rejection(undelete(&kms, &unknown).await), expected);
    kms.stop().await;
}

#[tokio::test]
async fn nobody_deletes_the_system_key() {
    let directory = tempfile::tempdir().unwrap();
    let kms = open(directory.path()).await;
    let system = KmsKeyId::parse(lockbox_kms_sim::SYSTEM_KEY_ID).unwrap();
    for caller in [admin(), Caller::node("node-1"), Caller::operator("operator")] {
        assert_eq!(rejection(delete(&kms, &caller, &system).await), Rejection::Denied);
        let reading = kms.engine.reading().unwrap();
        let key = reading.key(&system, &mut None).unwrap();
        assert!(!reading.may(&caller, Permission::KmsKeysAdminister, &key).unwrap());
    }
    kms.stop().await;
}

#[tokio::test]
async fn a_deleted_key_makes_room_for_another() {
    let directory = tempfile::tempdir().unwrap();
    let quotas = Quotas { keys_per_cloud: 1, versions_per_key: 10 };
    let kms = open_with(directory.path(), ROOT, TestClock::new(), quotas).await.unwrap();
    let key = kms.create(&admin(), Algorithm::Aes256).await;
    let refused = service::create(&kms.engine, &admin(), new_key(Algorithm::Aes256), None).await;
    assert_eq!(rejection(refused), Rejection::TooManyKeys);
    delete(&kms, &admin(), &key).await.unwrap();
    kms.create(&admin(), Algorithm::Aes256).await;
    undelete(&kms, &key).await.unwrap();
    assert_eq!(listed(&kms).len(), 2, "what is restored is restored whatever the quota");
    kms.stop().await;
}

#[tokio::test]
async fn a_repeat_of_a_deletion_is_the_first_one_though_the_key_is_gone() {
    let directory = tempfile::tempdir().unwrap();
    let kms = open(directory.path()).await;
    let key = kms.create(&admin(), Algorithm::Aes256).await;
    let delete = async |mac| {
        let keyed = claim("k1", mac);
        service::delete(&kms.engine, &admin(), &key, RETENTION, keyed, &mut None).await
    };
    let first = delete(1).await.unwrap();
    let again = delete(1).await.unwrap();
    assert_eq!((again.value, again.index), (first.value, first.index));
    assert_eq!(rejection(delete(2).await), Rejection::IdempotencyKeyReused);
    kms.stop().await;
}
