//! What can be set of a replica, and what it means to openraft (`openraft.md §5.4`).

use std::path::PathBuf;
use std::time::Duration;

use lockbox_core::{ClusterId, NodeId};
use openraft::{Config, SnapshotPolicy};

use crate::store::StoreOptions;

/// Log entries in one replication request; the log reader ends a batch by bytes as well.
const PAYLOAD_ENTRIES_MAX: u64 = 1024;
/// Entries that the core hands to the log at once.
const APPEND_ENTRIES_MAX: u64 = 4096;
/// Requests queued in front of the core; beyond it callers wait, so the proposer refuses earlier.
const API_CHANNEL_SIZE: u64 = 8192;
/// Covers the transfer and installation of one snapshot. openraft's own default is 200 ms.
const INSTALL_SNAPSHOT_TIMEOUT_MS: u64 = 120_000;
/// A leader without a quorum probes after this many halves of the longest election timeout: more
/// than a lease and an election, which openraft demands.
const QUORUM_LOSS_PROBE_HALVES: u64 = 5;
/// Pauses between calls to a peer that is down: short enough for a restart, and one a second in the
/// long run.
const BACKOFF: &str = "50ms 100ms ...1s";
/// Heartbeats that must fit into the shortest election timeout.
const HEARTBEATS_PER_ELECTION_MIN: u64 = 3;

/// How fast a lost leader is noticed and replaced. Milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Between two heartbeats, and the deadline of one: more than a slow sync of the disk.
    pub heartbeat_ms: u64,
    /// Shortest wait for a leader before an election.
    pub election_timeout_min_ms: u64,
    /// Longest wait for a leader before an election; also the leader's lease.
    pub election_timeout_max_ms: u64,
}

impl Default for Timing {
    fn default() -> Self {
        Self { heartbeat_ms: 100, election_timeout_min_ms: 400, election_timeout_max_ms: 800 }
    }
}

/// When the state is captured and how much log is kept beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotSettings {
    /// Entries behind the last snapshot that make a new one.
    pub logs_since_last: u64,
    /// Entries that a snapshot covers and that stay, so that a node that was briefly away needs
    /// no snapshot.
    pub logs_kept: u64,
    /// Entries that a snapshot covers and that stay at most for a peer that is being sent an older
    /// snapshot, or has not caught up from there.
    pub logs_held_max: u64,
    /// Entries purged at once, and not before there are so many: each purge leaves one range
    /// tombstone (`openraft.md §3.1`).
    pub purge_batch: u64,
}

impl Default for SnapshotSettings {
    fn default() -> Self {
        Self {
            logs_since_last: 50_000,
            logs_kept: 20_000,
            logs_held_max: 200_000,
            purge_batch: 4096,
        }
    }
}

/// How much may wait. Beyond it a caller is refused at once (`design §4`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueLimits {
    /// Proposals under way on this node, forwarded ones included.
    pub proposals_in_flight_max: usize,
    /// Reads that wait for a read point.
    pub reads_waiting_max: usize,
}

impl Default for QueueLimits {
    fn default() -> Self {
        Self { proposals_in_flight_max: 4096, reads_waiting_max: 16_384 }
    }
}

/// How soon what was destroyed is out of the files of a node (`design §6`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DestroySettings {
    /// From its destruction, on a node that runs; the work begins after half of it, so that what
    /// is destroyed meanwhile goes with it.
    pub purge_within: Duration,
}

impl Default for DestroySettings {
    fn default() -> Self {
        Self { purge_within: Duration::from_secs(600) }
    }
}

/// How a node finds out that its data are damaged, and how much is kept of what was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct IntegritySettings {
    /// Between two readings of all files; never when absent.
    pub scrub_interval: Option<Duration>,
    /// How fast they are read, in bytes a second; 0 is as fast as that goes.
    pub scrub_bytes_per_second: u64,
    /// Between two comparisons of the members' states, which the leader begins; never when absent.
    pub state_check_interval: Option<Duration>,
    /// What operations and idempotency records may take in the state, in bytes; any number of them
    /// when absent. The leader's counts.
    pub retained_bytes_max: Option<u64>,
}

/// Everything that is set of one replica.
#[derive(Debug, Clone)]
pub struct ReplicaConfig {
    /// This node; never reused within a cluster (`openraft.md §6`).
    pub node_id: NodeId,
    /// The cluster whose data it must be, once it is any cluster's; any when absent.
    pub cluster_id: Option<ClusterId>,
    /// Where the log, the state and the snapshots are.
    pub data_dir: PathBuf,
    /// Heartbeats and elections.
    pub timing: Timing,
    /// Snapshots.
    pub snapshots: SnapshotSettings,
    /// Queue bounds.
    pub limits: QueueLimits,
    /// What becomes of destroyed payloads.
    pub destroy: DestroySettings,
    /// Damage, and what is kept.
    pub integrity: IntegritySettings,
    /// Caches and batch sizes of the store.
    pub store: StoreOptions,
}

/// A setting that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Too few heartbeats fit into an election timeout.
    #[error("election_timeout_min_ms must be at least {at_least} with this heartbeat_ms")]
    ElectionTimeout {
        /// The least that it may be.
        at_least: u64,
    },
    /// A queue that nothing fits into.
    #[error("{name} must be greater than zero")]
    Zero {
        /// The setting.
        name: &'static str,
    },
    /// The consensus library refuses the values.
    #[error("{0}")]
    Refused(String),
}

impl ReplicaConfig {
    /// The defaults for a node and a directory.
    #[must_use]
    pub fn new(node_id: NodeId, data_dir: PathBuf) -> Self {
        Self {
            node_id,
            cluster_id: None,
            data_dir,
            timing: Timing::default(),
            snapshots: SnapshotSettings::default(),
            limits: QueueLimits::default(),
            destroy: DestroySettings::default(),
            integrity: IntegritySettings::default(),
            store: StoreOptions::default(),
        }
    }

    /// openraft's configuration.
    ///
    /// # Errors
    /// [`ConfigError`] when values contradict each other.
    pub fn to_openraft(&self) -> Result<Config, ConfigError> {
        let timing = &self.timing;
        let at_least = timing.heartbeat_ms.saturating_mul(HEARTBEATS_PER_ELECTION_MIN);
        if timing.election_timeout_min_ms < at_least {
            return Err(ConfigError::ElectionTimeout { at_least });
        }
        for (name, value) in [
            ("proposals_in_flight_max", self.limits.proposals_in_flight_max),
            ("reads_waiting_max", self.limits.reads_waiting_max),
        ] {
            if value == 0 {
                return Err(ConfigError::Zero { name });
            }
        }
        if self.destroy.purge_within.is_zero() {
            return Err(ConfigError::Zero { name: "purge_within" });
        }
        let probe_ms = timing.election_timeout_max_ms.saturating_mul(QUORUM_LOSS_PROBE_HALVES) / 2;
        let config = Config {
            cluster_name: "lockbox".to_owned(),
            backoff: BACKOFF.to_owned(),
            heartbeat_interval: timing.heartbeat_ms,
            election_timeout_min: timing.election_timeout_min_ms,
            election_timeout_max: timing.election_timeout_max_ms,
            // A node that was cut off must not depose a working leader when it returns.
            enable_pre_vote: Some(true),
            // A restored leader could serve a stale ReadIndex (`openraft.md §4.4`, hole B).
            enable_leader_restore: Some(false),
            // A wiped node must come back under a new id, not make the leader forget its log.
            allow_log_reversion: None,
            quorum_loss_probe_interval: Some(probe_ms),
            max_payload_entries: PAYLOAD_ENTRIES_MAX,
            max_append_entries: Some(APPEND_ENTRIES_MAX),
            snapshot_policy: SnapshotPolicy::LogsSinceLast(self.snapshots.logs_since_last),
            // Our own task purges, and says why.
            max_in_snapshot_log_to_keep: u64::MAX,
            install_snapshot_timeout: INSTALL_SNAPSHOT_TIMEOUT_MS,
            api_channel_size: Some(API_CHANNEL_SIZE),
            ..Config::default()
        };
        config.validate().map_err(|error| ConfigError::Refused(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_those_of_the_design() {
        let config = ReplicaConfig::new(1, PathBuf::new()).to_openraft().unwrap();
        assert_eq!(config.heartbeat_interval, 100);
        let backoff: Vec<_> =
            config.build_backoff().take(7).map(|pause| pause.as_millis()).collect();
        assert_eq!(backoff, [50, 100, 200, 400, 800, 1000, 1000]);
        assert_eq!((config.election_timeout_min, config.election_timeout_max), (400, 800));
        assert_eq!(config.enable_pre_vote, Some(true));
        assert_eq!(config.enable_leader_restore, Some(false));
        assert_eq!(config.allow_log_reversion, None);
        assert_eq!(config.max_in_snapshot_log_to_keep, u64::MAX);
        assert_eq!(config.snapshot_policy, SnapshotPolicy::LogsSinceLast(50_000));
        assert!(config.quorum_loss_probe_interval.unwrap() >= 1600);
    }

    #[test]
    fn contradictions_are_refused() {
        let mut config = ReplicaConfig::new(1, PathBuf::new());
        config.timing.heartbeat_ms = 200;
        let refused = config.to_openraft().unwrap_err();
        assert_eq!(refused, ConfigError::ElectionTimeout { at_least: 600 });
        config.timing.election_timeout_min_ms = 900;
        assert!(matches!(config.to_openraft(), Err(ConfigError::Refused(_))));
        config.timing = Timing::default();
        config.limits.reads_waiting_max = 0;
        let refused = config.to_openraft().unwrap_err();
        assert_eq!(refused, ConfigError::Zero { name: "reads_waiting_max" });
    }
}
