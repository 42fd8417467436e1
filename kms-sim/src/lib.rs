//! The KMS node.
pub mod algorithm;
pub mod authn;
pub mod caller;
pub mod ciphertext;
pub mod commit;
pub mod config;
pub mod crypto;
pub mod engine;
pub mod error;
mod gcm;
pub mod keys;
pub mod ledger;
pub mod mac;
pub mod material;
pub mod metrics;
pub mod root_key;
pub mod store;
