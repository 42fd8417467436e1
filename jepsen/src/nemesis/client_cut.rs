//! Clients that do not reach nodes, or do not hear their answers; nodes hear each other.

use anyhow::Result;

use super::action::Victims;
use super::event::Outcome;
use super::probing::comes_to_be_seen;
use super::scene::Scene;
use super::victims::{choose, names, parts};
use super::{Begun, Fault};
use crate::cluster::addresses::{CLIENTS, Host, Link};
use crate::cluster::switch::{Counts, LinkRule};
use crate::random::Random;

pub(super) struct ClientCut {
    who: Victims,
    answers_only: bool,
    random: Random,
    owner: Option<u64>,
    links: Vec<Link>,
    before: Counts,
}

impl ClientCut {
    pub(super) fn new(who: Victims, answers_only: bool, random: Random) -> Self {
        let (links, before) = (Vec::new(), Counts::default());
        Self { who, answers_only, random, owner: None, links, before }
    }
}

impl Fault for ClientCut {
    fn inject(&mut self, scene: &Scene) -> Result<Begun> {
        let nodes = choose(self.who, scene, &mut self.random);
        for (client, node) in (0..CLIENTS).flat_map(|c| nodes.iter().map(move |n| (c, *n))) {
            let [request, answer] = Link::both(Host::Client(client), Host::Node(node));
            self.links.push(answer);
            if !self.answers_only {
                self.links.push(request);
            }
        }
        self.before = scene.cluster.switch()?.counts(&self.links);
        let owner = scene.owner();
        self.owner = Some(owner);
        // Not by `cut`: the majority of the nodes is as reachable as before.
        let rules = self.links.iter().map(|link| (*link, LinkRule::BLOCKED)).collect();
        scene.cluster.switch()?.install(owner, rules);
        let what = if self.answers_only { "answers of" } else { "clients of" };
        Ok(Begun::on(format!("{what} {}", names(&parts(&nodes)))))
    }

    fn verify(&mut self, scene: &Scene) -> Result<Outcome> {
        let seen = comes_to_be_seen(scene, &self.links, self.before, |since| since.blocked > 0)?;
        Ok(if seen {
            Outcome::Installed
        } else {
            Outcome::Indeterminate("packets of clients pass".to_owned())
        })
    }

    fn heal(&mut self, scene: &Scene) -> Result<()> {
        if let Some(owner) = self.owner.take() {
            scene.cluster.switch()?.remove(owner);
        }
        Ok(())
    }
}
