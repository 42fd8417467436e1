//! Who a store is: rows of [`Table::Meta`] that a backup keeps and a restore changes.
//!
//! [`StoreIdentity`] says for whom the cluster bears witness, [`RestoreMark`] that a store was put
//! together out of a backup and has not learnt yet what happened since, [`Restores`] what the
//! store has missed. Field numbers are never reused.
//!
//! [`Table::Meta`]: super::tables::Table::Meta

use lockbox_core::codec::encode;
use lockbox_core::{LogTime, Randomness};
use minicbor::{Decode, Encode};

use super::tables::{RESTORED, RESTORES, STORE_IDENTITY, Table};
use super::{StoreError, View, Write};

/// Length of the ids of stores and incarnations, in bytes.
pub const STAMP_BYTES: usize = 16;

/// A random number that means nothing.
pub type Stamp = [u8; STAMP_BYTES];

/// For whom the cluster bears witness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct StoreIdentity {
    /// Made with the store; backups and restores keep it.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub store_id: Stamp,
    /// One life of it: a restore begins another, and the cluster shuts the one before out.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub incarnation: Stamp,
    /// The number of the incarnation, from 1 on.
    #[n(2)]
    pub epoch: u64,
    /// The last commit that the cluster has reserved for it; 0 while the cluster knows nothing of
    /// it, and then there is no bound.
    #[n(3)]
    pub reserved: u64,
}

impl StoreIdentity {
    /// Of a store that is new, or that never had one.
    #[must_use]
    pub fn fresh(random: &dyn Randomness) -> Self {
        Self { store_id: stamp(random), incarnation: stamp(random), epoch: 1, reserved: 0 }
    }

    /// The next life of the store.
    #[must_use]
    pub fn reborn(self, random: &dyn Randomness, epoch: u64) -> Self {
        Self { incarnation: stamp(random), epoch, reserved: 0, ..self }
    }

    /// The commit that must not be passed.
    #[must_use]
    pub const fn limit(&self) -> u64 {
        if self.reserved == 0 { u64::MAX } else { self.reserved }
    }

    /// What the store says; nothing in one that an earlier build made.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn read(view: &View<'_>) -> Result<Option<Self>, StoreError> {
        view.record(Table::Meta, STORE_IDENTITY)
    }

    /// The row.
    #[must_use]
    pub fn write(&self) -> Write {
        Write::put(Table::Meta, STORE_IDENTITY.to_vec(), encode(self))
    }
}

/// The store is one of a backup, and must not be served from before it has caught up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct RestoreMark {
    /// The last commit of the backup.
    #[n(0)]
    pub head: u64,
    /// When the backup was made, on the KMS's clock.
    #[n(1)]
    pub backed_up_at: LogTime,
    /// Whether there is no cluster that could say what happened since.
    #[n(2)]
    pub standalone: bool,
    /// Whether the store's identity is one that was made to catch up with.
    #[n(3)]
    pub claimed: bool,
}

impl RestoreMark {
    /// What the store says.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn read(view: &View<'_>) -> Result<Option<Self>, StoreError> {
        view.record(Table::Meta, RESTORED)
    }

    /// The row.
    #[must_use]
    pub fn write(&self) -> Write {
        Write::put(Table::Meta, RESTORED.to_vec(), encode(self))
    }

    /// Removes the row.
    #[must_use]
    pub fn delete() -> Write {
        Write::delete(Table::Meta, RESTORED.to_vec())
    }
}

/// One restore, once it has caught up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Restore {
    /// The last commit that came with the backup.
    #[n(0)]
    pub from: u64,
    /// The commit that took its place: what is between the two is not in this store.
    #[n(1)]
    pub to: u64,
    /// When the backup was made.
    #[n(2)]
    pub backed_up_at: LogTime,
    /// The time of the commit: versions that were made later missed nothing.
    #[n(3)]
    pub at: LogTime,
    /// Encryptions that each version may have done between the two: at most one for each commit.
    #[n(4)]
    pub encryptions: u64,
    /// The number of the incarnation that began with it.
    #[n(5)]
    pub epoch: u64,
}

/// All restores that the store has behind it, the first one first.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct Restores {
    /// In their order.
    #[n(0)]
    pub restores: Vec<Restore>,
}

impl Restores {
    /// What the store says.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn read(view: &View<'_>) -> Result<Self, StoreError> {
        Ok(view.record(Table::Meta, RESTORES)?.unwrap_or_default())
    }

    /// The row.
    #[must_use]
    pub fn write(&self) -> Write {
        Write::put(Table::Meta, RESTORES.to_vec(), encode(self))
    }

    /// Whether the store has only its own past.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.restores.is_empty()
    }

    /// Whether a commit went with a store that one of them took the place of.
    #[must_use]
    pub fn missed(&self, sequence: u64) -> bool {
        self.restores.iter().any(|restore| restore.from < sequence && sequence < restore.to)
    }

    /// Encryptions that a version of that age may have done and the store knows nothing of.
    #[must_use]
    pub fn carried(&self, created_at: LogTime) -> u64 {
        let missed = self.restores.iter().filter(|restore| created_at <= restore.at);
        missed.fold(0_u64, |sum, restore| sum.saturating_add(restore.encryptions))
    }
}

fn stamp(random: &dyn Randomness) -> Stamp {
    let mut bytes = Stamp::default();
    random.fill(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_version_may_have_done_counts_from_its_first_day_on() {
        let restore = |at, encryptions| Restore {
            from: 0,
            to: encryptions,
            backed_up_at: LogTime::default(),
            at: LogTime::from_ms(at),
            encryptions,
            epoch: 2,
        };
        let restores = Restores { restores: vec![restore(100, 7), restore(200, u64::MAX)] };
        assert_eq!(restores.carried(LogTime::from_ms(50)), u64::MAX);
        assert_eq!(restores.carried(LogTime::from_ms(101)), u64::MAX);
        assert_eq!(restores.carried(LogTime::from_ms(201)), 0);
        let first = Restores { restores: vec![restore(100, 7)] };
        assert_eq!(first.carried(LogTime::from_ms(100)), 7);
        assert_eq!([0, 1, 6, 7].map(|sequence| first.missed(sequence)), [false, true, true, false]);
        assert_eq!(Restores::default().carried(LogTime::default()), 0);
    }
}
