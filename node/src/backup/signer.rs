//! The key that a cluster signs backups and lists of destructions with.
//!
//! Derived from the secret that the keyring has for tokens by HKDF-SHA256 (RFC 5869), as the key for
//! heads of audits is, and another one: it does one thing. It stays the same when keys rotate, and
//! when the cluster is restored.

use hkdf::Hkdf;
use lockbox_core::Sensitive;
use lockbox_platform::statement::StatementSigner;
use lockbox_raft::domain::keyring::KeyPurpose;
use sha2::Sha256;

use crate::keyring::KeyRing;

/// What the key is for.
const INFO: &[u8] = b"lockbox backup v1 signing key";
/// What the signature of a backup is for.
pub const OF_BACKUP: &str = "lockbox backup v1";
/// What the signature of a list of destructions is for.
pub const OF_DESTROYED: &str = "lockbox destroyed list v1";

/// The signer of this ring; nothing when it has no secret to derive it from.
#[must_use]
pub fn of(ring: &KeyRing) -> Option<StatementSigner> {
    let (_, secret) = ring.active(KeyPurpose::SignTokens)?;
    let mut seed = Sensitive::new([0_u8; 32]);
    Hkdf::<Sha256>::new(None, secret.expose()).expand(INFO, seed.expose_mut()).ok()?;
    StatementSigner::from_seed(&seed)
}

#[cfg(test)]
mod tests {
    use lockbox_platform::system::SystemRandom;
    use lockbox_raft::domain::keyring::{KeyStage, KeyringKeyRecord};

    use super::*;
    use crate::head_signer;
    use crate::seal::SymmetricKey;

    #[test]
    fn the_key_is_one_of_its_own_and_the_same_each_time() {
        let secret = SymmetricKey::generate(&SystemRandom);
        let ring = |purpose| {
            let stage = KeyStage::Activated;
            let record = KeyringKeyRecord::new(3, purpose, stage, Vec::new(), Vec::new());
            let mut ring = KeyRing::default();
            ring.insert(&record, secret.clone());
            ring
        };
        let signing = ring(KeyPurpose::SignTokens);
        let key = of(&signing).unwrap().public_key();
        assert_eq!(of(&ring(KeyPurpose::SignTokens)).unwrap().public_key(), key);
        assert_ne!(head_signer::of(&signing).unwrap().public_key(), key);
        assert!(of(&ring(KeyPurpose::WrapDataKeys)).is_none());
    }
}
