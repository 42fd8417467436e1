//! Ids for what a mutation creates: random, or for a keyed request the same at every attempt.
//!
//! A retry after a crash must ask the KMS for the same thing, or one mutation would be billed
//! twice (`design §9`): so ids under an `idempotency-key` are derived from its claim under a
//! keyring key. They stay unguessable, and the claim's authenticator makes another request under
//! the same key get other ids.

use hkdf::Hkdf;
use lockbox_core::{Randomness, SecretId, VersionId};
use lockbox_raft::domain::command::IdempotencyClaim;
use sha2::Sha256;

/// Where new ids come from.
pub struct FreshIds<'a> {
    random: &'a dyn Randomness,
    seed: Option<[u8; 32]>,
}

impl<'a> FreshIds<'a> {
    /// Ids of one attempt; derived when the request has a claim.
    #[must_use]
    pub fn new(random: &'a dyn Randomness, claim: Option<&IdempotencyClaim>) -> Self {
        // The claim's MAC is keyed by the keyring, so nobody outside can compute it.
        Self { random, seed: claim.map(|claim| claim.request_mac) }
    }

    /// Random ids, for the attempt after derived ones were taken.
    #[must_use]
    pub const fn random(random: &'a dyn Randomness) -> Self {
        Self { random, seed: None }
    }

    /// Whether another attempt would get the same ids.
    #[must_use]
    pub const fn derived(&self) -> bool {
        self.seed.is_some()
    }

    /// The id of a new secret.
    #[must_use]
    pub fn secret(&self) -> SecretId {
        match self.seed {
            Some(seed) => SecretId::generate(&Derived { seed, purpose: b"secret" }),
            None => SecretId::generate(self.random),
        }
    }

    /// The id of a new version.
    #[must_use]
    pub fn version(&self) -> VersionId {
        match self.seed {
            Some(seed) => VersionId::generate(&Derived { seed, purpose: b"version" }),
            None => VersionId::generate(self.random),
        }
    }
}

/// HKDF as a source of bytes for one id.
struct Derived {
    seed: [u8; 32],
    purpose: &'static [u8],
}

impl Randomness for Derived {
    fn fill(&self, bytes: &mut [u8]) {
        let expanded = Hkdf::<Sha256>::new(None, &self.seed).expand(self.purpose, bytes);
        // INVARIANT: an id takes 17 bytes; HKDF-SHA256 gives up to 8160 (RFC 5869 §2.3).
        assert!(expanded.is_ok(), "HKDF output is too long");
    }
}

#[cfg(test)]
mod tests {
    use lockbox_platform::system::SystemRandom;

    use super::*;

    fn claim(mac: u8) -> IdempotencyClaim {
        let (method, key) = ("m".to_owned(), "k".to_owned());
        IdempotencyClaim { method, key, request_mac: [mac; 32], mac_key_id: 1 }
    }

    #[test]
    fn a_retry_gets_the_same_ids_and_another_request_does_not() {
        let ids = |mac| {
            let claim = claim(mac);
            let ids = FreshIds::new(&SystemRandom, Some(&claim));
            (ids.secret(), ids.version())
        };
        assert_eq!(ids(1), ids(1));
        assert_ne!(ids(1), ids(2));
        assert_ne!(ids(1).0.as_str(), ids(1).1.as_str());
        let unkeyed = FreshIds::new(&SystemRandom, None);
        assert_ne!(unkeyed.version(), unkeyed.version());
    }
}
