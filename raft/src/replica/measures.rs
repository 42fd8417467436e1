//! What is measured of a replica beside its status: queues, engines, snapshots, elections.
//!
//! For `/metrics` alone: nothing here decides anything.

use std::sync::atomic::{AtomicU64, Ordering};

use lockbox_core::NodeId;

use super::Replica;
use super::leadership::Leadership;
use crate::store::EngineStats;

/// How much waits, and how much may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueDepth {
    /// A name for people.
    pub queue: &'static str,
    /// What is in it now.
    pub depth: u64,
    /// What fits into it; beyond that callers are refused. 0 where it is bounded elsewhere.
    pub depth_max: u64,
}

/// Insides of the storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StorageStats {
    /// Of the log.
    pub log: EngineStats,
    /// Of the state.
    pub state: EngineStats,
    /// Bytes of blocks that both together keep in memory.
    pub cache_bytes: u64,
}

/// Terms and leaders that a node has seen since it started.
#[derive(Debug, Default)]
pub(super) struct Elections {
    terms: AtomicU64,
    leaders: AtomicU64,
}

impl Elections {
    /// Counts what has changed.
    pub(super) fn note(&self, before: Leadership, after: Leadership) {
        self.terms.fetch_add(after.term.saturating_sub(before.term), Ordering::Relaxed);
        if after.leader.is_some() && (after.term, after.leader) != (before.term, before.leader) {
            self.leaders.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Replica {
    /// The bounded queues of this replica.
    #[must_use]
    pub fn queues(&self) -> [QueueDepth; 3] {
        let inner = &self.0;
        let proposals_max = inner.config.limits.proposals_in_flight_max;
        let proposals = proposals_max.saturating_sub(inner.proposer.in_flight.available_permits());
        let (reads, reads_max) = inner.barrier.waiting();
        let depth = |queue, depth: usize, max: usize| QueueDepth {
            queue,
            depth: depth as u64,
            depth_max: max as u64,
        };
        [
            depth("proposals", proposals, proposals_max),
            depth("reads", reads, reads_max),
            depth("log_writes", inner.log_reader.writes_waiting(), 0),
        ]
    }

    /// The insides of the storage. Asks the engines: a few milliseconds at most.
    #[must_use]
    pub fn storage_stats(&self) -> StorageStats {
        let inner = &self.0;
        StorageStats {
            log: inner.log_reader.stats(),
            state: inner.state.stats(),
            cache_bytes: inner.engines.cache_bytes(),
        }
    }

    /// When the newest snapshot was written on this node, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn snapshot_written_ms(&self) -> Option<u64> {
        self.0.inbox.current_written_ms()
    }

    /// Terms that have begun since this process started, as far as this node has heard of them:
    /// each is an election, won or not.
    #[must_use]
    pub fn terms_seen(&self) -> u64 {
        self.0.elections.terms.load(Ordering::Relaxed)
    }

    /// Leaders that this node has come to know since this process started; the first one counts.
    #[must_use]
    pub fn leaders_seen(&self) -> u64 {
        self.0.elections.leaders.load(Ordering::Relaxed)
    }

    /// The leader that this node knows.
    #[must_use]
    pub fn leader_id(&self) -> Option<NodeId> {
        self.0.leadership.current().leader
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_election_without_a_winner_is_a_term_and_no_leader() {
        let elections = Elections::default();
        let at = |term, leader| Leadership { term, leader, is_leader: false };
        let steps =
            [at(1, None), at(1, Some(2)), at(1, None), at(1, Some(2)), at(3, None), at(3, Some(1))];
        for pair in steps.windows(2) {
            elections.note(pair[0], pair[1]);
        }
        assert_eq!(elections.terms.load(Ordering::Relaxed), 2);
        assert_eq!(elections.leaders.load(Ordering::Relaxed), 3);
    }
}
