//! How much room the disks of the voters have, as far as this node knows.
//!
//! Each node watches its own disk and says with every answer to its leader whether that is low. So
//! the leader knows how many voters could take more: a command that makes the data grow is refused
//! before a majority has full disks, and leadership goes to a node that has room.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use lockbox_core::NodeId;

/// The disks at both ends of all links.
#[derive(Debug, Default)]
pub(crate) struct DiskRoom {
    own_is_low: AtomicBool,
    /// Whether any peer is: what each proposal looks at first.
    some_peer_is_low: AtomicBool,
    /// What each peer has said last.
    peers: Mutex<BTreeMap<NodeId, bool>>,
}

impl DiskRoom {
    /// Takes in how it is on this node's own disk.
    pub(crate) fn set_own(&self, is_low: bool) {
        self.own_is_low.store(is_low, Ordering::Relaxed);
    }

    /// Whether this node's own disk is low.
    pub(crate) fn own_is_low(&self) -> bool {
        self.own_is_low.load(Ordering::Relaxed)
    }

    /// Takes in what a peer has said.
    pub(crate) fn heard(&self, peer: NodeId, is_low: bool) {
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        if peers.insert(peer, is_low) == Some(is_low) {
            return;
        }
        self.some_peer_is_low.store(peers.values().any(|is_low| *is_low), Ordering::Relaxed);
        if is_low {
            tracing::warn!(peer, "the disk of a peer has little room left");
        }
    }

    /// Whether any disk is known to be low.
    pub(crate) fn is_tight(&self) -> bool {
        self.own_is_low() || self.some_peer_is_low.load(Ordering::Relaxed)
    }

    /// The voters other than `me` that are not known to be low.
    pub(crate) fn others_with_room(&self, me: NodeId, voters: &BTreeSet<NodeId>) -> Vec<NodeId> {
        let peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        let has_room = |id: &&NodeId| **id != me && !peers.get(id).copied().unwrap_or(false);
        voters.iter().filter(has_room).copied().collect()
    }

    /// Whether this node must not propose what makes the data grow: its own disk is low, or those
    /// of so many voters that the others are no majority.
    pub(crate) fn refuses_growth(&self, me: NodeId, voters: &BTreeSet<NodeId>) -> bool {
        let with_room = self.others_with_room(me, voters).len() + usize::from(voters.contains(&me));
        self.own_is_low() || with_room * 2 <= voters.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_majority_with_room_takes_more_unless_this_node_has_none() {
        let (room, voters) = (DiskRoom::default(), BTreeSet::from([1, 2, 3]));
        let refuses = || room.refuses_growth(1, &voters);
        assert!(!refuses() && !room.is_tight());
        room.heard(2, true);
        assert!(!refuses() && room.is_tight());
        assert_eq!(room.others_with_room(1, &voters), [3]);
        room.heard(3, true);
        assert!(refuses());
        room.heard(2, false);
        assert!(!refuses());
        room.set_own(true);
        assert!(refuses());
        room.set_own(false);
        // A learner has no say.
        room.heard(9, true);
        assert!(!refuses());
        assert!(!room.refuses_growth(1, &BTreeSet::from([1])));
    }
}
