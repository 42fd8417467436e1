//! Nodes that do not hear each other, or not the KMS; clients reach all of them.

use std::time::Duration;

use anyhow::Result;

use super::action::Means;
use super::event::Outcome;
use super::filter;
use super::grudge::Grudge;
use super::scene::{Scene, receivers};
use super::{Begun, Fault};
use crate::cluster::addresses::Link;
use crate::cluster::program::exists;
use crate::moment::until;
use crate::random::Random;

/// How long it may take until every cut has stopped something.
const PROBING: Duration = Duration::from_secs(2);

pub(super) struct Partition {
    grudge: Grudge,
    means: Means,
    random: Random,
    owner: Option<u64>,
    links: Vec<Link>,
    /// What was stopped before, at each place.
    before: Vec<u64>,
}

impl Partition {
    pub(super) fn new(grudge: Grudge, means: Means, random: Random) -> Self {
        Self { grudge, means, random, owner: None, links: Vec::new(), before: Vec::new() }
    }

    /// How much was stopped until now at each place where that is counted: packets of each link, or
    /// those that came to a server, or connections at its door.
    fn stopped(&self, scene: &Scene) -> Result<Vec<u64>> {
        let cluster = &scene.cluster;
        match self.means {
            Means::Switch => {
                let switch = cluster.switch()?;
                switch.check()?;
                Ok(self.links.iter().map(|link| switch.counts(&[*link]).blocked).collect())
            }
            // The counters begin with the filter.
            Means::Filter if self.owner.is_none() => Ok(vec![0; receivers(&self.links).len()]),
            Means::Filter => {
                let servers = receivers(&self.links).into_iter();
                servers.map(|server| filter::dropped(cluster, server)).collect()
            }
            Means::Door => {
                let doors = receivers(&self.links).into_iter().map(|part| cluster.door(part));
                doors.map(|door| Ok(door?.turned_away())).collect()
            }
        }
    }

    /// Sends something over everything that is cut.
    fn probe(&self, scene: &Scene) -> Result<()> {
        match self.means {
            Means::Switch | Means::Filter => {
                self.links.iter().try_for_each(|link| scene.cluster.probe(*link))
            }
            Means::Door => receivers(&self.links)
                .into_iter()
                .try_for_each(|part| Ok(scene.cluster.door(part)?.knock()?)),
        }
    }

    /// Whether something was stopped at each place since it was cut.
    fn is_seen(&self, scene: &Scene) -> Result<bool> {
        let stopped = self.stopped(scene)?;
        Ok(stopped.iter().zip(&self.before).all(|(now, before)| now > before))
    }
}

impl Fault for Partition {
    fn inject(&mut self, scene: &Scene) -> Result<Begun> {
        if self.means == Means::Filter && !exists("nft") {
            return Ok(Begun::skipped("this machine has no nft"));
        }
        let leader = scene.leader();
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
        // Again each time: a packet may be lost on the way to a filter.
        let look = || self.probe(scene).and_then(|()| self.is_seen(scene));
        let seen = until(PROBING, || match look() {
            Ok(seen) => seen.then_some(Ok(())),
            Err(error) => Some(Err(error)),
        });
        Ok(if seen.transpose()?.is_some() {
            Outcome::Installed
        } else {
            Outcome::Indeterminate("something passes a link that is cut".to_owned())
        })
    }

    fn heal(&mut self, scene: &Scene) -> Result<()> {
        self.owner.take().map_or(Ok(()), |owner| scene.mend(owner))
    }
}
