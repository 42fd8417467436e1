//! Leadership handed from node to node every second or two.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::event::Outcome;
use super::scene::Scene;
use super::{Begun, Fault};
use crate::moment::now;
use crate::random::Random;

pub(super) struct TransferStorm {
    every: Duration,
    random: Random,
    /// Transfers that were asked for and done.
    done: usize,
    refused: usize,
    /// Leaders that were seen to follow one another.
    changes: usize,
}

impl TransferStorm {
    pub(super) const fn new(every_ms: u64, random: Random) -> Self {
        let every = Duration::from_millis(every_ms);
        Self { every, random, done: 0, refused: 0, changes: 0 }
    }

    fn transfer(&mut self, scene: &Scene) {
        let Some(leader) = scene.cluster.leader() else {
            self.refused += 1;
            return;
        };
        let others: Vec<_> =
            scene.cluster.members().into_iter().filter(|node| *node != leader).collect();
        let Some(next) = self.random.pick(&others) else { return };
        // Other faults may keep it from happening; that is what the storm is for.
        match scene.cluster.admin().command(leader, &["transfer-leader", &next.to_string()]) {
            Ok(_) => self.done += 1,
            Err(_) => self.refused += 1,
        }
        if scene.cluster.leader().is_some_and(|now_leads| now_leads != leader) {
            self.changes += 1;
        }
    }
}

impl Fault for TransferStorm {
    fn inject(&mut self, scene: &Scene) -> Result<Begun> {
        if !scene.cluster.admin().knows("transfer-leader") {
            return Ok(Begun::skipped("this lockbox has no `cluster transfer-leader`"));
        }
        Ok(Begun::on(format!("a transfer each {:?}", self.every)))
    }

    fn during(&mut self, scene: &Scene, until: Instant) -> Result<()> {
        while now() < until {
            self.transfer(scene);
            if !scene.ending().wait_until((now() + self.every).min(until)) {
                break;
            }
        }
        Ok(())
    }

    fn verify(&mut self, _scene: &Scene) -> Result<Outcome> {
        let Self { done, refused, changes, .. } = self;
        Ok(if *changes > 0 {
            Outcome::Installed
        } else {
            let reason = format!("no leader changed: {done} transfers done, {refused} refused");
            Outcome::Indeterminate(reason)
        })
    }

    fn heal(&mut self, _scene: &Scene) -> Result<()> {
        Ok(())
    }
}
