//! Tests of the store through its public interface, one module for each promise.

// `cfg(test)` is how clippy knows that helpers may unwrap, too.
#[cfg(test)]
mod barrier;
#[cfg(test)]
mod command_containers;
#[cfg(test)]
mod command_keyring;
#[cfg(test)]
mod command_parts;
#[cfg(test)]
mod command_world;
#[cfg(test)]
mod commands;
#[cfg(test)]
mod decoders;
#[cfg(test)]
mod determinism;
#[cfg(test)]
mod durability_oracle;
#[cfg(test)]
mod engines;
#[cfg(test)]
mod forgetful_disk;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod identity;
#[cfg(test)]
mod kill;
#[cfg(test)]
#[cfg(feature = "mutants")]
mod mutants;
#[cfg(test)]
mod oracle;
#[cfg(test)]
mod power_cut;
#[cfg(test)]
mod readers;
#[cfg(test)]
mod recording;
#[cfg(test)]
mod reopen;
#[cfg(test)]
mod seeded_bugs;
#[cfg(test)]
mod snapshot;
#[cfg(test)]
mod suite;
#[cfg(test)]
#[cfg(feature = "mutants")]
#[path = "../../../platform/core/tests/shared/trial.rs"]
mod trial;
#[cfg(test)]
mod wal_damage;
#[cfg(test)]
mod writer;
