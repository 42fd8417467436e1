//! What is found wherever it is, and where nobody can say.

use std::cell::Cell;

use rocksdb::{DB, Options, WriteOptions};

use super::*;

const PATTERN: Pattern = *b"\x93\x01\xfe 4$canary\x00\x07!!";
const OTHER: Pattern = [0xa5; PayloadMark::BYTES];

fn searching(root: &Path) -> FileSearch {
    let marks = [OTHER, PATTERN].map(PayloadMark::searching);
    FileSearch::new(root, &PayloadMarks::told(marks.into()).unwrap())
}

fn search(root: &Path) -> Vec<(String, Finding)> {
    let search = searching(root);
    let reports = search.run(&|| true).unwrap();
    reports.into_iter().map(|report| (report.path, report.finding)).collect()
}

#[test]
fn every_file_is_told_wherever_the_bytes_are_in_it() {
    let place = tempfile::tempdir().unwrap();
    let root = place.path();
    std::fs::create_dir(root.join("below")).unwrap();
    for before in [0, 1, PIECE_BYTES - 16, PIECE_BYTES - 15, PIECE_BYTES - 1, PIECE_BYTES] {
        let content = [vec![0; before].as_slice(), &PATTERN, &[1; 3]].concat();
        std::fs::write(root.join("below").join(format!("{before:08}")), content).unwrap();
    }
    std::fs::write(root.join("below").join("other"), OTHER).unwrap();
    std::fs::write(root.join("clean"), &PATTERN[..15]).unwrap();
    std::fs::write(root.join("empty"), []).unwrap();
    let reports = search(root);
    assert_eq!(reports.len(), 9);
    for (path, finding) in reports {
        let expected = if path.starts_with("below/") { Finding::Holds } else { Finding::Clean };
        assert_eq!(finding, expected, "{path}");
    }
    assert_eq!(searching(root).run(&|| false), None);
}

/// A flush, a compaction, or a directory that gets its last name.
#[test]
fn what_moves_while_it_is_looked_for_is_found_where_it_is_then() {
    let place = tempfile::tempdir().unwrap();
    let root = place.path();
    std::fs::create_dir(root.join("z")).unwrap();
    std::fs::write(root.join("b"), "clean").unwrap();
    std::fs::write(root.join("z").join("file"), PATTERN).unwrap();
    let moved = Cell::new(false);
    let meanwhile = || {
        if !moved.replace(true) {
            std::fs::rename(root.join("z"), root.join("a")).unwrap();
        }
        true
    };
    let reports = searching(root).run(&meanwhile).unwrap();
    let reports: Vec<_> = reports.into_iter().map(|one| (one.path, one.finding)).collect();
    let expected = [("a/file", Finding::Holds), ("b", Finding::Clean)];
    assert_eq!(reports, expected.map(|(path, finding)| (path.to_owned(), finding)));
}

#[test]
fn a_name_that_another_file_has_meanwhile_is_looked_at_again() {
    let place = tempfile::tempdir().unwrap();
    let root = place.path();
    std::fs::write(root.join("a"), "clean").unwrap();
    std::fs::write(root.join("b"), PATTERN).unwrap();
    let moved = Cell::new(false);
    let meanwhile = || {
        if !moved.replace(true) {
            std::fs::rename(root.join("b"), root.join("a")).unwrap();
        }
        true
    };
    let reports = searching(root).run(&meanwhile).unwrap();
    assert_eq!(reports.len(), 1);
    assert_eq!((reports[0].path.as_str(), &reports[0].finding), ("a", &Finding::Holds));
}

#[test]
fn files_that_never_rest_and_links_are_no_proof() {
    let place = tempfile::tempdir().unwrap();
    let root = place.path();
    std::fs::write(root.join("a"), "clean").unwrap();
    let count = Cell::new(0);
    let another = || {
        count.set(count.get() + 1);
        std::fs::write(root.join(format!("new-{}", count.get())), "clean").unwrap();
        count.get() < 100_000
    };
    // Each listing finds as many new ones as the last has looked at.
    let reports = FileSearch { listings: 3, ..searching(root) }.run(&another).unwrap();
    assert!(matches!(reports[0].finding, Finding::Unreadable(_)), "{:?}", reports[0]);

    let place = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(root, place.path().join("raft")).unwrap();
    let found = search(place.path());
    assert!(matches!(found.as_slice(), [(path, Finding::Unreadable(_))] if path == "raft"));
}

#[test]
fn a_stream_is_searched_as_one_whatever_its_parts() {
    let content = [[7; 20].as_slice(), &PATTERN, &[8; 20]].concat();
    let patterns = Patterns::new(vec![OTHER, PATTERN]);
    for size in 1..content.len() {
        let mut stream = Stream::default();
        let found = content.chunks(size).any(|part| stream.brings(part, &patterns));
        assert!(found, "in parts of {size}");
        let mut stream = Stream::default();
        let broken: Vec<u8> = content.iter().copied().filter(|byte| *byte != b'!').collect();
        assert!(!broken.chunks(size).any(|part| stream.brings(part, &patterns)));
    }
}

#[test]
fn of_strays_those_are_told_and_looked_into_that_hold_one_of_many() {
    let place = tempfile::tempdir().unwrap();
    let root = place.path();
    for below in ["raft", "state/1", "state/1.bak", "snapshots/0000000000000007-1"] {
        std::fs::create_dir_all(root.join(below)).unwrap();
    }
    for own in ["raft/000001.log", "state/1/000002.sst", "audit.jsonl"] {
        std::fs::write(root.join(own), PATTERN).unwrap();
    }
    std::fs::write(root.join("snapshots/0000000000000007-1/000002.sst"), PATTERN).unwrap();
    std::fs::write(root.join("state/1.bak/000002.sst"), PATTERN).unwrap();
    std::fs::write(root.join("snapshots/notes"), "clean").unwrap();
    std::os::unix::fs::symlink(root, root.join("snapshots/link")).unwrap();
    let of = |number: u16| {
        let mut pattern = [0x5a; PayloadMark::BYTES];
        pattern[..2].copy_from_slice(&number.to_be_bytes());
        PayloadMarks::told(vec![PayloadMark::searching(pattern)]).unwrap()
    };
    let mut marks: Vec<PayloadMarks> = (0..4000).map(of).collect();
    marks.push(PayloadMarks::told(vec![PayloadMark::searching(PATTERN)]).unwrap());
    let reports = FileSearch::of_strays(root, &marks).run(&|| true).unwrap();
    assert!(reports.iter().all(FileReport::is_stray));
    let found: Vec<_> = reports.into_iter().map(|one| (one.path, one.finding)).collect();
    let expected = [
        ("snapshots/notes".to_owned(), Finding::Clean),
        ("state/1.bak/000002.sst".to_owned(), Finding::Holds),
    ];
    assert_eq!(found, expected);
}

/// Such as `lost+found` of a file system that is the data directory's own.
#[test]
fn of_strays_what_cannot_be_read_counts_where_the_nodes_files_are_alone() {
    let place = tempfile::tempdir().unwrap();
    let root = place.path();
    let unread = |search: &FileSearch, path: &str| {
        let mut listing = Listing::default();
        search.note_unread(&mut listing, &root.join(path), &io::ErrorKind::PermissionDenied.into());
        listing.unread.len()
    };
    let (strays, all) = (FileSearch::of_strays(root, &[]), searching(root));
    for (path, counts) in [("lost+found", 0), ("raft/copies", 1), ("state", 1), ("snapshots/x", 1)]
    {
        assert_eq!(unread(&strays, path), counts, "{path}");
        assert_eq!(unread(&all, path), 1, "{path}");
    }
}

/// A value that is longer than a block is cut, and the header stands somewhere within it.
#[test]
fn what_a_write_ahead_log_has_cut_is_found() {
    let place = tempfile::tempdir().unwrap();
    let database = DB::open_default(place.path()).unwrap();
    let mut options = WriteOptions::default();
    options.set_sync(true);
    let value = PATTERN.repeat(3 * BLOCK_BYTES / PATTERN.len());
    database.put_opt(b"k", &value, &options).unwrap();
    let log = std::fs::read_dir(place.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|extension| extension == "log"))
        .unwrap();
    let content = std::fs::read(log).unwrap();
    let pieces: Vec<&[u8]> = content.chunks(BLOCK_BYTES).flat_map(pieces_of).collect();
    assert!(pieces.len() > 2);
    let is_in = |bytes: &[u8]| bytes.windows(value.len()).any(|window| window == value);
    assert!(is_in(&pieces.concat()), "the pieces are what was written");
    assert!(!is_in(&content), "there is something between them");
    drop(database);
    DB::destroy(&Options::default(), place.path()).unwrap();
}
