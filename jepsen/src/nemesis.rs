//! Faults on a real cluster: begun, looked at whether they took effect, and healed.
//!
//! One file for each class, all behind [`Fault`]. Three outcomes: installed, skipped with a
//! reason, indeterminate with a reason. Everything else that happens to a fault is a failure of
//! the harness: it stops the schedule, the cluster is healed, and the run is not acceptable.

pub mod action;
mod bit_flip;
mod claims;
pub mod class;
mod client_cut;
mod clock_step;
mod disk_full;
mod disk_low;
pub mod event;
mod filter;
pub mod grudge;
mod kill;
mod kms;
mod lost_disk;
mod membership;
mod partition;
mod pause;
mod power_loss;
mod probing;
mod reach;
mod restore;
mod rolling_restart;
pub mod scene;
pub mod schedule;
mod slow_link;
mod snapshot_storm;
mod sync_fault;
mod transfer_storm;
mod victims;
pub mod watch;

use std::time::Instant;

use anyhow::Result;

use self::action::{Action, MemberChange};
use self::event::Outcome;
use self::scene::Scene;
use crate::random::Random;

/// What came of an injection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begun {
    /// It is in force.
    Began {
        /// What it hits, for people.
        target: String,
    },
    /// It cannot be done now, or not on this machine.
    Skipped {
        /// Why.
        reason: String,
    },
}

impl Begun {
    fn on(target: impl Into<String>) -> Self {
        Self::Began { target: target.into() }
    }

    fn skipped(reason: impl Into<String>) -> Self {
        Self::Skipped { reason: reason.into() }
    }
}

/// One fault, from its beginning to its end.
///
/// `inject` is called once; then, if it began, `during` and `verify`; then `heal` always, also
/// after a failure of one of the others.
pub trait Fault: Send {
    /// Begins it.
    ///
    /// # Errors
    /// A failure of the harness.
    fn inject(&mut self, scene: &Scene) -> Result<Begun>;

    /// Lets it last until this moment, or until the run is to end.
    ///
    /// # Errors
    /// A failure of the harness.
    fn during(&mut self, scene: &Scene, until: Instant) -> Result<()> {
        // Being told to end early is no failure: what follows is the same.
        let _lasted = scene.ending().wait_until(until);
        Ok(())
    }

    /// Looks whether it took effect, while it is still in force.
    ///
    /// # Errors
    /// A failure of the harness.
    fn verify(&mut self, scene: &Scene) -> Result<Outcome>;

    /// Ends it. What the fault did not begin, it does not end.
    ///
    /// # Errors
    /// A failure of the harness.
    fn heal(&mut self, scene: &Scene) -> Result<()>;
}

/// The fault that does what is planned; what is left to draw comes from `random`.
#[must_use]
pub fn fault(action: Action, random: Random) -> Box<dyn Fault> {
    match action {
        Action::Kill { who } => Box::new(kill::Kill::new(who, random)),
        Action::Pause { who } => Box::new(pause::Pause::new(who, random)),
        Action::Partition { grudge, means } => {
            Box::new(partition::Partition::new(grudge, means, random))
        }
        Action::ClientCut { who, answers_only } => {
            Box::new(client_cut::ClientCut::new(who, answers_only, random))
        }
        Action::SlowLink { links, rule } => Box::new(slow_link::SlowLink::new(links, rule, random)),
        Action::ClockStep { who, offset_s } => {
            Box::new(clock_step::ClockStep::new(who, offset_s, random))
        }
        Action::DiskFull { who, low: false } => Box::new(disk_full::DiskFull::new(who, random)),
        Action::DiskFull { who, low: true } => Box::new(disk_low::DiskLow::new(who, random)),
        Action::SyncFault { who, trouble } => {
            Box::new(sync_fault::SyncFault::new(who, trouble, random))
        }
        Action::PowerLoss { who, survives } => {
            Box::new(power_loss::PowerLoss::new(who, survives, random))
        }
        Action::BitFlip { bits } => Box::new(bit_flip::BitFlip::new(bits, random)),
        Action::Membership { change: MemberChange::LoseDisk } => {
            Box::new(lost_disk::LostDisk::new(random))
        }
        Action::Membership { change } => Box::new(membership::Membership::new(change, random)),
        Action::SnapshotStorm { starve } => {
            Box::new(snapshot_storm::SnapshotStorm::new(starve, random))
        }
        Action::TransferStorm { every_ms } => {
            Box::new(transfer_storm::TransferStorm::new(every_ms, random))
        }
        Action::Kms { trouble } => Box::new(kms::Kms::new(trouble)),
        Action::RollingRestart => Box::new(rolling_restart::RollingRestart::new()),
        Action::Restore => Box::new(restore::Restore::new(random)),
    }
}
