//! Disks without room. A node that cannot write must end by itself, and acknowledge nothing.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::action::Victims;
use super::claims::Claim;
use super::class::FaultClass;
use super::event::Outcome;
use super::scene::Scene;
use super::victims::{choose, names, parts};
use super::{Begun, Fault};
use crate::cluster::part::Part;
use crate::cluster::server::Life;
use crate::moment::{now, until};
use crate::random::Random;

/// A node that met the fault at its last moment still has to end; then it is started.
const LAST_WRITE: Duration = Duration::from_secs(3);
/// Between two looks at whether there is room again.
const PAUSE: Duration = Duration::from_millis(300);

pub(super) struct DiskFull {
    who: Victims,
    random: Random,
    full: Vec<Part>,
    claim: Option<Claim>,
}

impl DiskFull {
    pub(super) const fn new(who: Victims, random: Random) -> Self {
        Self { who, random, full: Vec::new(), claim: None }
    }
}

impl Fault for DiskFull {
    fn inject(&mut self, scene: &Scene) -> Result<Begun> {
        let chosen = parts(&choose(self.who, scene, &mut self.random));
        match scene.claims.take(FaultClass::DiskFull, &chosen) {
            Ok(claim) => self.claim = Some(claim),
            Err(reason) => return Ok(Begun::skipped(reason)),
        }
        for part in chosen {
            self.full.push(part);
            // Looks itself whether a write fails. A node that removes more than it writes keeps it
            // from getting full.
            if let Err(error) = scene.cluster.disk(part)?.fill() {
                return Ok(Begun::skipped(format!("{error:#}")));
            }
        }
        Ok(Begun::on(names(&self.full)))
    }

    /// Whoever fails to write a file removes what it has of it, and whoever ends removes more: that
    /// room is taken as well.
    fn during(&mut self, scene: &Scene, end: Instant) -> Result<()> {
        while now() < end && scene.ending().wait_until((now() + PAUSE).min(end)) {
            for part in &self.full {
                let disk = scene.cluster.disk(*part)?;
                if !disk.is_full()? {
                    // If it does not get full, `verify` says so.
                    disk.fill().ok();
                }
            }
        }
        Ok(())
    }

    fn verify(&mut self, scene: &Scene) -> Result<Outcome> {
        for part in &self.full {
            if !scene.cluster.disk(*part)?.is_full()? {
                return Ok(Outcome::Indeterminate(format!("{part} found room again")));
            }
        }
        Ok(Outcome::Installed)
    }

    fn heal(&mut self, scene: &Scene) -> Result<()> {
        for part in &self.full {
            scene.cluster.disk(*part)?.free()?;
        }
        start_those_that_end(scene, &self.full, LAST_WRITE)?;
        self.claim = None;
        Ok(())
    }
}

/// Starts those that have ended, and those that end within this time.
pub(super) fn start_those_that_end(
    scene: &Scene,
    parts: &[Part],
    patience: Duration,
) -> Result<()> {
    for part in parts {
        let server = scene.cluster.server(*part)?;
        let ended = until(patience, || match server.life() {
            Ok(Life::Runs | Life::Paused) => None,
            Ok(Life::Down) => Some(Ok(())),
            Err(error) => Some(Err(error)),
        });
        if ended.transpose()?.is_some() {
            scene.cluster.launch(*part)?;
        }
    }
    Ok(())
}
