//! Who a fault hits: the plan names a part, the moment says which nodes that are.

use super::action::Victims;
use super::scene::Scene;
use crate::cluster::part::Part;
use crate::random::Random;

/// The nodes that are meant now.
pub(super) fn choose(who: Victims, scene: &Scene, random: &mut Random) -> Vec<u16> {
    let leader = match who {
        Victims::Leader | Victims::Follower => scene.leader(),
        Victims::One | Victims::Minority | Victims::Majority | Victims::All => None,
    };
    of(who, &scene.cluster.members(), leader, random)
}

fn of(who: Victims, members: &[u16], leader: Option<u16>, random: &mut Random) -> Vec<u16> {
    let mut drawn = members.to_vec();
    random.shuffle(&mut drawn);
    let minority = members.len().saturating_sub(1) / 2;
    let count = match who {
        Victims::One | Victims::Leader | Victims::Follower => 1,
        Victims::Minority => minority.max(1),
        Victims::Majority => minority + 1,
        Victims::All => members.len(),
    };
    match who {
        // Without a leader it is one that may have been.
        Victims::Leader => drawn.sort_by_key(|node| Some(*node) != leader),
        Victims::Follower => drawn.retain(|node| Some(*node) != leader),
        Victims::One | Victims::Minority | Victims::Majority | Victims::All => {}
    }
    drawn.truncate(count);
    drawn.sort_unstable();
    drawn
}

/// The same nodes as servers.
pub(super) fn parts(nodes: &[u16]) -> Vec<Part> {
    nodes.iter().map(|node| Part::Node(*node)).collect()
}

/// Their names, for people.
pub(super) fn names(parts: &[Part]) -> String {
    let names: Vec<_> = parts.iter().map(ToString::to_string).collect();
    names.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(who: Victims, nodes: u16) -> usize {
        let members: Vec<_> = (1..=nodes).collect();
        of(who, &members, Some(2), &mut Random::new(4)).len()
    }

    #[test]
    fn parts_of_the_cluster_have_their_sizes() {
        let sizes = |nodes| {
            [Victims::One, Victims::Minority, Victims::Majority, Victims::All]
                .map(|who| count(who, nodes))
        };
        assert_eq!(sizes(3), [1, 1, 2, 3]);
        assert_eq!(sizes(5), [1, 2, 3, 5]);
        assert_eq!(sizes(1), [1, 1, 1, 1]);
    }

    #[test]
    fn the_leader_is_hit_when_it_is_meant_and_spared_when_it_is_not() {
        for seed in 0..20 {
            let mut random = Random::new(seed);
            assert_eq!(of(Victims::Leader, &[1, 2, 3], Some(2), &mut random), [2]);
            assert_ne!(of(Victims::Follower, &[1, 2, 3], Some(2), &mut random), [2]);
            assert_eq!(of(Victims::Leader, &[1, 2, 3], None, &mut random).len(), 1);
        }
    }
}
