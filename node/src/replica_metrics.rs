//! The replica in `/metrics`: its part, its positions, its log writer.
//!
//! Read at each scrape from the replica itself, so nothing is counted twice and no task is needed.

use lockbox_platform::metrics::{MetricsError, Prefix};
use lockbox_raft::Replica;
use lockbox_raft::replica::{PayloadStanding, Role};
use lockbox_raft::state::tables;
use lockbox_raft::store::SYNC_BUCKETS_US;
use prometheus::core::{Collector, Desc};
use prometheus::proto::{Bucket, Histogram, Metric, MetricFamily, MetricType};
use prometheus::{IntCounter, IntGauge, IntGaugeVec, Opts};

use crate::disk_guard::DiskIsLow;
use crate::readiness::LeaderHeard;

const MICROS: f64 = 1e6;
const NANOS: f64 = 1e9;

/// All roles, so that the series of a role that was left reads 0.
const ROLES: [Role; 5] =
    [Role::Learner, Role::Follower, Role::Candidate, Role::Leader, Role::Stopped];

/// The replica's metrics.
pub struct ReplicaCollector {
    replica: Replica,
    heard: LeaderHeard,
    disk: DiskIsLow,
    role: IntGaugeVec,
    matched: IntGaugeVec,
    gauges: Gauges,
    counters: Counters,
    sync: Desc,
}

struct Gauges {
    term: IntGauge,
    has_leader: IntGauge,
    last_log: IntGauge,
    committed: IntGauge,
    applied: IntGauge,
    snapshot: IntGauge,
    purged: IntGauge,
    skew_ms: IntGauge,
    unerased: IntGauge,
    unerased_age: IntGauge,
    erased_at: IntGauge,
    purges_first: IntGauge,
    epoch: IntGauge,
    disk_is_low: IntGauge,
    growth_refused: IntGauge,
    retained: IntGauge,
    scrubbed_at: IntGauge,
    agreed: IntGauge,
    split: IntGauge,
}

struct Counters {
    read_rounds: IntCounter,
    reads: IntCounter,
    writes: IntCounter,
    entries: IntCounter,
    bytes: IntCounter,
    scrubbed: IntCounter,
}

fn options(name: &str, help: &str) -> Opts {
    Opts::new(name, help).namespace(Prefix::Lockbox.as_str())
}

fn gauge(name: &'static str, help: &str) -> Result<IntGauge, MetricsError> {
    IntGauge::with_opts(options(name, help)).map_err(|source| MetricsError { name, source })
}

fn counter(name: &'static str, help: &str) -> Result<IntCounter, MetricsError> {
    IntCounter::with_opts(options(name, help)).map_err(|source| MetricsError { name, source })
}

fn gauges(name: &'static str, help: &str, label: &str) -> Result<IntGaugeVec, MetricsError> {
    let made = IntGaugeVec::new(options(name, help), &[label]);
    made.map_err(|source| MetricsError { name, source })
}

impl ReplicaCollector {
    /// A collector for this replica, and for what [`crate::readiness`] finds.
    ///
    /// # Errors
    /// [`MetricsError`] for a malformed name: a fault of the build.
    pub fn new(replica: Replica, heard: LeaderHeard) -> Result<Self, MetricsError> {
        let gauges_of_position = Gauges {
            term: gauge("raft_term", "The term that this node is in.")?,
            has_leader: gauge(
                "raft_has_leader",
                "1 while a leader with a quorum behind it answers this node.",
            )?,
            last_log: gauge("raft_last_log_index", "Last entry in this node's log.")?,
            committed: gauge("raft_committed_index", "Last entry known to be committed.")?,
            applied: gauge("raft_applied_index", "Last entry applied to the state.")?,
            snapshot: gauge("raft_snapshot_index", "Last entry in the newest snapshot.")?,
            purged: gauge("raft_purged_index", "Last entry removed from the log.")?,
            skew_ms: gauge(
                "clock_skew_milliseconds",
                "Largest difference between this node's wall clock and a voter's.",
            )?,
            unerased: gauge(
                "destroyed_payloads_pending",
                "Destroyed payloads, or secrets with theirs, that may still be in this node's \
                 files.",
            )?,
            unerased_age: gauge(
                "destroyed_payloads_pending_age_seconds",
                "Time that the oldest of them has been waiting; destroy.purge_within_seconds bounds \
                 it.",
            )?,
            erased_at: gauge(
                "destroyed_payloads_last_purge_timestamp_seconds",
                "When this process last had taken all of them out of the files; 0 before.",
            )?,
            purges_first: gauge(
                "destroyed_payloads_purging_first",
                "1 while this node, which was away, serves no payload before it has purged what was \
                 destroyed meanwhile.",
            )?,
            epoch: gauge(
                "cluster_epoch",
                "The epoch of the cluster: one more with each quorum that was lost for good.",
            )?,
            disk_is_low: gauge(
                "disk_is_low",
                "1 while less than disk.low_bytes is free where the data or the audit are.",
            )?,
            growth_refused: gauge(
                "disk_growth_refused",
                "1 while this node, if it leads, refuses what makes the data grow.",
            )?,
            retained: gauge(
                "retained_bytes",
                "What operations and idempotency records take in the state, before compression.",
            )?,
            scrubbed_at: gauge(
                "scrub_last_timestamp_seconds",
                "When this process last had read all its files and found them whole; 0 before.",
            )?,
            agreed: gauge(
                "state_check_agreed_index",
                "Entry of the last comparison that found this node's state to be that of most.",
            )?,
            split: gauge(
                "state_check_split_index",
                "Entry of the last comparison that found no state to be that of most members.",
            )?,
        };
        let counters = Counters {
            read_rounds: counter("read_rounds_total", "Leadership confirmations for reads.")?,
            reads: counter("reads_confirmed_total", "Reads that these confirmations served.")?,
            writes: counter("log_writes_total", "Batches that the log writer wrote.")?,
            entries: counter("log_entries_total", "Entries appended to the log.")?,
            bytes: counter("log_bytes_total", "Encoded bytes appended to the log.")?,
            scrubbed: counter("scrub_bytes_total", "Bytes of files read to find damage.")?,
        };
        let name = "log_sync_duration_seconds";
        let sync = Desc::new(
            format!("{}_{name}", Prefix::Lockbox.as_str()),
            "Time of one synced write of the log.".to_owned(),
            Vec::new(),
            std::collections::HashMap::new(),
        );
        Ok(Self {
            replica,
            heard,
            disk: DiskIsLow::default(),
            role: gauges("raft_role", "1 for the part that this node plays.", "role")?,
            matched: gauges(
                "raft_matched_index",
                "Last entry known to be on a member's disk; the leader alone knows.",
                "member",
            )?,
            gauges: gauges_of_position,
            counters,
            sync: sync.map_err(|source| MetricsError { name, source })?,
        })
    }

    /// The same, with what the disk guard finds.
    #[must_use]
    pub fn with_disk(self, disk: DiskIsLow) -> Self {
        Self { disk, ..self }
    }

    /// What is kept of operations; 0 while it is not counted, or cannot be read.
    fn retained(&self) -> u64 {
        let read = self.replica.read_stale(|view, _| tables::retention(view));
        let meter = read.and_then(|reading| reading.value).ok().flatten();
        meter.map_or(0, |meter| meter.bytes)
    }

    fn refresh(&self) {
        let status = self.replica.status();
        for role in ROLES {
            self.role.with_label_values(&[role.name()]).set(i64::from(role == status.role));
        }
        self.matched.reset();
        for member in &status.members {
            if let Some(matched) = member.matched {
                let id = member.node_id.to_string();
                self.matched.with_label_values(&[id.as_str()]).set(signed(matched));
            }
        }
        let (gauges, erasure) = (&self.gauges, self.replica.erasure());
        let integrity = self.replica.integrity();
        gauges.disk_is_low.set(i64::from(self.disk.get()));
        gauges.growth_refused.set(i64::from(self.replica.refuses_growth()));
        gauges.has_leader.set(i64::from(self.heard.get()));
        let purges_first = self.replica.payload_standing() == PayloadStanding::PurgesFirst;
        gauges.purges_first.set(i64::from(purges_first));
        for (gauge, value) in [
            (&gauges.term, status.term),
            (&gauges.last_log, status.last_log),
            (&gauges.committed, status.committed),
            (&gauges.applied, status.applied),
            (&gauges.snapshot, status.snapshot),
            (&gauges.purged, status.purged),
            (&gauges.skew_ms, status.clock_skew_ms),
            (&gauges.unerased, erasure.pending),
            (&gauges.unerased_age, erasure.pending_for.as_secs()),
            (&gauges.erased_at, erasure.last_done_ms / 1000),
            (&gauges.epoch, status.cluster_epoch),
            (&gauges.retained, self.retained()),
            (&gauges.scrubbed_at, integrity.scrubbed_at_ms / 1000),
            (&gauges.agreed, integrity.agreed_index),
            (&gauges.split, integrity.split_index),
        ] {
            gauge.set(signed(value));
        }
        let (stats, counters) = (self.replica.log_stats(), &self.counters);
        for (counter, total) in [
            (&counters.read_rounds, status.read_rounds),
            (&counters.reads, status.reads_confirmed),
            (&counters.writes, stats.writes()),
            (&counters.entries, stats.entries()),
            (&counters.bytes, stats.bytes()),
            (&counters.scrubbed, integrity.scrubbed_bytes),
        ] {
            counter.inc_by(total.saturating_sub(counter.get()));
        }
    }

    /// The log writer's own histogram, as Prometheus has it: each bucket counts all below it.
    #[expect(clippy::cast_precision_loss, reason = "a metric is a float")]
    fn sync_histogram(&self) -> MetricFamily {
        let stats = self.replica.log_stats();
        let mut below = 0;
        let counts = stats.sync_buckets();
        let mut buckets = Vec::new();
        for (bound_us, count) in SYNC_BUCKETS_US.iter().zip(counts) {
            below += count;
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(*bound_us as f64 / MICROS);
            bucket.set_cumulative_count(below);
            buckets.push(bucket);
        }
        let mut histogram = Histogram::default();
        histogram.set_sample_count(counts.iter().sum());
        histogram.set_sample_sum(stats.sync_nanos() as f64 / NANOS);
        histogram.set_bucket(buckets);
        let mut metric = Metric::default();
        metric.set_histogram(histogram);
        let mut family = MetricFamily::default();
        family.set_name(self.sync.fq_name.clone());
        family.set_help(self.sync.help.clone());
        family.set_field_type(MetricType::HISTOGRAM);
        family.set_metric(vec![metric]);
        family
    }

    fn parts(&self) -> Vec<&dyn Collector> {
        let (gauges, counters) = (&self.gauges, &self.counters);
        vec![
            &self.role,
            &self.matched,
            &gauges.term,
            &gauges.has_leader,
            &gauges.last_log,
            &gauges.committed,
            &gauges.applied,
            &gauges.snapshot,
            &gauges.purged,
            &gauges.skew_ms,
            &gauges.unerased,
            &gauges.unerased_age,
            &gauges.erased_at,
            &gauges.purges_first,
            &gauges.epoch,
            &gauges.disk_is_low,
            &gauges.growth_refused,
            &gauges.retained,
            &gauges.scrubbed_at,
            &gauges.agreed,
            &gauges.split,
            &counters.read_rounds,
            &counters.reads,
            &counters.writes,
            &counters.entries,
            &counters.bytes,
            &counters.scrubbed,
        ]
    }
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

impl Collector for ReplicaCollector {
    fn desc(&self) -> Vec<&Desc> {
        let mut all: Vec<_> = self.parts().into_iter().flat_map(Collector::desc).collect();
        all.push(&self.sync);
        all
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.refresh();
        let mut all: Vec<_> = self.parts().into_iter().flat_map(Collector::collect).collect();
        all.push(self.sync_histogram());
        all
    }
}
