//! SIGKILL in the middle of destructions: after each, material and promises fit together, and what
//! was said to be destroyed is.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use lockbox_kms_sim::algorithm::Algorithm;
use lockbox_kms_sim::engine::db_directory;
use lockbox_kms_sim::keys::apply::{read_keys, read_version, read_versions};
use lockbox_kms_sim::keys::command::{Quotas, VersionOf};
use lockbox_kms_sim::keys::{service, versions};
use lockbox_kms_sim::schedule::{Pass, Scheduler};
use lockbox_kms_sim::store::Db;
use lockbox_kms_sim::store::records::VersionStatus;
use lockbox_platform::system::SystemClock;

use crate::consistency::assert_consistent;
use crate::support::{ROOT, Running, admin, open_with};

const KILLS: usize = 12;
const DIRECTORY: &str = "KMS_KILL_LIFECYCLE_DIRECTORY";
/// Short enough for the child to see the end of what it schedules.
const SOON: Duration = Duration::from_millis(2);

async fn open(directory: &Path) -> Running {
    let quotas = Quotas { keys_per_cloud: u32::MAX, versions_per_key: 100 };
    open_with(directory, ROOT, Arc::new(SystemClock::new()), quotas).await.unwrap()
}

fn say(word: &str, id: &str) {
    let mut stderr = std::io::stderr().lock();
    writeln!(stderr, "{word} {id}").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "the child of the test below"]
async fn child() {
    let directory = PathBuf::from(std::env::var(DIRECTORY).unwrap());
    let kms = open(&directory).await;
    let mut scheduler = Scheduler::default();
    loop {
        let key = kms.create(&admin(), Algorithm::Aes256).await;
        let record = kms.engine.reading().unwrap().key(&key, &mut None).unwrap();
        kms.rotate(&admin(), &key).await;
        let first = VersionOf { key_id: key.clone(), version_id: record.primary_version_id };
        let engine = &kms.engine;
        versions::schedule_destruction(engine, &admin(), &first, SOON, None, &mut None)
            .await
            .unwrap();
        service::delete(engine, &admin(), &key, 2 * SOON, None, &mut None).await.unwrap();
        while !destroyed(&kms, &first) {
            let mut done = Pass::default();
            scheduler.pass(engine, &mut done).await.unwrap();
        }
        say("destroyed", first.version_id.as_str());
    }
}

fn destroyed(kms: &Running, of: &VersionOf) -> bool {
    let version = read_version(&kms.engine.view(), &of.key_id, &of.version_id).unwrap();
    version.unwrap().status == VersionStatus::Destroyed
}

#[tokio::test]
async fn a_kill_leaves_no_half_destruction_and_the_next_start_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let mut said = Vec::new();
    for kill in 0..KILLS {
        said.extend(run_and_kill(directory.path(), 2 + kill * 3));
        let db = Db::open_read_only(&db_directory(directory.path())).unwrap();
        let view = db.view();
        assert_consistent(&view);
        let mut gone = Vec::new();
        for key in read_keys(&view).unwrap() {
            let versions = read_versions(&view, &key).unwrap();
            let ended = versions.into_iter().filter(|v| v.status == VersionStatus::Destroyed);
            gone.extend(ended.map(|version| version.id.to_string()));
        }
        assert!(said.iter().all(|id| gone.contains(id)), "after kill {kill}");
    }
    let kms = open(directory.path()).await;
    let mut scheduler = Scheduler::default();
    let still_due = || {
        let view = kms.engine.view();
        let keys = read_keys(&view).unwrap();
        keys.iter().any(|key| key.deletion.as_ref().is_some_and(|d| d.destroyed_at.is_none()))
    };
    while still_due() {
        let mut done = Pass::default();
        scheduler.pass(&kms.engine, &mut done).await.unwrap();
    }
    assert_consistent(&kms.engine.view());
    kms.stop().await;
}

/// Runs a child until it has said so often that something is destroyed; gives what it said.
fn run_and_kill(directory: &Path, times: usize) -> Vec<String> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["kill_lifecycle::child", "--exact", "--ignored", "--nocapture"])
        .env(DIRECTORY, directory)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let (mut said, mut other) = (Vec::new(), Vec::new());
    // After the kill the pipe still holds what was said before it.
    for line in lines.map_while(Result::ok) {
        match line.split_once(' ') {
            Some(("destroyed", id)) => {
                said.push(id.to_owned());
                if said.len() == times {
                    child.kill().unwrap();
                }
            }
            _ => other.push(line),
        }
    }
    let status = child.wait().unwrap();
    assert!(said.len() >= times, "the child ended by itself ({status}): {other:?}");
    said
}
