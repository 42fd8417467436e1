//! Recognises repeats without keeping what they carried: HMAC-SHA256 under a key of its own.
//!
//! A bare hash of a weak plaintext would be an oracle (`design §8`), so the key is random, wrapped
//! by the root key and outlives every record made with it. The key that signs the heads of the audit
//! is derived from it, for the same reason: it is in no file, and outlives every root key.

use hmac::{Hmac, KeyInit, Mac};
use lockbox_core::RequestMac;
use lockbox_platform::audit::HeadSigner;
use sha2::Sha256;

use crate::material::KeyMaterial;

/// The MAC key.
pub struct MacKey(KeyMaterial);

impl MacKey {
    /// Takes key material as the MAC key.
    #[must_use]
    pub const fn new(material: KeyMaterial) -> Self {
        Self(material)
    }

    /// The MAC of a list of parts; two different lists never give the same input.
    #[must_use]
    pub fn of(&self, parts: &[&[u8]]) -> RequestMac {
        // INVARIANT: HMAC takes keys of every length (RFC 2104 §2).
        let mut mac = Hmac::<Sha256>::new_from_slice(self.0.expose())
            .expect("HMAC takes keys of every length");
        for part in parts {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        let bytes: [u8; 32] = mac.finalize().into_bytes().into();
        bytes.into()
    }

    /// Signs the heads of the audit, by a key that is derived from this one.
    #[must_use]
    pub fn head_signer(&self) -> Option<HeadSigner> {
        HeadSigner::derived_from(self.0.expose())
    }
}

#[cfg(test)]
mod tests {
    use lockbox_platform::system::SystemRandom;

    use super::*;
    use crate::algorithm::Algorithm;

    #[test]
    fn moving_a_boundary_changes_the_mac() {
        let key = MacKey::new(KeyMaterial::generate(Algorithm::Aes256, &SystemRandom));
        assert!(key.of(&[b"ab", b"c"]).is(&key.of(&[b"ab", b"c"])));
        assert!(!key.of(&[b"ab", b"c"]).is(&key.of(&[b"a", b"bc"])));
        let other = MacKey::new(KeyMaterial::generate(Algorithm::Aes256, &SystemRandom));
        assert!(!key.of(&[b"ab", b"c"]).is(&other.of(&[b"ab", b"c"])));
    }
}
