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
use crate::cluster::switch::Counts;
use crate::random::Random;

pub(super) struct Partition {
    grudge: Grudge,
    means: Means,
    random: Random,
    owner: Option<u64>,
    links: Vec<Link>,
    before: Counts,
}

impl Partition {
    pub(super) fn new(grudge: Grudge, means: Means, random: Random) -> Self {
        Self { grudge, means, random, owner: None, links: Vec::new(), before: Counts::default() }
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
        self.before = scene.cluster.switch().counts(&self.links);
        let owner = scene.owner();
        self.owner = Some(owner);
        scene.cut(owner, self.links.clone(), self.means)?;
        let links: Vec<_> = self.links.iter().map(ToString::to_string).collect();
        Ok(Begun::on(format!("{:?} by {:?}: {}", self.grudge, self.means, links.join(" "))))
    }

    fn verify(&mut self, scene: &Scene) -> Result<Outcome> {
        scene.cluster.switch().check()?;
        let stopped = match self.means {
            Means::Switch => scene.cluster.switch().counts(&self.links).since(self.before).blocked,
            Means::Filter => {
                let mut servers = parts(&scene.cluster.members());
                servers.push(Part::Kms);
                filter::dropped(&scene.cluster, &servers)?
            }
        };
        Ok(if stopped > 0 {
            Outcome::Installed
        } else {
            Outcome::Indeterminate("no packet came to a link that is cut".to_owned())
        })
    }

    fn heal(&mut self, scene: &Scene) -> Result<()> {
        self.owner.take().map_or(Ok(()), |owner| scene.mend(owner))
    }
}
