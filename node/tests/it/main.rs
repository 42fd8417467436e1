//! One node from the wire to the disk: real replica, real RocksDB, real listener, and a KMS that
//! is a fake ([`fake_kms`]), for the real one is another process.

mod fake_kms;
mod fixture;
mod secrets;
