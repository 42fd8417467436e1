//! Replication: everything that must be the same on every node.
//!
//! Owns the domain, the pure `apply`, the log and state stores, the peer network and the
//! [`Replica`] handle. Only this crate names openraft. Sees no plaintext: payloads arrive sealed.

pub mod apply;
pub mod domain;
pub mod error;
pub mod network;
pub mod replica;
pub mod state;
pub mod store;
pub mod types;

pub use error::{StorageError, StorageFailure};
pub use replica::Replica;

#[cfg(test)]
#[cfg(feature = "mutants")]
#[path = "../../platform/core/tests/shared/trial.rs"]
pub(crate) mod trial;
