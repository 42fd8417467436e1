//! SIGKILL, and a start at the end.

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

pub(super) struct Kill {
    who: Victims,
    random: Random,
    killed: Vec<Part>,
    claim: Option<Claim>,
}

impl Kill {
    pub(super) const fn new(who: Victims, random: Random) -> Self {
        Self { who, random, killed: Vec::new(), claim: None }
    }
}

impl Fault for Kill {
    fn inject(&mut self, scene: &Scene) -> Result<Begun> {
        let chosen = parts(&choose(self.who, scene, &mut self.random));
        match scene.claims.take(FaultClass::Kill, &chosen) {
            Ok(claim) => self.claim = Some(claim),
            Err(reason) => return Ok(Begun::skipped(reason)),
        }
        for part in chosen {
            if scene.cluster.server(part)?.kill()? {
                self.killed.push(part);
            }
        }
        if self.killed.is_empty() {
            return Ok(Begun::skipped("none of them ran"));
        }
        Ok(Begun::on(names(&self.killed)))
    }

    fn verify(&mut self, scene: &Scene) -> Result<Outcome> {
        still_down(scene, &self.killed)
    }

    fn heal(&mut self, scene: &Scene) -> Result<()> {
        start_again(scene, &self.killed)?;
        self.claim = None;
        Ok(())
    }
}

/// Whether nobody else has started them.
pub(super) fn still_down(scene: &Scene, killed: &[Part]) -> Result<Outcome> {
    for part in killed {
        if scene.cluster.server(*part)?.life()? != Life::Down {
            return Ok(Outcome::Indeterminate(format!("{part} runs before it was started")));
        }
    }
    Ok(Outcome::Installed)
}

/// Starts those that do not run.
pub(super) fn start_again(scene: &Scene, killed: &[Part]) -> Result<()> {
    for part in killed {
        if scene.cluster.server(*part)?.life()? == Life::Down {
            scene.cluster.launch(*part)?;
        }
    }
    Ok(())
}
