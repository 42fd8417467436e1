//! Links with delay, loss, duplicates, reordering or little bandwidth.

use anyhow::Result;

use super::action::Links;
use super::event::Outcome;
use super::probing::comes_to_be_seen;
use super::scene::Scene;
use super::{Begun, Fault};
use crate::cluster::addresses::{CLIENTS, Host, Link};
use crate::cluster::switch::{Counts, LinkRule};
use crate::random::Random;

pub(super) struct SlowLink {
    which: Links,
    rule: LinkRule,
    random: Random,
    owner: Option<u64>,
    links: Vec<Link>,
    before: Counts,
}

impl SlowLink {
    pub(super) fn new(which: Links, rule: LinkRule, random: Random) -> Self {
        let (links, before) = (Vec::new(), Counts::default());
        Self { which, rule, random, owner: None, links, before }
    }
}

impl Fault for SlowLink {
    fn inject(&mut self, scene: &Scene) -> Result<Begun> {
        let members = scene.cluster.members();
        self.links = match self.which {
            Links::Peers => between(&members, &members),
            Links::OneNode => {
                let one = self.random.pick(&members).copied();
                let one = one.as_slice();
                [between(one, &members), between(&members, one)].concat()
            }
            Links::OutOfLeader => {
                let leader = scene.leader().or_else(|| members.first().copied());
                between(leader.as_slice(), &members)
            }
            Links::Clients => {
                let pairs = (0..CLIENTS).flat_map(|c| members.iter().map(move |n| (c, *n)));
                pairs.flat_map(|(c, n)| Link::both(Host::Client(c), Host::Node(n))).collect()
            }
        };
        if self.links.is_empty() {
            return Ok(Begun::skipped("the cluster is too small for it"));
        }
        self.before = scene.cluster.switch()?.counts(&self.links);
        let owner = scene.owner();
        self.owner = Some(owner);
        let rules = self.links.iter().map(|link| (*link, self.rule)).collect();
        scene.cluster.switch()?.install(owner, rules);
        Ok(Begun::on(format!("{:?}: {}", self.which, describe(&self.rule))))
    }

    fn verify(&mut self, scene: &Scene) -> Result<Outcome> {
        let rule = self.rule;
        let is_meant = |since: Counts| missing(&rule, since).is_none();
        if comes_to_be_seen(scene, &self.links, self.before, is_meant)? {
            return Ok(Outcome::Installed);
        }
        let since = scene.cluster.switch()?.counts(&self.links).since(self.before);
        let what = missing(&rule, since).unwrap_or("hit in time");
        Ok(Outcome::Indeterminate(format!("no packet was {what}")))
    }

    fn heal(&mut self, scene: &Scene) -> Result<()> {
        if let Some(owner) = self.owner.take() {
            scene.cluster.switch()?.remove(owner);
        }
        Ok(())
    }
}

fn between(from: &[u16], to: &[u16]) -> Vec<Link> {
    let pairs = from.iter().flat_map(|a| to.iter().map(move |b| (*a, *b)));
    let links = pairs.filter(|(a, b)| a != b).map(|(a, b)| Link::new(Host::Node(a), Host::Node(b)));
    links.collect()
}

/// What the rule asks for and has not happened yet.
fn missing(rule: &LinkRule, counts: Counts) -> Option<&'static str> {
    let asked = [
        (rule.delay_us > 0 || rule.rate_bytes > 0, counts.delayed, "delayed"),
        (rule.drop_percent > 0, counts.lost, "lost"),
        (rule.duplicate_percent > 0, counts.duplicated, "duplicated"),
        (rule.reorder_percent > 0, counts.reordered, "reordered"),
    ];
    asked.into_iter().find(|(asked, count, _)| *asked && *count == 0).map(|(_, _, what)| what)
}

fn describe(rule: &LinkRule) -> String {
    let LinkRule { delay_us, jitter_us, drop_percent, .. } = rule;
    let LinkRule { duplicate_percent, reorder_percent, rate_bytes, .. } = rule;
    let properties = [
        (*delay_us > 0, format!("delay {delay_us}±{jitter_us} µs")),
        (*drop_percent > 0, format!("loss {drop_percent} %")),
        (*duplicate_percent > 0, format!("duplicates {duplicate_percent} %")),
        (*reorder_percent > 0, format!("reordering {reorder_percent} %")),
        (*rate_bytes > 0, format!("{rate_bytes} B/s")),
    ];
    let asked = properties.into_iter().filter(|(asked, _)| *asked).map(|(_, text)| text);
    asked.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_a_rule_asks_for_must_have_happened() {
        let rule = LinkRule { delay_us: 9, drop_percent: 5, ..LinkRule::default() };
        let mut counts = Counts { delayed: 4, ..Counts::default() };
        assert_eq!(missing(&rule, counts), Some("lost"));
        counts.lost = 1;
        assert_eq!(missing(&rule, counts), None);
        assert_eq!(describe(&rule), "delay 9±0 µs, loss 5 %");
    }
}
