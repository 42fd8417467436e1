//! The last lines, and those that follow, also while files are finished below the reader.

use super::*;
use crate::audit::tail::Tail;

fn numbers(lines: &[Vec<u8>]) -> Vec<u64> {
    let number = |line: &Vec<u8>| {
        let record: Value = serde_json::from_slice(line).expect("JSON");
        record["sequence"].as_u64().expect("a number")
    };
    lines.iter().map(number).collect()
}

#[tokio::test]
async fn the_last_lines_are_taken_from_as_many_files_as_it_needs() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let files = AuditFiles::at(dir.path());
    let config = AuditConfig { file_bytes_max: 6_000, ..AuditConfig::new(files.active()) };
    let tasks = tasks();
    let auditor = open(&config, clock(), &tasks, metrics()).expect("an audit");
    let last = |count| {
        let (lines, _) = Tail::begin(&files, count).expect("an audit");
        numbers(&lines)
    };
    assert!(last(3).is_empty());
    for number in 0..50 {
        assert_eq!(write(&auditor, &format!("e{number}")).await, Ok(()));
    }
    assert!(files.finished().expect("a directory").len() > 2);
    for count in [0, 1, 13, 49, 50] {
        let first = 50 - count as u64;
        assert_eq!(last(count), (first..50).collect::<Vec<u64>>(), "{count}");
    }
    assert_eq!(last(1000), (0..50).collect::<Vec<u64>>());

    let (lines, mut tail) = Tail::begin(&files, 2).expect("an audit");
    assert_eq!(numbers(&lines), [48_u64, 49]);
    assert_eq!(tail.next_line().expect("a line"), None);
    // Several files are finished, and compressed, before anybody looks again.
    for number in 50..90 {
        assert_eq!(write(&auditor, &format!("e{number}")).await, Ok(()));
    }
    let mut followed = Vec::new();
    while let Some(line) = tail.next_line().expect("a line") {
        followed.push(line);
    }
    assert_eq!(numbers(&followed), (50..90).collect::<Vec<u64>>());
    assert_eq!(write(&auditor, "more").await, Ok(()));
    let more = tail.next_line().expect("a line").expect("one more");
    assert_eq!(numbers(&[more]), [90_u64]);
    drop(auditor);
    assert_eq!(tasks.shutdown(PATIENCE).await, Ok(()));
}

/// A line that is being written is not told before it is whole.
#[test]
fn half_a_line_is_waited_for() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let files = AuditFiles::at(dir.path());
    let mut file = std::fs::File::create(files.active()).expect("a file");
    let mut append = |text: &str| std::io::Write::write_all(&mut file, text.as_bytes());
    append("{\"sequence\":0}\n{\"sequ").expect("half a line");
    let (lines, mut tail) = Tail::begin(&files, 10).expect("an audit");
    assert_eq!(numbers(&lines), [0_u64]);
    assert_eq!(tail.next_line().expect("a line"), None);
    append("ence\":1}\n").expect("the other half");
    let line = tail.next_line().expect("a line").expect("the whole line");
    assert_eq!(numbers(&[line]), [1_u64]);
}

/// The active file has another name by the time that the next one is asked for.
#[test]
fn a_file_that_is_finished_while_it_is_read_is_not_read_again() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let files = AuditFiles::at(dir.path());
    std::fs::write(files.active(), "{\"sequence\":0}\n").expect("a file");
    let mut walk = Walk::new(&files);
    let mut file = walk.next_file().expect("a directory").expect("the active file");
    std::fs::rename(files.active(), files.plain(0)).expect("a rename");
    std::fs::write(files.active(), "{\"sequence\":1}\n").expect("a file");
    let mut line = Vec::new();
    assert_eq!(file.read_line(&mut line).expect("a line"), LineRead::Whole);
    assert_eq!(numbers(&[line]), [0_u64]);
    assert!(walk.next_file().expect("a directory").is_none(), "it is read twice");
    // Who follows goes on with what was begun since, and with nothing else.
    let mut next = walk.file_behind(&file).expect("a directory").expect("the next file");
    let mut line = Vec::new();
    assert_eq!(next.read_line(&mut line).expect("a line"), LineRead::Whole);
    assert_eq!(numbers(&[line]), [1_u64]);
    assert!(walk.file_behind(&next).expect("a directory").is_none());
}

/// A crash may have left finished files alone.
#[test]
fn the_file_to_write_to_is_waited_for() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let files = AuditFiles::at(dir.path());
    std::fs::write(files.plain(0), "{\"sequence\":0}\n").expect("a file");
    let (lines, mut tail) = Tail::begin(&files, 10).expect("an audit");
    assert_eq!(numbers(&lines), [0_u64]);
    assert_eq!(tail.next_line().expect("a line"), None);
    std::fs::write(files.active(), "{\"sequence\":1}\n").expect("a file");
    let line = tail.next_line().expect("a line").expect("one more");
    assert_eq!(numbers(&[line]), [1_u64]);
}
