//! A version: an immutable set of entries, of which only the keys are public (`contract §2.3`).

use std::fmt;

use lockbox_core::{KmsKeyId, KmsKeyVersionId, LogTime, SecretId, VersionId};
use minicbor::{Decode, Encode};

use super::payload_mark::PayloadMarks;
use super::secret::PasswordSpec;

/// Destroyed versions whose metadata one secret keeps: with those that are not destroyed, what the
/// entry that deletes it has to remove.
pub const DESTROYED_VERSIONS_MAX: u32 = 10_000;

/// `Version.Status` of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum VersionStatus {
    /// Readable.
    #[n(1)]
    Active,
    /// Not readable; destroyed at `destroy_at` unless cancelled.
    #[n(2)]
    ScheduledForDestruction,
    /// Payload and data key are gone from the state, and soon after from the files of every node.
    #[n(3)]
    Destroyed,
}

/// The stored metadata of a version; the payload is another record.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct VersionRecord {
    /// Its id, unique across all kinds of ids.
    #[n(0)]
    pub id: VersionId,
    /// The secret that it belongs to.
    #[n(1)]
    pub secret_id: SecretId,
    /// When it was created, on the log's clock.
    #[n(2)]
    pub created_at: LogTime,
    /// When it will be destroyed; present only while scheduled.
    #[n(3)]
    pub destroy_at: Option<LogTime>,
    /// Free text; not inherited from the base.
    #[n(4)]
    pub description: String,
    /// Whether it is readable.
    #[n(5)]
    pub status: VersionStatus,
    /// Public keys of its entries, in stored order.
    #[n(6)]
    pub entry_keys: Vec<String>,
    /// Copied from the secret when the value was generated.
    #[n(7)]
    pub password_spec: Option<PasswordSpec>,
    /// The log index that created it: its place in lists.
    #[n(8)]
    pub sequence: u64,
    /// What its payload could be found by: its former wrappings, present once there are any, and
    /// all of it once it is destroyed.
    #[n(9)]
    pub payload_marks: Option<PayloadMarks>,
}

/// A destruction that is scheduled: one row of the destruction queue.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Destruction {
    /// The secret.
    #[n(0)]
    pub secret_id: SecretId,
    /// The version that is to be destroyed.
    #[n(1)]
    pub version_id: VersionId,
    /// From when on, on the log's clock.
    #[n(2)]
    pub destroy_at: LogTime,
    /// How long the metadata stay after it, in milliseconds (`contract §13` no. 13).
    #[n(3)]
    pub retained_ms: u64,
}

/// How the data key of one version is wrapped.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub enum WrappedDataKey {
    /// Under a key of the cluster's keyring ("the common key").
    #[n(0)]
    Keyring {
        /// Which keyring key.
        #[n(0)]
        keyring_key_id: u32,
        /// Input of the derivation of this wrap's own key, so that no nonce budget is shared.
        #[cbor(n(1), with = "minicbor::bytes")]
        salt: [u8; 32],
        /// AES-256-GCM ciphertext and tag of the data key.
        #[cbor(n(2), with = "minicbor::bytes")]
        ciphertext: Vec<u8>,
    },
    /// Under the customer's own key, opened by one KMS `Decrypt` per access.
    #[n(1)]
    Kms {
        /// The customer's key.
        #[n(0)]
        kms_key_id: KmsKeyId,
        /// The version of it that wrapped, as the KMS reported it.
        #[n(1)]
        kms_key_version_id: KmsKeyVersionId,
        /// The KMS's self-describing ciphertext of the data key.
        #[cbor(n(2), with = "minicbor::bytes")]
        ciphertext: Vec<u8>,
    },
}

impl fmt::Debug for WrappedDataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Keyring { keyring_key_id, .. } => write!(f, "keyring({keyring_key_id})"),
            Self::Kms { kms_key_id, .. } => write!(f, "kms({kms_key_id})"),
        }
    }
}

/// One version's entries as ciphertext (`design §6`). The cluster can store and move it; only the
/// node that holds the data key's wrapping key can open it.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct SealedPayload {
    /// Format of the message inside and of its associated data.
    #[n(0)]
    pub format: u8,
    /// Commitment to the data key, checked before decryption.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub commitment: [u8; 32],
    /// AES-256-GCM nonce; the data key is used once.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub nonce: [u8; 12],
    /// AES-256-GCM ciphertext and tag of all entries in order.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub ciphertext: Vec<u8>,
    /// The data key, wrapped.
    #[n(4)]
    pub wrapped_key: WrappedDataKey,
}

impl fmt::Debug for SealedPayload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sealed[{} bytes, {:?}]", self.ciphertext.len(), self.wrapped_key)
    }
}
