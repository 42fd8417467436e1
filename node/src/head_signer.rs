//! The key that signs the heads of this cluster's audits.
//!
//! Derived from the secret that the keyring has for tokens ([`HeadSigner::derived_from`]): so each
//! of the two keys does one thing, and whoever has the disk of a node has neither. A sealed node has
//! none.

use lockbox_platform::audit::HeadSigner;
use lockbox_raft::domain::keyring::KeyPurpose;

use crate::keyring::KeyRing;

/// The signer of this ring; nothing when it has no secret to derive it from.
#[must_use]
pub fn of(ring: &KeyRing) -> Option<HeadSigner> {
    let (_, secret) = ring.active(KeyPurpose::SignTokens)?;
    HeadSigner::derived_from(secret.expose())
}

#[cfg(test)]
mod tests {
    use lockbox_core::Sensitive;
    use lockbox_platform::system::SystemRandom;
    use lockbox_platform::token::TokenSigner;
    use lockbox_raft::domain::keyring::{KeyStage, KeyringKeyRecord};

    use super::*;
    use crate::seal::SymmetricKey;

    #[test]
    fn the_key_is_one_of_its_own_and_the_same_each_time() {
        let secret = SymmetricKey::generate(&SystemRandom);
        let token_key = TokenSigner::from_seed(3, &Sensitive::new(*secret.expose())).unwrap();
        let ring = |purpose| {
            let stage = KeyStage::Activated;
            let record = KeyringKeyRecord::new(3, purpose, stage, Vec::new(), Vec::new());
            let mut ring = KeyRing::default();
            ring.insert(&record, secret.clone());
            ring
        };
        let key = of(&ring(KeyPurpose::SignTokens)).unwrap().public_key();
        assert_ne!(key, token_key.public_key());
        assert_eq!(of(&ring(KeyPurpose::SignTokens)).unwrap().public_key(), key);
        assert!(of(&ring(KeyPurpose::WrapDataKeys)).is_none());
    }
}
