//! Whether a majority of the voters is up and can talk: the times in which the cluster must serve.

use std::collections::BTreeSet;

use crate::cluster::addresses::{Host, Link};

/// Whether one of the voters that are up hears a majority of them, and is heard by it.
#[must_use]
pub(super) fn majority_reachable(
    voters: &[u16],
    up: &BTreeSet<u16>,
    blocked: &BTreeSet<Link>,
) -> bool {
    let open = |one: u16, other: u16| {
        one == other
            || Link::both(Host::Node(one), Host::Node(other))
                .iter()
                .all(|link| !blocked.contains(link))
    };
    let up: Vec<u16> = voters.iter().copied().filter(|voter| up.contains(voter)).collect();
    let reached = |from: u16| up.iter().filter(|to| open(from, **to)).count();
    up.iter().any(|from| reached(*from) > voters.len() / 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nemesis::grudge::Grudge;
    use crate::random::Random;

    fn reachable(up: &[u16], grudge: Option<Grudge>) -> bool {
        let voters = [1, 2, 3];
        let links = grudge.map(|grudge| grudge.links(&voters, Some(1), &mut Random::new(2)));
        let blocked = links.into_iter().flatten().collect();
        majority_reachable(&voters, &up.iter().copied().collect(), &blocked)
    }

    #[test]
    fn a_majority_that_is_up_is_enough() {
        assert!(reachable(&[1, 2, 3], None) && reachable(&[1, 3], None));
        assert!(!reachable(&[2], None) && !reachable(&[], None));
    }

    #[test]
    fn a_majority_must_hear_each_other() {
        assert!(reachable(&[1, 2, 3], Some(Grudge::LeaderAlone)));
        assert!(!reachable(&[1, 2], Some(Grudge::LeaderAlone)));
        assert!(reachable(&[1, 2, 3], Some(Grudge::Bridge)));
        // Nobody has a majority in both directions.
        assert!(!reachable(&[1, 2, 3], Some(Grudge::MajoritiesRing)));
        assert!(reachable(&[1, 2, 3], Some(Grudge::KmsCut)));
    }
}
