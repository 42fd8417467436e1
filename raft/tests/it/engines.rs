//! The two families of engines answer alike, so that what the simulation shows holds for RocksDB.

use std::sync::Arc;

use bytes::Bytes;
use lockbox_raft::StorageError;
use lockbox_raft::state::{Direction, Row, Scan, Space, Write};
use lockbox_raft::store::engine::{LogOp, LogRecord};
use lockbox_raft::store::{Engines, MemoryEngines, RocksEngines, StateEngine};
use tempfile::TempDir;

use crate::harness::Random;

const OPERATIONS: u64 = 300;

/// One engine of each family, each in its own directory.
struct Pair<E: ?Sized> {
    engines: [Arc<E>; 2],
    _directories: [TempDir; 2],
}

fn pair<E: ?Sized>(
    open: impl Fn(&dyn Engines, &std::path::Path) -> Result<Arc<E>, StorageError>,
) -> Pair<E> {
    let directories = [TempDir::new().unwrap(), TempDir::new().unwrap()];
    let rocks = open(&RocksEngines::new(), directories[0].path()).unwrap();
    let memory = open(&MemoryEngines::new(), directories[1].path()).unwrap();
    Pair { engines: [rocks, memory], _directories: directories }
}

fn key(random: &mut Random) -> Vec<u8> {
    let length = 1 + random.below(3);
    (0..length).map(|_| b'a' + u8::try_from(random.below(4)).unwrap()).collect()
}

fn writes(random: &mut Random) -> Vec<Write> {
    let write = |random: &mut Random| {
        let space = Space::ALL[usize::try_from(random.below(3)).unwrap()];
        let value = (random.below(3) > 0).then(|| random.next().to_be_bytes().to_vec());
        Write { space, key: key(random), value }
    };
    (0..1 + random.below(5)).map(|_| write(random)).collect()
}

fn scan(random: &mut Random) -> Scan {
    let ascending = random.below(2) == 0;
    Scan {
        space: Space::ALL[usize::try_from(random.below(3)).unwrap()],
        from: key(random),
        to: key(random),
        direction: if ascending { Direction::Ascending } else { Direction::Descending },
        limit: usize::try_from(random.below(12)).unwrap(),
    }
}

fn rows(engine: &dyn StateEngine, scan: &Scan) -> Vec<Row> {
    let mut rows = Vec::new();
    engine.with_view(&mut |view| rows = view.scan(scan).unwrap());
    rows
}

fn value(engine: &dyn StateEngine, space: Space, key: &[u8]) -> Option<Vec<u8>> {
    let mut value = None;
    engine.with_view(&mut |view| value = view.get(space, key).unwrap());
    value
}

#[test]
fn states_read_alike() {
    let Pair { engines: [rocks, memory], _directories } =
        pair(|engines, path| engines.open_state(path));
    let mut random = Random(3);
    let mut found = 0;
    for _ in 0..OPERATIONS {
        let batch = writes(&mut random);
        rocks.commit(&batch).unwrap();
        memory.commit(&batch).unwrap();
        let scan = scan(&mut random);
        let expected = rows(memory.as_ref(), &scan);
        assert_eq!(rows(rocks.as_ref(), &scan), expected, "{scan:?}");
        assert!(expected.iter().all(|(key, _)| *key >= scan.from && *key < scan.to));
        found += expected.len();
        let key = key(&mut random);
        let expected = value(memory.as_ref(), scan.space, &key);
        assert_eq!(value(rocks.as_ref(), scan.space, &key), expected);
    }
    assert!(found > 100, "the scans found nothing");
}

#[test]
fn a_view_does_not_move() {
    let Pair { engines, _directories } = pair(|engines, path| engines.open_state(path));
    let put =
        |value: u8| Write { space: Space::Records, key: b"k".to_vec(), value: Some(vec![value]) };
    for engine in engines {
        engine.commit(&[put(1)]).unwrap();
        engine.with_view(&mut |view| {
            engine.commit(&[put(2)]).unwrap();
            assert_eq!(view.get(Space::Records, b"k").unwrap(), Some(vec![1]));
        });
        assert_eq!(value(engine.as_ref(), Space::Records, b"k"), Some(vec![2]));
    }
}

#[test]
fn a_checkpoint_holds_the_newest_commit() {
    let directory = TempDir::new().unwrap();
    let write = Write { space: Space::Payloads, key: b"k".to_vec(), value: Some(vec![7]) };
    let families: [Box<dyn Engines>; 2] =
        [Box::new(RocksEngines::new()), Box::new(MemoryEngines::new())];
    for (number, engines) in families.iter().enumerate() {
        let live = directory.path().join(format!("live-{number}"));
        std::fs::create_dir(&live).unwrap();
        let engine = engines.open_state(&live).unwrap();
        engine.commit(std::slice::from_ref(&write)).unwrap();
        let copy = directory.path().join(format!("copy-{number}"));
        engine.checkpoint(&copy).unwrap();
        engine.commit(&[Write { value: None, ..write.clone() }]).unwrap();
        let copied = engines.open_state(&copy).unwrap();
        assert_eq!(value(copied.as_ref(), Space::Payloads, b"k"), Some(vec![7]));
        assert_eq!(value(engine.as_ref(), Space::Payloads, b"k"), None);
    }
}

fn appends(range: std::ops::Range<u64>, mark: u8) -> Vec<LogOp> {
    let encoded = Bytes::from(vec![mark; 10]);
    range.map(|index| LogOp::Append { index, encoded: encoded.clone() }).collect()
}

#[test]
fn logs_change_alike_also_within_one_batch() {
    let Pair { engines, _directories } = pair(|engines, path| engines.open_log(path));
    for engine in engines {
        engine.write(&appends(0..5, 1), true).unwrap();
        let mut batch = appends(5..9, 2);
        batch.push(LogOp::TruncateFrom { index: 3 });
        batch.extend(appends(3..6, 3));
        batch.push(LogOp::Purge { from: 0, upto: 1, log_id: purged_id() });
        batch.push(LogOp::Record { record: LogRecord::Vote, value: vec![4] });
        engine.write(&batch, false).unwrap();
        let recovered = engine.recover().unwrap();
        assert_eq!(recovered.entries, 2..6);
        assert_eq!(recovered.records[&LogRecord::Vote], [4]);
        let marks = |encoded: Vec<Bytes>| encoded.iter().map(|e| e[0]).collect::<Vec<_>>();
        assert_eq!(marks(engine.read(2..6, usize::MAX).unwrap()), [1, 3, 3, 3]);
        assert_eq!(marks(engine.read(2..6, 15).unwrap()), [1, 3]);
        assert_eq!(marks(engine.read(3..6, 0).unwrap()), [3]);
        assert!(engine.read(1..3, usize::MAX).is_err(), "entry 1 is purged");
        assert!(engine.read(5..8, usize::MAX).is_err(), "entry 6 does not exist");
        // Beyond the end: an installed snapshot lies ahead of the log.
        engine.write(&[LogOp::Purge { from: 2, upto: 20, log_id: purged_id() }], false).unwrap();
        assert!(engine.recover().unwrap().entries.is_empty());
    }
}

#[test]
fn what_a_log_finds_at_its_start_is_durable() {
    // With RocksDB this takes a disk that forgets: `power_cut.rs`.
    for seed in 0..20 {
        let (machine, directory) = (MemoryEngines::new(), TempDir::new().unwrap());
        let open = || machine.open_log(directory.path()).unwrap();
        let unsynced: Vec<LogOp> = appends(0..3, 1);
        let engine = open();
        unsynced.iter().for_each(|op| engine.write(std::slice::from_ref(op), false).unwrap());
        drop(engine);
        assert_eq!(open().recover().unwrap().entries, 0..3);
        machine.crash(seed);
        assert_eq!(open().recover().unwrap().entries, 0..3);
    }
}

fn purged_id() -> Vec<u8> {
    lockbox_raft::store::encode_log_id(&crate::harness::log_id(1, 1))
}
