//! Tests of the store through its public interface, one module for each promise.

mod barrier;
mod durability_oracle;
mod engines;
mod harness;
mod identity;
mod kill;
mod readers;
mod reopen;
mod snapshot;
mod suite;
mod wal_damage;
mod writer;
