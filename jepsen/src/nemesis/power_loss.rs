//! SIGKILL and the loss of what was not synced, then a start on what is left.

use std::fs;

use anyhow::{Context, Result};

use super::action::Victims;
use super::claims::Claim;
use super::class::FaultClass;
use super::event::Outcome;
use super::kill::start_again;
use super::scene::Scene;
use super::victims::{choose, names, parts};
use super::{Begun, Fault};
use crate::cluster::part::Part;
use crate::cluster::power::{Lost, Survives, lose_power};
use crate::random::Random;

/// Written beside the node's data and never synced: what must be gone when power is lost.
const CANARY: &str = "canary-unsynced";
const CANARY_BYTES: usize = 100;

pub(super) struct PowerLoss {
    who: Victims,
    survives: Survives,
    random: Random,
    killed: Vec<Part>,
    lost: Lost,
    claim: Option<Claim>,
}

impl PowerLoss {
    pub(super) fn new(who: Victims, survives: Survives, random: Random) -> Self {
        let (killed, lost) = (Vec::new(), Lost::default());
        Self { who, survives, random, killed, lost, claim: None }
    }

    fn lose(&mut self, scene: &Scene, part: Part) -> Result<()> {
        let (data, steering) = (scene.cluster.files().data(part), scene.cluster.steering(part));
        let canary = data.join(CANARY);
        fs::write(&canary, [7; CANARY_BYTES])?;
        scene.cluster.server(part)?.kill()?;
        self.killed.push(part);
        // Its clients have got their answers, whatever its disk forgets.
        scene.cluster.keep_audit(part)?;
        let lost = lose_power(&data, &steering.durable(), self.survives, &mut self.random);
        let lost = lost.with_context(|| format!("the loss of {part}'s power"))?;
        self.lost.bytes += lost.bytes;
        self.lost.names += lost.names;
        if canary.exists() {
            fs::remove_file(canary)?;
        }
        Ok(())
    }
}

impl Fault for PowerLoss {
    fn inject(&mut self, scene: &Scene) -> Result<Begun> {
        if !scene.cluster.preload().has_forget_unsynced() {
            return Ok(Begun::skipped("this run does not keep what would be durable"));
        }
        let chosen = parts(&choose(self.who, scene, &mut self.random));
        match scene.claims.take(FaultClass::PowerLoss, &chosen) {
            Ok(claim) => self.claim = Some(claim),
            Err(reason) => return Ok(Begun::skipped(reason)),
        }
        for part in chosen {
            self.lose(scene, part)?;
        }
        let Lost { bytes, names: lost } = self.lost;
        Ok(Begun::on(format!("{}: lost {bytes} B, {lost} names", names(&self.killed))))
    }

    fn verify(&mut self, _scene: &Scene) -> Result<Outcome> {
        Ok(if self.lost == Lost::default() {
            Outcome::Indeterminate("nothing was unsynced".to_owned())
        } else {
            Outcome::Installed
        })
    }

    fn heal(&mut self, scene: &Scene) -> Result<()> {
        start_again(scene, &self.killed)?;
        self.claim = None;
        Ok(())
    }
}
