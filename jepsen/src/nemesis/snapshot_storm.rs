//! Snapshots one after the other, the log purged behind them; and a follower that is cut off until
//! what it lacks is purged, so that it needs a snapshot of another node.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::action::Means;
use super::event::Outcome;
use super::scene::Scene;
use super::{Begun, Fault};
use crate::cluster::addresses::{Host, Link};
use crate::cluster::observe::NodeView;
use crate::moment::now;
use crate::random::Random;

const PAUSE: Duration = Duration::from_millis(700);

pub(super) struct SnapshotStorm {
    starve: bool,
    random: Random,
    owner: Option<u64>,
    starved: Option<u16>,
    /// Whether the log that the starved one lacks is purged.
    needs_snapshot: bool,
    /// Newest snapshot of any node before.
    before: u64,
}

impl SnapshotStorm {
    pub(super) const fn new(starve: bool, random: Random) -> Self {
        Self { starve, random, owner: None, starved: None, needs_snapshot: false, before: 0 }
    }

    fn starve(&mut self, scene: &Scene) -> Result<()> {
        let members = scene.cluster.members();
        let leader = scene.leader();
        let followers: Vec<_> =
            members.iter().copied().filter(|node| Some(*node) != leader).collect();
        let Some(starved) = self.random.pick(&followers).copied() else { return Ok(()) };
        let others = members.iter().filter(|node| **node != starved);
        let means = scene.means();
        // A door stops what comes in, and all of it.
        let cut = |link: &Link| means != Means::Door || link.to == Host::Node(starved);
        let links = others.flat_map(|other| Link::both(Host::Node(*other), Host::Node(starved)));
        let links = links.filter(cut).collect();
        let owner = scene.owner();
        self.owner = Some(owner);
        self.starved = Some(starved);
        scene.cut(owner, links, means).map(drop)
    }

    fn storm(&mut self, scene: &Scene) {
        // Other faults may keep some from it; `verify` looks for what came of the rest.
        for node in scene.cluster.members() {
            if Some(node) != self.starved {
                scene.cluster.admin().command(node, &["snapshot", "--purge"]).ok();
            }
        }
        let view = |node| scene.cluster.view(node);
        let Some(starved) = self.starved.and_then(view) else { return };
        let leader = scene.cluster.leader().and_then(view);
        self.needs_snapshot |= leader.is_some_and(|leader| leader.purged > starved.last_log);
    }
}

fn newest(views: &[NodeView]) -> u64 {
    views.iter().map(|view| view.snapshot).max().unwrap_or(0)
}

impl Fault for SnapshotStorm {
    fn inject(&mut self, scene: &Scene) -> Result<Begun> {
        if !scene.cluster.admin().knows("snapshot") {
            return Ok(Begun::skipped("this lockbox has no `cluster snapshot`"));
        }
        self.before = newest(&scene.cluster.views());
        if self.starve {
            self.starve(scene)?;
        }
        Ok(match self.starved {
            Some(node) => Begun::on(format!("all nodes, node-{node} cut off")),
            None => Begun::on("all nodes"),
        })
    }

    fn during(&mut self, scene: &Scene, until: Instant) -> Result<()> {
        while now() < until {
            self.storm(scene);
            if !scene.ending().wait_until((now() + PAUSE).min(until)) {
                break;
            }
        }
        Ok(())
    }

    fn verify(&mut self, scene: &Scene) -> Result<Outcome> {
        let newest = newest(&scene.cluster.views());
        Ok(if newest <= self.before {
            Outcome::Indeterminate(format!("no snapshot is newer than {}", self.before))
        } else if self.starved.is_some() && !self.needs_snapshot {
            Outcome::Indeterminate("what the cut off node lacks is still in the log".to_owned())
        } else {
            Outcome::Installed
        })
    }

    fn heal(&mut self, scene: &Scene) -> Result<()> {
        self.owner.take().map_or(Ok(()), |owner| scene.mend(owner))
    }
}
