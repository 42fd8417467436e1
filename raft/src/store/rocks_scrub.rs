//! Looks for damaged blocks: reads every table of a database again, at a bounded rate.
//!
//! RocksDB compares a checksum when it takes a block from the disk, and not when it has it in
//! memory already: so the tables are read by a second, read-only instance beside the one that
//! serves, with next to no cache of its own. It sees what is in tables; what is in memory only is
//! not on a disk that could damage it.

use std::path::Path;

use rocksdb::{Cache, ColumnFamilyDescriptor, DB, IteratorMode, Options, ReadOptions};

use super::durable_files::remove_directory;
use super::pace::Pace;
use super::rocks::{database_options, family, family_options, storage_error};
use crate::error::StorageError;

/// Blocks that are kept: those of the indexes on the way.
const CACHE_BYTES: usize = 1 << 20;
/// The second instance's own directory, within that of the database. It holds its log.
const OWN_DIRECTORY: &str = "scrub";
/// What RocksDB reads ahead.
const READ_AHEAD_BYTES: usize = 256 << 10;
/// Rows of fewer bytes are paid for together.
const STEP_BYTES: u64 = 64 << 10;

/// Reads every row of these families of the database in `directory`; false when it was told to end
/// before. Blocks.
///
/// # Errors
/// [`StorageError`]: corrupt when a block does not match its checksum.
pub(super) fn scrub(
    directory: &Path,
    families: &[&str],
    pace: &mut Pace,
) -> Result<bool, StorageError> {
    let own = directory.join(OWN_DIRECTORY);
    // Left over from a process that has ended meanwhile.
    remove_directory(&own)?;
    let scrubbed = scrub_beside(directory, &own, families, pace);
    remove_directory(&own)?;
    scrubbed
}

fn scrub_beside(
    directory: &Path,
    own: &Path,
    families: &[&str],
    pace: &mut Pace,
) -> Result<bool, StorageError> {
    let cache = Cache::new_lru_cache(CACHE_BYTES);
    let mut options: Options = database_options();
    options.create_if_missing(false);
    options.create_missing_column_families(false);
    // The first instance may remove a table at any time; who has it open reads on.
    options.set_max_open_files(-1);
    let descriptors = families.iter().map(|name| {
        let options = family_options(&cache, None);
        ColumnFamilyDescriptor::new(*name, options)
    });
    let database = DB::open_cf_descriptors_as_secondary(&options, directory, own, descriptors)
        .map_err(|error| failed(&error))?;
    let mut step = 0;
    for name in families {
        let mut reading = ReadOptions::default();
        reading.fill_cache(false);
        reading.set_verify_checksums(true);
        reading.set_readahead_size(READ_AHEAD_BYTES);
        let rows = database.iterator_cf_opt(family(&database, name)?, reading, IteratorMode::Start);
        for row in rows {
            let (key, value) = row.map_err(|error| failed(&error))?;
            step += (key.len() + value.len()) as u64;
            if step >= STEP_BYTES && !pace.spend(std::mem::take(&mut step)) {
                return Ok(false);
            }
        }
    }
    Ok(pace.spend(step))
}

fn failed(error: &rocksdb::Error) -> StorageError {
    storage_error("look for damaged files", error)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::error::StorageFailure;
    use crate::state::{Space, Write};
    use crate::store::engine::StateEngine;
    use crate::store::rocks_state::RocksState;

    fn pace() -> Pace {
        Pace::new(0, CancellationToken::new())
    }

    fn filled(directory: &Path) -> RocksState {
        let state = RocksState::open(directory, &Cache::new_lru_cache(16 << 20)).unwrap();
        let put = |number: u32| {
            let (space, key) = (Space::Payloads, number.to_be_bytes().to_vec());
            Write { space, key, value: Some(vec![number.to_le_bytes()[0]; 1 << 10]) }
        };
        state.commit(&(0..500).map(put).collect::<Vec<_>>()).unwrap();
        state.flush().unwrap();
        state
    }

    fn largest_table(directory: &Path) -> PathBuf {
        let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
        let tables = entries.filter(|path| path.extension().is_some_and(|kind| kind == "sst"));
        tables.max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap()
    }

    #[test]
    fn a_whole_state_is_read_while_it_is_open_and_written_to() {
        let place = tempfile::tempdir().unwrap();
        let state = filled(place.path());
        let mut pace = pace();
        assert!(state.scrub(&mut pace).unwrap());
        assert!(pace.done() > 500 << 10, "{} bytes", pace.done());
        let row = Write { space: Space::Records, key: vec![1], value: Some(vec![2]) };
        state.commit(std::slice::from_ref(&row)).unwrap();
        state.flush().unwrap();
        assert!(state.scrub(&mut pace).unwrap());
        assert!(!place.path().join(OWN_DIRECTORY).exists());
        state.with_view(&mut |view| {
            assert_eq!(view.get(Space::Records, &[1]).unwrap(), row.value);
        });
    }

    #[test]
    fn a_bit_that_has_changed_is_found_although_the_block_is_in_memory() {
        let place = tempfile::tempdir().unwrap();
        let state = filled(place.path());
        let read = |state: &RocksState| {
            state.with_view(&mut |view| {
                for number in 0..500_u32 {
                    assert!(view.get(Space::Payloads, &number.to_be_bytes()).unwrap().is_some());
                }
            });
        };
        read(&state);
        let table = largest_table(place.path());
        let mut content = fs::read(&table).unwrap();
        let middle = content.len() / 2;
        content[middle] ^= 4;
        fs::write(&table, content).unwrap();
        read(&state);
        let error = state.scrub(&mut pace()).unwrap_err();
        assert_eq!(error.failure, StorageFailure::Corrupt, "{error}");
    }

    #[test]
    fn it_ends_when_it_is_told_to() {
        let place = tempfile::tempdir().unwrap();
        let state = filled(place.path());
        let stop = CancellationToken::new();
        stop.cancel();
        assert!(!state.scrub(&mut Pace::new(0, stop)).unwrap());
    }
}
