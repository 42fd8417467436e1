//! Plaintexts and keys reach no file: every file of the data directory is searched for them.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use lockbox_core::{KmsKeyId, Randomness};
use lockbox_kms_sim::algorithm::Algorithm;
use lockbox_kms_sim::caller::Caller;
use lockbox_kms_sim::crypto::CryptoInput;
use lockbox_kms_sim::engine::SYSTEM_KEY_ID;
use lockbox_kms_sim::keys::apply::{read_keys, read_versions};
use lockbox_platform::system::SystemRandom;

use crate::support::{ROOT, admin, data_key, decrypt, encrypt, open, source, target, through_node};

/// The ways in which bytes could be written down.
pub(crate) fn encodings(canary: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let hex = hex::encode(canary);
    let mut found = vec![
        ("raw", canary.to_vec()),
        ("hex", hex.clone().into_bytes()),
        ("HEX", hex.to_uppercase().into_bytes()),
        ("hex in UTF-16", hex.encode_utf16().flat_map(u16::to_le_bytes).collect()),
        ("UTF-16", canary.iter().flat_map(|byte| u16::from(*byte).to_le_bytes()).collect()),
    ];
    // Base64 depends on where in a longer text the bytes begin: all three places.
    for skip in 0..3 {
        let whole = (canary.len() - skip) / 3 * 3;
        let part = &canary[skip..skip + whole];
        found.push(("base64", STANDARD_NO_PAD.encode(part).into_bytes()));
        found.push(("base64url", URL_SAFE_NO_PAD.encode(part).into_bytes()));
    }
    found
}

pub(crate) fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

/// The file and encoding in which a canary is found, if it is.
pub(crate) fn search(directory: &Path, canary: &[u8]) -> Option<(PathBuf, &'static str)> {
    let encodings = encodings(canary);
    files(directory).into_iter().find_map(|path| {
        let content = std::fs::read(&path).unwrap();
        let holds = |needle: &[u8]| content.windows(needle.len()).any(|window| window == needle);
        encodings.iter().find(|(_, needle)| holds(needle)).map(|(name, _)| (path, *name))
    })
}

#[tokio::test]
async fn security_s20_no_file_holds_a_plaintext_or_a_key() {
    let directory = tempfile::tempdir().unwrap();
    let kms = open(directory.path()).await;
    let mut canary = [0; 32];
    SystemRandom.fill(&mut canary);
    let admin = admin();
    let key = kms.create(&admin, Algorithm::Aes256).await;
    let made = kms.encrypt(&admin, &key, &canary).await.ciphertext.unwrap();
    kms.call(&through_node(&admin, &[1; 16]), encrypt(&key, &canary)).await.unwrap();
    kms.call(&admin, decrypt(&key, &made)).await.unwrap();
    let re_encrypt = CryptoInput::ReEncrypt(target(&key), source(&key, &made));
    kms.call(&through_node(&admin, &[2; 16]), re_encrypt).await.unwrap();
    let shown = kms.call(&admin, data_key(&key)).await.unwrap().plaintext.unwrap();
    let system = KmsKeyId::parse(SYSTEM_KEY_ID).unwrap();
    kms.call(&Caller::node("node-1"), encrypt(&system, &canary)).await.unwrap();
    kms.rotate(&admin, &key).await;

    let mut canaries = vec![canary.to_vec(), shown.expose().clone(), ROOT.to_vec()];
    let reading = kms.engine.reading().unwrap();
    for key in read_keys(&reading.view).unwrap() {
        for version in read_versions(&reading.view, &key).unwrap() {
            let material = kms.engine.material(&reading, &version).unwrap();
            canaries.push(material.expose().to_vec());
        }
    }
    assert_eq!(canaries.len(), 6);
    drop(reading);
    kms.stop().await;
    for canary in &canaries {
        assert_eq!(search(directory.path(), canary), None);
    }

    // The search itself finds what is there, in every encoding.
    for (name, encoded) in encodings(&canary) {
        let planted = directory.path().join("planted");
        let mut content = b"something before it ".to_vec();
        content.extend_from_slice(&encoded);
        std::fs::write(&planted, content).unwrap();
        assert_eq!(
            search(directory.path(), &canary).map(|(path, _)| path),
            Some(planted),
            "{name}"
        );
    }
}
