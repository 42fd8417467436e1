//! What `kms-sim` promises, tested through its engine and through its server.

#[cfg(test)]
mod admin;
#[cfg(test)]
mod audit_heads;
#[cfg(test)]
mod audited;
#[cfg(test)]
mod backup;
#[cfg(test)]
mod backup_commands;
#[cfg(test)]
mod backup_fixtures;
#[cfg(test)]
mod billing;
#[cfg(test)]
mod bindings;
#[cfg(test)]
mod canary;
#[cfg(test)]
#[path = "../../../platform/core/tests/shared/compared.rs"]
mod compared;
#[cfg(test)]
mod config_reference;
#[cfg(test)]
mod consistency;
#[cfg(test)]
mod constant_time;
#[cfg(test)]
mod crypto;
#[cfg(test)]
mod decoders;
#[cfg(test)]
mod deletion;
#[cfg(test)]
mod destroyed_files;
#[cfg(test)]
#[path = "../../../platform/core/tests/shared/fuzz.rs"]
mod fuzz;
#[cfg(test)]
mod key_events;
#[cfg(test)]
mod keys;
#[cfg(test)]
mod kill;
#[cfg(test)]
mod kill_lifecycle;
#[cfg(test)]
mod lifecycle;
#[cfg(test)]
mod lost_end;
#[cfg(test)]
#[cfg(feature = "mutants")]
mod mutants;
#[cfg(test)]
mod node_calls;
#[cfg(test)]
mod operations;
#[cfg(test)]
mod printed_bill;
#[cfg(test)]
mod process;
#[cfg(test)]
mod random_lives;
#[cfg(test)]
mod rate_limits;
#[cfg(test)]
#[path = "../../../platform/core/tests/shared/config_reference.rs"]
mod reference;
#[cfg(test)]
mod requests;
#[cfg(test)]
mod restored;
#[cfg(test)]
mod roles;
#[cfg(test)]
mod root_rotation;
#[cfg(test)]
mod root_shares;
#[cfg(test)]
mod rotation;
#[cfg(test)]
mod server;
#[cfg(test)]
mod server_support;
#[cfg(test)]
mod start;
#[cfg(test)]
mod support;
#[cfg(test)]
#[cfg(feature = "mutants")]
#[path = "../../../platform/core/tests/shared/trial.rs"]
mod trial;
#[cfg(test)]
mod unaudited;
#[cfg(test)]
mod unread;
#[cfg(test)]
mod usage;
#[cfg(test)]
mod versions;
#[cfg(test)]
mod witness;
#[cfg(test)]
mod witnesses;
