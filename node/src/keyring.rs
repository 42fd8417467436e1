//! The keys of the cluster, unwrapped and in memory only.
//!
//! Sealed until the KMS has unwrapped every key of the state (`design §6`): until then a node
//! votes, replicates and answers status, and nothing else. Readers take a snapshot of the ring, so
//! that a rotation or a seal never changes it under them.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwapOption;

use lockbox_raft::domain::keyring::{KeyPurpose, KeyStage, KeyringKeyRecord};

use crate::seal::SymmetricKey;

/// One unwrapped key.
#[derive(Debug, Clone)]
struct RingKey {
    purpose: KeyPurpose,
    stage: KeyStage,
    key: SymmetricKey,
}

/// All keys of the cluster at one point of the log.
#[derive(Debug, Clone, Default)]
pub struct KeyRing {
    keys: BTreeMap<u32, RingKey>,
}

impl KeyRing {
    /// Adds an unwrapped key.
    pub fn insert(&mut self, record: &KeyringKeyRecord, key: SymmetricKey) {
        let (purpose, stage) = (record.purpose, record.stage);
        self.keys.insert(record.id, RingKey { purpose, stage, key });
    }

    /// Whether the ring holds every key of the records, at their stages.
    #[must_use]
    pub fn covers(&self, records: &[KeyringKeyRecord]) -> bool {
        let held = |record: &KeyringKeyRecord| {
            self.keys.get(&record.id).is_some_and(|key| key.stage == record.stage)
        };
        records.iter().all(held) && self.keys.len() == records.len()
    }

    /// A key by its number, if it serves this purpose.
    #[must_use]
    pub fn get(&self, id: u32, purpose: KeyPurpose) -> Option<&SymmetricKey> {
        self.keys.get(&id).filter(|key| key.purpose == purpose).map(|key| &key.key)
    }

    /// The key that new wraps, authenticators or signatures of this purpose use.
    #[must_use]
    pub fn active(&self, purpose: KeyPurpose) -> Option<(u32, &SymmetricKey)> {
        let active = |(_, key): &(&u32, &RingKey)| {
            key.purpose == purpose && key.stage == KeyStage::Activated
        };
        self.keys.iter().rev().find(active).map(|(id, key)| (*id, &key.key))
    }
}

/// The associated data of a keyring key under the system key: what it is and whose.
#[must_use]
pub fn associated_data(cluster: &str, id: u32, purpose: KeyPurpose) -> Vec<u8> {
    let purpose = match purpose {
        KeyPurpose::WrapDataKeys => "wrap",
        KeyPurpose::AuthenticateRequests => "authenticate",
        KeyPurpose::SignTokens => "sign",
    };
    format!("lockbox keyring v1/{cluster}/{id}/{purpose}").into_bytes()
}

/// Where every request finds the ring, or learns that the node is sealed.
#[derive(Debug, Clone, Default)]
pub struct Keyring(Arc<ArcSwapOption<KeyRing>>);

/// The node has not unwrapped the keyring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("node is sealed: the keyring is not unwrapped yet")]
pub struct Sealed;

impl Keyring {
    /// The ring.
    ///
    /// # Errors
    /// [`Sealed`] until [`Keyring::unseal`] and after [`Keyring::seal`].
    pub fn ring(&self) -> Result<Arc<KeyRing>, Sealed> {
        self.0.load_full().ok_or(Sealed)
    }

    /// Whether requests can be served.
    #[must_use]
    pub fn is_sealed(&self) -> bool {
        self.0.load().is_none()
    }

    /// Serves requests with this ring from now on.
    pub fn unseal(&self, ring: KeyRing) {
        self.0.store(Some(Arc::new(ring)));
    }

    /// Forgets the ring; its keys are wiped when the last request that holds it ends.
    pub fn seal(&self) {
        self.0.store(None);
    }
}

#[cfg(test)]
mod tests {
    use lockbox_platform::system::SystemRandom;

    use super::*;

    fn record(id: u32, purpose: KeyPurpose, stage: KeyStage) -> KeyringKeyRecord {
        KeyringKeyRecord::new(id, purpose, stage, Vec::new(), Vec::new())
    }

    fn ring(records: &[KeyringKeyRecord]) -> KeyRing {
        let mut ring = KeyRing::default();
        for record in records {
            ring.insert(record, SymmetricKey::generate(&SystemRandom));
        }
        ring
    }

    #[test]
    fn only_the_activated_key_of_a_purpose_is_used_for_new_work() {
        let ring = ring(&[
            record(1, KeyPurpose::WrapDataKeys, KeyStage::Superseded),
            record(2, KeyPurpose::WrapDataKeys, KeyStage::Activated),
            record(3, KeyPurpose::WrapDataKeys, KeyStage::Added),
            record(4, KeyPurpose::SignTokens, KeyStage::Activated),
        ]);
        assert_eq!(ring.active(KeyPurpose::WrapDataKeys).unwrap().0, 2);
        assert!(ring.active(KeyPurpose::AuthenticateRequests).is_none());
        assert!(ring.get(1, KeyPurpose::WrapDataKeys).is_some());
        assert!(ring.get(4, KeyPurpose::WrapDataKeys).is_none());
    }

    #[test]
    fn a_changed_stage_or_a_new_key_needs_another_unseal() {
        let first = record(1, KeyPurpose::WrapDataKeys, KeyStage::Activated);
        let ring = ring(std::slice::from_ref(&first));
        assert!(ring.covers(std::slice::from_ref(&first)));
        assert!(!ring.covers(&[KeyringKeyRecord { stage: KeyStage::Superseded, ..first.clone() }]));
        assert!(!ring.covers(&[first, record(2, KeyPurpose::SignTokens, KeyStage::Added)]));
    }

    #[test]
    fn a_sealed_node_says_so() {
        let keyring = Keyring::default();
        assert_eq!(keyring.ring().err(), Some(Sealed));
        keyring.unseal(KeyRing::default());
        assert!(!keyring.is_sealed());
        keyring.seal();
        assert!(keyring.ring().is_err());
    }
}
