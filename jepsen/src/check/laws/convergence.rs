//! L13: after healing, all members reach the same applied index with the same state: at one
//! index the hashes of all column families are equal on all nodes at all times, and after the
//! final operations every member of the last membership shows the same index.
//!
//! Also that the dumped logs of all nodes agree; a dump that disagrees never becomes a
//! [`CommittedLog`](crate::history::log_dump::CommittedLog), and is told by the verdict.

use std::collections::{BTreeMap, BTreeSet};

use crate::history::event::Phase;
use crate::history::ids::NodeId;
use crate::history::sample::{RaftSample, StateHash};

use super::{Case, Law, LawReport, Violation};

/// Judges a case.
#[must_use]
pub fn check(case: &Case<'_>) -> LawReport {
    let mut by_index: BTreeMap<u64, (NodeId, &StateHash)> = BTreeMap::new();
    let (mut hashes, mut compared) = (0, 0);
    let mut violation = None;
    for sample in &case.history.samples {
        let Some(hash) = &sample.state_hash else { continue };
        hashes += 1;
        let (node, known) = *by_index.entry(hash.index).or_insert((sample.node, hash));
        compared += u64::from(node != sample.node);
        violation = violation.or_else(|| differs(node, known, sample.node, hash));
    }
    let last = after_the_end(case);
    violation = violation.or_else(|| apart(&last));
    let counts = [
        ("members compared at the end", last.members as u64),
        ("state hashes", hashes),
        ("compared with another node's", compared),
    ];
    let nothing = last.missing.as_deref().unwrap_or("no state was hashed at the end");
    LawReport::new(Law::L13, violation, &counts, nothing)
}

fn differs(one: NodeId, known: &StateHash, other: NodeId, hash: &StateHash) -> Option<Violation> {
    let names: BTreeSet<&String> = known.families.keys().chain(hash.families.keys()).collect();
    let family =
        names.into_iter().find(|name| known.families.get(*name) != hash.families.get(*name))?;
    let sentence = format!(
        "nodes {one} and {other} have different states at index {}: column family {family} differs",
        hash.index
    );
    Some(Violation { ops: Vec::new(), sentence })
}

/// What the members showed once the final operations were done.
#[derive(Default)]
struct Last {
    members: usize,
    indexes: BTreeMap<NodeId, u64>,
    missing: Option<String>,
}

fn after_the_end(case: &Case<'_>) -> Last {
    let Some(done) = case.history.phase(Phase::Done) else {
        let missing = Some("the run did not come to its end".to_owned());
        return Last { missing, ..Last::default() };
    };
    let samples: Vec<&RaftSample> =
        case.history.samples.iter().filter(|sample| sample.at.order > done.order).collect();
    let Some(newest) = samples.iter().max_by_key(|sample| (sample.term, sample.at.order)) else {
        let missing = Some("no node was looked at after the end".to_owned());
        return Last { missing, ..Last::default() };
    };
    let members: BTreeSet<NodeId> = newest.voters.iter().chain(&newest.learners).copied().collect();
    let mut indexes = BTreeMap::new();
    for sample in samples {
        if let Some(hash) = &sample.state_hash
            && members.contains(&sample.node)
        {
            indexes.insert(sample.node, hash.index);
        }
    }
    let absent = members.iter().find(|node| !indexes.contains_key(node));
    let missing = absent.map(|node| format!("the state of node {node} was not hashed at the end"));
    let members = if missing.is_none() { members.len() } else { 0 };
    Last { members, indexes, missing }
}

fn apart(last: &Last) -> Option<Violation> {
    let (low_node, low) = last.indexes.iter().min_by_key(|(_, index)| **index)?;
    let (high_node, high) = last.indexes.iter().max_by_key(|(_, index)| **index)?;
    if low == high {
        return None;
    }
    let sentence = format!(
        "at the end node {low_node} had applied up to index {low} and node {high_node} up to {high}"
    );
    Some(Violation { ops: Vec::new(), sentence })
}

#[cfg(test)]
mod tests {
    use crate::check::laws::Finding;
    use crate::check::script::Script;

    use super::*;

    fn hashed(script: &mut Script, node: u64, index: u64, hash: &str) {
        script.sample_with(node, |sample| {
            let families = BTreeMap::from([("records".to_owned(), hash.to_owned())]);
            sample.state_hash = Some(StateHash { index, families });
        });
    }

    fn finding(hashes: &[(u64, u64, &str)]) -> Finding {
        let mut script = Script::new();
        hashed(&mut script, 1, 5, "aa");
        script.phase(Phase::Done);
        for (node, index, hash) in hashes {
            hashed(&mut script, *node, *index, hash);
        }
        let history = script.history();
        check(&Case::new(&history, None)).finding
    }

    #[test]
    fn equal_states_hold() {
        assert_eq!(finding(&[(1, 9, "bb"), (2, 9, "bb"), (3, 9, "bb")]), Finding::Holds);
    }

    #[test]
    fn different_states_at_one_index_are_a_violation_at_any_time() {
        let found = finding(&[(1, 9, "bb"), (2, 9, "bb"), (3, 9, "cc")]);
        let Finding::Violated { sentence, .. } = found else { panic!("{found:?}") };
        let expected = "nodes 1 and 3 have different states at index 9: column family records \
                        differs";
        assert_eq!(sentence, expected);
        assert!(matches!(finding(&[(2, 5, "ab")]), Finding::Violated { .. }));
    }

    #[test]
    fn a_node_that_stays_behind_is_a_violation() {
        let found = finding(&[(1, 9, "bb"), (2, 9, "bb"), (3, 8, "b0")]);
        let Finding::Violated { sentence, .. } = found else { panic!("{found:?}") };
        let expected = "at the end node 3 had applied up to index 8 and node 1 up to 9";
        assert!(sentence == expected || sentence.ends_with("node 2 up to 9"), "{sentence}");
    }

    #[test]
    fn a_member_that_nobody_looked_at_is_told() {
        let why = "the state of node 3 was not hashed at the end".to_owned();
        assert_eq!(finding(&[(1, 9, "bb"), (2, 9, "bb")]), Finding::NotChecked { why });
    }
}
