//! Backups in `/metrics`.

use lockbox_platform::metric_names::MetricName;
use lockbox_platform::metrics::{Metrics, MetricsError};
use prometheus::{IntCounterVec, IntGauge};

const LAST_SUCCESS: MetricName = MetricName::new(
    "backup_last_success_timestamp_seconds",
    "When this node last stored a backup at its place, in seconds since the Unix epoch; 0 when it \
     has not yet, and while another node leads.",
);
const LAST_BYTES: MetricName =
    MetricName::new("backup_last_bytes", "Length of the last backup that this node stored.");
const INTERVAL: MetricName = MetricName::new(
    "backup_interval_seconds",
    "How often the leader makes a backup by itself; 0 is never.",
);
const FAILURES: MetricName = MetricName::new(
    "backup_failures_total",
    "Backups (backup) and lists of destructions (destroyed) that this node did not store.",
);
const LISTED: MetricName = MetricName::new(
    "backup_destroyed_listed",
    "The last destruction that is in a list at the place of the backups, by its number.",
);

/// What a backup is, in [`BackupMetrics::failures`].
pub const OF_BACKUP: &str = "backup";
/// What a list of destructions is there.
pub const OF_LIST: &str = "destroyed";

/// The series of this node.
#[derive(Debug, Clone)]
pub struct BackupMetrics {
    /// When it last succeeded.
    pub last_success: IntGauge,
    /// How large that was.
    pub last_bytes: IntGauge,
    /// How often it should.
    pub interval: IntGauge,
    /// How often it failed, by `kind`.
    pub failures: IntCounterVec,
    /// How far the lists are.
    pub listed: IntGauge,
}

impl BackupMetrics {
    /// Registers them.
    ///
    /// # Errors
    /// [`MetricsError`] when a name is taken.
    pub fn new(metrics: &Metrics) -> Result<Self, MetricsError> {
        let failures = metrics.counters(&FAILURES, &["kind"])?;
        for kind in [OF_BACKUP, OF_LIST] {
            // So that they are there before the first failure.
            failures.with_label_values(&[kind]).inc_by(0);
        }
        Ok(Self {
            last_success: metrics.gauge(&LAST_SUCCESS)?,
            last_bytes: metrics.gauge(&LAST_BYTES)?,
            interval: metrics.gauge(&INTERVAL)?,
            failures,
            listed: metrics.gauge(&LISTED)?,
        })
    }
}
