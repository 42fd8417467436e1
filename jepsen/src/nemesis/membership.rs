//! Nodes that join, leave and are replaced, by the operator's commands, while other faults last.
//!
//! A command that fails may have done its work, or do it later: the change is repeated until the
//! leader's membership is the one that is wanted, so that no half-made change is left behind.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::action::MemberChange;
use super::claims::Claim;
use super::class::FaultClass;
use super::event::Outcome;
use super::scene::Scene;
use super::{Begun, Fault};
use crate::cluster::Cluster;
use crate::cluster::part::Part;
use crate::moment::{now, until};
use crate::random::Random;

/// How long a new node may take to listen.
const LISTENING: Duration = Duration::from_secs(30);
/// How long a change may take, with everything that keeps it from happening.
const SETTLING: Duration = Duration::from_secs(180);
/// How many more members there may be than at the start.
const GROWTH_MAX: usize = 2;
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(500);

pub(super) struct Membership {
    change: MemberChange,
    random: Random,
    wanted: Option<Wanted>,
    claim: Option<Claim>,
    /// What the last command complained.
    complaint: String,
}

/// The membership that is to be.
struct Wanted {
    voters: Vec<u16>,
    joins: Option<u16>,
    leaves: Option<u16>,
}

impl Membership {
    pub(super) const fn new(change: MemberChange, random: Random) -> Self {
        Self { change, random, wanted: None, claim: None, complaint: String::new() }
    }

    /// What is to be, or why not.
    fn plan(&mut self, scene: &Scene) -> Result<Wanted, String> {
        let members = scene.cluster.members();
        let first = usize::from(scene.cluster.spec().nodes);
        let leaves = match self.change {
            MemberChange::Grow if members.len() >= first + GROWTH_MAX => {
                return Err("as many members as this machine can bear".to_owned());
            }
            MemberChange::Grow => None,
            MemberChange::Replace | MemberChange::LoseDisk => self.random.pick(&members).copied(),
            MemberChange::Shrink if members.len() > first => self.random.pick(&members).copied(),
            MemberChange::Shrink => return Err("no more members than at the start".to_owned()),
        };
        let joins = match self.change {
            MemberChange::Shrink => None,
            MemberChange::Grow | MemberChange::Replace | MemberChange::LoseDisk => {
                let spare = scene.take_spare();
                Some(spare.ok_or("no id is left that was never a member's")?)
            }
        };
        let stays = members.into_iter().filter(|node| Some(*node) != leaves);
        let mut voters: Vec<_> = stays.chain(joins).collect();
        voters.sort_unstable();
        Ok(Wanted { voters, joins, leaves })
    }
}

impl Fault for Membership {
    fn inject(&mut self, scene: &Scene) -> Result<Begun> {
        if let Some(reason) = lacks_commands(scene) {
            return Ok(Begun::skipped(reason));
        }
        let wanted = match self.plan(scene) {
            Ok(wanted) => wanted,
            Err(reason) => return Ok(Begun::skipped(reason)),
        };
        let parts: Vec<_> =
            wanted.joins.iter().chain(&wanted.leaves).map(|node| Part::Node(*node)).collect();
        match scene.claims.take_to_damage(FaultClass::Membership, &parts) {
            Ok(claim) => self.claim = Some(claim),
            Err(reason) => return Ok(Begun::skipped(reason)),
        }
        if let Some(new) = wanted.joins {
            start_new(&scene.cluster, new)?;
        }
        let target = format!("{:?}: voters {:?} are to be", self.change, wanted.voters);
        self.wanted = Some(wanted);
        Ok(Begun::on(target))
    }

    /// Until it is so: a change that other faults delay lasts longer than planned.
    fn during(&mut self, scene: &Scene, until: Instant) -> Result<()> {
        let Some(wanted) = &self.wanted else { return Ok(()) };
        let deadline = now() + SETTLING;
        while !is_so(&scene.cluster, wanted) && now() < deadline {
            if let Err(error) = attempt(&scene.cluster, wanted) {
                self.complaint = format!("{error:#}");
            }
            if !scene.ending().wait(PAUSE) {
                return Ok(());
            }
        }
        // Being told to end early is no failure.
        let _lasted = scene.ending().wait_until(until);
        Ok(())
    }

    fn verify(&mut self, scene: &Scene) -> Result<Outcome> {
        let Some(wanted) = &self.wanted else {
            return Ok(Outcome::Skipped("nothing was changed".to_owned()));
        };
        Ok(if is_so(&scene.cluster, wanted) {
            Outcome::Installed
        } else {
            // It is made so at the end, or the run fails.
            let reason = format!("it is not so, or no leader says it: {}", self.complaint);
            Outcome::Indeterminate(reason)
        })
    }

    fn heal(&mut self, scene: &Scene) -> Result<()> {
        let Some(wanted) = self.wanted.take() else { return Ok(()) };
        settle(&scene.cluster, &wanted)?;
        self.claim = None;
        Ok(())
    }
}

/// Says which of the commands that change members this `lockbox` does not have.
pub(super) fn lacks_commands(scene: &Scene) -> Option<String> {
    let commands = ["add", "promote", "remove", "replace"];
    let lacks = commands.iter().find(|name| !scene.cluster.admin().knows(name))?;
    Some(format!("this lockbox has no `cluster {lacks}`"))
}

/// Starts a node on an empty disk.
fn start_new(cluster: &Cluster, node: u16) -> Result<()> {
    cluster.launch(Part::Node(node))?;
    cluster.wait_listening(Part::Node(node), LISTENING)
}

/// Whether the leader says that the members are as wanted.
fn is_so(cluster: &Cluster, wanted: &Wanted) -> bool {
    let status = cluster.leader().and_then(|leader| cluster.admin().status(leader).ok());
    status.is_some_and(|status| {
        let mut voters = status.voters();
        voters.sort_unstable();
        voters == wanted.voters && status.members.len() == voters.len()
    })
}

/// Tells the leader what is wanted; each command comes to the same when it is repeated.
fn attempt(cluster: &Cluster, wanted: &Wanted) -> Result<()> {
    let leader = cluster.leader().context("nobody leads")?;
    let joins = |new| cluster.admin().member(new);
    let change = |arguments: &[&str]| cluster.admin().change(leader, arguments).map(drop);
    match (wanted.joins, wanted.leaves) {
        (Some(new), Some(old)) => change(&["replace", &old.to_string(), &joins(new)]),
        (Some(new), None) => {
            change(&["add", &joins(new)])?;
            change(&["promote", &new.to_string()])
        }
        (None, Some(old)) => change(&["remove", &old.to_string()]),
        (None, None) => Ok(()),
    }
}

/// Repeats the change until it is so; then who left is stopped and its disk emptied.
fn settle(cluster: &Cluster, wanted: &Wanted) -> Result<()> {
    let deadline = now() + SETTLING;
    let mut complaint = String::from("the leader sees other members");
    while !is_so(cluster, wanted) {
        if now() >= deadline {
            bail!("the voters are not {:?} after {SETTLING:?}: {complaint}", wanted.voters);
        }
        if let Err(error) = attempt(cluster, wanted) {
            complaint = format!("{error:#}");
        }
        // Paused or cut off nodes come back by their own faults' ends.
        until(PAUSE, || is_so(cluster, wanted).then_some(()));
    }
    cluster.set_members(&wanted.voters);
    if let Some(old) = wanted.leaves {
        let part = Part::Node(old);
        cluster.server(part)?.resume()?;
        cluster.server(part)?.stop()?;
        cluster.keep_audit(part)?;
        let data = cluster.files().data(part);
        fs::remove_dir_all(&data).with_context(|| data.display().to_string())?;
        cluster.forget_durable(part)?;
    }
    Ok(())
}

/// Puts a new node with an empty disk in the place of a member that is lost for good.
pub(super) fn replace_lost(scene: &Scene, lost: u16) -> Result<u16> {
    let new = scene.take_spare().context("no id is left for the node that must be replaced")?;
    let stays = scene.cluster.members().into_iter().filter(|node| *node != lost);
    let mut voters: Vec<_> = stays.chain([new]).collect();
    voters.sort_unstable();
    start_new(&scene.cluster, new)?;
    settle(&scene.cluster, &Wanted { voters, joins: Some(new), leaves: Some(lost) })?;
    Ok(new)
}
