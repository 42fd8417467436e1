//! Destroyed key material leaves every file of a running server, and nobody has to ask for it.

use std::path::{Path, PathBuf};

use lockbox_core::{KmsKeyId, KmsKeyVersionId};
use lockbox_kms_sim::engine::db_directory;
use lockbox_kms_sim::store::Db;
use lockbox_kms_sim::store::tables::{self, Table};

use crate::requests::{by, create, rotate, seconds, to_delete, to_schedule, until};
use crate::server_support::ServerFixture;

/// Of a wrap so much is looked for, from its end: sealed bytes that no other one has.
const END_BYTES: usize = 32;

/// The files below a directory that hold the bytes; those that are removed meanwhile hold nothing.
fn holders(directory: &Path, bytes: &[u8]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(holders(&path, bytes));
        } else {
            let content = std::fs::read(&path).unwrap_or_default();
            found.extend(content.windows(bytes.len()).any(|w| w == bytes).then_some(path));
        }
    }
    found
}

/// The end of the wrapped material of a version, as it is stored beside the running server.
fn wrapped(data_dir: &Path, key: &str, version: &str) -> Vec<u8> {
    let (key, version) = (KmsKeyId::parse(key).unwrap(), KmsKeyVersionId::parse(version).unwrap());
    let db = Db::open_read_only(&db_directory(data_dir)).unwrap();
    let row = tables::version(&key, &version);
    let stored = db.view().get(Table::Materials, &row).unwrap().unwrap();
    stored[stored.len() - END_BYTES..].to_vec()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn material_of_a_version_and_of_a_key_leaves_every_file_and_the_rest_stays() {
    let server = ServerFixture::start(|config| {
        config.limits.pending_period_min_s = 0;
        config.limits.deleted_key_retention_s = 1;
    })
    .await;
    let data_dir = server.data_dir();
    let mut keys = server.keys(None).await;
    let kept = create(&mut keys).await;
    let (first, id) = (kept.primary_version.unwrap().id, kept.id.as_str());
    rotate(&mut keys, id).await;
    let of_first = wrapped(&data_dir, id, &first);
    let deleted = create(&mut keys).await;
    let of_deleted = wrapped(&data_dir, &deleted.id, &deleted.primary_version.unwrap().id);
    let other = create(&mut keys).await;
    let of_other = wrapped(&data_dir, &other.id, &other.primary_version.unwrap().id);
    for end in [&of_first, &of_deleted, &of_other] {
        assert!(!holders(&data_dir, end).is_empty(), "the search finds what is there");
    }

    let schedule = to_schedule(id, &first, seconds(1));
    keys.schedule_version_destruction(by(schedule)).await.unwrap();
    keys.delete(by(to_delete(&deleted.id))).await.unwrap();
    for end in [&of_first, &of_deleted] {
        until("files without the material", async || {
            holders(&data_dir, end).is_empty().then_some(())
        })
        .await;
    }
    assert!(!holders(&data_dir, &of_other).is_empty(), "nobody has destroyed it");
    let found = holders(server.stop().await.path(), &of_other);
    assert!(!found.is_empty());
}
