//! The simulation: clusters of the product's own replicas in one thread, over a simulated
//! network, on disks and clocks that fail, everything drawn from one seed.
//!
//! `seeds.rs` says how to run and to replay one.

// `cfg(test)` is how clippy knows that helpers may unwrap, too.
#[cfg(test)]
mod clients;
#[cfg(test)]
#[path = "../it/command_containers.rs"]
mod command_containers;
#[cfg(test)]
#[path = "../it/command_keyring.rs"]
mod command_keyring;
#[cfg(test)]
#[path = "../it/command_parts.rs"]
mod command_parts;
#[cfg(test)]
#[path = "../it/command_world.rs"]
mod command_world;
#[cfg(test)]
#[path = "../it/commands.rs"]
mod commands;
#[cfg(test)]
mod connector;
#[cfg(test)]
mod defect;
#[cfg(test)]
mod disk;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod invariants;
#[cfg(test)]
mod ledger;
#[cfg(test)]
mod members;
#[cfg(test)]
mod nemesis;
#[cfg(test)]
mod network;
#[cfg(test)]
mod node;
#[cfg(test)]
mod plan;
#[cfg(test)]
mod process;
#[cfg(test)]
mod replay;
#[cfg(test)]
#[path = "../it/seeded_bugs.rs"]
mod seeded_bugs;
#[cfg(test)]
mod seeds;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod time;
#[cfg(test)]
mod trace;
#[cfg(test)]
mod wire;
