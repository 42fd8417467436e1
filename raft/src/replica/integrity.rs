//! What this node has found out about its data: for metrics and operators.

use std::sync::{Mutex, PoisonError};

use super::Replica;

/// What a node says of it. Zeros before there was anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct IntegrityStatus {
    /// When all files were last read and found whole, in milliseconds since the Unix epoch.
    pub scrubbed_at_ms: u64,
    /// Bytes of files that were read for that in this process.
    pub scrubbed_bytes: u64,
    /// The entry of the last comparison in which this node's state was that of most members.
    pub agreed_index: u64,
    /// The entry of the last comparison in which no state was that of most members: somebody is
    /// wrong, and nobody knows who.
    pub split_index: u64,
}

/// Gathers it.
#[derive(Debug, Default)]
pub(super) struct Integrity(Mutex<IntegrityStatus>);

impl Integrity {
    pub(super) fn change(&self, by: impl FnOnce(&mut IntegrityStatus)) {
        by(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(super) fn status(&self) -> IntegrityStatus {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Replica {
    /// What this node has found out about its own data.
    #[must_use]
    pub fn integrity(&self) -> IntegrityStatus {
        self.0.integrity.status()
    }
}
