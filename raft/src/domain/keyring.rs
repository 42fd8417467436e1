//! Keys that the cluster owns, stored only in wrapped form (`design §6`, `§7`).

use std::fmt;

use lockbox_core::LogTime;
use minicbor::{Decode, Encode};

/// What a keyring key is for. One key does one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(index_only)]
pub enum KeyPurpose {
    /// Wraps the data keys of secrets without an own key.
    #[n(0)]
    WrapDataKeys,
    /// Authenticates idempotent requests (`design §8`).
    #[n(1)]
    AuthenticateRequests,
    /// Signs IAM tokens (Ed25519 seed).
    #[n(2)]
    SignTokens,
}

/// Where a keyring key is in the rotation protocol of `design §6`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum KeyStage {
    /// In the log, not used to wrap until every voter has unwrapped it.
    #[n(0)]
    Added,
    /// Used for new wraps or signatures; at most one for each purpose.
    #[n(1)]
    Activated,
    /// Opens what it wrapped and does nothing new.
    #[n(2)]
    Superseded,
}

/// One key of the keyring: wrapped by the system key of the KMS.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct KeyringKeyRecord {
    /// Its number; never reused.
    #[n(0)]
    pub id: u32,
    /// What it is for.
    #[n(1)]
    pub purpose: KeyPurpose,
    /// Its place in the rotation protocol.
    #[n(2)]
    pub stage: KeyStage,
    /// When it was added.
    #[n(3)]
    pub created_at: LogTime,
    /// The KMS's ciphertext of the 32 key bytes under the system key.
    #[cbor(n(4), with = "minicbor::bytes")]
    pub wrapped: Vec<u8>,
    /// For [`KeyPurpose::SignTokens`]: the public half, in clear. Empty otherwise.
    #[cbor(n(5), with = "minicbor::bytes")]
    pub public_key: Vec<u8>,
}

impl fmt::Debug for KeyringKeyRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "keyring key {} ({:?}, {:?})", self.id, self.purpose, self.stage)
    }
}
