//! How much is kept of what was done, and the cap on it.

use lockbox_core::LogTime;
use minicbor::{Decode, Encode};

/// What the operations and the idempotency records of the state take, and how much they may.
///
/// Kept from the moment at which a cap is first set: what is older counts as nothing, and goes
/// first. Bytes are those of keys and values as they were written, before any compression.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct RetentionMeter {
    /// The cap, in bytes. Beyond it operations are forgotten before their time, the oldest first,
    /// and none that an idempotency key may still ask for.
    #[n(0)]
    pub bytes_max: u64,
    /// The bytes that are kept now.
    #[n(1)]
    pub bytes: u64,
    /// Where the next search for what can go begins in the expiry queue; empty at its beginning.
    /// No operation that could go stands before it.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub trimmed_upto: Vec<u8>,
    /// Before this there is nothing more that could go.
    #[n(3)]
    pub next_look: LogTime,
}

impl RetentionMeter {
    /// Whether something has to go.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.bytes > self.bytes_max
    }
}
