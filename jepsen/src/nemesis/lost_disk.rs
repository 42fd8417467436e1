//! A member whose disk is lost: it comes back under its id with nothing, must refuse, and is
//! replaced by a new node.
//!
//! One at a time, so a majority always has what was acknowledged.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};

use super::action::Victims;
use super::claims::Claim;
use super::class::FaultClass;
use super::event::Outcome;
use super::membership::{lacks_commands, replace_lost};
use super::scene::Scene;
use super::victims::choose;
use super::{Begun, Fault};
use crate::cluster::part::Part;
use crate::cluster::server::Life;
use crate::moment::until;
use crate::random::Random;

/// How long the others may take to tell it that it is not the one they know.
const REFUSAL: Duration = Duration::from_secs(10);

pub(super) struct LostDisk {
    random: Random,
    node: Option<u16>,
    claim: Option<Claim>,
}

impl LostDisk {
    pub(super) const fn new(random: Random) -> Self {
        Self { random, node: None, claim: None }
    }
}

impl Fault for LostDisk {
    fn inject(&mut self, scene: &Scene) -> Result<Begun> {
        if let Some(reason) = lacks_commands(scene) {
            return Ok(Begun::skipped(reason));
        }
        let Some(node) = choose(Victims::One, scene, &mut self.random).first().copied() else {
            return Ok(Begun::skipped("there is no node"));
        };
        if !scene.has_spare() {
            return Ok(Begun::skipped("no id is left that was never a member's"));
        }
        let part = Part::Node(node);
        match scene.claims.take_to_damage(FaultClass::Membership, &[part]) {
            Ok(claim) => self.claim = Some(claim),
            Err(reason) => return Ok(Begun::skipped(reason)),
        }
        self.node = Some(node);
        scene.cluster.server(part)?.kill()?;
        scene.cluster.keep_audit(part)?;
        let data = scene.cluster.files().data(part);
        fs::remove_dir_all(&data).with_context(|| data.display().to_string())?;
        fs::create_dir_all(&data).with_context(|| data.display().to_string())?;
        scene.cluster.forget_durable(part)?;
        scene.cluster.launch(part)?;
        Ok(Begun::on(format!("{part} with an empty disk")))
    }

    fn verify(&mut self, scene: &Scene) -> Result<Outcome> {
        let Some(node) = self.node else {
            return Ok(Outcome::Skipped("no disk was lost".to_owned()));
        };
        let server = scene.cluster.server(Part::Node(node))?;
        let refused = until(REFUSAL, || match server.life() {
            Ok(Life::Down) => Some(Ok(())),
            Ok(Life::Runs | Life::Paused) => None,
            Err(error) => Some(Err(error)),
        });
        Ok(if refused.transpose()?.is_some() {
            Outcome::Installed
        } else {
            // Without a member that reaches it nobody can tell it.
            Outcome::Indeterminate("it still waits for somebody who knows it".to_owned())
        })
    }

    fn heal(&mut self, scene: &Scene) -> Result<()> {
        let Some(node) = self.node.take() else { return Ok(()) };
        scene.cluster.server(Part::Node(node))?.kill()?;
        replace_lost(scene, node).with_context(|| format!("node {node} has lost its disk"))?;
        self.claim = None;
        Ok(())
    }
}
