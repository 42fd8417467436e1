//! The rules of membership changes: who counts, and what would lose the quorum. Pure.

use std::collections::BTreeSet;

use lockbox_core::NodeId;

use super::error::ChangeRefusal;

/// Voters of which any majority decides.
pub(super) type Voters = BTreeSet<NodeId>;

/// A majority of so many voters.
const fn majority(voters: usize) -> usize {
    voters / 2 + 1
}

/// Refuses a change from one set of voters to another unless those that answer are a majority of
/// both: the joint configuration needs both, and the cluster has to go on with the second.
pub(super) fn keeps_quorum(
    sets: &[&Voters],
    reachable: &BTreeSet<NodeId>,
) -> Result<(), ChangeRefusal> {
    for voters in sets {
        let answering = voters.intersection(reachable).count();
        let needed = majority(voters.len());
        if answering < needed {
            let (voters, reachable) = (voters.len(), answering);
            return Err(ChangeRefusal::QuorumLost { voters, reachable, needed });
        }
    }
    Ok(())
}

/// What an operator should know about so many voters.
pub(super) fn warning(voters: &Voters) -> Option<String> {
    let count = voters.len();
    (count.is_multiple_of(2)).then(|| {
        format!(
            "{count} voters bear the loss of {}, no more than {} do: add one, or remove one",
            count - majority(count),
            count - 1
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(ids: &[NodeId]) -> Voters {
        ids.iter().copied().collect()
    }

    #[test]
    fn both_sides_of_a_change_need_a_majority_that_answers() {
        let three = set(&[1, 2, 3]);
        let all = set(&[1, 2, 3, 4]);
        assert_eq!(keeps_quorum(&[&three, &set(&[1, 2, 4])], &all), Ok(()));
        // One of three is down: it may be removed or replaced, another one not removed.
        let up = set(&[1, 2, 4]);
        assert_eq!(keeps_quorum(&[&three, &set(&[1, 2])], &up), Ok(()));
        assert_eq!(keeps_quorum(&[&three, &set(&[1, 2, 4])], &up), Ok(()));
        assert_eq!(keeps_quorum(&[&three, &set(&[1, 2, 3, 4])], &up), Ok(()));
        let lost = ChangeRefusal::QuorumLost { voters: 2, reachable: 1, needed: 2 };
        assert_eq!(keeps_quorum(&[&three, &set(&[1, 3])], &up), Err(lost));
        // Without a majority of the old ones nothing can be decided at all.
        let lost = ChangeRefusal::QuorumLost { voters: 3, reachable: 1, needed: 2 };
        assert_eq!(keeps_quorum(&[&three, &set(&[1])], &set(&[1, 4])), Err(lost));
    }

    #[test]
    fn even_counts_are_warned_about() {
        assert_eq!(warning(&set(&[1, 2, 3])), None);
        assert_eq!(warning(&set(&[1])), None);
        let four = warning(&set(&[1, 2, 3, 4])).unwrap();
        assert!(four.starts_with("4 voters bear the loss of 1, no more than 3 do"), "{four}");
        assert!(warning(&set(&[1, 2])).unwrap().starts_with("2 voters bear the loss of 0"));
    }
}
