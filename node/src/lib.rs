//! The Lockbox node: what answers secrets' callers on top of the replicated state.
//!
//! Owns plaintext for the length of a request: merging, generating, sealing and opening payloads,
//! and the mapping between the domain and the wire. Replication is `lockbox-raft`'s, transport is
//! `lockbox-platform`'s.

pub mod app;
pub mod audit_heads;
pub mod authn;
pub mod backup;
pub mod bindings;
pub mod bootstrap;
pub mod call;
pub mod cli;
pub mod conditions;
pub mod config;
pub mod consistency;
pub mod convert;
pub mod describe;
pub mod disk_guard;
pub mod errors;
pub mod forget;
pub mod formats;
pub mod fresh_ids;
pub mod grants;
pub mod grpc;
pub mod head_signer;
pub mod held_rights;
pub mod idempotency;
pub mod keyring;
pub mod kms;
pub mod kms_audit;
pub mod merge;
pub mod mutual_tls;
pub mod name_filter;
pub mod node_metrics;
pub mod page;
pub mod password;
pub mod payload;
pub mod peer_name;
pub mod read_meter;
pub mod readiness;
pub mod recovery;
pub mod refused;
pub mod replica_metrics;
pub mod rotation;
pub mod router;
pub mod seal;
pub mod seal_mark;
pub mod sealer;
mod seeded;
pub mod server;
pub mod streams;
pub mod turns;
pub mod unread_peers;
pub mod unseal;
pub mod unserved;
pub mod usage;
pub mod waiting_room;
