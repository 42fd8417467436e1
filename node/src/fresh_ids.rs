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

/// Executions of one keyed request, each past the retention of the one before, that find ids:
/// one a day for years. Bounds the work of one call.
const ROUNDS_MAX: u16 = 2_000;

/// Where new ids come from.
#[derive(Clone)]
pub struct FreshIds<'a> {
    random: &'a dyn Randomness,
    seed: Option<[u8; 32]>,
    round: u16,
}

impl<'a> FreshIds<'a> {
    /// Ids of one call; derived when the request has a claim.
    #[must_use]
    pub fn new(random: &'a dyn Randomness, claim: Option<&IdempotencyClaim>) -> Self {
        // The claim's MAC is keyed by the keyring, so nobody outside can compute it.
        Self { random, seed: claim.map(|claim| *claim.request_mac.as_bytes()), round: 0 }
    }

    /// The same ids for every call, one pair after the other: so the first that nobody has any
    /// more come back ([`lockbox_core::Mutant::IdsReused`]).
    pub(crate) fn out_of_one_pool(self) -> Self {
        Self { seed: Some([7; 32]), ..self }
    }

    /// Goes on to other ids after these were found taken: the same keyed request was executed
    /// once and is past its retention. A retry walks through the same rounds.
    ///
    /// Says whether there is another round; without a claim a taken id is no accident.
    pub fn next_round(&mut self) -> bool {
        let more = self.seed.is_some() && self.round < ROUNDS_MAX;
        self.round += u16::from(more);
        more
    }

    /// The first ids from here on that are not taken, so that no KMS operation is spent on others.
    ///
    /// # Errors
    /// Whatever `taken` fails with.
    pub fn untaken<E>(mut self, taken: impl Fn(&Self) -> Result<bool, E>) -> Result<Self, E> {
        while taken(&self)? && self.next_round() {}
        Ok(self)
    }

    /// The id of a new secret.
    #[must_use]
    pub fn secret(&self) -> SecretId {
        match self.derived(b"secret") {
            Some(derived) => SecretId::generate(&derived),
            None => SecretId::generate(self.random),
        }
    }

    /// The id of a new version.
    #[must_use]
    pub fn version(&self) -> VersionId {
        match self.derived(b"version") {
            Some(derived) => VersionId::generate(&derived),
            None => VersionId::generate(self.random),
        }
    }

    fn derived(&self, purpose: &'static [u8]) -> Option<Derived> {
        Some(Derived { seed: self.seed?, purpose, round: self.round })
    }
}

/// HKDF as a source of bytes for one id.
struct Derived {
    seed: [u8; 32],
    purpose: &'static [u8],
    round: u16,
}

impl Randomness for Derived {
    fn fill(&self, bytes: &mut [u8]) {
        let hkdf = Hkdf::<Sha256>::new(None, &self.seed);
        let expanded = hkdf.expand_multi_info(&[self.purpose, &self.round.to_be_bytes()], bytes);
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
        IdempotencyClaim { method, key, request_mac: [mac; 32].into(), mac_key_id: 1 }
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
        let (first, second) = (claim(1), claim(1));
        let mut ids_of_first = FreshIds::new(&SystemRandom, Some(&first));
        let mut ids_of_second = FreshIds::new(&SystemRandom, Some(&second));
        assert!(ids_of_first.next_round() && ids_of_second.next_round());
        assert_eq!(ids_of_first.secret(), ids_of_second.secret());
        assert_ne!(ids_of_first.secret(), ids(1).0);
        let taken = [ids(1).0, ids_of_first.secret()];
        let found = FreshIds::new(&SystemRandom, Some(&first));
        let known = |ids: &FreshIds<'_>| Ok::<_, ()>(taken.contains(&ids.secret()));
        let found = found.untaken(known).unwrap();
        assert!(ids_of_first.next_round());
        assert_eq!(found.secret(), ids_of_first.secret());
        let mut unkeyed = FreshIds::new(&SystemRandom, None);
        assert!(!unkeyed.next_round());
        assert_ne!(unkeyed.version(), unkeyed.version());
    }
}
