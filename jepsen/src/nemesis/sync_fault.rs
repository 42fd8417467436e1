//! Disks that sync slowly, or whose syncs fail. What a failed sync was for may be lost, so a node
//! must not go on as if nothing had been.

use std::time::Duration;

use anyhow::Result;

use super::action::{SyncTrouble, Victims};
use super::claims::Claim;
use super::class::FaultClass;
use super::disk_full::start_those_that_end;
use super::event::Outcome;
use super::scene::Scene;
use super::victims::{choose, names, parts};
use super::{Begun, Fault};
use crate::cluster::part::Part;
use crate::cluster::preload::{SyncCounts, SyncFailures};
use crate::random::Random;

/// A node whose last sync failed still has to end; then it is started.
const LAST_SYNC: Duration = Duration::from_secs(3);

pub(super) struct SyncFault {
    who: Victims,
    trouble: SyncTrouble,
    random: Random,
    hit: Vec<(Part, SyncCounts)>,
    claim: Option<Claim>,
}

impl SyncFault {
    pub(super) const fn new(who: Victims, trouble: SyncTrouble, random: Random) -> Self {
        Self { who, trouble, random, hit: Vec::new(), claim: None }
    }
}

impl Fault for SyncFault {
    fn inject(&mut self, scene: &Scene) -> Result<Begun> {
        if !scene.cluster.preload().has_faulty_sync() {
            return Ok(Begun::skipped("this machine has no C compiler for the bad syncs"));
        }
        let chosen = parts(&choose(self.who, scene, &mut self.random));
        match scene.claims.take(FaultClass::SyncFault, &chosen) {
            Ok(claim) => self.claim = Some(claim),
            Err(reason) => return Ok(Begun::skipped(reason)),
        }
        let (delay_us, failures) = match self.trouble {
            SyncTrouble::Slow(delay_us) => (delay_us, SyncFailures::None),
            SyncTrouble::FailsOnce => (0, SyncFailures::Next(1)),
            SyncTrouble::Fails => (0, SyncFailures::All),
        };
        for part in &chosen {
            let steering = scene.cluster.steering(*part);
            self.hit.push((*part, steering.sync_counts()?));
            steering.set_sync(delay_us, failures)?;
        }
        Ok(Begun::on(format!("{}: {:?}", names(&chosen), self.trouble)))
    }

    fn verify(&mut self, scene: &Scene) -> Result<Outcome> {
        for (part, before) in &self.hit {
            let counts = scene.cluster.steering(*part).sync_counts()?;
            let effects = match self.trouble {
                SyncTrouble::Slow(_) => counts.delayed - before.delayed,
                SyncTrouble::FailsOnce | SyncTrouble::Fails => counts.failed - before.failed,
            };
            if effects == 0 {
                return Ok(Outcome::Indeterminate(format!("{part} synced nothing")));
            }
        }
        Ok(Outcome::Installed)
    }

    fn heal(&mut self, scene: &Scene) -> Result<()> {
        for (part, _) in &self.hit {
            scene.cluster.steering(*part).set_sync(0, SyncFailures::None)?;
        }
        let patience = match self.trouble {
            SyncTrouble::Slow(_) => Duration::ZERO,
            SyncTrouble::FailsOnce | SyncTrouble::Fails => LAST_SYNC,
        };
        let hit: Vec<_> = self.hit.iter().map(|(part, _)| *part).collect();
        start_those_that_end(scene, &hit, patience)?;
        self.claim = None;
        Ok(())
    }
}
