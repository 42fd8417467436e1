//! SIGSTOP and SIGCONT: a process that is alive and does nothing.

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
use crate::random::Random;

pub(super) struct Pause {
    who: Victims,
    random: Random,
    paused: Vec<Part>,
    claim: Option<Claim>,
}

impl Pause {
    pub(super) const fn new(who: Victims, random: Random) -> Self {
        Self { who, random, paused: Vec::new(), claim: None }
    }
}

impl Fault for Pause {
    fn inject(&mut self, scene: &Scene) -> Result<Begun> {
        let chosen = parts(&choose(self.who, scene, &mut self.random));
        match scene.claims.take(FaultClass::Pause, &chosen) {
            Ok(claim) => self.claim = Some(claim),
            Err(reason) => return Ok(Begun::skipped(reason)),
        }
        for part in chosen {
            if scene.cluster.server(part)?.pause()? {
                self.paused.push(part);
            }
        }
        if self.paused.is_empty() {
            return Ok(Begun::skipped("none of them ran"));
        }
        Ok(Begun::on(names(&self.paused)))
    }

    fn verify(&mut self, scene: &Scene) -> Result<Outcome> {
        for part in &self.paused {
            if scene.cluster.server(*part)?.life()? != Life::Paused {
                return Ok(Outcome::Indeterminate(format!("{part} did not stay stopped")));
            }
        }
        Ok(Outcome::Installed)
    }

    fn heal(&mut self, scene: &Scene) -> Result<()> {
        for part in &self.paused {
            scene.cluster.server(*part)?.resume()?;
        }
        self.claim = None;
        Ok(())
    }
}
