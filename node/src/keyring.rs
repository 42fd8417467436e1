//! The keys of the cluster, unwrapped and in memory only.
//!
//! Sealed until the KMS has unwrapped every key of the state (`design §6`), and again when an
//! operator says so: until then a node votes, replicates and answers status, and nothing else.
//! Readers take a snapshot of the ring, so that a rotation or a seal never changes it under them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use lockbox_raft::domain::keyring::{KeyPurpose, KeyStage, KeyringKeyRecord};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::seal::SymmetricKey;

/// Between two looks at whether somebody still works with the keys.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

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

    /// Whether the ring holds every key of the records, at their stages, and no other. Retired
    /// keys are none.
    #[must_use]
    pub fn covers(&self, records: &[KeyringKeyRecord]) -> bool {
        let live = || records.iter().filter(|record| record.stage != KeyStage::Retired);
        let held = |record: &KeyringKeyRecord| {
            self.keys.get(&record.id).is_some_and(|key| key.stage == record.stage)
        };
        live().all(held) && self.keys.len() == live().count()
    }

    /// Whether two rings hold the same keys at the same stages.
    #[must_use]
    pub fn is_like(&self, other: &Self) -> bool {
        let stages = |ring: &Self| -> Vec<(u32, KeyStage)> {
            ring.keys.iter().map(|(id, key)| (*id, key.stage)).collect()
        };
        stages(self) == stages(other)
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

/// Where every request finds the ring, or learns that the node is sealed. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Keyring(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    ring: ArcSwapOption<KeyRing>,
    /// Locked while the ring is set, so that what the KMS has unwrapped meanwhile does not open a
    /// node that was just sealed.
    control: Mutex<Control>,
    /// Held by an operator's call while it changes both memory and disk: two of them one after the
    /// other, so that both end with the same.
    turn: tokio::sync::Mutex<()>,
    /// Tells who waits that something of it has changed.
    changed: watch::Sender<()>,
    /// Answers that were made with the keys and that their connections have not taken yet.
    leaving: AtomicUsize,
}

/// An answer that was made with the keys, until its connection has taken it. Keeps no key: a client
/// that reads slowly must not keep them in memory.
#[derive(Debug)]
pub struct Leaving(Keyring);

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.0.leaving.fetch_sub(1, Ordering::Release);
    }
}

/// What still happens with the keys of a node that was sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnderWay {
    /// Somebody works with them.
    #[error("calls that were under way still have its keys")]
    Calls,
    /// An answer that was made with them is not with its connection.
    #[error("answers that were made before still wait for their clients to take them")]
    Answers,
}

#[derive(Debug, Default)]
struct Control {
    /// Whether an operator wants the node sealed.
    held: bool,
    /// The rings that somebody may still work with: as many as changes of the keyring fall into the
    /// time of the slowest call.
    given: Vec<Weak<KeyRing>>,
}

/// The node has not unwrapped the keyring, or was told to forget it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("node is sealed: the keyring is not unwrapped")]
pub struct Sealed;

impl Keyring {
    /// The ring.
    ///
    /// # Errors
    /// [`Sealed`] until [`Keyring::unseal`] and after [`Keyring::hold`].
    pub fn ring(&self) -> Result<Arc<KeyRing>, Sealed> {
        self.0.ring.load_full().ok_or(Sealed)
    }

    /// Whether requests can be served.
    #[must_use]
    pub fn is_sealed(&self) -> bool {
        self.0.ring.load().is_none()
    }

    /// Whether an operator wants the node sealed.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.control().held
    }

    /// Serves requests with this ring from now on; false, and the ring is wiped, while an operator
    /// wants the node sealed.
    pub fn unseal(&self, ring: KeyRing) -> bool {
        let mut control = self.control();
        if control.held {
            return false;
        }
        let ring = Arc::new(ring);
        control.given.retain(|given| given.strong_count() > 0);
        control.given.push(Arc::downgrade(&ring));
        self.0.ring.store(Some(ring));
        self.0.changed.send_replace(());
        true
    }

    /// Forgets the ring, and takes no other one until [`Keyring::release`]. Its keys are wiped when
    /// the last request that holds it ends.
    pub fn hold(&self) {
        let mut control = self.control();
        control.held = true;
        self.0.ring.store(None);
        self.0.changed.send_replace(());
    }

    /// Lets the node be unsealed again.
    pub fn release(&self) {
        let mut control = self.control();
        control.held = false;
        self.0.changed.send_replace(());
    }

    /// Waits for the turn of an operator's call; it lasts until what comes back is dropped.
    pub async fn turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.0.turn.lock().await
    }

    /// Whether nobody works with any of the keys: they are out of memory.
    #[must_use]
    pub fn is_forgotten(&self) -> bool {
        self.control().given.iter().all(|given| given.strong_count() == 0)
    }

    /// Notes an answer that was made with the keys, while the call still has them.
    #[must_use]
    pub fn leaving(&self) -> Leaving {
        self.0.leaving.fetch_add(1, Ordering::Relaxed);
        Leaving(self.clone())
    }

    /// Waits until nobody works with any of the keys, and until no answer that was made with them
    /// is still on its way to its connection.
    ///
    /// # Errors
    /// [`UnderWay`] when there still is at this time.
    pub async fn ended(&self, by: Instant) -> Result<(), UnderWay> {
        while let Err(under_way) = self.has_ended() {
            if by <= Instant::now() {
                return Err(under_way);
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
        Ok(())
    }

    fn has_ended(&self) -> Result<(), UnderWay> {
        if !self.is_forgotten() {
            return Err(UnderWay::Calls);
        }
        // ORDER: the keys first. A call notes its answer before it lets go of them, so whoever sees
        // them gone, here, sees the answer.
        fence(Ordering::Acquire);
        match self.0.leaving.load(Ordering::Acquire) {
            0 => Ok(()),
            1.. => Err(UnderWay::Answers),
        }
    }

    /// Waits until the node is sealed.
    pub async fn sealed(&self) {
        self.until(Self::is_sealed).await;
    }

    /// Waits until an operator wants the node sealed.
    pub async fn held(&self) {
        self.until(Self::is_held).await;
    }

    async fn until(&self, is_so: impl Fn(&Self) -> bool) {
        let mut changes = self.changes();
        while !is_so(self) {
            // It cannot fail: the sender lives in `self`, which outlives this call.
            if changes.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    fn control(&self) -> MutexGuard<'_, Control> {
        // Nothing that holds it can panic half-way through a change.
        self.0.control.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Follows the changes of the ring and of what the operator wants; the value says nothing.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<()> {
        self.0.changed.subscribe()
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
        let second = record(2, KeyPurpose::SignTokens, KeyStage::Added);
        assert!(!ring.covers(&[first.clone(), second.clone()]));
        // A retired key has a record and nothing to unwrap.
        assert!(ring.covers(&[first, KeyringKeyRecord { stage: KeyStage::Retired, ..second }]));
    }

    #[test]
    fn a_sealed_node_says_so() {
        let keyring = Keyring::default();
        assert_eq!(keyring.ring().err(), Some(Sealed));
        assert!(keyring.unseal(KeyRing::default()));
        assert!(!keyring.is_sealed());
    }

    #[test]
    fn a_node_that_was_told_to_be_sealed_is_not_opened_by_what_was_under_way() {
        let keyring = Keyring::default();
        keyring.unseal(KeyRing::default());
        keyring.hold();
        assert!(keyring.is_sealed() && keyring.is_held());
        assert!(!keyring.unseal(KeyRing::default()));
        assert!(keyring.is_sealed());
        keyring.release();
        assert!(keyring.is_sealed(), "the KMS has to be asked");
        assert!(keyring.unseal(KeyRing::default()) && !keyring.is_held());
    }

    #[test]
    fn a_ring_that_was_forgotten_stays_for_the_request_that_holds_it() {
        let keyring = Keyring::default();
        let only = record(1, KeyPurpose::WrapDataKeys, KeyStage::Activated);
        keyring.unseal(ring(&[only]));
        let under_way = keyring.ring().unwrap();
        keyring.hold();
        assert!(under_way.active(KeyPurpose::WrapDataKeys).is_some());
        assert_eq!(Arc::strong_count(&under_way), 1, "nobody else keeps the keys");
    }

    #[tokio::test(start_paused = true)]
    async fn keys_are_forgotten_once_nobody_works_with_a_ring_of_now_or_before() {
        let keyring = Keyring::default();
        let soon = || Instant::now() + Duration::from_secs(1);
        assert_eq!(keyring.ended(soon()).await, Ok(()), "there was none");
        let first = record(1, KeyPurpose::WrapDataKeys, KeyStage::Activated);
        keyring.unseal(ring(std::slice::from_ref(&first)));
        let slow = keyring.ring().unwrap();
        // A rotation replaces the ring under a call that is slow.
        keyring.unseal(ring(&[first, record(2, KeyPurpose::WrapDataKeys, KeyStage::Added)]));
        assert!(!keyring.is_forgotten());
        keyring.hold();
        let has_one = keyring.ended(soon()).await;
        assert_eq!(has_one, Err(UnderWay::Calls), "a call has a ring of before");
        keyring.hold();
        assert!(!keyring.is_forgotten(), "a repeat finds the same");
        // Its answer is on its way when it ends; the keys do not stay for that.
        let leaving = keyring.leaving();
        drop(slow);
        assert!(keyring.is_forgotten());
        assert_eq!(keyring.ended(soon()).await, Err(UnderWay::Answers));
        drop(leaving);
        assert_eq!(keyring.ended(soon()).await, Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_the_seal_is_woken_by_it() {
        let keyring = Keyring::default();
        keyring.sealed().await;
        keyring.unseal(KeyRing::default());
        let waiting = async { tokio::join!(keyring.sealed(), keyring.held()) };
        tokio::select! {
            biased;
            _ = waiting => panic!("the node is open"),
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
        }
        let holder = keyring.clone();
        let hold = async move {
            holder.hold();
        };
        tokio::join!(keyring.sealed(), keyring.held(), hold);
    }
}
