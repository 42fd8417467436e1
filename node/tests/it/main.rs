//! One node from the wire to the disk: real replica, real RocksDB, real listener, and a KMS that
//! is a fake ([`fake_kms`]), for the real one is another process.

// `cfg(test)` is how clippy knows that helpers may unwrap, too.
#[cfg(test)]
mod account_access;
#[cfg(test)]
mod accounts;
#[cfg(test)]
mod admission;
#[cfg(test)]
mod another_kms;
#[cfg(test)]
mod any_bytes;
#[cfg(test)]
mod audit;
#[cfg(test)]
mod audit_disk;
#[cfg(test)]
mod audit_heads;
#[cfg(test)]
mod audited;
#[cfg(test)]
mod audited_peers;
#[cfg(test)]
mod backup_fixtures;
#[cfg(test)]
mod backups;
#[cfg(test)]
mod cli;
#[cfg(test)]
mod client;
#[cfg(test)]
#[path = "../../../platform/core/tests/shared/compared.rs"]
mod compared;
#[cfg(test)]
mod compatibility;
#[cfg(test)]
mod conditions;
#[cfg(test)]
mod config_reference;
#[cfg(test)]
mod consistency;
#[cfg(test)]
mod containers;
#[cfg(test)]
mod decoders;
#[cfg(test)]
mod destroyed_files;
#[cfg(test)]
mod destruction;
#[cfg(test)]
mod disk_low;
#[cfg(test)]
mod downtime;
#[cfg(test)]
mod edges;
#[cfg(test)]
mod explain;
#[cfg(test)]
mod fake_kms;
#[cfg(test)]
mod feature_level;
#[cfg(test)]
mod fixture;
#[cfg(test)]
#[path = "../../../platform/core/tests/shared/fuzz.rs"]
mod fuzz;
#[cfg(test)]
mod identity;
#[cfg(test)]
mod keyring_rotation;
#[cfg(test)]
mod kms_audit;
#[cfg(test)]
mod kms_operations;
#[cfg(test)]
mod kms_outage;
#[cfg(test)]
mod kms_witness;
#[cfg(test)]
#[path = "../shared/messages.rs"]
mod messages;
#[cfg(test)]
mod metadata;
#[cfg(test)]
mod monitoring;
#[cfg(test)]
mod moved_payloads;
#[cfg(test)]
#[cfg(feature = "mutants")]
mod mutants;
#[cfg(test)]
mod own_keys;
#[cfg(test)]
mod peers;
#[cfg(test)]
mod profiles;
#[cfg(test)]
mod rate_limits;
#[cfg(test)]
#[path = "../shared/raw.rs"]
mod raw;
#[cfg(test)]
mod readiness;
#[cfg(test)]
mod recovery;
#[cfg(test)]
#[path = "../../../platform/core/tests/shared/config_reference.rs"]
mod reference;
#[cfg(test)]
mod response_headers;
#[cfg(test)]
mod roles;
#[cfg(test)]
mod sealed_bytes;
#[cfg(test)]
mod sealing;
#[cfg(test)]
mod secret_access;
#[cfg(test)]
mod secrets;
#[cfg(test)]
mod security;
#[cfg(test)]
mod served;
#[cfg(test)]
mod surface;
#[cfg(test)]
mod tokens;
#[cfg(test)]
#[cfg(feature = "mutants")]
#[path = "../../../platform/core/tests/shared/trial.rs"]
mod trial;
#[cfg(test)]
mod usage;
#[cfg(test)]
mod version_access;
#[cfg(test)]
mod watch;
#[cfg(test)]
mod watch_retries;
