//! Nodes that do not hear each other, or not the KMS; clients reach all of them.

use anyhow::Result;

use super::action::Means;
use super::event::Outcome;
use super::filter;
use super::grudge::Grudge;
use super::scene::Scene;
use super::victims::parts;
use super::{Begun, Fault};
use crate::cluster::addresses::Link;
use crate::cluster::part::Part;
use crate::cluster::program::exists;
use crate::random::Random;

pub(super) struct Partition {
    grudge: Grudge,
    means: Means,
    random: Random,
    owner: Option<u64>,
    links: Vec<Link>,
    /// What was stopped before, by the same means at the same places.
    before: u64,
}

impl Partition {
    pub(super) fn new(grudge: Grudge, means: Means, random: Random) -> Self {
        Self { grudge, means, random, owner: None, links: Vec::new(), before: 0 }
    }

    /// How much was stopped until now: packets, or connections at a door.
    fn stopped(&self, scene: &Scene) -> Result<u64> {
        let mut servers = parts(&scene.cluster.members());
        match self.means {
            Means::Switch => {
                let switch = scene.cluster.switch()?;
                switch.check()?;
                Ok(switch.counts(&self.links).blocked)
            }
            Means::Filter => {
                servers.push(Part::Kms);
                // The counters begin with the filter.
                if self.owner.is_none() { Ok(0) } else { filter::dropped(&scene.cluster, &servers) }
            }
            Means::Door => {
                let doors = servers.into_iter().map(|part| scene.cluster.door(part));
                doors.map(|door| Ok(door?.turned_away())).sum()
            }
        }
    }
}

impl Fault for Partition {
    fn inject(&mut self, scene: &Scene) -> Result<Begun> {
        if self.means == Means::Filter && !exists("nft") {
            return Ok(Begun::skipped("this machine has no nft"));
        }
        let leader = scene.cluster.leader();
        self.links = self.grudge.links(&scene.cluster.members(), leader, &mut self.random);
        if self.links.is_empty() {
            return Ok(Begun::skipped("the cluster is too small for it"));
        }
        self.before = self.stopped(scene)?;
        let owner = scene.owner();
        self.owner = Some(owner);
        scene.cut(owner, self.links.clone(), self.means)?;
        let links: Vec<_> = self.links.iter().map(ToString::to_string).collect();
        Ok(Begun::on(format!("{:?} by {:?}: {}", self.grudge, self.means, links.join(" "))))
    }

    fn verify(&mut self, scene: &Scene) -> Result<Outcome> {
        Ok(if self.stopped(scene)? > self.before {
            Outcome::Installed
        } else {
            Outcome::Indeterminate("no packet came to a link that is cut".to_owned())
        })
    }

    fn heal(&mut self, scene: &Scene) -> Result<()> {
        self.owner.take().map_or(Ok(()), |owner| scene.mend(owner))
    }
}
