//! Files that are finished: under load, compressed, removed, and behind a crash at each step.

use super::*;

/// Long enough for some ten records.
const FILE_BYTES: u64 = 6_000;

fn small(files: &AuditFiles) -> AuditConfig {
    AuditConfig { file_bytes_max: FILE_BYTES, ..AuditConfig::new(files.active()) }
}

/// Opens, writes so many records one after the other, and ends.
async fn write_many(config: &AuditConfig, count: usize) -> Option<ChainHead> {
    let tasks = tasks();
    let auditor = open(config, clock(), &tasks, metrics()).expect("an audit");
    for number in 0..count {
        assert_eq!(write(&auditor, &format!("e{number}")).await, Ok(()));
    }
    let head = auditor.synced_head();
    drop(auditor);
    assert_eq!(tasks.shutdown(PATIENCE).await, Ok(()));
    *head.borrow()
}

/// Opens until everything that is finished is compressed.
async fn compress_all(config: &AuditConfig) {
    let files = AuditFiles::of(&config.path);
    let tasks = tasks();
    let auditor = open(config, clock(), &tasks, metrics()).expect("an audit");
    let deadline = soon();
    while files.finished().expect("a directory").iter().any(|last| files.plain(*last).exists()) {
        assert!(Instant::now() < deadline, "a finished file is not compressed");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(auditor);
    assert_eq!(tasks.shutdown(PATIENCE).await, Ok(()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_are_finished_under_load_and_the_chain_goes_through_them() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let files = AuditFiles::at(dir.path());
    let tasks = tasks();
    let auditor = open(&small(&files), clock(), &tasks, metrics()).expect("an audit");
    let writers = (0..20).map(|writer| {
        let auditor = auditor.clone();
        tokio::task::spawn_blocking(move || {
            tokio::runtime::Handle::current().block_on(async {
                for number in 0..50 {
                    assert_eq!(write(&auditor, &format!("{writer}-{number}")).await, Ok(()));
                }
            });
        })
    });
    let reader = {
        let files = files.clone();
        tokio::task::spawn_blocking(move || {
            // Beside the writer and the finisher nothing is ever wrong or missing.
            let mut last = 0;
            while last < 999 {
                last = verified(&files, &[]).last.map_or(0, |head| head.sequence);
            }
        })
    };
    for writer in futures::future::join_all(writers).await {
        writer.expect("a writer");
    }
    tokio::time::timeout(PATIENCE, reader).await.expect("in time").expect("a reader");
    let mut head = auditor.synced_head();
    let synced = head.wait_for(|head| head.is_some_and(|head| head.sequence == 999));
    let head = *tokio::time::timeout(PATIENCE, synced).await.expect("in time").expect("a head");
    drop(auditor);
    assert_eq!(tasks.shutdown(PATIENCE).await, Ok(()));
    let findings = verified(&files, head.as_slice());
    assert_eq!((findings.lines, findings.heads_found), (1000, 1));
    assert!(findings.files > 3, "{findings:?}");
}

#[tokio::test]
async fn finished_files_are_compressed_and_read_as_before() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let files = AuditFiles::at(dir.path());
    let head = write_many(&small(&files), 60).await;
    compress_all(&small(&files)).await;
    let finished = files.finished().expect("a directory");
    assert!(finished.len() > 3, "{finished:?}");
    for last in &finished {
        let path = files.compressed(*last);
        let text = zstd::decode_all(std::fs::File::open(&path).expect("a file")).expect("zstd");
        let last_line = text.strip_suffix(b"\n").expect("a whole line");
        let last_line = last_line.rsplit(|byte| *byte == b'\n').next().expect("a line");
        let record: Value = serde_json::from_slice(last_line).expect("JSON");
        assert_eq!(record["sequence"], *last, "{}", path.display());
        let mode = std::os::unix::fs::PermissionsExt::mode(
            &std::fs::metadata(&path).expect("a file").permissions(),
        );
        assert_eq!(mode & 0o777, 0o600);
    }
    assert_eq!(verified(&files, head.as_slice()).lines, 60);
}

/// A crash right behind the finish leaves an empty file to write to, or none; the end of the chain
/// is in a finished file, compressed or not.
#[tokio::test]
async fn the_chain_is_taken_up_from_a_finished_file() {
    for compressed in [false, true] {
        for empty in [false, true] {
            let dir = tempfile::tempdir().expect("a temporary directory");
            let files = AuditFiles::at(dir.path());
            let head = write_many(&small(&files), 5).await.expect("a head");
            let finished = files.plain(head.sequence);
            std::fs::rename(files.active(), &finished).expect("a rename");
            if compressed {
                let text = std::fs::read(&finished).expect("a file");
                let packed = zstd::encode_all(text.as_slice(), 3).expect("zstd");
                std::fs::write(files.compressed(head.sequence), packed).expect("a file");
                std::fs::remove_file(&finished).expect("a file");
            }
            if empty {
                std::fs::write(files.active(), "").expect("a file");
            }
            let next = write_many(&small(&files), 1).await.expect("a head");
            assert_eq!(next.sequence, 5);
            assert_eq!(verified(&files, &[head, next]).lines, 6);
        }
    }
}

/// Both a file and its copy are there when the crash came between the two.
#[tokio::test]
async fn a_copy_that_is_there_already_is_not_made_again() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let files = AuditFiles::at(dir.path());
    write_many(&small(&files), 30).await;
    compress_all(&small(&files)).await;
    let last = files.finished().expect("a directory")[0];
    let packed = std::fs::File::open(files.compressed(last)).expect("a file");
    let text = zstd::decode_all(packed).expect("zstd");
    std::fs::write(files.plain(last), text).expect("a file");
    // And one was being written.
    std::fs::write(files.part(last + 1), "half").expect("a file");
    assert_eq!(verified(&files, &[]).lines, 30);
    compress_all(&small(&files)).await;
    assert_eq!(verified(&files, &[]).lines, 30);
}

/// Whoever puts something else where the copy belongs does not get the server to remove the file,
/// nor keeps it from compressing the others.
#[tokio::test]
async fn a_copy_that_holds_something_else_takes_the_place_of_nothing() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let files = AuditFiles::at(dir.path());
    write_many(&small(&files), 30).await;
    compress_all(&small(&files)).await;
    let finished = files.finished().expect("a directory");
    let [first, second, ..] = finished.as_slice() else { panic!("{finished:?}") };
    for last in [first, second] {
        let packed = std::fs::File::open(files.compressed(*last)).expect("a file");
        let text = zstd::decode_all(packed).expect("zstd");
        std::fs::write(files.plain(*last), text).expect("a file");
    }
    let other = zstd::encode_all(&b"{}\n"[..], 3).expect("zstd");
    std::fs::write(files.compressed(*first), other).expect("a file");
    std::fs::remove_file(files.compressed(*second)).expect("a file");

    let tasks = tasks();
    let auditor = open(&small(&files), clock(), &tasks, metrics()).expect("an audit");
    let deadline = soon();
    while files.plain(*second).exists() {
        assert!(Instant::now() < deadline, "the second file is not compressed");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(auditor);
    assert_eq!(tasks.shutdown(PATIENCE).await, Ok(()));
    assert!(files.plain(*first).exists(), "the first file is gone");
    assert_eq!(verified(&files, &[]).lines, 30);
}

#[tokio::test]
async fn what_is_too_many_is_removed_and_the_removal_is_a_record() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let files = AuditFiles::at(dir.path());
    let config = AuditConfig { finished_files_max: Some(2), ..small(&files) };
    let head = write_many(&config, 100).await;
    assert_eq!(files.finished().expect("a directory").len(), 2);
    let findings = verified(&files, &[]);
    let first = findings.first.expect("a record");
    assert!(first > 0 && findings.lines < 100, "{findings:?}");
    assert_eq!(findings.removed_as_files_say, first.checked_sub(1));
    let told = verify::verify_removed(&files, head.as_slice(), first.checked_sub(1));
    assert_eq!(told.expect("an audit").problems_total, 0);

    // One that retention has not taken is missed.
    let oldest = files.finished().expect("a directory")[0];
    for path in [files.plain(oldest), files.compressed(oldest)] {
        std::fs::remove_file(path).ok();
    }
    let findings = verify::verify(&files, &[]).expect("an audit");
    assert_eq!(findings.problems_total, 1, "{findings:?}");
    let problem = findings.problems[0].to_string();
    assert!(problem.contains(&format!("the records up to {oldest} are missing")), "{problem}");
}

/// The cluster hears first of what is too many.
#[tokio::test]
async fn what_is_too_many_stays_until_it_is_permitted_to_go() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let files = AuditFiles::at(dir.path());
    let config = AuditConfig {
        finished_files_max: Some(1),
        removal: Removal::WhenPermitted,
        ..small(&files)
    };
    let tasks = tasks();
    let auditor = open(&config, clock(), &tasks, metrics()).expect("an audit");
    assert_eq!(auditor.removable_through(), None);
    for number in 0..60 {
        assert_eq!(write(&auditor, &format!("e{number}")).await, Ok(()));
    }
    let finished = files.finished().expect("a directory");
    assert!(finished.len() > 3, "{finished:?}");
    assert_eq!(verified(&files, &[]).first, Some(0));
    let too_many = finished[finished.len() - 2];
    assert_eq!(auditor.removable_through(), Some(too_many));

    auditor.permit_removal(finished[1]);
    assert_eq!(write(&auditor, "behind").await, Ok(()));
    assert_eq!(verified(&files, &[]).first, Some(finished[1] + 1));
    auditor.permit_removal(too_many);
    auditor.permit_removal(finished[0]);
    assert_eq!(write(&auditor, "behind").await, Ok(()));
    assert_eq!(verified(&files, &[]).first, Some(too_many + 1));
    drop(auditor);
    assert_eq!(tasks.shutdown(PATIENCE).await, Ok(()));
}

/// When the next file cannot be made, the one that is there goes on, and calls with it.
#[tokio::test]
async fn a_file_that_cannot_be_set_aside_grows_on() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let files = AuditFiles::at(dir.path());
    let tasks = tasks();
    let auditor = open(&small(&files), clock(), &tasks, metrics()).expect("an audit");
    // Whatever the number is: in its place is something else.
    for number in 0..60 {
        std::fs::create_dir(files.plain(number)).expect("a directory");
    }
    for number in 0..60 {
        assert_eq!(write(&auditor, &format!("e{number}")).await, Ok(()));
    }
    drop(auditor);
    assert_eq!(tasks.shutdown(PATIENCE).await, Ok(()));
    assert_eq!(records(files.active()).len(), 60);
}
