//! A whole directory: checked, exported, and the same verdict each time.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use lockbox_jepsen::check::coverage::Required;
use lockbox_jepsen::check::laws::{Finding, Law};
use lockbox_jepsen::check::verdict::Judgement;
use lockbox_jepsen::check::{check_directory, export_directory};
use lockbox_jepsen::history::jsonl::write_line;
use lockbox_jepsen::history::log_dump::{EntryKind, LogDump};
use lockbox_jepsen::model::synthetic::{Synthetic, Wanted, synthesize};

fn synthetic() -> Synthetic {
    let wanted = Wanted {
        seed: 5,
        ops: 3000,
        workers: 8,
        secrets: 3,
        ops_per_secret: 200,
        info_of_thousand: 30,
    };
    synthesize(&wanted).unwrap()
}

fn write_dump(path: &Path, log: &LogDump) {
    let mut bytes = Vec::new();
    write_line(&mut bytes, &log.range).unwrap();
    for entry in &log.entries {
        write_line(&mut bytes, entry).unwrap();
    }
    fs::write(path, bytes).unwrap();
}

fn write(directory: &Path, synthetic: &Synthetic) {
    let mut bytes = Vec::new();
    write_line(&mut bytes, &synthetic.history.header).unwrap();
    for event in synthetic.history.events() {
        write_line(&mut bytes, &event).unwrap();
    }
    fs::write(directory.join("history.jsonl"), bytes).unwrap();
    let required = serde_json::to_vec(&Required::default()).unwrap();
    fs::write(directory.join("required.json"), required).unwrap();
    fs::create_dir(directory.join("log")).unwrap();
    write_dump(&directory.join("log/node-1.jsonl"), &synthetic.log);
}

/// A clock on which every look takes a second and a half.
fn ticks() -> impl Fn() -> u64 {
    let looks = AtomicU64::new(0);
    move || looks.fetch_add(1, Ordering::Relaxed) * 1_500_000_000
}

#[test]
fn a_directory_is_judged_the_same_each_time_and_its_projections_written() {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), &synthetic());
    let mut printed = Vec::new();
    let verdict = check_directory(directory.path(), &ticks(), &mut printed).unwrap();
    // It has no final phase and no samples: nothing is wrong, and it is not valid.
    assert_eq!(verdict.judgement, Judgement::Unknown, "{:?}", verdict.reasons);
    for law in [Law::L1, Law::L2, Law::L3, Law::L4, Law::L5, Law::L6, Law::L10] {
        let report = verdict.laws.iter().find(|report| report.law == law).unwrap();
        assert_eq!(report.finding, Finding::Holds, "{law}");
    }
    let first = fs::read(directory.path().join("verdict.json")).unwrap();
    check_directory(directory.path(), &ticks(), &mut Vec::new()).unwrap();
    assert_eq!(fs::read(directory.path().join("verdict.json")).unwrap(), first);
    let printed = String::from_utf8(printed).unwrap();
    let end = "verdict: unknown\nseconds: reading 1.500, laws 1.500, search 1.500\n";
    assert!(printed.ends_with(end), "{printed}");
    assert!(printed.contains("L1   holds"), "{printed}");

    let files = export_directory(directory.path()).unwrap();
    assert_eq!(files.len(), 3);
    assert!(files.iter().all(|file| fs::metadata(file).unwrap().len() > 1000));
}

#[test]
fn an_effect_that_the_log_lost_makes_it_invalid() {
    let directory = tempfile::tempdir().unwrap();
    let mut synthetic = synthetic();
    let entry = synthetic.log.entries.iter_mut().rev().find(|e| e.kind == EntryKind::AddVersion);
    let entry = entry.unwrap();
    (entry.kind, entry.secret, entry.version) = (EntryKind::Blank, None, None);
    write(directory.path(), &synthetic);
    let verdict = check_directory(directory.path(), &ticks(), &mut Vec::new()).unwrap();
    assert_eq!(verdict.judgement, Judgement::Invalid);
    assert!(verdict.reasons[0].sentence.starts_with("L10: add_version"), "{:?}", verdict.reasons);
}

#[test]
fn nodes_that_committed_different_entries_make_it_invalid() {
    let directory = tempfile::tempdir().unwrap();
    let synthetic = synthetic();
    write(directory.path(), &synthetic);
    let mut other = synthetic.log;
    other.range.node.0 = 2;
    other.entries[40].term += 1;
    write_dump(&directory.path().join("log/node-2.jsonl"), &other);
    let verdict = check_directory(directory.path(), &ticks(), &mut Vec::new()).unwrap();
    assert_eq!(verdict.judgement, Judgement::Invalid);
    let expected = "nodes 1 and 2 committed different entries at index 41";
    assert!(verdict.reasons[0].sentence.starts_with(expected), "{:?}", verdict.reasons);
}

#[test]
fn what_cannot_be_read_is_told_with_its_file() {
    let directory = tempfile::tempdir().unwrap();
    let error =
        check_directory(directory.path(), &ticks(), &mut Vec::new()).unwrap_err().to_string();
    assert!(error.contains("history.jsonl"), "{error}");
    write(directory.path(), &synthetic());
    let log = directory.path().join("log/node-1.jsonl");
    let text = fs::read_to_string(&log).unwrap();
    let lines: Vec<&str> =
        text.lines().enumerate().filter(|(n, _)| *n != 7).map(|(_, l)| l).collect();
    fs::write(&log, lines.join("\n")).unwrap();
    let error =
        check_directory(directory.path(), &ticks(), &mut Vec::new()).unwrap_err().to_string();
    assert!(error.ends_with("node-1.jsonl: line 8: entry 8 where 7 was next"), "{error}");
}
