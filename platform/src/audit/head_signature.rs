//! Signatures of heads: who carries a head from the cluster to somebody else cannot change it on
//! the way (`design §10`).
//!
//! Promises: a signature that fits was made with the secret half of the key, over all that is said
//! of the head; the key is for nothing else. Refuses to know where the secret is kept that it is
//! derived from, and whether what is said is true.

use std::fmt;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use hkdf::Hkdf;
use lockbox_core::{LogTime, NodeId, Sensitive};
use sha2::Sha256;

use crate::audit::chain::ChainHead;
use crate::token::SigningSeed;

/// Bytes of the half of a key that verifies.
pub const SIGNER_BYTES: usize = 32;
/// What the signed bytes begin with: they are nothing else that this cluster signs.
const CONTEXT: &[u8] = b"lockbox audit head v1\0";
/// The same where something is said of retention; so no such statement reads as one without.
const CONTEXT_REMOVED: &[u8] = b"lockbox audit head v2\0";

/// What the key is for.
const INFO: &[u8] = b"lockbox audit head v1 signing key";

/// What is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadStatement<'a> {
    /// The cluster.
    pub cluster_id: &'a str,
    /// The node whose audit it is, or [`lockbox_core::KMS_AUDIT_ID`].
    pub node_id: NodeId,
    /// Its last record.
    pub head: ChainHead,
    /// The own clock of whoever told.
    pub told_at: LogTime,
    /// The last record that retention has taken; nothing when it has taken none.
    pub removed_through: Option<u64>,
}

impl HeadStatement<'_> {
    /// Whether this key has signed it.
    #[must_use]
    pub fn is_signed(&self, signer: &[u8; SIGNER_BYTES], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, signer).verify(&self.bytes(), signature).is_ok()
    }

    /// Of fixed lengths but for the cluster's id, which stands last.
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = match self.removed_through {
            None => CONTEXT.to_vec(),
            Some(last) => [CONTEXT_REMOVED, last.to_be_bytes().as_slice()].concat(),
        };
        bytes.extend_from_slice(&self.node_id.to_be_bytes());
        bytes.extend_from_slice(&self.head.sequence.to_be_bytes());
        bytes.extend_from_slice(self.head.hash.as_bytes());
        bytes.extend_from_slice(&self.told_at.as_ms().to_be_bytes());
        bytes.extend_from_slice(self.cluster_id.as_bytes());
        bytes
    }
}

/// Signs heads.
pub struct HeadSigner {
    key: Ed25519KeyPair,
    public_key: [u8; SIGNER_BYTES],
}

impl fmt::Debug for HeadSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeadSigner").finish_non_exhaustive()
    }
}

impl HeadSigner {
    /// A signer whose key is derived from a secret that a server keeps for something else, by
    /// HKDF-SHA256 (RFC 5869), which leads back from neither to the other; nothing when that gives
    /// no key.
    #[must_use]
    pub fn derived_from(secret: &[u8]) -> Option<Self> {
        let mut seed = Sensitive::new([0_u8; 32]);
        Hkdf::<Sha256>::new(None, secret).expand(INFO, seed.expose_mut()).ok()?;
        Self::from_seed(&seed)
    }

    /// A signer from its seed, which must be for nothing else; nothing when that is no key.
    #[must_use]
    pub fn from_seed(seed: &SigningSeed) -> Option<Self> {
        let key = Ed25519KeyPair::from_seed_unchecked(seed.expose()).ok()?;
        let public_key = key.public_key().as_ref().try_into().ok()?;
        Some(Self { key, public_key })
    }

    /// The half of the key that verifies.
    #[must_use]
    pub const fn public_key(&self) -> [u8; SIGNER_BYTES] {
        self.public_key
    }

    /// Signs.
    #[must_use]
    pub fn sign(&self, statement: &HeadStatement<'_>) -> Vec<u8> {
        self.key.sign(&statement.bytes()).as_ref().to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::chain::LineHash;
    use crate::system::SystemRandom;
    use crate::token::generate_seed;

    #[test]
    fn a_derived_key_is_the_same_each_time_and_is_not_the_secret() {
        let secret = generate_seed(&SystemRandom);
        let key = HeadSigner::derived_from(secret.expose()).unwrap().public_key();
        assert_eq!(HeadSigner::derived_from(secret.expose()).unwrap().public_key(), key);
        assert_ne!(HeadSigner::from_seed(&secret).unwrap().public_key(), key);
        let other = generate_seed(&SystemRandom);
        assert_ne!(HeadSigner::derived_from(other.expose()).unwrap().public_key(), key);
    }

    #[test]
    fn a_signature_is_of_one_key_and_of_all_that_is_said() {
        let signer = HeadSigner::from_seed(&generate_seed(&SystemRandom)).unwrap();
        let other = HeadSigner::from_seed(&generate_seed(&SystemRandom)).unwrap();
        let head = ChainHead { sequence: 7, hash: LineHash::of(b"a line") };
        let told_at = LogTime::from_ms(1_800_000_000_000);
        let removed_through = None;
        let said =
            HeadStatement { cluster_id: "cluster", node_id: 2, head, told_at, removed_through };
        let signature = signer.sign(&said);
        let key = signer.public_key();
        assert!(said.is_signed(&key, &signature));
        assert!(!said.is_signed(&other.public_key(), &signature));
        assert!(!said.is_signed(&key, &other.sign(&said)));
        let another_hash = LineHash::of(b"another line");
        for changed in [
            HeadStatement { cluster_id: "another", ..said },
            HeadStatement { node_id: 3, ..said },
            HeadStatement { head: ChainHead { sequence: 8, ..head }, ..said },
            HeadStatement { head: ChainHead { hash: another_hash, ..head }, ..said },
            HeadStatement { told_at: LogTime::from_ms(1), ..said },
            HeadStatement { removed_through: Some(0), ..said },
        ] {
            assert!(!changed.is_signed(&key, &signature), "{changed:?}");
        }
        let removing = HeadStatement { removed_through: Some(5), ..said };
        let signature_of_removing = signer.sign(&removing);
        assert!(removing.is_signed(&key, &signature_of_removing));
        for removed_through in [None, Some(6)] {
            let changed = HeadStatement { removed_through, ..said };
            assert!(!changed.is_signed(&key, &signature_of_removing), "{changed:?}");
        }
        for length in [0, signature.len() - 1] {
            assert!(!said.is_signed(&key, &signature[..length]), "{length}");
        }
        assert!(!format!("{signer:?}").contains("key"), "{signer:?}");
    }
}
