//! Uncommitted writes on top of a view: what `apply` writes into.
//!
//! Two levels: the batch holds the effects of commands already applied, the pending level those
//! of the command being applied. A rejected command drops its level and leaves no trace.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::{Direction, Row, Scan, Space, StateRead};
use crate::error::StorageError;

/// One write of a batch; absent value means delete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// The space.
    pub space: Space,
    /// The key.
    pub key: Vec<u8>,
    /// The value, or nothing to delete the key.
    pub value: Option<Vec<u8>>,
}

/// The writes of one level: a map for each space, so that a look-up needs no owned key.
#[derive(Default)]
struct Level([BTreeMap<Vec<u8>, Option<Vec<u8>>>; Space::ALL.len()]);

impl Level {
    fn of(&self, space: Space) -> &BTreeMap<Vec<u8>, Option<Vec<u8>>> {
        &self.0[space as usize]
    }

    fn of_mut(&mut self, space: Space) -> &mut BTreeMap<Vec<u8>, Option<Vec<u8>>> {
        &mut self.0[space as usize]
    }
}

/// A writable view: reads see the writes made so far.
pub struct Overlay<'a> {
    base: &'a dyn StateRead,
    batch: Level,
    pending: Level,
    /// The state as it is now is to be hashed, see [`Self::ask_for_hash`].
    hash_asked: bool,
}

impl<'a> Overlay<'a> {
    /// An overlay without writes.
    #[must_use]
    pub fn new(base: &'a dyn StateRead) -> Self {
        Self { base, batch: Level::default(), pending: Level::default(), hash_asked: false }
    }

    /// Sets a key within the current command.
    pub fn put(&mut self, space: Space, key: Vec<u8>, value: Vec<u8>) {
        self.pending.of_mut(space).insert(key, Some(value));
    }

    /// Deletes a key within the current command.
    pub fn delete(&mut self, space: Space, key: Vec<u8>) {
        self.pending.of_mut(space).insert(key, None);
    }

    /// Asks whoever applies to hash the state as this entry leaves it, before the next one.
    pub fn ask_for_hash(&mut self) {
        self.hash_asked = true;
    }

    /// Whether the entry just applied has asked for that.
    #[must_use]
    pub const fn is_hash_asked(&self) -> bool {
        self.hash_asked
    }

    /// Keeps what the current command wrote.
    pub fn keep(&mut self) {
        // Not `append`: that rebuilds the whole batch for the few writes of one command.
        for (batch, pending) in self.batch.0.iter_mut().zip(&mut self.pending.0) {
            batch.extend(std::mem::take(pending));
        }
    }

    /// Drops what the current command wrote.
    pub fn discard(&mut self) {
        self.pending = Level::default();
    }

    /// The kept writes, in key order, for one atomic batch.
    ///
    /// # Panics
    /// When a command was neither kept nor discarded: its effect would be lost silently.
    #[must_use]
    pub fn into_writes(self) -> Vec<Write> {
        let decided = self.pending.0.iter().all(BTreeMap::is_empty);
        assert!(decided, "a command was neither kept nor discarded");
        let spaces = Space::ALL.into_iter().zip(self.batch.0);
        let writes = spaces.flat_map(|(space, level)| {
            level.into_iter().map(move |(key, value)| Write { space, key, value })
        });
        writes.collect()
    }

    fn level_rows<'l>(
        level: &'l Level,
        scan: &Scan,
    ) -> impl Iterator<Item = (&'l Vec<u8>, &'l Option<Vec<u8>>)> + use<'l> {
        let range = (Bound::Included(&scan.from), Bound::Excluded(&scan.to));
        level.of(scan.space).range::<Vec<u8>, _>(range)
    }
}

impl StateRead for Overlay<'_> {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        match self.pending.of(space).get(key).or_else(|| self.batch.of(space).get(key)) {
            Some(written) => Ok(written.clone()),
            None => self.base.get(space, key),
        }
    }

    fn scan(&self, scan: &Scan) -> Result<Vec<Row>, StorageError> {
        if scan.from >= scan.to {
            return Ok(Vec::new());
        }
        let mut written: BTreeMap<&Vec<u8>, &Option<Vec<u8>>> =
            Self::level_rows(&self.batch, scan).collect();
        written.extend(Self::level_rows(&self.pending, scan));
        // Each written key can hide at most one row of the base.
        let base_limit = scan.limit.saturating_add(written.len());
        let base = self.base.scan(&Scan { limit: base_limit, ..scan.clone() })?;
        let mut rows: BTreeMap<Vec<u8>, Vec<u8>> = base.into_iter().collect();
        for (key, value) in written {
            match value {
                Some(value) => drop(rows.insert(key.clone(), value.clone())),
                None => drop(rows.remove(key)),
            }
        }
        let limit = scan.limit;
        Ok(match scan.direction {
            Direction::Ascending => rows.into_iter().take(limit).collect(),
            Direction::Descending => rows.into_iter().rev().take(limit).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Map(BTreeMap<(Space, Vec<u8>), Vec<u8>>);

    impl StateRead for Map {
        fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
            Ok(self.0.get(&(space, key.to_vec())).cloned())
        }

        fn scan(&self, scan: &Scan) -> Result<Vec<Row>, StorageError> {
            let range = (scan.space, scan.from.clone())..(scan.space, scan.to.clone());
            let rows = self.0.range(range).map(|((_, k), v)| (k.clone(), v.clone()));
            Ok(match scan.direction {
                Direction::Ascending => rows.take(scan.limit).collect(),
                Direction::Descending => rows.rev().take(scan.limit).collect(),
            })
        }
    }

    fn scan(direction: Direction, limit: usize) -> Scan {
        Scan { space: Space::Records, from: b"a".to_vec(), to: b"z".to_vec(), direction, limit }
    }

    fn keys(rows: &[Row]) -> String {
        rows.iter().map(|(key, _)| String::from_utf8_lossy(key)).collect()
    }

    #[test]
    fn scans_merge_writes_and_deletions_within_the_limit() {
        let mut base = Map::default();
        for key in ["b", "c", "d", "e"] {
            base.0.insert((Space::Records, key.into()), vec![1]);
        }
        let mut overlay = Overlay::new(&base);
        overlay.delete(Space::Records, b"b".to_vec());
        overlay.delete(Space::Records, b"e".to_vec());
        overlay.keep();
        overlay.put(Space::Records, b"a".to_vec(), vec![2]);
        overlay.put(Space::Payloads, b"x".to_vec(), vec![2]);
        let read = |direction, limit| keys(&overlay.scan(&scan(direction, limit)).unwrap());
        assert_eq!(read(Direction::Ascending, 2), "ac");
        assert_eq!(read(Direction::Descending, 2), "dc");
        assert_eq!(read(Direction::Ascending, 9), "acd");
    }

    #[test]
    fn a_discarded_command_leaves_no_trace() {
        let base = Map::default();
        let mut overlay = Overlay::new(&base);
        overlay.put(Space::Records, b"k".to_vec(), vec![1]);
        overlay.keep();
        overlay.put(Space::Records, b"k".to_vec(), vec![2]);
        overlay.discard();
        assert_eq!(overlay.get(Space::Records, b"k").unwrap(), Some(vec![1]));
        assert_eq!(overlay.into_writes().len(), 1);
    }
}
