//! Signed statements: what a cluster has said, and nobody has changed since.
//!
//! Promises: a signature that fits was made with the secret half of the key, for this purpose and
//! over exactly these bytes. Refuses to know where the secret comes from, and what is said.

use std::fmt;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};

use crate::token::SigningSeed;

/// Bytes of the half of a key that verifies.
pub const SIGNER_BYTES: usize = 32;

/// Signs statements (Ed25519, RFC 8032).
pub struct StatementSigner {
    key: Ed25519KeyPair,
    public_key: [u8; SIGNER_BYTES],
}

impl fmt::Debug for StatementSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StatementSigner").finish_non_exhaustive()
    }
}

impl StatementSigner {
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

    /// Signs what is said, for this purpose and no other.
    #[must_use]
    pub fn sign(&self, purpose: &str, said: &[u8]) -> Vec<u8> {
        self.key.sign(&signed_bytes(purpose, said)).as_ref().to_vec()
    }
}

/// Whether this key has signed it for this purpose.
#[must_use]
pub fn is_signed(
    signer: &[u8; SIGNER_BYTES],
    purpose: &str,
    said: &[u8],
    signature: &[u8],
) -> bool {
    let key = UnparsedPublicKey::new(&ED25519, signer);
    key.verify(&signed_bytes(purpose, said), signature).is_ok()
}

/// A purpose has no byte 0, so it ends unmistakably.
fn signed_bytes(purpose: &str, said: &[u8]) -> Vec<u8> {
    [purpose.as_bytes(), &[0], said].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::SystemRandom;
    use crate::token::generate_seed;

    #[test]
    fn a_signature_is_of_one_key_one_purpose_and_all_that_is_said() {
        let signer = StatementSigner::from_seed(&generate_seed(&SystemRandom)).unwrap();
        let other = StatementSigner::from_seed(&generate_seed(&SystemRandom)).unwrap();
        let signature = signer.sign("a purpose", b"said");
        let key = signer.public_key();
        assert!(is_signed(&key, "a purpose", b"said", &signature));
        assert!(!is_signed(&other.public_key(), "a purpose", b"said", &signature));
        assert!(!is_signed(&key, "another", b"said", &signature));
        assert!(!is_signed(&key, "a purpose", b"sai", &signature));
        assert!(!is_signed(&key, "a purpose", b"said", &signature[1..]));
        assert!(!format!("{signer:?}").contains("key"), "{signer:?}");
    }
}
