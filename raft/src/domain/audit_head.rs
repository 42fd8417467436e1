//! Heads of the audits of the nodes and of the KMS, anchored in the log (`design §10`).
//!
//! An audit is a chain, so the hash of one record stands for all before it. What a quorum has of it
//! cannot be taken back by whoever has the server's disk. The KMS is a node here, under an id that
//! no node has ([`KMS_AUDIT_ID`]): the leader proposes for it.
//!
//! Promises: each head that is kept was followed by the next one, line by line as the node read its
//! own files, or is kept as abandoned; whatever a node does afterwards, the first of those stay.

use std::fmt;

use lockbox_core::{KMS_AUDIT_ID, LogTime, NodeId};
use minicbor::{Decode, Encode};

/// Heads of one node that are kept; with one every ten seconds, those of its last three quarters
/// of an hour of work. The newest one stands for all before it that is not abandoned, for the node
/// found each in its files on the way to the next ([`After`]): older ones say where it was that
/// something changed.
pub const HEADS_MAX: usize = 256;
/// Heads that are kept of chains which a node did not go on with: the first ones, so that nothing
/// that comes later pushes them out. When there are so many, further ones are not remembered, which
/// whoever verifies takes for a finding.
pub const ABANDONED_MAX: usize = 32;

/// The last record of a node's audit that was on its disk.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct AuditHead {
    /// The node, or [`KMS_AUDIT_ID`].
    #[n(0)]
    pub node_id: NodeId,
    /// The record's number.
    #[n(1)]
    pub sequence: u64,
    /// SHA-256 of its line.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub hash: [u8; 32],
    /// The node's own clock when it told.
    #[n(3)]
    pub told_at: LogTime,
    /// Absent when the node was sealed, and in what an earlier build wrote.
    #[n(4)]
    pub signature: Option<HeadSignature>,
    /// Retention has taken the records up to this one, or is about to: whatever else is missing was
    /// taken by somebody else. No smaller than in the head before.
    #[n(5)]
    pub removed_through: Option<u64>,
    /// Absent in what an earlier build wrote.
    #[n(6)]
    pub after: Option<After>,
}

impl AuditHead {
    /// Which record it is.
    #[must_use]
    pub const fn mark(&self) -> HeadMark {
        HeadMark { sequence: self.sequence, hash: self.hash }
    }
}

/// A record and its hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct HeadMark {
    /// The record's number.
    #[n(0)]
    pub sequence: u64,
    /// SHA-256 of its line.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub hash: [u8; 32],
}

impl HeadMark {
    /// Whether numbers and hashes allow that this record leads to that one, or is the same.
    #[must_use]
    pub fn may_lead_to(self, later: Self) -> bool {
        self.sequence < later.sequence || self == later
    }
}

/// What the node read of the head that was anchored last, before it proposed another one. A head
/// that comes behind any other is refused: a proposal that was late says nothing of what came
/// meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum After {
    /// None was anchored.
    #[n(0)]
    Nothing,
    /// The node's files lead from that one to the new one, line by line.
    #[n(1)]
    Followed(#[n(0)] HeadMark),
    /// They do not: the record is not there, or is another one, or what follows it was changed.
    #[n(2)]
    Abandoned(#[n(0)] HeadMark),
}

/// The cluster's signature of a head. `apply` keeps it as it is: who reads a head judges it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct HeadSignature {
    /// The half of the key that verifies.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub signer: [u8; 32],
    /// Ed25519, over the cluster, the node, the record, its hash and the node's clock.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub signature: Vec<u8>,
}

impl fmt::Debug for AuditHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.node_id {
            KMS_AUDIT_ID => write!(f, "record {} of the audit of the KMS", self.sequence),
            node_id => write!(f, "record {} of the audit of node {node_id}", self.sequence),
        }
    }
}

/// A head and where in the log it is.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct AnchoredHead {
    /// The head.
    #[n(0)]
    pub head: AuditHead,
    /// The log entry.
    #[n(1)]
    pub index: u64,
    /// Log time of the entry.
    #[n(2)]
    pub anchored_at: LogTime,
}

/// What is anchored of one node's audit.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct AuditHeads {
    /// The newest heads, the oldest first.
    #[n(0)]
    pub newest: Vec<AnchoredHead>,
    /// Heads that the next one did not follow: the node began another chain, or somebody did who
    /// had its disk. The oldest first.
    #[n(1)]
    pub abandoned: Vec<AnchoredHead>,
}

/// Why a head is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadRefused {
    /// It comes behind another one than its node has read.
    Moved,
    /// It is said to follow the last one, and is an earlier record, or another one in its place: so
    /// it does not, whatever is said. Whoever sees that may say that it does not.
    Contradicts,
}

impl AuditHeads {
    /// Takes a head in, and lets go of what is too old; false when it is the last one once more.
    ///
    /// # Errors
    /// [`HeadRefused`]; nothing has changed then.
    pub fn anchor(&mut self, anchored: AnchoredHead) -> Result<bool, HeadRefused> {
        let new = &anchored.head;
        let last = self.newest.last().map(|last| (last.head.mark(), last.head.removed_through));
        if last.is_some_and(|(mark, removed)| mark == new.mark() && removed >= new.removed_through)
        {
            return Ok(false);
        }
        let last = last.map(|(mark, _)| mark);
        let goes_on = match new.after {
            // An earlier build told nothing but numbers.
            None => last.is_none_or(|last| last.sequence < new.sequence),
            Some(After::Nothing) if last.is_none() => true,
            Some(After::Followed(read)) if last == Some(read) => {
                if !read.may_lead_to(new.mark()) {
                    return Err(HeadRefused::Contradicts);
                }
                true
            }
            Some(After::Abandoned(read)) if last == Some(read) => false,
            Some(After::Nothing | After::Followed(_) | After::Abandoned(_)) => {
                return Err(HeadRefused::Moved);
            }
        };
        if !goes_on {
            self.abandon_last();
        }
        self.newest.push(anchored);
        let too_many = self.newest.len().saturating_sub(HEADS_MAX);
        self.newest.drain(..too_many);
        Ok(true)
    }

    /// The last record that retention has taken, as the node has said; nothing when it has taken
    /// none.
    #[must_use]
    pub fn removed_through(&self) -> Option<u64> {
        self.newest.iter().filter_map(|anchored| anchored.head.removed_through).max()
    }

    fn abandon_last(&mut self) {
        let Some(last) = self.newest.last() else { return };
        let is_last = |known: &AnchoredHead| known.head.mark() == last.head.mark();
        // One that is there already takes no second place from another.
        if self.abandoned.len() < ABANDONED_MAX && !self.abandoned.iter().any(is_last) {
            self.abandoned.push(last.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(sequence: u64, hash: u8) -> AnchoredHead {
        let head = AuditHead {
            node_id: 1,
            sequence,
            hash: [hash; 32],
            told_at: LogTime::from_ms(1),
            signature: None,
            removed_through: None,
            after: None,
        };
        AnchoredHead { head, index: sequence, anchored_at: LogTime::from_ms(2) }
    }

    fn mark(sequence: u64, hash: u8) -> HeadMark {
        HeadMark { sequence, hash: [hash; 32] }
    }

    fn head_after(sequence: u64, hash: u8, after: After) -> AnchoredHead {
        let mut told = head(sequence, hash);
        told.head.after = Some(after);
        told
    }

    /// As an earlier build has written it into logs and states.
    #[derive(Encode)]
    struct Unsigned {
        #[n(0)]
        node_id: NodeId,
        #[n(1)]
        sequence: u64,
        #[cbor(n(2), with = "minicbor::bytes")]
        hash: [u8; 32],
        #[n(3)]
        told_at: LogTime,
    }

    #[test]
    fn a_head_without_a_signature_has_the_form_that_it_had() {
        let AnchoredHead { head, .. } = head(7, 1);
        let (node_id, told_at) = (head.node_id, head.told_at);
        let earlier = Unsigned { node_id, sequence: 7, hash: [1; 32], told_at };
        let earlier = minicbor::to_vec(&earlier).unwrap();
        assert_eq!(minicbor::to_vec(&head).unwrap(), earlier);
        assert_eq!(minicbor::decode::<AuditHead>(&earlier).unwrap(), head);
        let signature = HeadSignature { signer: [3; 32], signature: vec![4; 64] };
        for after in [After::Nothing, After::Followed(mark(6, 1)), After::Abandoned(mark(9, 2))] {
            let signature = Some(signature.clone());
            let (removed_through, after) = (Some(3), Some(after));
            let told = AuditHead { signature, removed_through, after, ..head.clone() };
            let encoded = minicbor::to_vec(&told).unwrap();
            assert_eq!(minicbor::decode::<AuditHead>(&encoded).unwrap(), told);
        }
    }

    #[test]
    fn the_newest_are_kept() {
        let mut heads = AuditHeads::default();
        for sequence in 0..300 {
            assert_eq!(heads.anchor(head(sequence, 1)), Ok(true));
        }
        assert_eq!(heads.anchor(head(299, 1)), Ok(false), "the same once more");
        let numbers: Vec<u64> = heads.newest.iter().map(|known| known.head.sequence).collect();
        let first = 300 - HEADS_MAX as u64;
        assert_eq!(numbers, (first..300).collect::<Vec<u64>>());
        assert!(heads.abandoned.is_empty());
    }

    /// An earlier build told numbers alone.
    #[test]
    fn a_number_that_is_no_larger_is_of_another_chain() {
        let mut heads = AuditHeads::default();
        for (sequence, hash) in [(7, 1), (2, 2), (2, 3), (9, 3)] {
            assert_eq!(heads.anchor(head(sequence, hash)), Ok(true));
        }
        assert_eq!(heads.abandoned, [head(7, 1), head(2, 2)]);
    }

    /// A chain that was made anew and is longer than the one before hides it no more than a
    /// shorter one, however many heads follow.
    #[test]
    fn a_chain_that_was_not_gone_on_with_is_remembered() {
        let mut heads = AuditHeads::default();
        assert_eq!(heads.anchor(head_after(7, 1, After::Nothing)), Ok(true));
        let longer = head_after(8, 2, After::Abandoned(mark(7, 1)));
        assert_eq!(heads.anchor(longer), Ok(true));
        for sequence in 9..9 + 2 * HEADS_MAX as u64 {
            let after = After::Followed(mark(sequence - 1, 2));
            assert_eq!(heads.anchor(head_after(sequence, 2, after)), Ok(true));
        }
        assert_eq!(heads.newest.len(), HEADS_MAX);
        let abandoned: Vec<HeadMark> =
            heads.abandoned.iter().map(|anchored| anchored.head.mark()).collect();
        assert_eq!(abandoned, [mark(7, 1)]);
    }

    /// Restarts behind one cut, as often as anybody likes.
    #[test]
    fn what_was_abandoned_first_is_not_pushed_out() {
        let mut heads = AuditHeads::default();
        assert_eq!(heads.anchor(head_after(200, 1, After::Nothing)), Ok(true));
        let mut last = mark(200, 1);
        for round in 0..100 {
            for (sequence, hash) in [(5, 1), (9, round)] {
                let after = match sequence {
                    5 => After::Abandoned(last),
                    _ => After::Followed(last),
                };
                assert_eq!(heads.anchor(head_after(sequence, hash, after)), Ok(true));
                last = mark(sequence, hash);
            }
        }
        assert_eq!(heads.abandoned.len(), ABANDONED_MAX);
        assert_eq!(heads.abandoned[0].head.mark(), mark(200, 1));

        // The same one again and again takes one place.
        let mut heads = AuditHeads::default();
        assert_eq!(heads.anchor(head_after(7, 1, After::Nothing)), Ok(true));
        for _ in 0..50 {
            let cut = head_after(5, 1, After::Abandoned(mark(7, 1)));
            let back = head_after(7, 1, After::Followed(mark(5, 1)));
            assert_eq!((heads.anchor(cut), heads.anchor(back)), (Ok(true), Ok(true)));
        }
        assert_eq!(heads.abandoned.len(), 1);
    }

    /// A proposal that comes late knows nothing of what came meanwhile.
    #[test]
    fn a_head_behind_another_one_than_was_read_is_refused() {
        let mut heads = AuditHeads::default();
        assert_eq!(
            heads.anchor(head_after(7, 1, After::Followed(mark(3, 1)))),
            Err(HeadRefused::Moved)
        );
        assert_eq!(heads.anchor(head_after(7, 1, After::Nothing)), Ok(true));
        let kept = heads.clone();
        for after in [
            After::Nothing,
            After::Followed(mark(7, 2)),
            After::Followed(mark(6, 1)),
            After::Abandoned(mark(6, 1)),
        ] {
            assert_eq!(heads.anchor(head_after(9, 1, after)), Err(HeadRefused::Moved), "{after:?}");
        }
        assert_eq!(heads.anchor(head_after(7, 1, After::Nothing)), Ok(false), "a copy");
        assert_eq!(heads, kept);
    }

    /// Numbers that go backwards, and another record in the place of the last one, follow nothing.
    #[test]
    fn a_head_that_cannot_follow_is_refused_until_it_is_said_not_to() {
        let mut heads = AuditHeads::default();
        assert_eq!(heads.anchor(head_after(7, 1, After::Nothing)), Ok(true));
        let kept = heads.clone();
        for (sequence, hash) in [(6, 1), (0, 2), (7, 2)] {
            let told = head_after(sequence, hash, After::Followed(mark(7, 1)));
            assert_eq!(heads.anchor(told), Err(HeadRefused::Contradicts), "{sequence} {hash}");
            assert_eq!(heads, kept);
        }
        let honest = head_after(7, 2, After::Abandoned(mark(7, 1)));
        assert_eq!(heads.anchor(honest), Ok(true));
        assert_eq!(heads.abandoned[0].head.mark(), mark(7, 1));
    }

    #[test]
    fn what_retention_takes_is_told_behind_the_same_record() {
        let mut heads = AuditHeads::default();
        assert_eq!(heads.anchor(head_after(7, 1, After::Nothing)), Ok(true));
        assert_eq!(heads.removed_through(), None);
        let mut removing = head_after(7, 1, After::Followed(mark(7, 1)));
        removing.head.removed_through = Some(4);
        assert_eq!(heads.anchor(removing.clone()), Ok(true));
        assert_eq!((heads.removed_through(), heads.abandoned.len()), (Some(4), 0));
        assert_eq!(heads.anchor(removing), Ok(false));
    }
}
