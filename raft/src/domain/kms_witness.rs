//! What the cluster has seen of its KMS: enough to tell a KMS that was restored from an older
//! backup how far it had been, and what it had destroyed (docs/kms-backup.md).
//!
//! Refuses to know keys: a tombstone is two ids and a time.

use std::fmt;

use lockbox_core::{KmsKeyId, KmsKeyVersionId, LogTime};
use minicbor::{Decode, Encode};

/// A number that is made once and means nothing.
#[derive(Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(transparent)]
pub struct KmsStamp(#[cbor(n(0), with = "minicbor::bytes")] [u8; 16]);

impl KmsStamp {
    /// Takes the bytes.
    #[must_use]
    pub const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Debug for KmsStamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A key, or a version of a key, that must never open anything again.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct KmsTombstone {
    /// The key.
    #[n(0)]
    pub key_id: KmsKeyId,
    /// The version; none for the whole key.
    #[n(1)]
    pub version_id: Option<KmsKeyVersionId>,
    /// When it was to be destroyed, on the KMS's clock.
    #[n(2)]
    pub destroyed_at: LogTime,
}

/// What the KMS says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct KmsAttestation {
    /// The store that backups are of; restores keep it.
    #[n(0)]
    pub store_id: KmsStamp,
    /// The one life of it that speaks; a restore begins another.
    #[n(1)]
    pub incarnation: KmsStamp,
    /// Its number.
    #[n(2)]
    pub epoch: u64,
    /// Its last commit.
    #[n(3)]
    pub head: u64,
    /// How many commits it asks for beyond that, or beyond what was reserved when it begins.
    #[n(4)]
    pub ahead: u64,
    /// The time of its last commit.
    #[n(5)]
    pub time: LogTime,
    /// What it destroys.
    #[n(6)]
    pub tombstones: Vec<KmsTombstone>,
}

/// What was seen of the KMS.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct KmsWitness {
    /// The store.
    #[n(0)]
    pub store_id: KmsStamp,
    /// Who may speak for it.
    #[n(1)]
    pub incarnation: KmsStamp,
    /// The number of that.
    #[n(2)]
    pub epoch: u64,
    /// No commit beyond this one may have been answered.
    #[n(3)]
    pub reserved: u64,
    /// What was reserved when the incarnation began.
    #[n(4)]
    pub floor: u64,
    /// The last commit that was attested.
    #[n(5)]
    pub head: u64,
    /// The time of it.
    #[n(6)]
    pub time: LogTime,
    /// Tombstones that there are.
    #[n(7)]
    pub tombstones: u64,
}

impl KmsWitness {
    /// What is known after an attestation, or nothing when that does not count: it is of another
    /// store, or of a life that has ended.
    ///
    /// INVARIANT: neither `epoch` nor `reserved`, `head` or `time` ever goes back, and commits of
    /// two incarnations have no number in common.
    #[must_use]
    pub fn after(known: Option<&Self>, told: &KmsAttestation) -> Option<Self> {
        let Some(known) = known else {
            return Some(Self {
                store_id: told.store_id,
                incarnation: told.incarnation,
                epoch: told.epoch,
                reserved: told.head.saturating_add(told.ahead),
                floor: told.head,
                head: told.head,
                time: told.time,
                tombstones: 0,
            });
        };
        if known.store_id != told.store_id {
            return None;
        }
        let head = known.head.max(told.head);
        let time = known.time.max(told.time);
        if known.incarnation == told.incarnation {
            let reserved = known.reserved.max(told.head.saturating_add(told.ahead));
            let epoch = known.epoch.max(told.epoch);
            return Some(Self { epoch, reserved, head, time, ..known.clone() });
        }
        if told.epoch <= known.epoch {
            return None;
        }
        let floor = known.reserved.max(told.head);
        Some(Self {
            incarnation: told.incarnation,
            epoch: told.epoch,
            reserved: floor.saturating_add(told.ahead),
            floor,
            head,
            time,
            ..known.clone()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(incarnation: u8, epoch: u64, head: u64) -> KmsAttestation {
        KmsAttestation {
            store_id: KmsStamp::new([1; 16]),
            incarnation: KmsStamp::new([incarnation; 16]),
            epoch,
            head,
            ahead: 100,
            time: LogTime::from_ms(head),
            tombstones: Vec::new(),
        }
    }

    fn after(known: &KmsWitness, told: &KmsAttestation) -> Option<KmsWitness> {
        KmsWitness::after(Some(known), told)
    }

    #[test]
    fn an_incarnation_only_goes_forward() {
        let first = KmsWitness::after(None, &told(1, 1, 50)).unwrap();
        assert_eq!((first.floor, first.reserved, first.head), (50, 150, 50));
        let later = after(&first, &told(1, 1, 120)).unwrap();
        assert_eq!((later.floor, later.reserved, later.head), (50, 220, 120));
        let late = after(&later, &told(1, 1, 60)).unwrap();
        assert_eq!(late, later, "what comes late takes nothing back");
    }

    #[test]
    fn a_restored_one_begins_behind_all_that_was_reserved_and_shuts_the_other_out() {
        let first = KmsWitness::after(None, &told(1, 1, 50)).unwrap();
        let restored = after(&first, &told(2, 2, 10)).unwrap();
        assert_eq!((restored.floor, restored.reserved), (150, 250));
        assert_eq!((restored.head, restored.time), (first.head, first.time));
        // The first one, and another that was restored at the same time.
        assert_eq!(after(&restored, &told(1, 1, 60)), None);
        assert_eq!(after(&restored, &told(3, 2, 10)), None);
        // Its own request once more, as after an answer that was lost.
        assert_eq!(after(&restored, &told(2, 2, 10)), Some(restored.clone()));
        let again = after(&restored, &told(3, 3, 10)).unwrap();
        assert_eq!((again.floor, again.reserved), (250, 350));
    }

    #[test]
    fn another_store_says_nothing() {
        let first = KmsWitness::after(None, &told(1, 1, 50)).unwrap();
        let other = KmsAttestation { store_id: KmsStamp::new([9; 16]), ..told(2, 7, 90) };
        assert_eq!(after(&first, &other), None);
    }

    #[test]
    fn numbers_do_not_run_over() {
        let first = KmsWitness::after(None, &told(1, 1, u64::MAX - 1)).unwrap();
        assert_eq!(first.reserved, u64::MAX);
        assert_eq!(after(&first, &told(2, 2, 1)).unwrap().floor, u64::MAX);
    }
}
