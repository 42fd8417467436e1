//! Consensus: its times, and how much of the log is kept.

use lockbox_platform::config_file::WrongValue;
use serde::Deserialize;

/// Consensus: timing and snapshots (`openraft.md §5.4`).
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RaftConfig {
    /// Time between heartbeats; also the deadline of one, in milliseconds.
    pub heartbeat_ms: u64,
    /// Shortest election timeout, in milliseconds.
    pub election_min_ms: u64,
    /// Longest election timeout, in milliseconds.
    pub election_max_ms: u64,
    /// Entries between snapshots.
    pub snapshot_entries: u64,
    /// Entries kept in the log behind a snapshot.
    pub entries_kept: u64,
    /// Entries kept at most for a peer that is being sent a snapshot, so that it needs no second
    /// one: the log may grow by so many on disk.
    pub entries_held_max: u64,
}

impl Default for RaftConfig {
    fn default() -> Self {
        Self {
            heartbeat_ms: 100,
            election_min_ms: 400,
            election_max_ms: 800,
            snapshot_entries: 50_000,
            entries_kept: 20_000,
            entries_held_max: 200_000,
        }
    }
}

impl RaftConfig {
    /// Refuses times that would elect again and again.
    pub(super) fn check(&self) -> Result<(), WrongValue> {
        let wrong = |key, problem| Err(WrongValue { key, problem });
        if self.heartbeat_ms == 0 || self.election_min_ms < 2 * self.heartbeat_ms {
            return wrong("raft.election_min_ms", "must be at least twice raft.heartbeat_ms");
        }
        if self.election_max_ms <= self.election_min_ms {
            return wrong("raft.election_max_ms", "must be larger than raft.election_min_ms");
        }
        if self.snapshot_entries == 0 {
            return wrong("raft.snapshot_entries", "must be positive");
        }
        Ok(())
    }
}
