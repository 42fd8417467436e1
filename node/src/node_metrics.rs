//! What is read of a node at each scrape, beside the replica's positions: who leads and who lags,
//! the engines, the queues, the keyring, and what is billed.
//!
//! No label is the id of a resource; members are nodes.

use std::sync::atomic::Ordering;

use lockbox_platform::detach::Calls;
use lockbox_platform::metrics::{Metrics, MetricsError};
use lockbox_platform::sampled::{Reading, Series};
use lockbox_raft::Replica;
use lockbox_raft::domain::keyring::{KeyPurpose, KeyStage, KeyringKeyRecord};
use lockbox_raft::state::tables;
use lockbox_raft::store::EngineStats;

use crate::app::App;
use crate::keyring::Keyring;
use crate::kms::KmsClient;
use crate::rotation::Rotation;
use crate::streams::Streams;

const LEADER: Series =
    Series::gauge("raft_leader_node_id", "The leader that this node knows; 0 while it knows none.");
const COMMIT_LAG: Series = Series::gauge(
    "raft_commit_lag_entries",
    "Entries in this node's log that are not known to be committed.",
);
const APPLY_LAG: Series =
    Series::gauge("raft_apply_lag_entries", "Committed entries that this node has not applied.");
const MEMBER_LAG: Series = Series::gauge(
    "raft_member_lag_entries",
    "Entries that are not known to be on a member's disk; the leader alone knows.",
)
.by(&["member"]);
const MEMBERS: Series =
    Series::gauge("raft_members", "Members that this node knows, by kind.").by(&["kind"]);
const TERMS: Series = Series::counter(
    "raft_elections_total",
    "Elections that began since this process started, as far as this node has heard of them.",
);
const LEADERS: Series = Series::counter(
    "raft_leader_changes_total",
    "Times that this node has come to know a leader since this process started.",
);
const SNAPSHOT_AT: Series = Series::gauge(
    "raft_snapshot_timestamp_seconds",
    "When the newest snapshot was written on this node; 0 before the first.",
);
const LOG_SYNCS: Series =
    Series::counter("log_syncs_total", "Batches that the log writer wrote and synced.");

const DATABASE: &[&str] = &["database"];
const TABLES: Series =
    Series::gauge("rocksdb_table_bytes", "Bytes of a database's tables on disk.").by(DATABASE);
const LIVE: Series = Series::gauge(
    "rocksdb_live_bytes",
    "Bytes of them that are neither overwritten nor deleted, as RocksDB estimates.",
)
.by(DATABASE);
const MEMTABLES: Series =
    Series::gauge("rocksdb_memtable_bytes", "Bytes of a database that are in memory alone.")
        .by(DATABASE);
const PENDING: Series = Series::gauge(
    "rocksdb_pending_compaction_bytes",
    "Bytes that compaction has yet to rewrite, as RocksDB estimates.",
)
.by(DATABASE);
const LEVEL0: Series =
    Series::gauge("rocksdb_level0_files", "Files that wait for their first compaction.")
        .by(DATABASE);
const JOBS: Series =
    Series::gauge("rocksdb_running_jobs", "Compactions and flushes under way.").by(DATABASE);
const ERRORS: Series = Series::gauge(
    "rocksdb_background_errors",
    "Errors of compactions and flushes since the database was opened.",
)
.by(DATABASE);
const STOPPED: Series =
    Series::gauge("rocksdb_writes_stopped", "1 while writes wait for compaction.").by(DATABASE);
const CACHE: Series =
    Series::gauge("rocksdb_block_cache_bytes", "Bytes of blocks that both databases keep.");

const QUEUE: &[&str] = &["queue"];
const DEPTH: Series = Series::gauge("queue_depth", "What waits, or is under way.").by(QUEUE);
const DEPTH_MAX: Series =
    Series::gauge("queue_depth_max", "What a queue holds at most; beyond it calls are refused.")
        .by(QUEUE);
const CALLS: Series = Series::gauge(
    "calls_under_way",
    "Calls that are being worked on, those included whose clients have gone.",
);

const SEALED: Series =
    Series::gauge("keyring_sealed", "1 while the node has no keys and serves no secrets.");
const KEYS: Series =
    Series::gauge("keyring_keys", "Keys of the keyring, by purpose and stage of rotation.")
        .by(&["purpose", "stage"]);
const ACTIVE_SINCE: Series = Series::gauge(
    "keyring_active_since_timestamp_seconds",
    "When the key that new work uses was activated, by purpose.",
)
.by(&["purpose"]);
const ROTATING: Series =
    Series::gauge("keyring_rewrap_running", "1 while this node, as leader, rewraps data keys.");
const EXAMINED: Series =
    Series::gauge("keyring_rewrap_examined", "Payloads that the present pass has looked at.");
const VERSIONS: Series =
    Series::gauge("keyring_rewrap_versions", "Payloads that there were when the pass began.");
const REWRAPPED: Series = Series::counter(
    "keyring_rewrapped_total",
    "Data keys that this node, as leader, has put under another key.",
);
const UNREADABLE: Series = Series::gauge(
    "keyring_rewrap_unreadable",
    "Data keys of the present pass that did not open; they keep their key from going.",
);
const PAYLOAD_READS: Series = Series::counter(
    "billed_payload_reads_total",
    "Completed payload reads through this node, of all secrets together.",
);

const SERIES: [Series; 29] = [
    LEADER,
    COMMIT_LAG,
    APPLY_LAG,
    MEMBER_LAG,
    MEMBERS,
    TERMS,
    LEADERS,
    SNAPSHOT_AT,
    LOG_SYNCS,
    TABLES,
    LIVE,
    MEMTABLES,
    PENDING,
    LEVEL0,
    JOBS,
    ERRORS,
    STOPPED,
    CACHE,
    DEPTH,
    DEPTH_MAX,
    CALLS,
    SEALED,
    KEYS,
    ACTIVE_SINCE,
    ROTATING,
    EXAMINED,
    VERSIONS,
    REWRAPPED,
    UNREADABLE,
];
const BILLED: [Series; 1] = [PAYLOAD_READS];

const PURPOSES: [KeyPurpose; 3] =
    [KeyPurpose::WrapDataKeys, KeyPurpose::AuthenticateRequests, KeyPurpose::SignTokens];
const STAGES: [KeyStage; 6] = [
    KeyStage::Added,
    KeyStage::Activated,
    KeyStage::Superseded,
    KeyStage::Closed,
    KeyStage::Emptied,
    KeyStage::Retired,
];

/// Where it is read from.
struct Sources {
    replica: Replica,
    keyring: Keyring,
    rotation: Rotation,
    kms: KmsClient,
    streams: Streams,
    calls: Calls,
}

/// Registers the series of this node.
///
/// # Errors
/// [`MetricsError`] when they are registered already.
pub fn register(metrics: &Metrics, app: &App) -> Result<(), MetricsError> {
    let sources = Sources {
        replica: app.replica.clone(),
        keyring: app.keyring.clone(),
        rotation: app.rotation.clone(),
        kms: app.kms.clone(),
        streams: app.streams.clone(),
        calls: app.calls.clone(),
    };
    metrics.sampled(&SERIES, move |reading| {
        sources.replication(reading);
        sources.storage(reading);
        sources.queues(reading);
        sources.keyring(reading);
    })?;
    let total = app.payload_reads.total();
    metrics.sampled(&BILLED, move |reading| {
        reading.count(&PAYLOAD_READS, &[], total.load(Ordering::Relaxed));
    })
}

impl Sources {
    fn replication(&self, reading: &mut Reading) {
        let replica = &self.replica;
        let status = replica.status();
        reading.count(&LEADER, &[], replica.leader_id().unwrap_or(0));
        reading.count(&COMMIT_LAG, &[], status.last_log.saturating_sub(status.committed));
        reading.count(&APPLY_LAG, &[], status.committed.saturating_sub(status.applied));
        for member in &status.members {
            if let Some(matched) = member.matched {
                let id = member.node_id.to_string();
                reading.count(&MEMBER_LAG, &[id.as_str()], status.last_log.saturating_sub(matched));
            }
        }
        let voters = status.members.iter().filter(|member| member.voter).count();
        reading.count(&MEMBERS, &["voter"], voters as u64);
        reading.count(&MEMBERS, &["learner"], (status.members.len() - voters) as u64);
        reading.count(&TERMS, &[], replica.terms_seen());
        reading.count(&LEADERS, &[], replica.leaders_seen());
        let written = replica.snapshot_written_ms().unwrap_or(0);
        reading.count(&SNAPSHOT_AT, &[], written / 1000);
        reading.count(&LOG_SYNCS, &[], replica.log_stats().syncs());
    }

    fn storage(&self, reading: &mut Reading) {
        let stats = self.replica.storage_stats();
        for (database, of) in [("log", stats.log), ("state", stats.state)] {
            let EngineStats {
                tables_bytes,
                live_bytes,
                memtable_bytes,
                pending_compaction_bytes,
                level0_files,
                running_jobs,
                background_errors,
                writes_stopped,
            } = of;
            for (series, value) in [
                (&TABLES, tables_bytes),
                (&LIVE, live_bytes),
                (&MEMTABLES, memtable_bytes),
                (&PENDING, pending_compaction_bytes),
                (&LEVEL0, level0_files),
                (&JOBS, running_jobs),
                (&ERRORS, background_errors),
                (&STOPPED, u64::from(writes_stopped)),
            ] {
                reading.count(series, &[database], value);
            }
        }
        reading.count(&CACHE, &[], stats.cache_bytes);
    }

    fn queues(&self, reading: &mut Reading) {
        let mut queue = |name: &str, depth: u64, max: u64| {
            reading.count(&DEPTH, &[name], depth);
            // One that is bounded by what stands before it has no bound of its own.
            if max > 0 {
                reading.count(&DEPTH_MAX, &[name], max);
            }
        };
        for of in self.replica.queues() {
            queue(of.queue, of.depth, of.depth_max);
        }
        let kms = self.kms.load();
        queue("kms_calls", kms.in_flight as u64, kms.in_flight_max as u64);
        queue("kms_waiting", kms.waiting as u64, kms.waiting_max as u64);
        let (open, open_max) = self.streams.open();
        queue("watch_streams", open as u64, open_max as u64);
        reading.count(&CALLS, &[], self.calls.len() as u64);
    }

    fn keyring(&self, reading: &mut Reading) {
        reading.count(&SEALED, &[], u64::from(self.keyring.is_sealed()));
        let progress = self.rotation.progress();
        reading.count(&ROTATING, &[], u64::from(progress.running));
        reading.count(&EXAMINED, &[], progress.examined);
        reading.count(&VERSIONS, &[], progress.versions);
        reading.count(&REWRAPPED, &[], progress.rewrapped);
        reading.count(&UNREADABLE, &[], progress.unreadable);
        // As this node's state has it, however old. A state that cannot be read ends the process
        // by itself.
        let read = self.replica.read_stale(|view, _now| tables::keyring(view));
        let Ok(Ok(keys)) = read.map(|read| read.value) else { return };
        for purpose in PURPOSES {
            for stage in STAGES {
                let these = |key: &&KeyringKeyRecord| is_at(key, purpose, stage);
                let count = keys.iter().filter(these).count();
                reading.count(&KEYS, &[purpose.name(), stage.name()], count as u64);
            }
            let active = keys.iter().find(|key| is_at(key, purpose, KeyStage::Activated));
            if let Some(active) = active {
                // An earlier build did not write when a key came to its stage.
                let since = active.staged_time.max(active.created_at);
                reading.count(&ACTIVE_SINCE, &[purpose.name()], since.as_ms() / 1000);
            }
        }
    }
}

fn is_at(key: &KeyringKeyRecord, purpose: KeyPurpose, stage: KeyStage) -> bool {
    key.purpose == purpose && key.stage == stage
}
