//! The file that is written to, removed or replaced by another program: noticed, and nothing is
//! done to what stands in its place.

use super::*;

/// What became of the records before does not matter: soon no other is taken.
async fn until_refused(auditor: &AuditorHandle) {
    let refused = async {
        while write(auditor, "again").await != Err(AuditError::Failed) {
            tokio::task::yield_now().await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, refused).await.is_ok(), "nobody notices");
    assert!(auditor.demand_writable().is_err());
}

#[tokio::test]
async fn a_file_that_was_removed_takes_no_record() {
    for sync in [AuditSync::Batched, AuditSync::Each] {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let files = AuditFiles::at(dir.path());
        let (tasks, metrics) = (tasks(), metrics());
        let config = AuditConfig { sync, ..AuditConfig::new(files.active()) };
        let auditor = open(&config, clock(), &tasks, metrics.clone()).expect("an audit");
        assert_eq!(write(&auditor, "a").await, Ok(()));
        std::fs::remove_file(files.active()).expect("a file");
        // Not even one more.
        assert_eq!(write(&auditor, "b").await, Err(AuditError::Failed));
        assert!(auditor.demand_writable().is_err());
        assert_eq!(metrics.healthy.get(), 0);
        // Nor with a new file in its place, which is not the one that is open.
        std::fs::write(files.active(), "").expect("a file");
        assert_eq!(write(&auditor, "c").await, Err(AuditError::Failed));
        drop(auditor);
        assert_eq!(tasks.shutdown(PATIENCE).await, Ok(()));
        assert_eq!(records(files.active()).len(), 0);
    }
}

/// As logrotate does. Once the file is where it was, the audit goes on by itself.
#[tokio::test]
async fn a_file_that_was_moved_takes_no_record_until_it_is_back() {
    for sync in [AuditSync::Batched, AuditSync::Each] {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let files = AuditFiles::at(dir.path());
        let tasks = tasks();
        let config = AuditConfig { sync, ..AuditConfig::new(files.active()) };
        let auditor = open(&config, clock(), &tasks, metrics()).expect("an audit");
        assert_eq!(write(&auditor, "a").await, Ok(()));
        let moved = dir.path().join("audit.jsonl.1");
        std::fs::rename(files.active(), &moved).expect("a rename");
        until_refused(&auditor).await;
        // Heads are of what readers find.
        let head = *auditor.synced_head().borrow();
        std::fs::write(files.active(), "another program's").expect("a file");
        assert_eq!(write(&auditor, "b").await, Err(AuditError::Failed));
        assert_eq!(*auditor.synced_head().borrow(), head);
        std::fs::rename(&moved, files.active()).expect("a rename");
        let back = async {
            while write(&auditor, "c").await != Ok(()) {
                tokio::task::yield_now().await;
            }
        };
        assert!(tokio::time::timeout(PATIENCE, back).await.is_ok(), "it does not go on");
        assert_eq!(auditor.demand_writable(), Ok(()));
        drop(auditor);
        assert_eq!(tasks.shutdown(PATIENCE).await, Ok(()));
        verified(&files, head.as_slice());
    }
}

/// What stands in its place does not get the name of a finished file.
#[tokio::test]
async fn another_file_is_not_set_aside_as_ours() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let files = AuditFiles::at(dir.path());
    let tasks = tasks();
    let file_bytes_max = 2_000;
    let config = AuditConfig { file_bytes_max, ..AuditConfig::new(files.active()) };
    let auditor = open(&config, clock(), &tasks, metrics()).expect("an audit");
    assert_eq!(write(&auditor, "a").await, Ok(()));
    std::fs::rename(files.active(), dir.path().join("taken")).expect("a rename");
    std::fs::write(files.active(), "another program's").expect("a file");
    until_refused(&auditor).await;
    drop(auditor);
    assert_eq!(tasks.shutdown(PATIENCE).await, Ok(()));
    assert_eq!(files.finished().expect("a directory"), Vec::<u64>::new());
    let left = std::fs::read_to_string(files.active()).expect("a file");
    assert_eq!(left, "another program's");
}
