//! The root key is replaced, or comes from a passphrase: what opens afterwards, and what does not.

use std::path::{Path, PathBuf};

use lockbox_kms_sim::algorithm::Algorithm;
use lockbox_kms_sim::engine::{OpenError, db_directory};
use lockbox_kms_sim::keys::command::Quotas;
use lockbox_kms_sim::material::WrappedMaterial;
use lockbox_kms_sim::root_key::RootKey;
use lockbox_kms_sim::root_rotation::{RotateError, rotate};
use lockbox_kms_sim::root_secret::{Passphrase, RootSecret};
use lockbox_kms_sim::store::Db;
use lockbox_kms_sim::store::tables::{MAC_KEY, Table};
use lockbox_platform::system::SystemRandom;

use crate::canary::files;
use crate::process::{config_of, prepare, run, serve, stop};
use crate::server_support::client_tls;
use crate::support::{ROOT, Running, TestClock, admin, decrypt, open, open_with};

const NEXT: [u8; 32] = [0x3c; 32];
const QUOTAS: Quotas = Quotas { keys_per_cloud: 100, versions_per_key: 100 };

fn key(bytes: [u8; 32]) -> RootSecret {
    RootSecret::Key(RootKey::from_bytes(&bytes))
}

fn words(directory: &Path, text: &str) -> RootSecret {
    let path = directory.join("words");
    write_private(&path, text);
    RootSecret::Passphrase(Passphrase::read_file(&path).unwrap())
}

fn write_private(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o600)).unwrap();
}

async fn open_under(data: &Path, root: [u8; 32]) -> Result<Running, OpenError> {
    open_with(data, root, TestClock::new(), QUOTAS).await
}

/// Who signs the heads of the audit.
fn head_signer(kms: &Running) -> [u8; 32] {
    kms.engine.mac_key().head_signer().unwrap().public_key()
}

/// The ciphertexts of all wraps in the store.
fn wraps(data: &Path) -> Vec<Vec<u8>> {
    let db = Db::open_read_only(&db_directory(data)).unwrap();
    let view = db.view();
    let mac_key: WrappedMaterial = view.record(Table::Meta, MAC_KEY).unwrap().unwrap();
    let mut found = vec![mac_key.ciphertext];
    for row in view.scan(Table::Materials, b"", b"") {
        let (row, _) = row.unwrap();
        let wrapped: WrappedMaterial = view.record(Table::Materials, &row).unwrap().unwrap();
        found.push(wrapped.ciphertext);
    }
    found
}

fn holding(data: &Path, bytes: &[u8]) -> Vec<PathBuf> {
    let holds = |path: &PathBuf| {
        let content = std::fs::read(path).unwrap();
        content.windows(bytes.len()).any(|window| window == bytes)
    };
    files(data).into_iter().filter(holds).collect()
}

#[tokio::test]
async fn after_a_rotation_the_new_root_key_opens_all_and_the_old_one_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path();
    let kms = open(data).await;
    let mut made = Vec::new();
    for algorithm in Algorithm::ALL {
        let id = kms.create(&admin(), algorithm).await;
        let first = kms.encrypt(&admin(), &id, b"first").await.ciphertext.unwrap();
        kms.rotate(&admin(), &id).await;
        let second = kms.encrypt(&admin(), &id, b"second").await.ciphertext.unwrap();
        made.push((id, first, second));
    }
    let signer = head_signer(&kms);
    kms.stop().await;
    let before = wraps(data);
    assert!(before.iter().all(|wrap| !holding(data, wrap).is_empty()), "the search finds them");

    let versions = rotate(data, key(ROOT), key(NEXT), &SystemRandom).unwrap();
    // The MAC key is none, the system key's version is one.
    assert_eq!(versions, before.len() - 1);
    assert_eq!(versions, 2 * Algorithm::ALL.len() + 1);
    for wrap in &before {
        assert_eq!(holding(data, wrap), Vec::<PathBuf>::new());
    }
    let refused = open_under(data, ROOT).await.err().unwrap();
    assert!(matches!(refused, OpenError::WrongRootKey { .. }), "{refused}");
    let kms = open_under(data, NEXT).await.unwrap();
    assert_eq!(head_signer(&kms), signer, "the cluster would take it for another KMS");
    for (id, first, second) in &made {
        for (ciphertext, plaintext) in [(first, &b"first"[..]), (second, &b"second"[..])] {
            let opened = kms.call(&admin(), decrypt(id, ciphertext)).await.unwrap();
            assert_eq!(opened.plaintext.unwrap().expose(), plaintext);
        }
        kms.rotate(&admin(), id).await;
    }
    kms.stop().await;
}

#[tokio::test]
async fn a_rotation_that_cannot_be_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path();
    let nowhere = data.join("nowhere");
    let refused = rotate(&nowhere, key(ROOT), key(NEXT), &SystemRandom).unwrap_err();
    assert!(refused.to_string().contains("there is no store in"), "{refused}");
    assert!(!nowhere.exists(), "who looks makes nothing");

    let kms = open(data).await;
    let used = rotate(data, key(ROOT), key(NEXT), &SystemRandom).unwrap_err();
    assert!(used.to_string().contains("in use by another process"), "{used}");
    kms.stop().await;
    let before = wraps(data);
    let wrong = rotate(data, key([1; 32]), key(NEXT), &SystemRandom).unwrap_err();
    assert!(matches!(wrong, RotateError::Open(OpenError::WrongRootKey { .. })), "{wrong}");
    let same = rotate(data, key(ROOT), key(ROOT), &SystemRandom).unwrap_err();
    assert!(matches!(same, RotateError::Same), "{same}");
    let not_so = rotate(data, words(data, "correct horse battery"), key(NEXT), &SystemRandom);
    let not_so = not_so.unwrap_err();
    assert!(matches!(not_so, RotateError::Open(OpenError::NoPassphrase { .. })), "{not_so}");
    assert_eq!(wraps(data), before);
    open(data).await.stop().await;
}

#[tokio::test]
async fn a_passphrase_gives_the_same_root_key_for_as_long_as_the_store_lives() {
    let directory = tempfile::tempdir().unwrap();
    let (data, place) = (directory.path().join("data"), directory.path());
    let root = |text: &str| words(place, text).open(&data, &SystemRandom);
    let first = root("correct horse battery\n").unwrap();
    assert_eq!(first.id(), root("correct horse battery").unwrap().id());
    assert_ne!(first.id(), root("correct horse batterz").unwrap().id());

    // From a key that a store was made with to a passphrase, to another one, and back.
    let kms = open(&place.join("other")).await;
    let id = kms.create(&admin(), Algorithm::Aes256).await;
    let made = kms.encrypt(&admin(), &id, b"value").await.ciphertext.unwrap();
    kms.stop().await;
    let other = place.join("other");
    let (one, two) = ("correct horse battery", "staple battery correct");
    rotate(&other, key(ROOT), words(place, one), &SystemRandom).unwrap();
    let refused = open_under(&other, ROOT).await.err().unwrap();
    assert!(matches!(refused, OpenError::WrongRootKey { .. }), "{refused}");
    rotate(&other, words(place, one), words(place, two), &SystemRandom).unwrap();
    let wrong = rotate(&other, words(place, one), key(NEXT), &SystemRandom).unwrap_err();
    assert!(matches!(wrong, RotateError::Open(OpenError::WrongRootKey { .. })), "{wrong}");
    rotate(&other, words(place, two), key(NEXT), &SystemRandom).unwrap();
    let again = words(place, two).open(&other, &SystemRandom).err().unwrap();
    assert!(matches!(again, OpenError::NoPassphrase { .. }), "{again}");
    let kms = open_under(&other, NEXT).await.unwrap();
    let opened = kms.call(&admin(), decrypt(&id, &made)).await.unwrap();
    assert_eq!(opened.plaintext.unwrap().expose(), b"value");
    kms.stop().await;
}

#[test]
fn the_program_takes_a_passphrase_and_changes_it_for_a_key() {
    let certificates = client_tls();
    let directory = prepare(&certificates);
    let (config, words) = (config_of(directory.path()), directory.path().join("words"));
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let with = |line: &str| {
        let text = std::fs::read_to_string(&config).unwrap();
        let (head, _) = text.split_once("[root_key]").unwrap();
        std::fs::write(&config, format!("{head}[root_key]\n{line}\n")).unwrap();
    };
    with(&format!("passphrase_file = {:?}", path("words")));
    write_private(&words, "short\n");
    let (code, _, error) = run(&["serve", "--config", &config]);
    assert!(code == 2 && error.contains("16 to 1024 bytes"), "{error}");
    assert!(!error.contains("short\n"), "{error}");
    write_private(&words, "correct horse battery\n");
    std::fs::set_permissions(&words, std::os::unix::fs::PermissionsExt::from_mode(0o640)).unwrap();
    let (code, _, error) = run(&["serve", "--config", &config]);
    assert!(code == 2 && error.contains("others can read it; run chmod 600"), "{error}");

    write_private(&words, "correct horse battery\n");
    let child = serve(directory.path());
    let rotate = ["root", "rotate", "--config", &config, "--to-file", &path("root.key")];
    let (code, _, error) = run(&rotate);
    assert!(code == 10 && error.contains("in use by another process"), "{error}");
    assert_eq!(stop(child), 0);
    assert_eq!(stop(serve(directory.path())), 0);
    let (code, said, error) = run(&rotate);
    let wanted = "1 key versions are under the new root key\n";
    assert_eq!((code, said.as_str()), (0, wanted), "{error}");
    let (code, _, error) = run(&["serve", "--config", &config]);
    assert!(code == 13 && error.contains("were made with a root key"), "{error}");
    with(&format!("file = {:?}", path("root.key")));
    assert_eq!(stop(serve(directory.path())), 0);
    let (code, _, error) = run(&rotate);
    assert!(code == 2 && error.contains("is the present one"), "{error}");
    assert_eq!(run(&["root", "rotate", "--config", &config]).0, 2);
}
