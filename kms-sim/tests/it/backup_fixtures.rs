//! A backup of every format that was ever released restores: one of each is kept in
//! `tests/fixtures/backups`, with a ciphertext that it opens.
//!
//! Who makes a new format makes its fixture once, with `KMS_WRITE_FIXTURES=1` in the environment of
//! this test, and commits it; one that is there is never written again.

use std::fs;
use std::path::{Path, PathBuf};

use lockbox_core::LogTime;
use lockbox_kms_sim::algorithm::Algorithm;
use lockbox_kms_sim::backup::header::FORMAT;
use lockbox_kms_sim::backup::{restore, write};
use lockbox_kms_sim::keys::apply::read_keys;
use lockbox_kms_sim::ledger::verify::verify;
use lockbox_kms_sim::root_key::RootKey;
use lockbox_kms_sim::root_secret::RootSecret;
use lockbox_kms_sim::store::records::KeyScope;
use lockbox_kms_sim::witness::settle;
use lockbox_platform::system::SystemRandom;

use crate::support::{ROOT, admin, decrypt, open};

const WRITE: &str = "KMS_WRITE_FIXTURES";
const PLAINTEXT: &[u8] = b"kept for all formats to come";

fn fixture(format: u32, end: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/backups");
    directory.join(format!("format-{format}.{end}"))
}

/// A store with a key of two versions, and a record of the ledger.
async fn make(format: u32) {
    let directory = tempfile::tempdir().unwrap();
    let kms = open(directory.path()).await;
    let key = kms.create(&admin(), Algorithm::Aes256).await;
    let sealed = kms.encrypt(&admin(), &key, PLAINTEXT).await.ciphertext.unwrap();
    kms.rotate(&admin(), &key).await;
    let mut content = Vec::new();
    write(&kms.engine, &mut content).unwrap();
    kms.stop().await;
    fs::create_dir_all(fixture(format, "backup").parent().unwrap()).unwrap();
    fs::write(fixture(format, "backup"), content).unwrap();
    fs::write(fixture(format, "ciphertext"), sealed).unwrap();
}

#[tokio::test]
async fn a_backup_of_every_released_format_restores() {
    if !fixture(FORMAT, "backup").exists() && std::env::var_os(WRITE).is_some() {
        make(FORMAT).await;
    }
    for format in 1..=FORMAT {
        let file = fixture(format, "backup");
        assert!(file.exists(), "{}: run this test with {WRITE}=1, once", file.display());
        let place = tempfile::tempdir().unwrap();
        let data = place.path().join("data");
        let secret = RootSecret::Key(RootKey::from_bytes(&ROOT));
        let contents = restore(&file, &data, secret, true).unwrap();
        assert_eq!((contents.keys, contents.versions, contents.ledger_records), (2, 3, 1));
        let (root, wall) = (RootKey::from_bytes(&ROOT), LogTime::default());
        settle(&data, &root, None, &SystemRandom, wall).await.unwrap();
        let kms = open(&data).await;
        let keys = read_keys(&kms.engine.view()).unwrap();
        let key = keys.into_iter().find(|key| key.scope == KeyScope::Customer).unwrap();
        let sealed = fs::read(fixture(format, "ciphertext")).unwrap();
        let opened = kms.call(&admin(), decrypt(&key.id, &sealed)).await.unwrap();
        assert_eq!(opened.plaintext.unwrap().expose(), PLAINTEXT);
        assert!(verify(&kms.engine.view()).unwrap().problems.is_empty());
        kms.stop().await;
    }
}
