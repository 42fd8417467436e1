//! The four crypto calls: across rotation, by rights, by status, with wrong input.

use lockbox_core::{KmsKeyId, KmsKeyVersionId};
use lockbox_kms_sim::algorithm::Algorithm;
use lockbox_kms_sim::caller::Caller;
use lockbox_kms_sim::crypto::{CryptoInput, Source, Target};
use lockbox_kms_sim::engine::SYSTEM_KEY_ID;
use lockbox_kms_sim::error::Rejection;
use lockbox_kms_sim::store::records::KeyStatus;

use crate::support::{admin, data_key, decrypt, encrypt, open, rejection, source, target, user};

#[tokio::test]
async fn old_ciphertexts_open_after_rotation_and_new_ones_use_the_new_version() {
    let directory = tempfile::tempdir().unwrap();
    let kms = open(directory.path()).await;
    let admin = admin();
    for algorithm in Algorithm::ALL {
        let key = kms.create(&admin, algorithm).await;
        let first = kms.encrypt(&admin, &key, b"value").await;
        let rotated = kms.rotate(&admin, &key).await;
        let second = kms.encrypt(&admin, &key, b"value").await;
        assert_ne!(first.target.version_id, second.target.version_id);
        assert_eq!(second.target.version_id, rotated.primary_version.id);
        for made in [&first, &second] {
            let ciphertext = made.ciphertext.as_deref().unwrap();
            let opened = kms.call(&admin, decrypt(&key, ciphertext)).await.unwrap();
            assert_eq!(opened.plaintext.unwrap().expose(), b"value");
            assert_eq!(opened.target, made.target);
        }
        // The old version still encrypts when it is asked for (contract §13 no. 22).
        let version_id = Some(first.target.version_id.clone());
        let explicit = Target { version_id, ..target(&key) };
        let input = CryptoInput::Encrypt(explicit, b"x".to_vec().into());
        let third = kms.call(&admin, input).await.unwrap();
        assert_eq!(third.target.version_id, first.target.version_id);
    }
    kms.stop().await;
}

#[tokio::test]
async fn re_encryption_moves_a_ciphertext_and_shows_no_plaintext() {
    let directory = tempfile::tempdir().unwrap();
    let kms = open(directory.path()).await;
    let admin = admin();
    let from = kms.create(&admin, Algorithm::Aes128).await;
    let to = kms.create(&admin, Algorithm::Aes256).await;
    let made = kms.encrypt(&admin, &from, b"value").await;
    let moved_to = Target { context: b"other".to_vec(), ..target(&to) };
    let input = CryptoInput::ReEncrypt(moved_to, source(&from, &made.ciphertext.unwrap()));
    let moved = kms.call(&admin, input).await.unwrap();
    assert!(moved.plaintext.is_none());
    assert_eq!(moved.source.as_ref(), Some(&made.target));
    assert_eq!(moved.target.key_id, to);
    let moved_back =
        Source { context: b"other".to_vec(), ..source(&to, &moved.ciphertext.unwrap()) };
    let opened = kms.call(&admin, CryptoInput::Decrypt(moved_back)).await.unwrap();
    assert_eq!(opened.plaintext.unwrap().expose(), b"value");
    kms.stop().await;
}

#[tokio::test]
async fn a_data_key_decrypts_to_what_was_shown() {
    let directory = tempfile::tempdir().unwrap();
    let kms = open(directory.path()).await;
    let admin = admin();
    let key = kms.create(&admin, Algorithm::Aes256).await;
    for (spec, skip_plaintext) in [(Algorithm::Aes128, false), (Algorithm::Aes192, true)] {
        let target = target(&key);
        let input = CryptoInput::GenerateDataKey { target, spec, skip_plaintext };
        let made = kms.call(&admin, input).await.unwrap();
        assert_eq!(made.plaintext.is_none(), skip_plaintext);
        let wrapped = made.ciphertext.unwrap();
        let opened = kms.call(&admin, decrypt(&key, &wrapped)).await.unwrap().plaintext.unwrap();
        assert_eq!(opened.expose().len(), spec.key_bytes());
        if let Some(shown) = made.plaintext {
            assert_eq!(shown.expose(), opened.expose());
        }
    }
    kms.stop().await;
}

#[tokio::test]
async fn whatever_does_not_open_fails_in_one_way() {
    let directory = tempfile::tempdir().unwrap();
    let kms = open(directory.path()).await;
    let admin = admin();
    let key = kms.create(&admin, Algorithm::Aes256).await;
    let other = kms.create(&admin, Algorithm::Aes256).await;
    let good = kms.encrypt(&admin, &key, b"value").await.ciphertext.unwrap();
    let mut flipped = good.clone();
    let last = flipped.len() - 1;
    flipped[last] ^= 1;
    let wrong_context = Source { context: b"contexT".to_vec(), ..source(&key, &good) };
    let wrong = [
        source(&key, &flipped),
        source(&key, &good[..last]),
        source(&key, b"LKC\x01"),
        source(&key, b"x"),
        source(&other, &good),
        wrong_context,
    ];
    for input in wrong {
        let refused = kms.call(&admin, CryptoInput::Decrypt(input.clone())).await;
        assert_eq!(rejection(refused), Rejection::Ciphertext);
        let refused = kms.call(&admin, CryptoInput::ReEncrypt(target(&other), input)).await;
        assert_eq!(rejection(refused), Rejection::Ciphertext);
    }
    kms.stop().await;
}

#[tokio::test]
async fn unknown_keys_and_versions_are_not_found() {
    let directory = tempfile::tempdir().unwrap();
    let kms = open(directory.path()).await;
    let admin = admin();
    let key = kms.create(&admin, Algorithm::Aes256).await;
    let unknown = KmsKeyId::parse("abjunknown").unwrap();
    let refused = kms.call(&admin, encrypt(&unknown, b"x")).await;
    assert_eq!(rejection(refused), Rejection::KeyNotFound(unknown));
    let version = KmsKeyVersionId::parse("abjunknown").unwrap();
    let explicit = Target { version_id: Some(version.clone()), ..target(&key) };
    let refused = kms.call(&admin, CryptoInput::Encrypt(explicit, b"x".to_vec().into())).await;
    assert_eq!(rejection(refused), Rejection::VersionNotFound(key, version));
    kms.stop().await;
}

#[tokio::test]
async fn an_inactive_key_does_nothing_from_its_answer_on() {
    let directory = tempfile::tempdir().unwrap();
    let kms = open(directory.path()).await;
    let admin = admin();
    let key = kms.create(&admin, Algorithm::Aes256).await;
    let other = kms.create(&admin, Algorithm::Aes256).await;
    let made = kms.encrypt(&admin, &key, b"value").await.ciphertext.unwrap();
    let foreign = kms.encrypt(&admin, &other, b"value").await.ciphertext.unwrap();
    for _ in 0..20 {
        kms.set_status(&admin, &key, KeyStatus::Inactive).await;
        let calls = [
            encrypt(&key, b"x"),
            decrypt(&key, &made),
            data_key(&key),
            CryptoInput::ReEncrypt(target(&other), source(&key, &made)),
            CryptoInput::ReEncrypt(target(&key), source(&other, &foreign)),
        ];
        for input in calls {
            let refused = kms.call(&admin, input).await;
            assert_eq!(rejection(refused), Rejection::KeyInactive(key.clone()));
        }
        kms.set_status(&admin, &key, KeyStatus::Active).await;
        assert!(kms.call(&admin, decrypt(&key, &made)).await.is_ok());
    }
    kms.stop().await;
}

/// Calls and switches at the same time: by their places in the commit sequence, no call succeeded
/// while the key was inactive.
#[tokio::test(flavor = "multi_thread")]
async fn no_call_is_recorded_while_its_key_is_inactive() {
    let directory = tempfile::tempdir().unwrap();
    let kms = open(directory.path()).await;
    let admin = admin();
    let key = kms.create(&admin, Algorithm::Aes256).await;
    let done = std::sync::atomic::AtomicBool::new(false);
    let callers = (0..8).map(|_| async {
        let mut succeeded = Vec::new();
        while !done.load(std::sync::atomic::Ordering::SeqCst) {
            if let Ok(output) = kms.call(&admin, encrypt(&key, b"x")).await {
                succeeded.push(output.index);
            }
            // A refusal waits for nothing: without this the switches would never get their turn.
            tokio::task::yield_now().await;
        }
        succeeded
    });
    let switches = async {
        let mut switched = Vec::new();
        for _ in 0..100 {
            switched.push((kms.set_status(&admin, &key, KeyStatus::Inactive).await, false));
            switched.push((kms.set_status(&admin, &key, KeyStatus::Active).await, true));
        }
        done.store(true, std::sync::atomic::Ordering::SeqCst);
        switched
    };
    let (succeeded, switched) = tokio::join!(futures::future::join_all(callers), switches);
    let succeeded: Vec<u64> = succeeded.into_iter().flatten().collect();
    assert!(succeeded.len() > 20, "the callers did work: {}", succeeded.len());
    for index in succeeded {
        let before = switched.iter().rev().find(|(at, _)| *at < index);
        assert!(before.is_none_or(|(_, active)| *active), "{index} after {before:?}");
    }
    kms.stop().await;
}

#[tokio::test]
async fn each_call_takes_its_own_right() {
    let directory = tempfile::tempdir().unwrap();
    let kms = open(directory.path()).await;
    let key = kms.create(&admin(), Algorithm::Aes256).await;
    let made = kms.encrypt(&admin(), &key, b"value").await.ciphertext.unwrap();
    let re_encrypt = || CryptoInput::ReEncrypt(target(&key), source(&key, &made));
    for (role, encrypts, decrypts) in [
        ("kms.keys.encrypter", true, false),
        ("kms.keys.decrypter", false, true),
        ("kms.keys.encrypterDecrypter", true, true),
        ("kms.keys.user", false, false),
        ("kms.viewer", false, false),
        ("editor", true, true),
    ] {
        let caller = user("somebody", role);
        assert_eq!(kms.call(&caller, encrypt(&key, b"x")).await.is_ok(), encrypts, "{role}");
        assert_eq!(kms.call(&caller, data_key(&key)).await.is_ok(), encrypts, "{role}");
        assert_eq!(kms.call(&caller, decrypt(&key, &made)).await.is_ok(), decrypts, "{role}");
        let both = encrypts && decrypts;
        assert_eq!(kms.call(&caller, re_encrypt()).await.is_ok(), both, "{role}");
    }
    kms.stop().await;
}

#[tokio::test]
async fn the_system_key_serves_nodes_and_nobody_else() {
    let directory = tempfile::tempdir().unwrap();
    let kms = open(directory.path()).await;
    let system = KmsKeyId::parse(SYSTEM_KEY_ID).unwrap();
    let node = Caller::node("node-1.lockbox.internal");
    let made = kms.call(&node, encrypt(&system, b"keyring")).await.unwrap();
    assert!(!made.billable);
    let ciphertext = made.ciphertext.unwrap();
    for caller in [admin(), crate::support::through_node(&admin(), &[1; 16])] {
        for input in [encrypt(&system, b"x"), decrypt(&system, &ciphertext), data_key(&system)] {
            assert_eq!(rejection(kms.call(&caller, input).await), Rejection::Denied);
        }
    }
    let customer = kms.create(&admin(), Algorithm::Aes256).await;
    assert_eq!(rejection(kms.call(&node, encrypt(&customer, b"x")).await), Rejection::Denied);
    kms.stop().await;

    // The same key is there after a restart, and opens what it made.
    let kms = open(directory.path()).await;
    let opened = kms.call(&node, decrypt(&system, &ciphertext)).await.unwrap();
    assert_eq!(opened.plaintext.unwrap().expose(), b"keyring");
    kms.stop().await;
}
