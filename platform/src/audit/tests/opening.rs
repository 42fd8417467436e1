//! Opening an audit again: behind a crash, behind an earlier build, and what is none.

use std::io::Write;

use super::*;
use crate::audit::chain::{Chain, LineHash};
use crate::audit::file::{self, AuditFile, Opened};

fn now() -> AuditTime {
    LogTime::from_ms(1_800_000_000_123).into()
}

fn open_file(path: &Path) -> Result<Opened, AuditOpenError> {
    file::open(&AuditFiles::of(path), now())
}

/// The line that the chain would go on with.
fn next(chain: Chain) -> Value {
    let (mut chain, mut line) = (chain, String::new());
    chain.link(&mut line, "{\"a\":1}").expect("a number");
    serde_json::from_str(&line).expect("JSON")
}

#[tokio::test]
async fn the_chain_goes_on_where_it_ended() -> Result<(), AuditOpenError> {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let files = AuditFiles::at(dir.path());
    for (round, sync) in [(0, AuditSync::Batched), (1, AuditSync::Each)] {
        let tasks = tasks();
        let config = AuditConfig { sync, ..AuditConfig::new(files.active()) };
        let auditor = open(&config, clock(), &tasks, metrics())?;
        for i in 0..3 {
            assert_eq!(write(&auditor, &format!("{round}-{i}")).await, Ok(()));
        }
        assert_eq!(tasks.shutdown(PATIENCE).await, Ok(()));
        assert_eq!(write(&auditor, "late").await, Err(AuditError::Stopped));
    }
    let written = records(files.active());
    let numbers: Vec<_> = written.iter().map(|line| line["sequence"].as_u64()).collect();
    assert_eq!(numbers, (0..6).map(Some).collect::<Vec<_>>());
    assert_eq!(written[5]["event_id"], "1-2");
    assert_eq!(written[0]["chain"], "begins");
    let begins = written.iter().filter(|record| record.get("chain").is_some());
    assert_eq!(begins.count(), 1, "one chain");
    let findings = verified(&files, &[]);
    assert_eq!((findings.lines, findings.unchained), (6, 0));
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(files.active()).expect("an audit file").permissions(),
    );
    assert_eq!(mode & 0o777, 0o600);
    Ok(())
}

/// `kill -9` in the middle of a write.
#[tokio::test]
async fn a_torn_line_is_cut_off_and_the_cut_is_a_record() -> Result<(), AuditOpenError> {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let files = AuditFiles::at(dir.path());
    let first_tasks = tasks();
    let config = AuditConfig::new(files.active());
    let auditor = open(&config, clock(), &first_tasks, metrics())?;
    assert_eq!(write(&auditor, "a").await, Ok(()));
    assert_eq!(first_tasks.shutdown(PATIENCE).await, Ok(()));
    let torn = "{\"sequence\":1,\"previous_ha";
    let mut half = std::fs::OpenOptions::new().append(true).open(files.active()).expect("a file");
    half.write_all(torn.as_bytes()).expect("a half line");
    let findings = verified(&files, &[]);
    assert_eq!(findings.unfinished_bytes, torn.len() as u64);

    let second_tasks = tasks();
    let auditor = open(&config, clock(), &second_tasks, metrics())?;
    assert_eq!(write(&auditor, "b").await, Ok(()));
    assert_eq!(second_tasks.shutdown(PATIENCE).await, Ok(()));
    let written = records(files.active());
    assert_eq!(written.len(), 3);
    assert_eq!(written[1]["event_type"], "lockbox.audit.TornLine");
    let details = json!({
        "torn_bytes": torn.len(), "torn_hash": LineHash::of(torn.as_bytes()).to_string(),
    });
    assert_eq!(written[1]["details"], details);
    assert!(written[1]["event_time"].is_string());
    assert_eq!(written[2]["event_id"], "b");
    assert_eq!(verified(&files, &[]).lines, 3);
    Ok(())
}

#[test]
fn a_torn_first_line_begins_the_chain_anew() -> Result<(), AuditOpenError> {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("audit.log");
    std::fs::write(&path, "{\"sequ").expect("a written file");
    drop(open_file(&path)?);
    let written = records(&path);
    assert_eq!(written[0]["chain"], "begins");
    assert_eq!(written[0]["event_type"], "lockbox.audit.TornLine");
    Ok(())
}

/// A node that cannot find its last record does not start.
#[test]
fn the_last_record_is_found_however_long_it_is() -> Result<(), AuditOpenError> {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("audit.log");
    let long = "k".repeat(9 << 20);
    let hash = LineHash::of(b"");
    let last = format!("{{\"sequence\":7,\"previous_hash\":\"{hash}\",\"key\":\"{long}\"}}");
    let whole = format!("{{\"sequence\":6,\"previous_hash\":\"{hash}\"}}\n{last}\n");
    for (torn, expected) in [("", 8), ("{\"sequence\":8,", 9), (&*long, 9)] {
        std::fs::write(&path, format!("{whole}{torn}")).expect("a written file");
        let record = next(open_file(&path)?.chain);
        assert_eq!(record["sequence"], expected);
        if torn.is_empty() {
            let hash = LineHash::of(last.as_bytes()).to_string();
            assert_eq!(record["previous_hash"], hash.as_str());
        }
        // And again, from behind the marker.
        assert_eq!(next(open_file(&path)?.chain)["sequence"], expected);
    }
    Ok(())
}

/// Records of an earlier build have numbers and no chain, and torn lines between them.
#[test]
fn a_chain_begins_behind_records_without_one() -> Result<(), AuditOpenError> {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let files = AuditFiles::at(dir.path());
    let old =
        "{\"sequence\":3}\n{\"seq\n{\"sequence\":4,\"event_type\":\"lockbox.audit.TornLine\"}\n";
    std::fs::write(files.active(), old).expect("a written file");
    let opened = open_file(files.active())?;
    let (mut chain, mut lines) = (opened.chain, String::new());
    chain.link(&mut lines, "{\"a\":1}").expect("a number");
    chain.link(&mut lines, "{\"b\":1}").expect("a number");
    opened.file.append(lines.as_bytes()).expect("an append");
    let written = std::fs::read_to_string(files.active()).expect("the file");
    assert!(written.contains("{\"sequence\":5,\"chain\":\"begins\",\"a\":1}\n"), "{written}");
    let findings = verified(&files, &[]);
    assert_eq!((findings.lines, findings.unchained), (5, 3));
    assert_eq!(findings.last, chain.head());
    assert_eq!(next(open_file(files.active())?.chain)["sequence"], 7);
    Ok(())
}

#[test]
fn cut_markers_are_passed_over() -> Result<(), AuditOpenError> {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("audit.log");
    std::fs::write(&path, "{\"sequence\":3}\n{\"seq\n{\"se\n{").expect("a written file");
    assert_eq!(next(open_file(&path)?.chain)["sequence"], 5);
    std::fs::write(&path, format!("{{\"sequence\":3}}\n{}", "x\n".repeat(100))).expect("written");
    assert!(matches!(open_file(&path), Err(AuditOpenError::NotAudit { .. })));
    for last in [u64::MAX - 1, u64::MAX] {
        std::fs::write(&path, format!("{{\"sequence\":{last}}}\n")).expect("written");
        assert!(matches!(open_file(&path), Err(AuditOpenError::Full { .. })), "{last}");
    }
    Ok(())
}

/// When the numbers are used up calls are refused, and none is given twice.
#[tokio::test]
async fn without_a_number_no_record_is_written() -> Result<(), AuditOpenError> {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let files = AuditFiles::at(dir.path());
    let hash = LineHash::of(b"");
    let before = u64::MAX - 3;
    let line = format!("{{\"sequence\":{before},\"previous_hash\":\"{hash}\"}}\n");
    std::fs::write(files.active(), line).expect("a written file");
    let tasks = tasks();
    let auditor = open(&AuditConfig::new(files.active()), clock(), &tasks, metrics())?;
    let answers = [Ok(()), Ok(()), Err(AuditError::Failed), Err(AuditError::Failed)];
    for (number, expected) in answers.into_iter().enumerate() {
        assert_eq!(write(&auditor, &format!("e{number}")).await, expected, "{number}");
    }
    drop(auditor);
    assert_eq!(tasks.shutdown(PATIENCE).await, Ok(()));
    let written = records(files.active());
    let numbers: Vec<_> = written.iter().map(|record| record["sequence"].as_u64()).collect();
    assert_eq!(numbers, [Some(before), Some(u64::MAX - 2), Some(u64::MAX - 1)]);
    assert!(matches!(open_file(files.active()), Err(AuditOpenError::Full { .. })));
    // That the records before these are missing is all that is wrong.
    assert_eq!(verify::verify(&files, &[]).expect("an audit").problems_total, 1);
    Ok(())
}

#[tokio::test]
async fn a_file_of_something_else_is_refused() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("audit.log");
    std::fs::write(&path, "not ours\n").expect("a written file");
    let refused = open(&AuditConfig::new(&path), clock(), &tasks(), metrics());
    assert!(matches!(refused, Err(AuditOpenError::NotAudit { .. })));
}

/// What somebody has compressed may be longer than all memory.
#[test]
fn a_finished_file_of_one_endless_line_is_refused() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let files = AuditFiles::at(dir.path());
    let endless = vec![b' '; 65 << 20];
    let packed = zstd::encode_all(endless.as_slice(), 1).expect("zstd");
    std::fs::write(files.compressed(7), packed).expect("a written file");
    assert!(matches!(open_file(files.active()), Err(AuditOpenError::File { .. })));
    std::fs::write(files.compressed(7), "no zstd").expect("a written file");
    assert!(matches!(open_file(files.active()), Err(AuditOpenError::File { .. })));
}

#[tokio::test]
async fn a_failed_append_leaves_no_half_line() -> Result<(), AuditOpenError> {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("audit.log");
    let files = AuditFiles::of(&path);
    let opened = open_file(&path)?;
    opened.file.append(b"{\"sequence\":0}\n").expect("an append");
    // What a write that failed half-way leaves behind.
    let mut half = std::fs::OpenOptions::new().append(true).open(&path).expect("the file");
    half.write_all(b"{\"sequ").expect("a half line");
    opened.file.append(b"{\"sequence\":1}\n").expect("an append");
    let text = std::fs::read_to_string(&path).expect("the file");
    assert_eq!(text, "{\"sequence\":0}\n{\"sequence\":1}\n");

    // Nor is it in a file that is set aside: whole lines of it would be others than those that
    // follow in the next file.
    half.write_all(b"{\"sequence\":2}\n{\"sequ").expect("half a batch");
    opened.file.finish(1).expect("a finished file");
    opened.file.append(b"{\"sequence\":2}\n").expect("an append");
    let finished = std::fs::read_to_string(files.plain(1)).expect("the finished file");
    assert_eq!(finished, text);
    let text = std::fs::read_to_string(&path).expect("the file");
    assert_eq!(text, "{\"sequence\":2}\n");

    // The same once somebody has emptied the file, as some rotate logs.
    let mut half = std::fs::OpenOptions::new().append(true).open(&path).expect("the file");
    half.set_len(0).expect("an empty file");
    opened.file.append(b"{\"sequence\":2}\n").expect("an append");
    half.write_all(b"{\"sequ").expect("a half line");
    opened.file.append(b"{\"sequence\":3}\n").expect("an append");
    let text = std::fs::read_to_string(&path).expect("the file");
    assert_eq!(text, "{\"sequence\":2}\n{\"sequence\":3}\n");

    // Or has cut it within a line: what is left of that takes no record with it.
    half.set_len(10).expect("a shorter file");
    opened.file.append(b"{\"sequence\":4}\n").expect("an append");
    half.write_all(b"{\"sequ").expect("a half line");
    opened.file.append(b"{\"sequence\":5}\n").expect("an append");
    let text = std::fs::read_to_string(&path).expect("the file");
    assert_eq!(text, "{\"sequence\n{\"sequence\":4}\n{\"sequence\":5}\n");
    Ok(())
}

#[test]
fn an_audit_whose_lines_are_no_records_is_not_as_it_was_written() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let files = AuditFiles::at(dir.path());
    for (content, problems) in [("", 0), ("x\n", 1), ("\n\n\n", 1)] {
        std::fs::write(files.active(), content).expect("a written file");
        let findings = verify::verify(&files, &[]).expect("an audit");
        assert_eq!(findings.problems_total, problems, "{content:?}");
    }
}
