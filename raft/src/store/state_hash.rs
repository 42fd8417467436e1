//! Hashes of a state: equal states have equal hashes, on whatever node and engine.
//!
//! Everything in the state is replicated; what is a node's own (its directory's id, its log, its
//! vote) is elsewhere. So two nodes at the same index must agree in every table.

use sha2::{Digest, Sha256};

use crate::error::StorageError;
use crate::state::{Direction, Scan, Space, StateRead, keys};

/// Rows read at once.
const HASH_ROWS: usize = 1_024;
/// Behind every key: no table begins with it ([`keys::prefix_end`]).
const KEYS_END: &[u8] = &[0xff];

/// The hash of one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableHash {
    /// The table's name, for people.
    pub name: &'static str,
    /// SHA-256 over its rows, in order.
    pub hash: [u8; 32],
    /// How many rows it has.
    pub rows: u64,
}

/// The hash of one column family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FamilyHash {
    /// Its name.
    pub name: &'static str,
    /// SHA-256 over its rows, in order.
    pub hash: [u8; 32],
    /// How many rows it has.
    pub rows: u64,
    /// Of each table that has rows, in the order of their keys.
    pub tables: Vec<TableHash>,
}

/// The hashes of a whole state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateHashes {
    /// SHA-256 over every row of every space, in order.
    pub hash: [u8; 32],
    /// Of each column family, in the order of [`Space::ALL`].
    pub families: Vec<FamilyHash>,
}

/// A hash of fields that cannot run into each other.
#[derive(Default)]
struct Fields {
    hash: Sha256,
    rows: u64,
}

impl Fields {
    fn field(&mut self, bytes: &[u8]) {
        self.hash.update((bytes.len() as u64).to_be_bytes());
        self.hash.update(bytes);
    }

    fn row(&mut self, key: &[u8], value: &[u8]) {
        self.rows += 1;
        self.field(key);
        self.field(value);
    }

    fn finish(self) -> ([u8; 32], u64) {
        (self.hash.finalize().into(), self.rows)
    }
}

/// SHA-256 over every row of every space in order.
///
/// # Errors
/// [`StorageError`].
pub fn state_hash(state: &dyn StateRead) -> Result<[u8; 32], StorageError> {
    Ok(state_hashes(state)?.hash)
}

/// The hashes of the state, of its column families and of their tables. Reads all of it.
///
/// # Errors
/// [`StorageError`].
pub fn state_hashes(state: &dyn StateRead) -> Result<StateHashes, StorageError> {
    let mut whole = Fields::default();
    let mut families = Vec::with_capacity(Space::ALL.len());
    for space in Space::ALL {
        whole.field(space.name().as_bytes());
        families.push(family_hash(state, space, &mut whole)?);
        // No key is empty, so this ends the space unmistakably.
        whole.field(&[]);
    }
    Ok(StateHashes { hash: whole.finish().0, families })
}

fn family_hash(
    state: &dyn StateRead,
    space: Space,
    whole: &mut Fields,
) -> Result<FamilyHash, StorageError> {
    let mut family = Fields::default();
    let mut tables = Vec::new();
    let mut table: Option<(&'static str, Fields)> = None;
    let mut from = Vec::new();
    loop {
        let (to, direction) = (KEYS_END.to_vec(), Direction::Ascending);
        let rows = state.scan(&Scan { space, from, to, direction, limit: HASH_ROWS })?;
        for (key, value) in &rows {
            whole.row(key, value);
            family.row(key, value);
            let name = keys::table_name(space, key);
            if table.as_ref().is_none_or(|(open, _)| *open != name)
                && let Some(ended) = table.replace((name, Fields::default()))
            {
                tables.push(table_hash(ended));
            }
            if let Some((_, fields)) = &mut table {
                fields.row(key, value);
            }
        }
        let Some((last, _)) = rows.into_iter().next_back() else { break };
        from = last;
        from.push(0);
    }
    tables.extend(table.map(table_hash));
    let (hash, rows) = family.finish();
    Ok(FamilyHash { name: space.name(), hash, rows, tables })
}

fn table_hash((name, fields): (&'static str, Fields)) -> TableHash {
    let (hash, rows) = fields.finish();
    TableHash { name, hash, rows }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Overlay;

    /// A state without rows.
    struct Nothing;

    impl StateRead for Nothing {
        fn get(&self, _: Space, _: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
            Ok(None)
        }

        fn scan(&self, _: &Scan) -> Result<Vec<crate::state::Row>, StorageError> {
            Ok(Vec::new())
        }
    }

    fn hashes(rows: &[(Space, &[u8], &[u8])]) -> StateHashes {
        let mut state = Overlay::new(&Nothing);
        for (space, key, value) in rows {
            state.put(*space, key.to_vec(), value.to_vec());
        }
        state_hashes(&state).unwrap()
    }

    #[test]
    fn one_row_changes_its_table_and_no_other() {
        let member = keys::member(1);
        let rows: [(Space, &[u8], &[u8]); 3] = [
            (Space::Records, keys::CLUSTER, b"c"),
            (Space::Records, &member, b"m"),
            (Space::System, keys::SYSTEM_LOG_TIME, b"t"),
        ];
        let one = hashes(&rows);
        let mut changed = rows;
        changed[1].2 = b"n";
        let other = hashes(&changed);
        assert_ne!(one.hash, other.hash);
        assert_ne!(one.families[0].hash, other.families[0].hash);
        assert_eq!(one.families[1..], other.families[1..]);
        let tables = |state: &StateHashes| state.families[0].tables.clone();
        let names: Vec<_> = tables(&one).iter().map(|table| table.name).collect();
        assert_eq!(names, ["cluster", "members"]);
        assert_eq!(tables(&one)[0], tables(&other)[0]);
        assert_ne!(tables(&one)[1], tables(&other)[1]);
        assert_eq!(one.families[0].rows, 2);
    }

    #[test]
    fn keys_and_values_do_not_run_into_each_other() {
        let one = hashes(&[(Space::Records, b"ab", b"c")]);
        let other = hashes(&[(Space::Records, b"a", b"bc")]);
        assert_ne!(one.hash, other.hash);
    }
}
