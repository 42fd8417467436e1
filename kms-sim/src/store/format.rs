//! The format of the whole store: how a build knows data that it must not touch.
//!
//! Rows have a format byte of their own, and fields that an older build skips. What an older build
//! would get wrong by not knowing it takes another format of the store, which it then refuses.

use std::path::Path;

use super::db::{StoreError, View};
use super::tables::{FORMAT, Table};

/// The newest format that this build opens, and the one that it writes. The first one has no row.
pub const STORE_FORMAT: u32 = 1;

/// Part of the message with which RocksDB reports tables that this build does not know.
const UNKNOWN_TABLES: &str = "Column families not opened";

/// Refuses a store of a newer build.
pub(super) fn require_known(view: &View<'_>, directory: &Path) -> Result<(), StoreError> {
    let found: Option<u32> = view.record(Table::Meta, FORMAT)?;
    if found.unwrap_or(1) > STORE_FORMAT {
        return Err(StoreError::Newer { directory: directory.to_owned() });
    }
    Ok(())
}

/// Whether RocksDB does not open a store because there is more in it than this build knows.
pub(super) fn is_of_newer_build(error: &rocksdb::Error) -> bool {
    error.as_ref().contains(UNKNOWN_TABLES)
}

#[cfg(test)]
mod tests {
    use lockbox_core::codec;
    use rocksdb::{DB, Options};

    use super::*;
    use crate::store::{Db, Write};

    #[test]
    fn a_store_of_a_newer_build_is_refused_and_its_own_is_not() {
        let directory = tempfile::tempdir().unwrap();
        for (format, is_known) in [(STORE_FORMAT, true), (STORE_FORMAT + 1, false)] {
            let db = Db::open(directory.path()).unwrap();
            db.commit(&[Write::put(Table::Meta, FORMAT.to_vec(), codec::encode(&format))]).unwrap();
            drop(db);
            for opened in [Db::open(directory.path()), Db::open_read_only(directory.path())] {
                match opened {
                    Ok(_) => assert!(is_known, "format {format}"),
                    Err(error) => {
                        assert!(!is_known && matches!(error, StoreError::Newer { .. }), "{error}");
                        assert!(error.to_string().ends_with("use that build again"), "{error}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_table_that_is_not_known_is_that_of_a_newer_build() {
        let directory = tempfile::tempdir().unwrap();
        drop(Db::open(directory.path()).unwrap());
        let names = Table::ALL.map(Table::name);
        let mut rocks = DB::open_cf(&Options::default(), directory.path(), names).unwrap();
        rocks.create_cf("of_tomorrow", &Options::default()).unwrap();
        drop(rocks);
        assert!(matches!(Db::open(directory.path()), Err(StoreError::Newer { .. })));
    }
}
