//! What `kms-sim` keeps on disk: rows, their encoding and the RocksDB instance that holds them.

pub mod db;
pub mod due;
pub mod format;
pub mod identity;
mod purge;
pub mod records;
mod stats;
pub mod tables;

pub use db::{Db, StoreError, View, Write};
pub use stats::StoreStats;
