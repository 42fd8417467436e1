//! Payload reads that nodes report to the meters (`contract §7`), each of them once.

use std::fmt;

use lockbox_core::{CloudId, NodeId};
use minicbor::{Decode, Encode};

/// Starts of one node whose reports are remembered: one that is told again is told within seconds,
/// and a node does not start so often in that time.
pub const INCARNATIONS_MAX: usize = 16;

/// One start of a node; random.
pub type Incarnation = [u8; 16];

/// Reads that a node has answered since its report before this one. Told again under the same
/// number until the node knows that it was applied.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct ReadReport {
    /// The node.
    #[n(0)]
    pub node_id: NodeId,
    /// Its start.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub incarnation: Incarnation,
    /// The number of the report since that start.
    #[n(2)]
    pub sequence: u64,
    /// The reads, each cloud once.
    #[n(3)]
    pub reads: Vec<CloudReads>,
}

impl fmt::Debug for ReadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "report {} of the reads of node {}", self.sequence, self.node_id)
    }
}

/// Completed reads of secrets of one cloud.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct CloudReads {
    /// The cloud.
    #[n(0)]
    pub cloud_id: CloudId,
    /// How many.
    #[n(1)]
    pub reads: u64,
}

/// Which reports of one node were counted.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct ReportsCounted {
    /// The last one of each start, in the order in which the starts were heard of.
    #[n(0)]
    last: Vec<LastReport>,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
struct LastReport {
    #[cbor(n(0), with = "minicbor::bytes")]
    incarnation: Incarnation,
    #[n(1)]
    sequence: u64,
}

impl ReportsCounted {
    /// Notes a report; false when it was counted before. A node makes the next one only when it
    /// knows that this one was applied, so whatever has no larger number was.
    pub fn note(&mut self, report: &ReadReport) -> bool {
        let ReadReport { incarnation, sequence, .. } = *report;
        match self.last.iter_mut().find(|last| last.incarnation == incarnation) {
            Some(last) if sequence <= last.sequence => return false,
            Some(last) => last.sequence = sequence,
            None => {
                self.last.push(LastReport { incarnation, sequence });
                let too_many = self.last.len().saturating_sub(INCARNATIONS_MAX);
                self.last.drain(..too_many);
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(incarnation: u8, sequence: u64) -> ReadReport {
        let incarnation = [incarnation; 16];
        ReadReport { node_id: 1, incarnation, sequence, reads: Vec::new() }
    }

    #[test]
    fn a_report_is_counted_once() {
        let mut counted = ReportsCounted::default();
        let mut note = |incarnation, sequence| counted.note(&report(incarnation, sequence));
        assert!(note(1, 1) && note(1, 2));
        assert!(!note(1, 2) && !note(1, 1), "told again");
        assert!(note(2, 1), "the node has started again");
        assert!(!note(1, 2), "a late copy of what it told before");
        assert!(note(1, 3), "what it told last before arrives last");
    }

    #[test]
    fn no_more_starts_are_remembered_than_are_kept() {
        let mut counted = ReportsCounted::default();
        for incarnation in 0..100 {
            assert!(counted.note(&report(incarnation, 1)));
        }
        assert_eq!(counted.last.len(), INCARNATIONS_MAX);
        assert!(!counted.note(&report(99, 1)));
    }
}
