//! Keys: creation, reading, listing, changes, rotation, quotas, repeats.

use std::collections::BTreeSet;
use std::time::Duration;

use lockbox_core::{FolderId, KmsKeyId, OperationId};
use lockbox_kms_sim::algorithm::Algorithm;
use lockbox_kms_sim::engine::SYSTEM_KEY_ID;
use lockbox_kms_sim::error::Rejection;
use lockbox_kms_sim::keys::apply::IDEMPOTENCY_RETENTION;
use lockbox_kms_sim::keys::command::{IdempotencyClaim, Quotas, UpdateKey};
use lockbox_kms_sim::keys::operations;
use lockbox_kms_sim::keys::page::PageRequest;
use lockbox_kms_sim::keys::service::{self, NewKey};
use lockbox_kms_sim::store::records::KeyStatus;

use crate::support::{
    FOLDER, ROOT, Running, TestClock, admin, decrypt, new_key, no_update, open, open_with,
    rejection, user,
};

fn folder() -> FolderId {
    FolderId::parse(FOLDER).unwrap()
}

pub(crate) fn claim(key: &str, mac: u8) -> Option<IdempotencyClaim> {
    let idempotency_key = key.to_owned();
    Some(IdempotencyClaim { idempotency_key, method: "/x/Create", request_mac: [mac; 32].into() })
}

#[tokio::test]
async fn pages_show_every_key_of_the_folder_once_and_never_the_system_key() {
    let directory = tempfile::tempdir().unwrap();
    let kms = open(directory.path()).await;
    let mut made = Vec::new();
    for _ in 0..7 {
        made.push(kms.create(&admin(), Algorithm::Aes256).await);
    }
    let mut shown = Vec::new();
    let mut token = String::new();
    loop {
        let page = PageRequest::new(3, &token).unwrap();
        let answer = service::list(&kms.engine, &admin(), &folder(), &page).unwrap();
        shown.extend(answer.value.rows.into_iter().map(|row| row.key.id));
        token = answer.value.next_token;
        if token.is_empty() {
            break;
        }
        // A key made meanwhile shifts nothing.
        kms.create(&admin(), Algorithm::Aes128).await;
    }
    let unique: BTreeSet<&KmsKeyId> = shown.iter().collect();
    assert_eq!(unique.len(), shown.len());
    assert!(made.iter().all(|id| unique.contains(id)));
    assert!(shown.iter().all(|id| id.as_str() != SYSTEM_KEY_ID));

    let first = PageRequest::new(2, "").unwrap();
    let answer = service::list(&kms.engine, &admin(), &folder(), &first).unwrap();
    let mut elsewhere = admin();
    elsewhere.rights.add_folder("other", "cloud", "organization");
    elsewhere.rights.grants[0].resource.id = "cloud".to_owned();
    elsewhere.rights.grants[0].resource.kind = lockbox_core::ResourceKind::Cloud;
    let page = PageRequest::new(2, &answer.value.next_token).unwrap();
    let other = FolderId::parse("other").unwrap();
    let refused = service::list(&kms.engine, &elsewhere, &other, &page).unwrap_err();
    assert!(refused.to_string().contains("page_token"), "{refused}");
    kms.stop().await;
}

#[tokio::test]
async fn versions_are_listed_newest_first_with_one_primary() {
    let directory = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let quotas = Quotas { keys_per_cloud: 100, versions_per_key: 100 };
    let kms = open_with(directory.path(), ROOT, clock.clone(), quotas).await.unwrap();
    let key = kms.create(&admin(), Algorithm::Aes256).await;
    let mut expected = Vec::new();
    for _ in 0..4 {
        clock.advance(Duration::from_secs(1));
        expected.insert(0, kms.rotate(&admin(), &key).await.primary_version.id);
    }
    let mut shown = Vec::new();
    let mut token = String::new();
    loop {
        let page = PageRequest::new(2, &token).unwrap();
        let answer = service::list_versions(&kms.engine, &admin(), &key, &page, &mut None).unwrap();
        shown.extend(answer.value.rows);
        token = answer.value.next_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(shown.len(), 5);
    assert!(shown.iter().zip(&expected).all(|((version, _), id)| version.id == *id));
    let primaries: Vec<bool> = shown.iter().map(|(_, primary)| *primary).collect();
    assert_eq!(primaries, [true, false, false, false, false]);
    kms.stop().await;
}

#[tokio::test]
async fn a_change_touches_what_it_names_and_status_takes_the_administrator() {
    let directory = tempfile::tempdir().unwrap();
    let kms = open(directory.path()).await;
    let editor = user("editor", "kms.editor");
    let key = kms.create(&editor, Algorithm::Aes128).await;
    let update = UpdateKey {
        name: Some("new".to_owned()),
        default_algorithm: Some(Algorithm::Aes256),
        rotation_period_ms: Some(Some(86_400_000)),
        ..no_update(&key)
    };
    let answer = service::update(&kms.engine, &editor, update, None, &mut None).await.unwrap();
    let after = answer.value.key;
    assert_eq!((after.name.as_str(), after.status), ("new", KeyStatus::Active));
    assert_eq!(after.rotation_period_ms, Some(86_400_000));
    assert_eq!(answer.value.primary_version.algorithm, Algorithm::Aes128);
    assert_eq!(kms.rotate(&editor, &key).await.primary_version.algorithm, Algorithm::Aes256);

    let status = || UpdateKey { status: Some(KeyStatus::Inactive), ..no_update(&key) };
    let refused = service::update(&kms.engine, &editor, status(), None, &mut None).await;
    assert_eq!(rejection(refused), Rejection::Denied);
    let unset = UpdateKey { rotation_period_ms: Some(None), ..no_update(&key) };
    let answer = service::update(&kms.engine, &editor, unset, None, &mut None).await.unwrap();
    assert_eq!(answer.value.key.rotation_period_ms, None);

    kms.set_status(&admin(), &key, KeyStatus::Inactive).await;
    let refused = service::rotate(&kms.engine, &admin(), &key, None, &mut None).await;
    assert_eq!(rejection(refused), Rejection::KeyInactive(key.clone()));
    // To ask for the present status is no mistake.
    kms.set_status(&admin(), &key, KeyStatus::Inactive).await;
    kms.stop().await;
}

#[tokio::test]
async fn quotas_hold() {
    let directory = tempfile::tempdir().unwrap();
    let quotas = Quotas { keys_per_cloud: 2, versions_per_key: 3 };
    let kms = open_with(directory.path(), ROOT, TestClock::new(), quotas).await.unwrap();
    let key = kms.create(&admin(), Algorithm::Aes256).await;
    kms.create(&admin(), Algorithm::Aes256).await;
    let refused = service::create(&kms.engine, &admin(), new_key(Algorithm::Aes256), None).await;
    assert_eq!(rejection(refused), Rejection::TooManyKeys);
    kms.rotate(&admin(), &key).await;
    kms.rotate(&admin(), &key).await;
    let refused = service::rotate(&kms.engine, &admin(), &key, None, &mut None).await;
    assert_eq!(rejection(refused), Rejection::TooManyVersions);
    kms.stop().await;
}

#[tokio::test]
async fn folders_are_known_by_grants_alone() {
    let directory = tempfile::tempdir().unwrap();
    let kms = open(directory.path()).await;
    for (caller, id, expected) in [
        (admin(), "nowhere", Rejection::FolderNotFound(FolderId::parse("nowhere").unwrap())),
        (user("viewer", "kms.viewer"), "nowhere", Rejection::Denied),
        (user("viewer", "kms.viewer"), FOLDER, Rejection::Denied),
        (admin(), "system", Rejection::FolderNotFound(FolderId::parse("system").unwrap())),
    ] {
        let folder_id = FolderId::parse(id).unwrap();
        let new = NewKey { folder_id, ..new_key(Algorithm::Aes256) };
        let mut caller = caller;
        // Not even a policy that names the reserved folder lets anybody in.
        caller.rights.add_folder("system", "cloud", "organization");
        let refused = service::create(&kms.engine, &caller, new, None).await;
        assert_eq!(rejection(refused), expected, "{id}");
    }
    kms.stop().await;
}

async fn create_claimed(kms: &Running, claim: Option<IdempotencyClaim>) -> (OperationId, KmsKeyId) {
    let new = new_key(Algorithm::Aes256);
    let operation = service::create(&kms.engine, &admin(), new, claim).await.unwrap().value;
    (operation.id.clone(), operation.key.id)
}

#[tokio::test]
async fn a_repeated_mutation_gives_the_first_operation_also_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let quotas = Quotas { keys_per_cloud: 100, versions_per_key: 100 };
    let kms = open_with(directory.path(), ROOT, clock.clone(), quotas).await.unwrap();
    let first = create_claimed(&kms, claim("k1", 1)).await;
    assert_eq!(create_claimed(&kms, claim("k1", 1)).await, first);
    assert_ne!(create_claimed(&kms, claim("k2", 1)).await, first);
    assert_ne!(create_claimed(&kms, None).await, first);
    let new = new_key(Algorithm::Aes256);
    let refused = service::create(&kms.engine, &admin(), new.clone(), claim("k1", 2)).await;
    assert_eq!(rejection(refused), Rejection::IdempotencyKeyReused);
    let other = service::create(&kms.engine, &user("b", "kms.admin"), new, claim("k1", 2)).await;
    assert!(other.is_ok(), "another subject's key is another key");
    kms.stop().await;

    let kms = open_with(directory.path(), ROOT, clock.clone(), quotas).await.unwrap();
    assert_eq!(create_claimed(&kms, claim("k1", 1)).await, first);
    let read = operations::get(&kms.engine, &admin(), &first.0).unwrap().value;
    assert_eq!(read.key.id, first.1);
    let stranger = user("stranger", "kms.keys.user");
    assert!(operations::get(&kms.engine, &stranger, &first.0).is_ok(), "may read the key");
    let nobody = user("nobody", "lockbox.admin");
    let refused = operations::get(&kms.engine, &nobody, &first.0);
    assert_eq!(rejection(refused), Rejection::Denied);

    // Forgotten once the retention has passed and later calls have cleared it away.
    clock.advance(IDEMPOTENCY_RETENTION + Duration::from_secs(1));
    let sealed = kms.encrypt(&admin(), &first.1, b"x").await.ciphertext.unwrap();
    for _ in 0..4 {
        kms.call(&admin(), decrypt(&first.1, &sealed)).await.unwrap();
    }
    assert_ne!(create_claimed(&kms, claim("k1", 1)).await, first);
    kms.stop().await;
}
