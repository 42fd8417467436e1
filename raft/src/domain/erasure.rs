//! What each node has yet to take out of its files: the payloads that were destroyed.
//!
//! Replicated is what there is to do; how far a node has come is its own. Bounded: of the newest
//! [`ERASURES_KEPT`] erasures the place is known, of the others only that there were some.

use std::ops::Range;

use lockbox_core::{LogTime, SecretId, VersionId};
use minicbor::{Decode, Encode};

/// Erasures of which the place is kept. A node that is behind by more looks at every payload.
pub const ERASURES_KEPT: u64 = 256;

/// How many erasures there were, and the last of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
pub struct ErasurePoint {
    /// How many; also the number of the last.
    #[n(0)]
    pub count: u64,
    /// The log entry that made the last: what it is about stands in no later one.
    #[n(1)]
    pub index: u64,
    /// When that was, on the log's clock.
    #[n(2)]
    pub at: LogTime,
}

/// One erasure.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Erasure {
    /// Its number; the first is 1.
    #[n(0)]
    pub number: u64,
    /// The first key of [`crate::state::Space::Payloads`] that was deleted: that of the version, or
    /// the beginning of those of a secret.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub from: Vec<u8>,
    /// The end of the keys, exclusive; `from` when only the log holds what is to be erased.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub to: Vec<u8>,
    /// When that was, on the log's clock.
    #[n(3)]
    pub at: LogTime,
}

impl Erasure {
    /// The keys.
    #[must_use]
    pub fn keys(&self) -> Range<Vec<u8>> {
        self.from.clone()..self.to.clone()
    }
}

/// What was destroyed, by name: for whoever has an older copy of the state.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct Destroyed {
    /// The secret.
    #[n(0)]
    pub secret_id: SecretId,
    /// The version; absent when the whole secret was deleted.
    #[n(1)]
    pub version_id: Option<VersionId>,
    /// When that was, on the log's clock.
    #[n(2)]
    pub at: LogTime,
}
