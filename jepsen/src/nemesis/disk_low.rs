//! Disks with so little room that nodes say so, and enough for every write.
//!
//! A leader with a low disk hands leadership to a node with room. Where no majority has any, what
//! makes the data grow is refused, and reads, deletions and destructions go on: law L17 looks at
//! what was refused.

use std::time::Duration;

use anyhow::Result;

use super::action::Victims;
use super::claims::Claim;
use super::class::FaultClass;
use super::disk_full::start_those_that_end;
use super::event::Outcome;
use super::scene::Scene;
use super::victims::{choose, names, parts};
use super::{Begun, Fault};
use crate::cluster::disk::LOW_BYTES;
use crate::cluster::part::Part;
use crate::moment::until;
use crate::random::Random;

/// What is left: less than the mark, and more than is written meanwhile.
const LEFT_BYTES: u64 = LOW_BYTES / 8 * 7;
/// Nodes look twice a second.
const LOOK: Duration = Duration::from_secs(2);
/// One that has used up what was left ends, and is started.
const LAST_WRITE: Duration = Duration::from_millis(200);

pub(super) struct DiskLow {
    who: Victims,
    random: Random,
    low: Vec<Part>,
    claim: Option<Claim>,
}

impl DiskLow {
    pub(super) const fn new(who: Victims, random: Random) -> Self {
        Self { who, random, low: Vec::new(), claim: None }
    }
}

impl Fault for DiskLow {
    fn inject(&mut self, scene: &Scene) -> Result<Begun> {
        let chosen = parts(&choose(self.who, scene, &mut self.random));
        match scene.claims.take(FaultClass::DiskFull, &chosen) {
            Ok(claim) => self.claim = Some(claim),
            Err(reason) => return Ok(Begun::skipped(reason)),
        }
        for part in chosen {
            self.low.push(part);
            scene.cluster.disk(part)?.leave(LEFT_BYTES)?;
        }
        Ok(Begun::on(format!("{}, low", names(&self.low))))
    }

    fn verify(&mut self, scene: &Scene) -> Result<Outcome> {
        for part in &self.low {
            let Part::Node(node) = part else { continue };
            let is_low = until(LOOK, || scene.cluster.disk_is_low(*node).filter(|low| *low));
            if is_low.is_none() {
                return Ok(Outcome::Indeterminate(format!("{part} does not say that it is low")));
            }
        }
        Ok(Outcome::Installed)
    }

    fn heal(&mut self, scene: &Scene) -> Result<()> {
        for part in &self.low {
            scene.cluster.disk(*part)?.free()?;
        }
        start_those_that_end(scene, &self.low, LAST_WRITE)?;
        self.claim = None;
        Ok(())
    }
}
