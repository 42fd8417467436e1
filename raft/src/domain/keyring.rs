//! Keys that the cluster owns, stored only in wrapped form (`design §6`, `§7`).

use std::fmt;

use lockbox_core::{LogTime, NodeId, SecretId, VersionId};
use minicbor::{Decode, Encode};

use super::version::WrappedDataKey;

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
    /// In the log, not used to wrap until every member has unwrapped it.
    #[n(0)]
    Added,
    /// Used for new wraps or signatures; at most one for each purpose.
    #[n(1)]
    Activated,
    /// Opens what it wrapped; wraps only what was under way when its successor was activated.
    #[n(2)]
    Superseded,
    /// No entry of the log stores anything under it any more: what is still wrapped by it can only
    /// become less.
    #[n(3)]
    Closed,
    /// Nothing in the state is wrapped by it; logs and snapshots of members still may be.
    #[n(4)]
    Emptied,
    /// Gone: the record stays without its key, so that its number never comes back.
    #[n(5)]
    Retired,
}

impl KeyStage {
    /// Whether an entry of the log may store what this key wrapped.
    #[must_use]
    pub const fn stores(self) -> bool {
        match self {
            Self::Activated | Self::Superseded => true,
            Self::Added | Self::Closed | Self::Emptied | Self::Retired => false,
        }
    }

    /// Whether it waits for all members: that they have unwrapped it, or that nothing on their
    /// disks needs it.
    #[must_use]
    pub const fn awaits_members(self) -> bool {
        match self {
            Self::Added | Self::Emptied => true,
            Self::Activated | Self::Superseded | Self::Closed | Self::Retired => false,
        }
    }

    /// Its name in status output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Activated => "activated",
            Self::Superseded => "superseded",
            Self::Closed => "closed",
            Self::Emptied => "emptied",
            Self::Retired => "retired",
        }
    }
}

impl KeyPurpose {
    /// Its name in status output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::WrapDataKeys => "wrap-data-keys",
            Self::AuthenticateRequests => "authenticate-requests",
            Self::SignTokens => "sign-tokens",
        }
    }
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
    /// The KMS's ciphertext of the 32 key bytes under the system key; empty once it is retired.
    #[cbor(n(4), with = "minicbor::bytes")]
    pub wrapped: Vec<u8>,
    /// For [`KeyPurpose::SignTokens`]: the public half, in clear. Empty otherwise.
    #[cbor(n(5), with = "minicbor::bytes")]
    pub public_key: Vec<u8>,
    /// Members that have confirmed the stage that it is at, by id; see
    /// [`KeyStage::awaits_members`].
    #[n(6)]
    #[cbor(default)]
    pub confirmed_by: Vec<NodeId>,
    /// The log index at which it came to its stage; 0 for what an earlier build wrote.
    #[n(7)]
    #[cbor(default)]
    pub staged_at: u64,
    /// When that was.
    #[n(8)]
    #[cbor(default)]
    pub staged_time: LogTime,
    /// The log index at which it was last wrapped by the system key; 0 for the cluster's first
    /// keys.
    #[n(9)]
    #[cbor(default)]
    pub wrapped_at: u64,
    /// The log index at which it was added; 0 for the cluster's first keys.
    #[n(10)]
    #[cbor(default)]
    pub added_at: u64,
}

impl KeyringKeyRecord {
    /// A key that is about to be proposed; `apply` says when and where it was added.
    #[must_use]
    pub fn new(
        id: u32,
        purpose: KeyPurpose,
        stage: KeyStage,
        wrapped: Vec<u8>,
        public_key: Vec<u8>,
    ) -> Self {
        Self {
            id,
            purpose,
            stage,
            created_at: LogTime::default(),
            wrapped,
            public_key,
            confirmed_by: Vec::new(),
            staged_at: 0,
            staged_time: LogTime::default(),
            wrapped_at: 0,
            added_at: 0,
        }
    }

    /// Whether all of these nodes have confirmed the stage that it is at.
    #[must_use]
    pub fn is_confirmed_by(&self, members: &[NodeId]) -> bool {
        members.iter().all(|member| self.confirmed_by.contains(member))
    }
}

/// One data key under another keyring key, if it is still wrapped as it was seen
/// (`design §6`: compare-and-set on the old wrapping).
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct DataKeyRewrap {
    /// The secret.
    #[n(0)]
    pub secret_id: SecretId,
    /// The version whose data key it is.
    #[n(1)]
    pub version_id: VersionId,
    /// The keyring key of the wrapping that was seen.
    #[n(2)]
    pub old_key_id: u32,
    /// The salt of that wrapping, which no other one shares.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub old_salt: [u8; 32],
    /// The new wrapping.
    #[n(4)]
    pub new: WrappedDataKey,
}

/// A keyring key under the system key's present version, if it is still wrapped as it was seen.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct KeyringKeyRewrap {
    /// The keyring key.
    #[n(0)]
    pub key_id: u32,
    /// The wrapping that was seen.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub old: Vec<u8>,
    /// The new wrapping.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub new: Vec<u8>,
}

impl fmt::Debug for KeyringKeyRewrap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rewrap of keyring key {}", self.key_id)
    }
}

impl fmt::Debug for KeyringKeyRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "keyring key {} ({:?}, {:?})", self.id, self.purpose, self.stage)
    }
}
