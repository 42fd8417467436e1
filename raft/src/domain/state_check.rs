//! The comparison of all replicas' states, through the log.
//!
//! One entry says of which moment; each member then hashes its whole state as that entry left it,
//! and says so in an entry of its own. What most members agree on is right; a member with another
//! hash has a state that no log has led to, and must not serve.

use std::collections::BTreeMap;

use lockbox_core::{LogTime, NodeId};
use minicbor::{Decode, Encode};

/// What a member found.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct StateReport {
    /// The member, as the node that proposed the report said: peers are trusted for it.
    #[n(0)]
    pub node_id: NodeId,
    /// SHA-256 over its state ([`crate::store::state_hash`]).
    #[cbor(n(1), with = "minicbor::bytes")]
    pub hash: [u8; 32],
}

/// The newest comparison.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct StateCheck {
    /// The entry whose state is compared.
    #[n(0)]
    pub index: u64,
    /// When that was, on the log's clock.
    #[n(1)]
    pub begun_at: LogTime,
    /// What the members have found so far, each once.
    #[n(2)]
    pub reports: Vec<StateReport>,
}

/// What a comparison comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Too few have reported.
    Open,
    /// More than half of the members have this state; whoever has another one is wrong.
    Agreed([u8; 32]),
    /// All have reported, and no state is that of more than half of them: nobody knows who is
    /// wrong.
    Split,
}

impl StateCheck {
    /// Takes a report in; false when this member has reported before.
    #[must_use]
    pub fn report(&mut self, report: StateReport) -> bool {
        let is_new = self.reports.iter().all(|known| known.node_id != report.node_id);
        if is_new {
            self.reports.push(report);
        }
        is_new
    }

    /// What it comes to among these members.
    #[must_use]
    pub fn verdict(&self, members: &[NodeId]) -> Verdict {
        let mut counts: BTreeMap<&[u8; 32], usize> = BTreeMap::new();
        let mut reported = 0;
        for report in self.reports.iter().filter(|report| members.contains(&report.node_id)) {
            reported += 1;
            *counts.entry(&report.hash).or_default() += 1;
        }
        match counts.into_iter().find(|(_, count)| count * 2 > members.len()) {
            Some((hash, _)) => Verdict::Agreed(*hash),
            None if reported == members.len() && reported > 0 => Verdict::Split,
            None => Verdict::Open,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(hashes: &[(NodeId, u8)]) -> StateCheck {
        let mut check = StateCheck { index: 7, begun_at: LogTime::from_ms(1), reports: Vec::new() };
        for (node_id, byte) in hashes {
            let report = StateReport { node_id: *node_id, hash: [*byte; 32] };
            assert!(check.report(report));
        }
        check
    }

    #[test]
    fn most_members_decide_and_one_alone_does_not() {
        let members = [1, 2, 3];
        assert_eq!(check(&[]).verdict(&members), Verdict::Open);
        assert_eq!(check(&[(1, 5)]).verdict(&members), Verdict::Open);
        assert_eq!(check(&[(1, 5), (2, 6)]).verdict(&members), Verdict::Open);
        assert_eq!(check(&[(1, 6), (2, 5), (3, 5)]).verdict(&members), Verdict::Agreed([5; 32]));
        assert_eq!(check(&[(1, 5), (3, 5)]).verdict(&members), Verdict::Agreed([5; 32]));
        assert_eq!(check(&[(1, 5), (2, 6), (3, 7)]).verdict(&members), Verdict::Split);
        assert_eq!(check(&[(1, 5), (2, 6)]).verdict(&[1, 2]), Verdict::Split);
        assert_eq!(check(&[(1, 5)]).verdict(&[1]), Verdict::Agreed([5; 32]));
    }

    #[test]
    fn who_left_has_no_say_and_nobody_says_it_twice() {
        let mut check = check(&[(8, 5), (9, 5), (1, 6)]);
        assert_eq!(check.verdict(&[1, 2, 3]), Verdict::Open);
        assert!(!check.report(StateReport { node_id: 1, hash: [5; 32] }));
        assert_eq!(check.reports.len(), 3);
    }
}
