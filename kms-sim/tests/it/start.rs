//! Starting: the right root key, the right directory, and what is refused with which words.

use lockbox_kms_sim::algorithm::Algorithm;
use lockbox_kms_sim::engine::OpenError;
use lockbox_kms_sim::keys::command::Quotas;

use crate::support::{TestClock, admin, decrypt, open, open_with};

const QUOTAS: Quotas = Quotas { keys_per_cloud: 100, versions_per_key: 100 };

#[tokio::test]
async fn another_root_key_is_refused_with_a_sentence() {
    let directory = tempfile::tempdir().unwrap();
    let kms = open(directory.path()).await;
    let key = kms.create(&admin(), Algorithm::Aes256).await;
    let made = kms.encrypt(&admin(), &key, b"value").await.ciphertext.unwrap();
    kms.stop().await;

    let refused = open_with(directory.path(), [1; 32], TestClock::new(), QUOTAS).await;
    let Err(error) = refused else { panic!("the wrong root key was accepted") };
    assert!(matches!(error, OpenError::WrongRootKey { .. }));
    assert!(error.to_string().starts_with("the root key does not open the keys in"), "{error}");

    // The refusal has changed nothing.
    let kms = open(directory.path()).await;
    let opened = kms.call(&admin(), decrypt(&key, &made)).await.unwrap();
    assert_eq!(opened.plaintext.unwrap().expose(), b"value");
    kms.stop().await;
}

#[tokio::test]
async fn a_directory_in_use_is_refused_with_a_sentence() {
    let directory = tempfile::tempdir().unwrap();
    let kms = open(directory.path()).await;
    let second = open_with(directory.path(), crate::support::ROOT, TestClock::new(), QUOTAS).await;
    let Err(error) = second else { panic!("two servers in one directory") };
    assert!(error.to_string().contains("in use by another process"), "{error}");
    kms.stop().await;
}
