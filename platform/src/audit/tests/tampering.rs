//! Whoever changes, removes, repeats or moves anything of an audit is found, each time.

use super::*;
use crate::audit::chain::{Chain, Link};
use crate::audit::own;

pub(super) const RECORDS: usize = 60;
pub(super) const FILES: usize = 4;
const CASES: u64 = 1000;

/// Numbers that look like chance and are the same in every run (SplitMix64).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        let end = u64::try_from(end).expect("a small number");
        usize::try_from(mixed % end).expect("a small number")
    }
}

/// An audit in memory: its files, each a list of lines, and its head.
#[derive(Clone, PartialEq)]
pub(super) struct Audit {
    pub(super) files: Vec<Vec<Vec<u8>>>,
}

/// What the cluster knows of it.
pub(super) struct Known {
    pub(super) audit: Audit,
    pub(super) head: ChainHead,
}

/// Real records, in files of the same number of lines.
pub(super) fn written() -> Known {
    let mut chain = Chain::beginning_at(0);
    let mut text = String::new();
    for number in 0..RECORDS {
        let json = encrypt(&format!("event-{number}")).to_json().expect("JSON");
        chain.link(&mut text, &json).expect("a number");
    }
    let lines: Vec<Vec<u8>> = text.lines().map(|line| line.as_bytes().to_vec()).collect();
    let files = lines.chunks(RECORDS / FILES).map(<[Vec<u8>]>::to_vec).collect();
    Known { audit: Audit { files }, head: chain.head().expect("a head") }
}

impl Audit {
    /// Writes the files, every other one compressed, under the names that they had.
    pub(super) fn store(&self, directory: &Path) -> AuditFiles {
        let files = AuditFiles::at(directory);
        for (number, lines) in self.files.iter().enumerate() {
            let whole = |line: &Vec<u8>| [line.as_slice(), b"\n"].concat();
            let bytes: Vec<u8> = lines.iter().flat_map(whole).collect();
            let last = u64::try_from((number + 1) * (RECORDS / FILES) - 1).expect("a number");
            let written = if number + 1 == FILES {
                std::fs::write(files.active(), bytes)
            } else if number % 2 == 0 {
                let packed = zstd::encode_all(bytes.as_slice(), 1).expect("zstd");
                std::fs::write(files.compressed(last), packed)
            } else {
                std::fs::write(files.plain(last), bytes)
            };
            written.expect("a file");
        }
        files
    }

    /// Any line: its file and its place.
    fn place(&self, numbers: &mut Numbers) -> (usize, usize) {
        let file = numbers.below(self.files.len());
        (file, numbers.below(self.files[file].len()))
    }
}

/// Does one thing to the audit that nobody may do, and says what.
fn tamper(audit: &mut Audit, numbers: &mut Numbers) -> String {
    let (file, line) = audit.place(numbers);
    let what = match numbers.below(14) {
        0 => {
            audit.files[file].remove(line);
            "removed"
        }
        1 => {
            let bytes = &mut audit.files[file][line];
            let at = numbers.below(bytes.len());
            bytes[at] ^= 1 << numbers.below(8);
            "changed a bit of"
        }
        2 => {
            let (other_file, other) = audit.place(numbers);
            let taken = audit.files[file][line].clone();
            audit.files[file][line] = std::mem::replace(&mut audit.files[other_file][other], taken);
            "swapped another one with"
        }
        3 => {
            let repeated = audit.files[file][line].clone();
            let (file, line) = audit.place(numbers);
            audit.files[file].insert(line, repeated);
            "repeated"
        }
        4 => {
            audit.files[file].truncate(line);
            "cut the file before"
        }
        5 => {
            audit.files[file].drain(..=line);
            "removed what leads to"
        }
        6 => {
            let bytes = &mut audit.files[file][line];
            bytes.truncate(numbers.below(bytes.len()));
            "cut"
        }
        7 => {
            // As a forger would: the fields of the event alone, the chain as it was.
            let text = String::from_utf8_lossy(&audit.files[file][line]).into_owned();
            let forged = text.replace("\"key_id\":\"abj1\"", "\"key_id\":\"abj2\"");
            audit.files[file][line] = forged.into_bytes();
            "forged"
        }
        8 => {
            // As a forger who knows the chain: this line and all behind it are made anew.
            forge_from(audit, (file, line));
            "forged everything from"
        }
        9 => {
            let other = numbers.below(audit.files.len());
            audit.files.swap(file, other);
            "swapped another file with that of"
        }
        10 => {
            audit.files[file].insert(line, b"no record".to_vec());
            "put something before"
        }
        11 => {
            // As a forger who knows the chain, and makes it longer than the one that was anchored.
            forge_from(audit, (file, line));
            let json = encrypt("padding").to_json().expect("JSON");
            (0..=numbers.below(5)).for_each(|_| append(audit, &json));
            "forged and made longer everything from"
        }
        12 => {
            remove_as_retention(audit, file.min(audit.files.len() - 2));
            "said that retention removed what is up to"
        }
        _ => {
            audit.files[file].clear();
            "emptied the file of"
        }
    };
    format!("{what} line {line} of file {file}")
}

/// Adds a record to the last file, chained as it has to be, when the last line is a record.
pub(super) fn append(audit: &mut Audit, json: &str) {
    let Some(last) = audit.files.iter().flatten().last() else { return };
    let Ok(link) = serde_json::from_slice::<Link>(last) else { return };
    let head = ChainHead { sequence: link.sequence, hash: LineHash::of(last) };
    let Some(mut chain) = Chain::after(head) else { return };
    let mut line = String::new();
    chain.link(&mut line, json).expect("a number");
    audit.files.last_mut().expect("a file").push(line.trim_end().as_bytes().to_vec());
}

/// Removes the files up to this one, and adds the record that retention would write.
fn remove_as_retention(audit: &mut Audit, file: usize) {
    audit.files[..=file].iter_mut().for_each(Vec::clear);
    let last = u64::try_from((file + 1) * (RECORDS / FILES) - 1).expect("a number");
    let json = own::file_removed(LogTime::from_ms(1_800_000_000_123).into(), last).expect("JSON");
    append(audit, &json);
}

/// Changes a record and chains it and all that follow anew.
pub(super) fn forge_from(audit: &mut Audit, (file, line): (usize, usize)) {
    let mut lines: Vec<Vec<u8>> = audit.files.iter().flatten().cloned().collect();
    let first = audit.files[..file].iter().map(Vec::len).sum::<usize>() + line;
    let mut chain = match first.checked_sub(1) {
        None => Chain::beginning_at(0),
        Some(before) => {
            let sequence = u64::try_from(before).expect("a number");
            let hash = LineHash::of(&lines[before]);
            Chain::after(ChainHead { sequence, hash }).expect("a chain")
        }
    };
    for line in &mut lines[first..] {
        let text = String::from_utf8_lossy(line).into_owned();
        // One that was damaged before cannot be made to look like a record.
        let Some((_, event)) = text.split_once("\"event_id\"") else { continue };
        let json = format!("{{\"event_id\"{event}").replace("abj1", "abj2");
        let mut forged = String::new();
        chain.link(&mut forged, &json).expect("a number");
        *line = forged.trim_end().as_bytes().to_vec();
    }
    audit.files = lines.chunks(RECORDS / FILES).map(<[Vec<u8>]>::to_vec).collect();
}

#[test]
fn an_untouched_audit_has_no_problem() {
    let known = written();
    let dir = tempfile::tempdir().expect("a temporary directory");
    let files = known.audit.store(dir.path());
    let findings = verified(&files, &[known.head]);
    assert_eq!((findings.lines, findings.files), (RECORDS as u64, FILES as u64));
    assert_eq!((findings.first, findings.last), (Some(0), Some(known.head)));
    assert_eq!((findings.heads_found, findings.unchained), (1, 0));
}

#[test]
fn security_s19_whatever_is_done_to_an_audit_is_found() {
    let known = written();
    for seed in 0..CASES {
        let mut numbers = Numbers(seed);
        let mut audit = known.audit.clone();
        let mut done = vec![tamper(&mut audit, &mut numbers)];
        // Two things at once do not hide each other.
        let is_any = |file: &Vec<Vec<u8>>| !file.is_empty() && file.iter().all(|l| !l.is_empty());
        if numbers.below(3) == 0 && audit.files.iter().all(is_any) {
            let both = audit.clone();
            done.push(tamper(&mut audit, &mut numbers));
            if audit == known.audit {
                audit = both;
            }
        }
        if audit == known.audit {
            // Swapped with itself.
            continue;
        }
        let dir = tempfile::tempdir().expect("a temporary directory");
        let files = audit.store(dir.path());
        let findings = verify::verify(&files, &[known.head]).expect("an audit");
        assert!(findings.problems_total > 0, "seed {seed}: {done:?}");
    }
}

/// The first ones, the last ones, those between, all of them.
#[test]
fn every_set_of_files_that_is_missing_is_found() {
    let known = written();
    for removed in 1..1_usize << FILES {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let files = known.audit.store(dir.path());
        let finished = files.finished().expect("a directory");
        for file in (0..FILES).filter(|file| removed & (1 << file) != 0) {
            match finished.get(file) {
                Some(last) => {
                    for path in [files.plain(*last), files.compressed(*last)] {
                        std::fs::remove_file(path).ok();
                    }
                }
                None => std::fs::remove_file(files.active()).expect("a file"),
            }
        }
        let left = FILES as u64 - u64::from(removed.count_ones());
        let findings = verify::verify(&files, &[known.head]).expect("an audit");
        assert_eq!(findings.files, left, "{removed:b}");
        assert!(findings.problems_total > 0, "{removed:b}");
    }
}

/// Another node's audit is whole, and is not this one's.
#[test]
fn the_audit_of_another_node_is_found() {
    let known = written();
    let mut other = known.audit.clone();
    forge_from(&mut other, (0, 0));
    let dir = tempfile::tempdir().expect("a temporary directory");
    let files = other.store(dir.path());
    assert_eq!(verified(&files, &[]).lines, RECORDS as u64);
    let findings = verify::verify(&files, &[known.head]).expect("an audit");
    assert_eq!((findings.problems_total, findings.heads_found), (1, 0));
}

/// Whoever can remove files can write the record that retention would write. With heads only what
/// these say counts; without any the findings say whom they believe.
#[test]
fn a_record_that_retention_removed_something_is_no_proof_of_it() {
    let known = written();
    let heads: Vec<ChainHead> = [9, 14, 29, 44]
        .map(|at| {
            let line = known.audit.files.iter().flatten().nth(at).expect("a line");
            ChainHead { sequence: at as u64, hash: LineHash::of(line) }
        })
        .into_iter()
        .chain([known.head])
        .collect();
    for file in 0..FILES - 1 {
        let last = ((file + 1) * (RECORDS / FILES) - 1) as u64;
        let mut audit = known.audit.clone();
        remove_as_retention(&mut audit, file);
        let dir = tempfile::tempdir().expect("a temporary directory");
        let files = audit.store(dir.path());
        assert_eq!(verified(&files, &[]).removed_as_files_say, Some(last));
        for told in [None, last.checked_sub(1)] {
            let findings = verify::verify_removed(&files, &heads, told).expect("an audit");
            let what = format!("the records up to {last} are missing, and no head says");
            let said = |problem: &verify::Problem| problem.what.starts_with(&what);
            assert!(findings.problems.iter().any(said), "{findings:#?}");
            // When no head is left that is so old, too.
            let findings = verify::verify_removed(&files, &[known.head], told).expect("an audit");
            assert_eq!(findings.problems_total, 1, "{findings:#?}");
        }
        // What the cluster has heard of is no loss.
        let findings = verify::verify_removed(&files, &heads, Some(last)).expect("an audit");
        assert_eq!(findings.problems_total, 0, "{findings:#?}");
        assert_eq!(findings.removed_as_files_say, None);
    }
}

#[test]
fn every_cut_is_found() {
    let known = written();
    let dir = tempfile::tempdir().expect("a temporary directory");
    let files = known.audit.store(dir.path());
    let whole = std::fs::read(files.active()).expect("a file");
    // Some within each line, and what is next to nothing.
    let lengths = (0..whole.len()).filter(|length| length % 13 == 0 || length + 3 > whole.len());
    for length in lengths {
        std::fs::write(files.active(), &whole[..length]).expect("a file");
        let findings = verify::verify(&files, &[known.head]).expect("an audit");
        assert!(findings.problems_total > 0, "cut to {length} bytes");
    }
}

/// A bit of a compressed file: it cannot be read any more, or holds what it held.
#[test]
fn a_damaged_copy_is_found() {
    let known = written();
    let dir = tempfile::tempdir().expect("a temporary directory");
    let files = known.audit.store(dir.path());
    let path = files.compressed(files.finished().expect("a directory")[0]);
    let whole = std::fs::read(&path).expect("a file");
    let mut numbers = Numbers(7);
    let mut found = 0;
    for _ in 0..200 {
        let mut bytes = whole.clone();
        let at = numbers.below(bytes.len());
        bytes[at] ^= 1 << numbers.below(8);
        std::fs::write(&path, &bytes).expect("a file");
        let findings = verify::verify(&files, &[known.head]).expect("an audit");
        let same = zstd::decode_all(bytes.as_slice()).is_ok_and(|text| {
            zstd::decode_all(whole.as_slice()).is_ok_and(|expected| text == expected)
        });
        assert!(same || findings.problems_total > 0, "byte {at}");
        found += u64::from(findings.problems_total > 0);
    }
    assert!(found > 150, "{found}");
}

#[test]
fn findings_name_file_line_and_what_is_wrong() {
    let known = written();
    let find = |change: &dyn Fn(&mut Audit)| {
        let mut audit = known.audit.clone();
        change(&mut audit);
        let dir = tempfile::tempdir().expect("a temporary directory");
        let files = audit.store(dir.path());
        let findings = verify::verify(&files, &[known.head]).expect("an audit");
        let name = |path: &Path| path.file_name().expect("a name").to_string_lossy().into_owned();
        let said = findings.problems.iter();
        said.map(|problem| format!("{}:{}: {}", name(&problem.path), problem.line, problem.what))
            .collect::<Vec<_>>()
    };
    let removed = find(&|audit| drop(audit.files[1].remove(4)));
    assert_eq!(removed[0], "audit.jsonl.000000000029:5: the records from 19 to 19 are missing");
    assert!(removed[1].contains(":5: follows another line than the one before it"), "{removed:?}");
    let cut = find(&|audit| audit.files[3].truncate(10));
    assert_eq!(
        cut,
        [
            "audit.jsonl:10: the records from 55 on are missing: the last one that was anchored is 59"
        ]
    );
    let garbage = find(&|audit| audit.files[2][0] = b"garbage".to_vec());
    assert_eq!(garbage[0], "audit.jsonl.000000000044.zst:1: is no audit record");
    let forged = find(&|audit| forge_from(audit, (0, 0)));
    assert_eq!(forged.len(), 1, "only the anchored record tells: {forged:?}");
    assert!(forged[0].starts_with("audit.jsonl:15: record 59 is another one"), "{forged:?}");
    let before = find(&|audit| audit.files[0].insert(0, b"no record".to_vec()));
    assert_eq!(before.len(), 1, "{before:?}");
    assert!(before[0].ends_with(":2: is the first record, and lines stand before it"));
    let first = find(&|audit| drop(audit.files[0].drain(..2)));
    assert!(first[0].contains(":1: the records up to 1 are missing"), "{first:?}");
    let nothing = find(&|audit| audit.files.iter_mut().for_each(Vec::clear));
    assert!(nothing[0].ends_with("the last one that was anchored is 59"), "{nothing:?}");
}
