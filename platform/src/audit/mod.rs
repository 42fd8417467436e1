//! The audit: one record for every call, written before the call is answered.
//!
//! Promises: a record that could not be written fails its call; no type here has a field for the
//! value of an entry, a token or a key, so none can be written (`contract §6`, `design §10`).
//! Refuses to know how calls are served.

pub mod details;
mod file;
mod key_details;
pub mod record;
mod secret_details;
mod writer;

pub use details::AuditDetails;
pub use file::AuditOpenError;
pub use record::{AuditRecord, AuditTime};
pub use writer::{AuditConfig, AuditError, AuditSync, AuditorHandle, open};

#[cfg(test)]
#[path = "../../core/tests/shared/fuzz.rs"]
mod fuzz;
#[cfg(test)]
mod fuzz_tests;
#[cfg(test)]
mod tests;
