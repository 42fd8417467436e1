//! A backup that is made while operations run and whatever else is broken, by any node, and
//! verified. It is restored once the run is over (`run::restored`): law L18 judges what came back.

use anyhow::{Context, Result};

use super::action::Victims;
use super::event::Outcome;
use super::scene::Scene;
use super::victims::choose;
use super::{Begun, Fault};
use crate::cluster::backups::{MadeBackup, makes_backups};
use crate::random::Random;

pub(super) struct Restore {
    random: Random,
    made: Option<MadeBackup>,
}

impl Restore {
    pub(super) const fn new(random: Random) -> Self {
        Self { random, made: None }
    }
}

impl Fault for Restore {
    fn inject(&mut self, scene: &Scene) -> Result<Begun> {
        if !makes_backups(&scene.cluster.spec().programs.lockbox) {
            return Ok(Begun::skipped("this lockbox has no `admin backup`"));
        }
        let chosen = choose(Victims::One, scene, &mut self.random);
        let Some(node) = chosen.first().copied() else {
            return Ok(Begun::skipped("there is no node"));
        };
        // Nobody is claimed: a node makes backups in the middle of anything, or fails to.
        match scene.cluster.back_up(node) {
            Ok(made) => {
                let target = format!("node-{node}: backup of index {}", made.index);
                self.made = Some(made);
                Ok(Begun::on(target))
            }
            Err(error) => Ok(Begun::skipped(format!("node-{node} makes no backup: {error:#}"))),
        }
    }

    fn verify(&mut self, scene: &Scene) -> Result<Outcome> {
        let Some(made) = &self.made else {
            return Ok(Outcome::Skipped("no backup was made".to_owned()));
        };
        scene.cluster.verify_backup(made).context("a backup that was made cannot be restored")?;
        Ok(Outcome::Installed)
    }

    fn heal(&mut self, scene: &Scene) -> Result<()> {
        if let Some(made) = self.made.take() {
            scene.cluster.keep_backup(made);
        }
        Ok(())
    }
}
