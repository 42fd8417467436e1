//! The KMS node: symmetric keys on RocksDB, the four crypto calls, and the ledger that bills them.
//!
//! One straight line: [`server`] takes a call, `grpc` reads it and asks [`authn`] who calls,
//! [`crypto`] or [`keys`] decide on a view of the [`store`], the [`commit`] writer decides again at
//! the call's own place in the commit sequence, writes and syncs, the audit is written, and the
//! answer leaves. What nobody asks for (destruction, rotation) [`schedule`] hands to the same
//! writer. Depends on the platform and the wire definitions; knows nothing of Raft.

pub mod algorithm;
mod audit_head;
pub mod authn;
pub mod backup;
pub mod caller;
pub mod ciphertext;
pub mod cli;
pub mod commit;
pub mod config;
pub mod crypto;
pub mod engine;
pub mod error;
pub mod formats;
mod gcm;
mod gf256;
mod grpc;
pub mod keys;
mod kms_metrics;
pub mod ledger;
pub mod mac;
pub mod material;
pub mod metrics;
pub mod passphrase;
pub mod root_key;
pub mod root_proof;
pub mod root_rotation;
pub mod root_secret;
pub mod schedule;
mod seeded;
pub mod server;
pub mod shares;
pub mod store;
mod usage;
pub mod witness;

pub use config::KmsConfig;
pub use engine::{SYSTEM_FOLDER_ID, SYSTEM_KEY_ID};
pub use server::{KmsDeps, KmsSim, StartError};
