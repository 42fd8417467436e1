//! A disk that is full in earnest: the system's limit on the length of a file, in a process of its
//! own, ends a write in its middle as a full disk does.

use std::process::Command;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::*;

/// Set in the process that has the limit.
const ALONE: &str = "LOCKBOX_TEST_FULL_DISK";
/// Long enough for some ten records.
const FILE_BYTES: u64 = 6_000;

/// Whether this is the process that has the limit. If not, runs this test once more in one, to
/// which a file that is too long is an error and no signal.
fn is_alone(test: &str) -> bool {
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    let program = std::env::current_exe().expect("this program");
    let name = format!("{}::{test}", module_path!().split_once("::").expect("a module").1);
    let script = "trap '' XFSZ && exec \"$0\" --exact \"$1\" --nocapture";
    let mut shell = Command::new("sh");
    let run = shell.args(["-c", script]).arg(program).arg(name).env(ALONE, "1").output();
    let run = run.expect("a shell");
    let said = String::from_utf8_lossy(&run.stdout);
    let failed = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success() && said.contains("1 passed"), "{said}{failed}");
    false
}

/// Lets no file of this process be longer; any, without a length.
fn limit(bytes: Option<u64>) {
    let Rlimit { maximum, .. } = getrlimit(Resource::Fsize);
    let current = bytes.or(maximum);
    setrlimit(Resource::Fsize, Rlimit { current, maximum }).expect("less is always allowed");
}

fn length(files: &AuditFiles) -> u64 {
    std::fs::metadata(files.active()).expect("an audit file").len()
}

#[tokio::test]
async fn what_a_full_disk_has_cut_short_is_in_nobodys_way() {
    if !is_alone("what_a_full_disk_has_cut_short_is_in_nobodys_way") {
        return;
    }
    for sync in [AuditSync::Batched, AuditSync::Each] {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let files = AuditFiles::at(dir.path());
        let tasks = tasks();
        let config = AuditConfig { sync, ..AuditConfig::new(files.active()) };
        let auditor = open(&config, clock(), &tasks, metrics()).expect("an audit");
        assert_eq!(write(&auditor, "a").await, Ok(()));
        let room = length(&files) + 100;
        limit(Some(room));
        for lost in ["b", "c"] {
            assert_eq!(write(&auditor, lost).await, Err(AuditError::Failed));
            assert_eq!(length(&files), room, "the write was not cut short");
            assert!(auditor.demand_writable().is_err());
        }
        limit(None);
        assert_eq!(write(&auditor, "d").await, Ok(()));
        assert_eq!(auditor.demand_writable(), Ok(()));
        drop(auditor);
        assert_eq!(tasks.shutdown(PATIENCE).await, Ok(()));
        let ids: Vec<Value> =
            records(files.active()).iter().map(|line| line["event_id"].clone()).collect();
        assert_eq!(ids, ["a", "d"]);
        verified(&files, &[]);
    }
}

/// The file is set aside, and the next one takes nothing; nor does the copy of the first.
#[tokio::test]
async fn a_disk_that_is_full_at_a_rotation_loses_nothing() {
    if !is_alone("a_disk_that_is_full_at_a_rotation_loses_nothing") {
        return;
    }
    let dir = tempfile::tempdir().expect("a temporary directory");
    let files = AuditFiles::at(dir.path());
    let tasks = tasks();
    let config = AuditConfig { file_bytes_max: FILE_BYTES, ..AuditConfig::new(files.active()) };
    let auditor = open(&config, clock(), &tasks, metrics()).expect("an audit");
    let mut written = 0;
    while length(&files) < FILE_BYTES {
        assert_eq!(write(&auditor, &format!("e{written}")).await, Ok(()));
        written += 1;
    }
    limit(Some(0));
    for lost in ["b", "c"] {
        assert_eq!(write(&auditor, lost).await, Err(AuditError::Failed));
        assert_eq!(files.finished().expect("a directory"), [written - 1]);
        assert_eq!(length(&files), 0);
    }
    limit(None);
    assert_eq!(write(&auditor, "d").await, Ok(()));
    drop(auditor);
    assert_eq!(tasks.shutdown(PATIENCE).await, Ok(()));
    assert_eq!(verified(&files, &[]).lines, written + 1);
}
