//! The audit: one record for every call, written before the call is answered, in a chain that shows
//! what was changed, lost or moved afterwards.
//!
//! Promises: a record that could not be written fails its call; no type here has a field for the
//! value of an entry, a token or a key, so none can be written (`contract §6`, `design §10`).
//! Refuses to know how calls are served.

mod chain;
mod config;
pub mod details;
mod extent;
mod file;
mod files;
mod finisher;
mod follow;
mod head_signature;
mod key_details;
mod last_record;
mod own;
pub mod record;
mod retention;
pub mod search;
mod secret_details;
pub mod shipping;
mod syncer;
pub mod tail;
mod verifier;
pub mod verify;
mod walk;
mod writer;

pub use chain::{ChainHead, LineHash, NoLineHash};
pub use config::{AuditConfig, AuditSync, FILE_BYTES_DEFAULT, FILE_BYTES_MIN, Removal};
pub use details::AuditDetails;
pub use extent::{Extent, ExtentFile};
pub use file::{AuditFile, AuditOpenError};
pub use files::{AuditFiles, DEFAULT_FILE_NAME};
pub use follow::{leads, leads_unless};
pub use head_signature::{HeadSigner, HeadStatement, SIGNER_BYTES};
pub use record::{AuditRecord, AuditTime};
pub use walk::{LineRead, Walk, WalkedFile};
pub use writer::{AuditError, AuditorHandle, open, open_on};

#[cfg(test)]
#[path = "../../core/tests/shared/fuzz.rs"]
mod fuzz;
#[cfg(test)]
mod fuzz_tests;
#[cfg(test)]
mod tests;
