//! What `kms-sim` keeps on disk: rows, their encoding and the RocksDB instance that holds them.

pub mod db;
pub mod due;
mod purge;
pub mod records;
pub mod tables;

pub use db::{Db, StoreError, View, Write};
