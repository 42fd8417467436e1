//! Backups that earlier builds have made are restored by this one.
//!
//! `node/tests/fixtures/backups` has one of each format that was ever released: the format of the
//! content and that of the state are in the file's name. A fixture is never changed. When one of the
//! formats goes up, the new one is made by
//!
//! ```text
//! LOCKBOX_MAKE_BACKUP_FIXTURE=1 cargo test -p lockbox-node --test it backup_fixtures
//! ```
//!
//! and is committed beside the others, which go on being read.

use std::path::{Path, PathBuf};

use lockbox::backup::content::CONTENT_FORMAT;
use lockbox::backup::restore::{restore, since};
use lockbox::backup::verify::{key_for, verify};
use lockbox_platform::sealed_file::RecipientKey;
use lockbox_platform::system::SystemRandom;
use lockbox_raft::state::tables;
use lockbox_raft::store::FORMAT_VERSION as STATE_FORMAT;
use tempfile::TempDir;

use crate::backups::{config_of, fetched, opened, request};
use crate::client::text;
use crate::fixture::Node;
use crate::peers::Peers;

const MAKE: &str = "LOCKBOX_MAKE_BACKUP_FIXTURE";
/// Versions in every fixture.
const VERSIONS: u64 = 2;

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/backups")
}

fn of_this_build() -> PathBuf {
    directory().join(format!("content-{CONTENT_FORMAT}-state-{STATE_FORMAT}.backup"))
}

/// The key that opens a fixture: it protects nothing.
fn key_file(fixture: &Path) -> PathBuf {
    fixture.with_extension("key")
}

async fn make(fixture: &Path) {
    let node = Node::start().await;
    let peers = Peers::start(&node.app, &node.tasks, &node.metrics).await;
    let secret = node.create(vec![text("k", "first")], "").await;
    node.add(&secret.id, vec![text("k", "second")]).await;
    let (key, recipient) = RecipientKey::generate().unwrap();
    fetched(&peers, request(&recipient.to_string()), fixture).await.unwrap();
    std::fs::write(key_file(fixture), key.to_file(&recipient).expose()).unwrap();
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn backups_of_every_format_are_restored() {
    let current = of_this_build();
    if std::env::var_os(MAKE).is_some() && !current.exists() {
        make(&current).await;
    }
    assert!(
        current.exists(),
        "there is no fixture of this build's formats: make {} by setting {MAKE}=1, and commit it",
        current.display()
    );
    let fixtures = std::fs::read_dir(directory()).unwrap().map(|entry| entry.unwrap().path());
    let fixtures = fixtures.filter(|path| path.extension().is_some_and(|kind| kind == "backup"));
    for fixture in fixtures {
        let name = fixture.display();
        let key = std::fs::read_to_string(key_file(&fixture)).unwrap();
        let key = key_for(&fixture, &RecipientKey::parse(&key).unwrap()).unwrap();
        let verified = verify(&fixture, &key).unwrap_or_else(|error| panic!("{name}: {error}"));
        let nothing = since(&verified, &[]).unwrap();
        let place = TempDir::new().unwrap();
        let config = config_of(9, &place.path().join("data"));
        restore((&fixture, &key), &verified, &nothing, &config, &SystemRandom)
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let versions = opened(&config).state.read(|view| tables::live_versions(view));
        assert_eq!(versions.unwrap().unwrap(), VERSIONS, "{name}");
    }
}
