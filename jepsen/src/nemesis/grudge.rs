//! Who drops whose packets: the shapes of partitions, as sets of links.
//!
//! Pure. Knows no addresses of clients: partitions here are of nodes among themselves, and of the
//! KMS, so a leader that is cut off keeps its clients.

use serde::{Deserialize, Serialize};

use crate::cluster::addresses::{Host, Link};
use crate::random::Random;

/// The shape of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Grudge {
    /// Two halves in the order of the ids.
    Halves,
    /// Two halves, drawn.
    RandomHalves,
    /// One node against all others.
    Single,
    /// Two halves, and one node that both see.
    Bridge,
    /// Every node sees a majority, and no two the same one.
    MajoritiesRing,
    /// Nothing reaches the leader from others.
    IntoLeader,
    /// Nothing of the leader reaches others.
    OutOfLeader,
    /// Nothing reaches one node from others.
    IntoOne,
    /// The leader with a minority against the others.
    LeaderWithMinority,
    /// The leader alone; its clients still reach it.
    LeaderAlone,
    /// The KMS against all nodes.
    KmsCut,
    /// The KMS against one node.
    KmsFromOne,
}

impl Grudge {
    /// Those of nodes among themselves, in the order in which a plan draws them.
    pub const ALL: [Self; 12] = [
        Self::LeaderAlone,
        Self::RandomHalves,
        Self::Bridge,
        Self::OutOfLeader,
        Self::MajoritiesRing,
        Self::Single,
        Self::IntoLeader,
        Self::IntoOne,
        Self::LeaderWithMinority,
        Self::KmsFromOne,
        Self::Halves,
        Self::KmsCut,
    ];

    /// The links that nothing passes. Without a leader one of the nodes is drawn to stand for it.
    #[must_use]
    pub fn links(self, nodes: &[u16], leader: Option<u16>, random: &mut Random) -> Vec<Link> {
        let mut drawn = nodes.to_vec();
        random.shuffle(&mut drawn);
        let Some(first) = drawn.first().copied() else { return Vec::new() };
        let leader = leader.filter(|leader| nodes.contains(leader)).unwrap_or(first);
        // The leader is first, the others as drawn.
        let mut led = drawn.clone();
        led.retain(|node| *node != leader);
        led.insert(0, leader);
        let half = nodes.len() / 2;
        let minority = (nodes.len().saturating_sub(1)) / 2;
        match self {
            Self::Halves => apart(nodes, half),
            Self::RandomHalves => apart(&drawn, half),
            Self::Single => apart(&drawn, 1),
            Self::Bridge => {
                let sides = drawn.get(1..).unwrap_or_default();
                apart(sides, sides.len() / 2)
            }
            Self::MajoritiesRing => ring(&drawn),
            Self::IntoLeader => one_way(&led, |leader, other| Link::new(other, leader)),
            Self::OutOfLeader => one_way(&led, Link::new),
            Self::IntoOne => one_way(&drawn, |one, other| Link::new(other, one)),
            Self::LeaderWithMinority => apart(&led, minority.max(1)),
            Self::LeaderAlone => apart(&led, 1),
            Self::KmsCut => from_kms(nodes),
            Self::KmsFromOne => from_kms(&[first]),
        }
    }
}

/// Both directions between the first nodes and the others.
fn apart(nodes: &[u16], first: usize) -> Vec<Link> {
    let (one, other) = nodes.split_at(first.min(nodes.len()));
    let pairs = one.iter().flat_map(|a| other.iter().map(move |b| (*a, *b)));
    pairs.flat_map(|(a, b)| Link::both(Host::Node(a), Host::Node(b))).collect()
}

fn one_way(led: &[u16], link: impl Fn(Host, Host) -> Link) -> Vec<Link> {
    let Some((leader, others)) = led.split_first() else { return Vec::new() };
    others.iter().map(|other| link(Host::Node(*leader), Host::Node(*other))).collect()
}

fn from_kms(nodes: &[u16]) -> Vec<Link> {
    nodes.iter().flat_map(|node| Link::both(Host::Kms, Host::Node(*node))).collect()
}

/// In a ring each node hears its neighbours, as many on each side as make a majority with itself.
/// Where a majority is both neighbours (three nodes) one direction of each pair is cut instead.
fn ring(nodes: &[u16]) -> Vec<Link> {
    let count = nodes.len();
    let majority = count / 2 + 1;
    let mut links = Vec::new();
    for (at, node) in nodes.iter().enumerate() {
        // A node and those that follow it in the ring are the majority that it hears.
        let heard: Vec<_> = nodes.iter().cycle().skip(at).take(majority).collect();
        let deaf_to = nodes.iter().filter(|other| !heard.contains(other));
        links.extend(deaf_to.map(|other| Link::new(Host::Node(*other), Host::Node(*node))));
    }
    links
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const FIVE: [u16; 5] = [1, 2, 3, 4, 5];

    fn links(grudge: Grudge, nodes: &[u16], leader: u16) -> BTreeSet<Link> {
        grudge.links(nodes, Some(leader), &mut Random::new(9)).into_iter().collect()
    }

    /// Whom a node hears, itself included.
    fn heard(links: &BTreeSet<Link>, nodes: &[u16], node: u16) -> BTreeSet<u16> {
        let hears = |other: &u16| !links.contains(&Link::new(Host::Node(*other), Host::Node(node)));
        nodes.iter().copied().filter(hears).collect()
    }

    #[test]
    fn halves_do_not_hear_each_other() {
        let links = links(Grudge::Halves, &FIVE, 1);
        assert_eq!(heard(&links, &FIVE, 1), [1, 2].into());
        assert_eq!(heard(&links, &FIVE, 5), [3, 4, 5].into());
        assert_eq!(links.len(), 12);
    }

    #[test]
    fn one_node_is_cut_off_and_the_leader_when_it_is_meant() {
        assert_eq!(links(Grudge::Single, &FIVE, 3).len(), 8);
        let alone = links(Grudge::LeaderAlone, &FIVE, 3);
        assert_eq!(heard(&alone, &FIVE, 3), [3].into());
        let with = links(Grudge::LeaderWithMinority, &FIVE, 3);
        assert_eq!(heard(&with, &FIVE, 3).len(), 2);
    }

    #[test]
    fn one_direction_alone_is_cut() {
        let into = links(Grudge::IntoLeader, &FIVE, 2);
        assert_eq!(heard(&into, &FIVE, 2), [2].into());
        assert_eq!(heard(&into, &FIVE, 4), FIVE.into());
        let out = links(Grudge::OutOfLeader, &FIVE, 2);
        assert_eq!(heard(&out, &FIVE, 2), FIVE.into());
        assert!(!heard(&out, &FIVE, 4).contains(&2));
    }

    #[test]
    fn a_bridge_is_seen_by_both_sides() {
        for nodes in [&FIVE[..3], &FIVE] {
            let links = links(Grudge::Bridge, nodes, 1);
            let all = |node: &&u16| heard(&links, nodes, **node).len() == nodes.len();
            assert_eq!(nodes.iter().filter(all).count(), 1);
            assert!(!links.is_empty());
        }
    }

    #[test]
    fn in_a_ring_everyone_hears_a_majority_and_no_two_the_same() {
        for nodes in [&FIVE[..3], &FIVE] {
            let links = links(Grudge::MajoritiesRing, nodes, 1);
            let majorities: BTreeSet<_> =
                nodes.iter().map(|node| heard(&links, nodes, *node)).collect();
            assert_eq!(majorities.len(), nodes.len());
            assert!(majorities.iter().all(|heard| heard.len() == nodes.len() / 2 + 1));
        }
    }

    #[test]
    fn the_kms_is_cut_from_nodes_and_nodes_hear_each_other() {
        let links = links(Grudge::KmsCut, &FIVE, 1);
        assert_eq!(links.len(), 10);
        assert_eq!(heard(&links, &FIVE, 1), FIVE.into());
        assert_eq!(super::Grudge::KmsFromOne.links(&FIVE, None, &mut Random::new(1)).len(), 2);
    }

    #[test]
    fn without_nodes_there_is_nothing_to_cut() {
        for grudge in Grudge::ALL {
            assert!(grudge.links(&[], None, &mut Random::new(1)).is_empty());
        }
    }
}
