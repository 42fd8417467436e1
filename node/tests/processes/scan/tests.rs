//! The scan finds what was planted on purpose: in every spelling, in every place.

use lockbox_core::Randomness;
use lockbox_platform::system::SystemRandom;
use rocksdb::{DBCompressionType, WriteOptions};

use super::*;

fn canary() -> Canary {
    let mut bytes = vec![0; 32];
    SystemRandom.fill(&mut bytes);
    Canary { name: "planted".to_owned(), bytes }
}

fn spelled(found: &BTreeSet<Found>) -> BTreeSet<&'static str> {
    found.iter().map(|found| found.spelling).collect()
}

#[test]
fn every_spelling_is_found_wherever_the_buffer_ends() {
    let canary = canary();
    let scanner = Scanner::new(vec![canary.clone()]);
    let directory = tempfile::tempdir().unwrap();
    let deep = directory.path().join("a/b");
    std::fs::create_dir_all(&deep).unwrap();
    for (spelling, bytes) in spellings(&canary.bytes) {
        // At the beginning, across the end of the first buffer in each way, and at the end.
        let across = (1..bytes.len()).map(|part| BUFFER - part);
        for before in [0, 1].into_iter().chain(across) {
            let content = [vec![b'.'; before], bytes.clone()].concat();
            std::fs::write(deep.join("file"), content).unwrap();
            let (found, _) = scanner.directory(directory.path());
            assert!(spelled(&found).contains(spelling), "{spelling} after {before} bytes");
            assert!(found.iter().all(|found| found.place == "a/b/file"));
        }
    }
    std::fs::write(deep.join("file"), [b'.'; 3 * BUFFER]).unwrap();
    assert_eq!(scanner.directory(directory.path()).0, BTreeSet::new());
}

#[test]
fn base64_is_found_inside_of_a_longer_text() {
    let canary = canary();
    let scanner = Scanner::new(vec![canary.clone()]);
    for before in 0..6 {
        let longer = [&vec![7; before], canary.bytes.as_slice(), b"after it"].concat();
        let found = scanner.bytes("text", STANDARD_NO_PAD.encode(longer).as_bytes());
        assert_eq!(spelled(&found), ["base64"].into(), "after {before} bytes");
    }
}

#[test]
fn half_a_value_is_found_and_less_is_a_coincidence() {
    let canary = canary();
    let scanner = Scanner::new(vec![canary.clone()]);
    assert_eq!(spelled(&scanner.bytes("half", &canary.bytes[7..7 + WINDOW])), ["raw"].into());
    assert_eq!(scanner.bytes("less", &canary.bytes[..WINDOW - 1]), BTreeSet::new());
}

/// The servers compress their tables (LZ4), which leaves what does not repeat as it is; a list of
/// numbers repeats itself.
#[test]
fn a_value_in_a_compressed_table_is_found() {
    let canary = canary();
    let scanner = Scanner::new(vec![canary.clone()]);
    for (spelling, bytes) in spellings(&canary.bytes) {
        let directory = tempfile::tempdir().unwrap();
        let mut options = Options::default();
        options.create_if_missing(true);
        options.set_compression_type(DBCompressionType::Lz4);
        let db = DB::open(&options, directory.path()).unwrap();
        let mut only_tables = WriteOptions::default();
        only_tables.disable_wal(true);
        let mut written = 0;
        for n in 0..2000_u32 {
            let record = format!("record {n} of text that compresses, with 0123456789abcdef");
            let planted = if n == 1234 { bytes.as_slice() } else { b"" };
            let value = [record.as_bytes(), planted, b" and its end"].concat();
            written += value.len() as u64;
            db.put_opt(n.to_be_bytes(), value, &only_tables).unwrap();
        }
        db.flush().unwrap();
        drop(db);
        let (found, size) = scanner.directory(directory.path());
        assert!(size < written, "nothing was compressed: {size} of {written} bytes");
        assert!(found.iter().all(|found| found.place.ends_with(".sst")), "{found:?}");
        assert!(spelling != "raw" || spelled(&found) == ["raw"].into(), "{found:?}");
        let (found, rows) = scanner.rows(directory.path());
        assert_eq!(rows, 2000);
        assert!(spelled(&found).contains(spelling), "{spelling}: {found:?}");
    }
}
