//! Heads of the nodes' audits, anchored in the log (`design §10`).
//!
//! A node's audit is a chain, so the hash of one record stands for all before it. What a quorum has
//! of it cannot be taken back by whoever has the node's disk.

use std::fmt;

use lockbox_core::{LogTime, NodeId};
use minicbor::{Decode, Encode};

/// Heads of one node that are kept; with one every ten seconds, those of its last three quarters
/// of an hour of work. The newest one stands for all before it: older ones say where it was that
/// something changed.
pub const HEADS_MAX: usize = 256;
/// Heads that are kept of chains which a node did not go on with.
pub const ABANDONED_MAX: usize = 32;

/// The last record of a node's audit that was on its disk.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct AuditHead {
    /// The node.
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
        write!(f, "record {} of the audit of node {}", self.sequence, self.node_id)
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
    /// Heads that the next one did not follow, for its number was no larger: the node began
    /// another chain, or two proposals came in another order than they were made. The oldest first.
    #[n(1)]
    pub abandoned: Vec<AnchoredHead>,
}

impl AuditHeads {
    /// Takes a head in, and lets go of what is too old; false when it is the last one once more.
    pub fn anchor(&mut self, anchored: AnchoredHead) -> bool {
        if let Some(last) = self.newest.last() {
            let (known, new) = (&last.head, &anchored.head);
            if (known.sequence, known.hash) == (new.sequence, new.hash) {
                return false;
            }
            if new.sequence <= known.sequence {
                self.abandoned.push(last.clone());
                drop_first(&mut self.abandoned, ABANDONED_MAX);
            }
        }
        self.newest.push(anchored);
        drop_first(&mut self.newest, HEADS_MAX);
        true
    }
}

fn drop_first(heads: &mut Vec<AnchoredHead>, kept: usize) {
    let too_many = heads.len().saturating_sub(kept);
    heads.drain(..too_many);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(sequence: u64, hash: u8) -> AnchoredHead {
        let (told_at, signature) = (LogTime::from_ms(1), None);
        let head = AuditHead { node_id: 1, sequence, hash: [hash; 32], told_at, signature };
        AnchoredHead { head, index: sequence, anchored_at: LogTime::from_ms(2) }
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
        let signed = AuditHead { signature: Some(signature), ..head };
        let encoded = minicbor::to_vec(&signed).unwrap();
        assert_eq!(minicbor::decode::<AuditHead>(&encoded).unwrap(), signed);
    }

    #[test]
    fn the_newest_are_kept() {
        let mut heads = AuditHeads::default();
        for sequence in 0..300 {
            assert!(heads.anchor(head(sequence, 1)));
        }
        assert!(!heads.anchor(head(299, 1)), "the same once more");
        let numbers: Vec<u64> = heads.newest.iter().map(|known| known.head.sequence).collect();
        let first = 300 - HEADS_MAX as u64;
        assert_eq!(numbers, (first..300).collect::<Vec<u64>>());
        assert!(heads.abandoned.is_empty());
    }

    #[test]
    fn a_chain_that_was_not_gone_on_with_is_remembered() {
        let mut heads = AuditHeads::default();
        assert!(heads.anchor(head(7, 1)) && heads.anchor(head(2, 2)) && heads.anchor(head(2, 3)));
        assert!(heads.anchor(head(9, 3)));
        assert_eq!(heads.abandoned, [head(7, 1), head(2, 2)]);
        for round in 0..100 {
            heads.anchor(head(1, round));
        }
        assert_eq!(heads.abandoned.len(), ABANDONED_MAX);
    }
}
