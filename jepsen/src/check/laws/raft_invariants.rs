//! L15: what Raft promises, seen from outside: one leader in a term, one vote in a term, terms
//! and committed and applied indexes that never go back, `purged ≤ snapshot ≤ applied ≤
//! committed ≤ last`, voters wherever something is applied, and one term for each committed
//! index, from whichever answer or dump.
//!
//! Our nodes do not tell their votes, so of a real run two votes in a term show by the two leaders
//! that they make.

use std::collections::BTreeMap;

use crate::history::ids::{NodeId, OpId};
use crate::history::sample::{RaftRole, RaftSample};

use super::{Case, Law, LawReport, Violation};

/// Judges a case.
#[must_use]
pub fn check(case: &Case<'_>) -> LawReport {
    let samples = &case.history.samples;
    let mut leaders: BTreeMap<u64, NodeId> = BTreeMap::new();
    let mut votes: BTreeMap<(NodeId, u64), NodeId> = BTreeMap::new();
    let mut last: BTreeMap<(NodeId, &str), &RaftSample> = BTreeMap::new();
    let mut sentence = None;
    for sample in samples {
        // A process that has only just begun tells of its state before its consensus.
        if sample.term == 0 && sample.applied > 0 {
            continue;
        }
        // Such a look is a second one beside those of every moment, and is written when all nodes
        // have hashed their state: what it says of Raft may be old by then.
        if sample.state_hash.is_some() {
            continue;
        }
        // A node whose disk is lost begins anew, until it is refused; what it voted still counts.
        sentence = sentence
            .or_else(|| one_leader(&mut leaders, sample))
            .or_else(|| one_vote(&mut votes, sample));
        let disk = (sample.node, sample.store.as_str());
        if is_installing(sample) {
            let before = last.get(&disk);
            sentence = sentence.or_else(|| before.and_then(|before| keeps_term(before, sample)));
            continue;
        }
        let before = last.insert(disk, sample);
        sentence = sentence
            .or_else(|| in_order(sample))
            .or_else(|| before.and_then(|before| goes_on(before, sample)))
            .or_else(|| before.and_then(|before| knows_voters(before, sample)));
    }
    let (violation, terms) = match sentence {
        Some(sentence) => (Some(Violation { ops: Vec::new(), sentence }), 0),
        None => one_term(case),
    };
    let counts = [
        ("samples", samples.len() as u64),
        ("nodes and their disks", last.len() as u64),
        ("terms with a leader", leaders.len() as u64),
        ("committed indexes with a term", terms),
    ];
    LawReport::new(Law::L15, violation, &counts, "no node was sampled")
}

fn one_leader(leaders: &mut BTreeMap<u64, NodeId>, sample: &RaftSample) -> Option<String> {
    if sample.role != RaftRole::Leader {
        return None;
    }
    let leader = *leaders.entry(sample.term).or_insert(sample.node);
    let (node, term) = (sample.node, sample.term);
    (leader != node).then(|| format!("nodes {leader} and {node} were both leader of term {term}"))
}

fn one_vote(votes: &mut BTreeMap<(NodeId, u64), NodeId>, sample: &RaftSample) -> Option<String> {
    let vote = sample.vote?;
    let (node, term) = (sample.node, sample.term);
    let known = *votes.entry((node, term)).or_insert(vote);
    (known != vote).then(|| format!("node {node} voted for {known} and for {vote} in term {term}"))
}

/// Whether a snapshot is taking the place of the node's log and state: consensus speaks of the log
/// that will be, and the state of the one that was. Should the process end in the middle, the next
/// one goes on from before. Who leads or asks for votes installs nothing.
fn is_installing(sample: &RaftSample) -> bool {
    let follows = matches!(sample.role, RaftRole::Follower | RaftRole::Learner);
    follows && sample.snapshot > sample.applied && sample.last == sample.snapshot
}

fn keeps_term(before: &RaftSample, after: &RaftSample) -> Option<String> {
    let RaftSample { node, term: is, .. } = *after;
    let was = before.term;
    (is < was).then(|| format!("the term of node {node} went back from {was} to {is}"))
}

fn in_order(sample: &RaftSample) -> Option<String> {
    let marks = [
        ("purged", sample.purged),
        ("snapshot", sample.snapshot),
        ("applied", sample.applied),
        ("committed", sample.committed),
        ("last", sample.last),
    ];
    let wrong = marks.windows(2).find(|pair| pair[0].1 > pair[1].1)?;
    let [(low, low_index), (high, high_index)] = [wrong[0], wrong[1]];
    let node = sample.node;
    Some(format!("on node {node} index {low_index} was {low} when only {high_index} was {high}"))
}

/// What is durable never goes back; what a process learns may when another one takes its place.
fn goes_on(before: &RaftSample, after: &RaftSample) -> Option<String> {
    let restarted = before.incarnation != after.incarnation;
    let marks = [
        ("term", before.term, after.term, true),
        ("snapshot", before.snapshot, after.snapshot, true),
        // Nobody waits for a purge to be durable: what comes back is entries that are good.
        ("purged", before.purged, after.purged, !restarted),
        ("committed", before.committed, after.committed, !restarted),
        ("applied", before.applied, after.applied, !restarted),
    ];
    let (what, was, is, _) = *marks.iter().find(|(_, was, is, judged)| *judged && is < was)?;
    let node = after.node;
    Some(format!("the {what} of node {node} went back from {was} to {is}"))
}

/// The first entry of every log is a membership. Twice in a row, for a process that has only just
/// begun may tell of its state before its log.
fn knows_voters(before: &RaftSample, after: &RaftSample) -> Option<String> {
    let forgot = |sample: &RaftSample| sample.applied > 0 && sample.voters.is_empty();
    let same = before.incarnation == after.incarnation;
    (same && forgot(before) && forgot(after)).then(|| {
        let RaftSample { node, applied, .. } = after;
        format!("node {node} had applied {applied} entries and knew no voters")
    })
}

/// The term of each index that was told as an effect is one, and that of the log.
fn one_term(case: &Case<'_>) -> (Option<Violation>, u64) {
    let mut terms: BTreeMap<u64, (u64, Option<OpId>)> = BTreeMap::new();
    for entry in case.log.into_iter().flat_map(crate::history::log_dump::CommittedLog::entries) {
        terms.insert(entry.index, (entry.term, None));
    }
    for op in case.history.ops.iter().filter(|op| op.asked.call.is_mutation()) {
        let Some(reply) = op.success() else { continue };
        if case.resolution.repeats(op.id) {
            continue;
        }
        let (term, by) = *terms.entry(reply.index).or_insert((reply.term, Some(op.id)));
        if term != reply.term {
            let other = by.map_or_else(|| "the log".to_owned(), |other| format!("#{other}"));
            let sentence = format!(
                "index {} was committed in term {} by the answer to #{} and in term {term} by \
                 {other}",
                reply.index, reply.term, op.id
            );
            let ops = by.into_iter().chain([op.id]).collect();
            return (Some(Violation { ops, sentence }), terms.len() as u64);
        }
    }
    (None, terms.len() as u64)
}

#[cfg(test)]
mod tests {
    use crate::check::laws::Finding;
    use crate::check::script::{Script, add, dump, version};
    use crate::history::answer::Answer;
    use crate::history::log_dump::{CommittedLog, EntryKind};
    use crate::history::sample::StateHash;

    use super::*;

    fn violated(change: impl FnOnce(&mut Script)) -> Option<String> {
        let mut script = Script::new();
        script.sample(1, 2, RaftRole::Leader, 10);
        script.sample(2, 2, RaftRole::Follower, 9);
        change(&mut script);
        let history = script.history();
        match check(&Case::new(&history, None)).finding {
            Finding::Violated { sentence, .. } => Some(sentence),
            Finding::Holds => None,
            Finding::NotChecked { why } => panic!("{why}"),
        }
    }

    #[test]
    fn a_healthy_cluster_holds_across_elections_and_restarts() {
        let found = violated(|script| {
            script.sample(2, 3, RaftRole::Leader, 11);
            script.sample_with(1, |sample| {
                (sample.incarnation, sample.term, sample.vote) = (2, 3, Some(NodeId(2)));
                (sample.last, sample.committed, sample.applied) = (11, 7, 7);
                (sample.snapshot, sample.purged) = (6, 5);
            });
        });
        assert_eq!(found, None);
    }

    #[test]
    fn broken_promises_are_violations() {
        let two = violated(|script| script.sample(2, 2, RaftRole::Leader, 9));
        assert_eq!(two.as_deref(), Some("nodes 1 and 2 were both leader of term 2"));

        let back = violated(|script| script.sample(2, 2, RaftRole::Follower, 8));
        assert_eq!(back.as_deref(), Some("the committed of node 2 went back from 9 to 8"));

        let term = violated(|script| {
            script.sample_with(2, |sample| (sample.incarnation, sample.term) = (2, 1));
        });
        assert_eq!(term.as_deref(), Some("the term of node 2 went back from 2 to 1"));

        let another = violated(|script| {
            script.sample_with(2, |sample| sample.store = "another".to_owned());
        });
        assert_eq!(another, None, "it has lost its disk");

        let comes_back = |incarnation: u64| {
            violated(|script| {
                for (incarnation, purged) in [(1, 9), (incarnation, 7)] {
                    script.sample_with(3, |sample| {
                        (sample.last, sample.committed, sample.applied) = (9, 9, 9);
                        (sample.snapshot, sample.purged) = (9, purged);
                        sample.incarnation = incarnation;
                    });
                }
            })
        };
        assert_eq!(comes_back(2), None, "the power was lost");
        let expected = Some("the purged of node 3 went back from 9 to 7");
        assert_eq!(comes_back(1).as_deref(), expected);

        let purged = violated(|script| {
            script.sample_with(3, |sample| {
                (sample.last, sample.committed, sample.applied) = (9, 9, 9);
                (sample.snapshot, sample.purged) = (4, 5);
            });
        });
        let expected = "on node 3 index 5 was purged when only 4 was snapshot";
        assert_eq!(purged.as_deref(), Some(expected));

        let votes = violated(|script| {
            for vote in [1, 3] {
                script.sample_with(3, |sample| {
                    (sample.term, sample.vote) = (7, Some(NodeId(vote)));
                });
            }
        });
        assert_eq!(votes.as_deref(), Some("node 3 voted for 1 and for 3 in term 7"));

        let fresh = violated(|script| {
            script.sample_with(2, |sample| {
                (sample.incarnation, sample.term) = (2, 0);
                (sample.last, sample.committed, sample.applied) = (9, 9, 9);
            });
        });
        assert_eq!(fresh, None, "it has not read its vote yet");

        let installing = |last: u64, role: RaftRole, term: u64| {
            violated(|script| {
                script.sample_with(2, |sample| {
                    (sample.role, sample.term, sample.applied) = (role, term, 9);
                    (sample.last, sample.snapshot, sample.purged) = (last, 20, 20);
                    sample.committed = last;
                });
                // It ended in the middle of it.
                script.sample_with(2, |sample| {
                    (sample.incarnation, sample.term) = (2, 2);
                    (sample.last, sample.committed, sample.applied) = (9, 9, 9);
                    (sample.snapshot, sample.purged) = (5, 4);
                });
            })
        };
        assert_eq!(installing(20, RaftRole::Follower, 2), None);
        let expected = Some("on node 2 index 20 was snapshot when only 9 was applied");
        assert_eq!(installing(21, RaftRole::Follower, 2).as_deref(), expected);
        assert_eq!(installing(20, RaftRole::Candidate, 2).as_deref(), expected);
        let expected = Some("nodes 1 and 2 were both leader of term 2");
        assert_eq!(installing(20, RaftRole::Leader, 2).as_deref(), expected);
        let expected = Some("the term of node 2 went back from 2 to 1");
        assert_eq!(installing(20, RaftRole::Follower, 1).as_deref(), expected);

        let forgotten = |looks: u64| {
            violated(|script| {
                for _ in 0..looks {
                    script.sample_with(3, |sample| {
                        (sample.last, sample.committed, sample.applied) = (9, 9, 9);
                        sample.voters.clear();
                    });
                }
            })
        };
        let expected = "node 3 had applied 9 entries and knew no voters";
        assert_eq!(forgotten(2).as_deref(), Some(expected));
        assert_eq!(forgotten(1), None, "it may have begun this moment");
    }

    /// It is taken beside the others, and written when the last node has hashed its state.
    #[test]
    fn a_look_that_waited_for_a_hash_is_no_news_of_raft() {
        let found = |hashed: bool| {
            violated(|script| {
                script.sample_with(3, |sample| (sample.last, sample.snapshot) = (9, 0));
                script.sample_with(3, |sample| {
                    (sample.last, sample.committed, sample.applied) = (9, 9, 9);
                    sample.snapshot = 9;
                });
                script.sample_with(3, |sample| {
                    (sample.last, sample.committed, sample.applied) = (8, 8, 8);
                    sample.snapshot = 5;
                    let families = BTreeMap::new();
                    sample.state_hash = hashed.then_some(StateHash { index: 8, families });
                });
            })
        };
        assert_eq!(found(true), None);
        assert_eq!(found(false).as_deref(), Some("the snapshot of node 3 went back from 9 to 5"));
    }

    #[test]
    fn a_committed_entry_keeps_its_term() {
        let mut script = Script::new();
        script.sample(1, 1, RaftRole::Leader, 1);
        script.done(add("op", &[("a", 1)]), Answer::Version(version("v1", "op", &["a"])), 1);
        let history = script.history();
        let mut dump = dump(1, &[(EntryKind::AddVersion, Some("v1"))]);
        dump.entries[0].term = 2;
        let log = CommittedLog::join([dump]).unwrap();
        let found = check(&Case::new(&history, Some(&log))).finding;
        let Finding::Violated { sentence, .. } = found else { panic!("{found:?}") };
        let expected =
            "index 1 was committed in term 1 by the answer to #0 and in term 2 by the log";
        assert_eq!(sentence, expected);
    }
}
