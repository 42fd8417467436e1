//! The operations of a key: what is one, in which order, on which pages, and for how long.

use std::time::Duration;

use lockbox_core::{FolderId, KmsKeyId, OperationId};
use lockbox_kms_sim::algorithm::Algorithm;
use lockbox_kms_sim::caller::Caller;
use lockbox_kms_sim::error::Rejection;
use lockbox_kms_sim::keys::apply::OPERATION_RETENTION;
use lockbox_kms_sim::keys::page::PageRequest;
use lockbox_kms_sim::keys::{operations, service};
use lockbox_kms_sim::store::records::KeyStatus;

use crate::support::{FOLDER, Running, TestClock, admin, decrypt, open, open_at, rejection, user};

fn all(kms: &Running, key: &KmsKeyId, size: i64) -> Vec<OperationId> {
    let (mut found, mut token) = (Vec::new(), String::new());
    loop {
        let page = PageRequest::new(size, &token).unwrap();
        let answer = operations::list(&kms.engine, &admin(), key, &page, &mut None).unwrap();
        assert!(size == 0 || answer.value.rows.len() <= size as usize);
        found.extend(answer.value.rows.into_iter().map(|operation| operation.id));
        token = answer.value.next_token;
        if token.is_empty() {
            return found;
        }
        assert!(token.len() <= 100);
    }
}

#[tokio::test]
async fn a_keys_operations_are_listed_newest_first_each_once() {
    let directory = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let kms = open_at(directory.path(), clock.clone()).await;
    let key = kms.create(&admin(), Algorithm::Aes256).await;
    let other = kms.create(&admin(), Algorithm::Aes256).await;
    let mut expected: Vec<OperationId> = Vec::new();
    for _ in 0..3 {
        expected.insert(0, kms.rotate(&admin(), &key).await.id.clone());
        kms.rotate(&admin(), &other).await;
    }
    kms.stop().await;
    let kms = open_at(directory.path(), clock.clone()).await;
    kms.set_status(&admin(), &key, KeyStatus::Inactive).await;
    kms.set_status(&admin(), &key, KeyStatus::Active).await;
    let listed = all(&kms, &key, 0);
    assert_eq!(listed.len(), 6, "three rotations, two changes, the creation");
    assert_eq!(listed[2..5], expected[..]);
    for size in [1, 2, 5, 6, 7, 1000] {
        assert_eq!(all(&kms, &key, size), listed, "{size}");
    }
    // A page that was begun stays right while operations are added in front of it.
    let page = PageRequest::new(2, "").unwrap();
    let begun = operations::list(&kms.engine, &admin(), &key, &page, &mut None).unwrap();
    expected.insert(0, kms.rotate(&admin(), &key).await.id.clone());
    let page = PageRequest::new(100, &begun.value.next_token).unwrap();
    let rest = operations::list(&kms.engine, &admin(), &key, &page, &mut None).unwrap();
    let rest: Vec<_> = rest.value.rows.into_iter().map(|operation| operation.id).collect();
    assert_eq!(rest, listed[2..]);
    let foreign = operations::list(&kms.engine, &admin(), &other, &page, &mut None).unwrap_err();
    assert!(foreign.to_string().contains("page_token"), "{foreign}");
    let stranger = user("stranger", "lockbox.admin");
    let refused = operations::list(&kms.engine, &stranger, &key, &page, &mut None);
    assert_eq!(rejection(refused), Rejection::Denied);

    // What an operator takes back and what is destroyed are no operations.
    let retention = Duration::from_hours(72);
    service::delete(&kms.engine, &admin(), &key, retention, None, &mut None).await.unwrap();
    let operator = Caller::operator("operator");
    service::undelete(&kms.engine, &operator, &key).await.unwrap();
    assert_eq!(all(&kms, &key, 0).len(), 8);

    clock.advance(OPERATION_RETENTION + Duration::from_secs(1));
    let sealed = kms.encrypt(&admin(), &key, b"x").await.ciphertext.unwrap();
    for _ in 0..40 {
        kms.call(&admin(), decrypt(&key, &sealed)).await.unwrap();
    }
    assert_eq!(all(&kms, &key, 0), []);
    let gone = operations::get(&kms.engine, &admin(), &expected[0]);
    assert_eq!(rejection(gone), Rejection::OperationNotFound(expected[0].clone()));
    kms.stop().await;
}

#[tokio::test]
async fn a_page_of_long_operations_ends_by_bytes() {
    let directory = tempfile::tempdir().unwrap();
    let kms = open(directory.path()).await;
    let key = {
        let label = |n: usize| (format!("k{n:062}"), "v".repeat(63));
        let new = service::NewKey {
            folder_id: FolderId::parse(FOLDER).unwrap(),
            description: "d".repeat(1024),
            labels: (0..64).map(label).collect(),
            ..crate::support::new_key(Algorithm::Aes256)
        };
        service::create(&kms.engine, &admin(), new, None).await.unwrap().value.key.id
    };
    for n in 0..399 {
        let status = if n % 2 == 0 { KeyStatus::Inactive } else { KeyStatus::Active };
        kms.set_status(&admin(), &key, status).await;
    }
    let page = PageRequest::new(1000, "").unwrap();
    let first = operations::list(&kms.engine, &admin(), &key, &page, &mut None).unwrap().value;
    assert!(first.rows.len() < 400 && !first.next_token.is_empty(), "{}", first.rows.len());
    assert_eq!(all(&kms, &key, 1000).len(), 400);
    kms.stop().await;
}
