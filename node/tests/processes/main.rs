//! The programs themselves: `lockbox serve` three times and `kms-sim serve`, each a process of its
//! own on free ports, formed into a cluster by `lockbox local` and `lockbox cluster init`.
//!
//! Cargo builds `kms-sim` for `cargo test --workspace`; by itself this target only says what is
//! missing ([`programs`]).

// `cfg(test)` is how clippy knows that helpers may unwrap, too.
#[cfg(test)]
mod audit;
#[cfg(test)]
mod backup;
#[cfg(test)]
mod bad_input;
#[cfg(test)]
mod caller;
#[cfg(test)]
mod canary;
#[cfg(test)]
mod certificates;
#[cfg(test)]
mod client;
#[cfg(test)]
mod cluster;
#[cfg(test)]
mod cold_start;
#[cfg(test)]
mod confined;
#[cfg(test)]
mod contention;
#[cfg(test)]
mod crowd;
#[cfg(test)]
mod destroyed;
#[cfg(test)]
mod forgotten;
#[cfg(test)]
mod freshness;
#[cfg(test)]
mod health;
#[cfg(test)]
mod http1;
#[cfg(test)]
mod keyring;
#[cfg(test)]
mod kms_commands;
#[cfg(test)]
mod kms_restored;
#[cfg(test)]
mod load;
#[cfg(test)]
mod membership;
#[cfg(test)]
mod memory;
#[cfg(test)]
#[path = "../shared/messages.rs"]
mod messages;
#[cfg(test)]
mod metrics_reference;
#[cfg(test)]
mod overload;
#[cfg(test)]
mod ports;
#[cfg(test)]
mod programs;
#[cfg(test)]
mod quorum_loss;
#[cfg(test)]
mod recovery;
#[cfg(test)]
mod refused_start;
#[cfg(test)]
mod restored;
#[cfg(test)]
mod rights;
#[cfg(test)]
mod scan;
#[cfg(test)]
mod sealed;
#[cfg(test)]
mod server;
#[cfg(test)]
mod stopping;
#[cfg(test)]
mod traces;
#[cfg(test)]
mod waiting;
#[cfg(test)]
mod watch;
