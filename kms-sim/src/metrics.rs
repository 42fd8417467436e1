//! The metrics of `kms-sim`: crypto calls, the bill and the ledger's disk.
//!
//! Names carry the prefix `kms_`. No label is an id: the series of each key have a path of their
//! own (`usage.rs`), and what is billed of each is in `billing report`.

use lockbox_platform::metric_names::MetricName;
use lockbox_platform::metrics::{COUNT_BUCKETS, DURATION_BUCKETS, Metrics, MetricsError};
use lockbox_platform::request_layer::code_name;
use prometheus::{HistogramVec, IntCounterVec, IntGauge};
use tonic::Code;

use crate::ledger::record::CryptoOperation;

const CRYPTO_OPERATIONS: MetricName =
    MetricName::new("crypto_operations_total", "Crypto calls answered, by operation and code.");
const BILLED_OPERATIONS: MetricName =
    MetricName::new("billed_operations_total", "Crypto calls charged, by operation.");
const LEDGER_SYNC: MetricName =
    MetricName::new("ledger_sync_duration_seconds", "Time to write and sync one group.");
const LEDGER_GROUP: MetricName =
    MetricName::new("ledger_group_size", "Calls written and synced together.");

const LEDGER_LOST: MetricName = MetricName::new(
    "ledger_lost_calls",
    "Calls among the latest of the audit that the ledger did not have at the start.",
);

const COMMITS_RESERVED: MetricName = MetricName::new(
    "commits_reserved",
    "Commits that may still be made before the cluster has to reserve more; 0 while the cluster \
     knows nothing of this KMS, and then there is no bound.",
);
const DESTRUCTIONS_WAITING: MetricName = MetricName::new(
    "destructions_waiting",
    "Keys and versions that are due for destruction and wait until the cluster knows of it.",
);
const BACKUPS: MetricName =
    MetricName::new("backups_total", "Scheduled backups by result: written, failed.");
const BACKUP_TIME: MetricName = MetricName::new(
    "backup_last_success_timestamp_seconds",
    "When this process last wrote a scheduled backup, seconds since the epoch; 0 before the first.",
);
const BACKUP_COMMIT: MetricName = MetricName::new(
    "backup_last_commit",
    "The last commit of the scheduled backup that this process wrote last; 0 before the first.",
);

/// What is measured of the cluster's witness.
#[derive(Debug, Clone)]
pub struct WitnessMetrics {
    /// Commits that may still be made.
    pub reserved: IntGauge,
    /// Destructions that wait for the cluster.
    pub waiting: IntGauge,
}

/// What is measured of scheduled backups.
#[derive(Debug, Clone)]
pub struct BackupMetrics {
    /// Backups by `result`.
    pub written: IntCounterVec,
    /// When the last one was written, in seconds since the epoch.
    pub time: IntGauge,
    /// The last commit in it.
    pub commit: IntGauge,
}

/// What is measured of the ledger.
#[derive(Debug, Clone)]
pub struct LedgerMetrics {
    /// Charged calls by `operation`.
    pub billed: IntCounterVec,
    /// Seconds of one write and sync.
    pub sync: HistogramVec,
    /// Calls in one group.
    pub group: HistogramVec,
    /// Calls that the audit had and the ledger had not, at the start.
    pub lost: IntGauge,
}

/// What is measured of `kms-sim` beside what both servers measure.
#[derive(Debug, Clone)]
pub struct KmsMetrics {
    /// Crypto calls by `operation` and `code`.
    pub crypto: IntCounterVec,
    /// The ledger.
    pub ledger: LedgerMetrics,
    /// The cluster's witness.
    pub witness: WitnessMetrics,
    /// Scheduled backups.
    pub backup: BackupMetrics,
}

impl KmsMetrics {
    /// Registers the metrics.
    ///
    /// # Errors
    /// [`MetricsError`] when they are registered already.
    pub fn register(metrics: &Metrics) -> Result<Self, MetricsError> {
        let crypto = metrics.counters(&CRYPTO_OPERATIONS, &["operation", "code"])?;
        let billed = metrics.counters(&BILLED_OPERATIONS, &["operation"])?;
        // There from the start: what is not there yet cannot be told from what is not measured.
        for operation in CryptoOperation::ALL {
            crypto.with_label_values(&[operation.as_str(), code_name(Code::Ok)]).inc_by(0);
            billed.with_label_values(&[operation.as_str()]).inc_by(0);
        }
        let backups = metrics.counters(&BACKUPS, &["result"])?;
        for result in ["written", "failed"] {
            backups.with_label_values(&[result]).inc_by(0);
        }
        Ok(Self {
            crypto,
            ledger: LedgerMetrics {
                billed,
                sync: metrics.histograms(&LEDGER_SYNC, &[], &DURATION_BUCKETS)?,
                group: metrics.histograms(&LEDGER_GROUP, &[], &COUNT_BUCKETS)?,
                lost: metrics.gauge(&LEDGER_LOST)?,
            },
            witness: WitnessMetrics {
                reserved: metrics.gauge(&COMMITS_RESERVED)?,
                waiting: metrics.gauge(&DESTRUCTIONS_WAITING)?,
            },
            backup: BackupMetrics {
                written: backups,
                time: metrics.gauge(&BACKUP_TIME)?,
                commit: metrics.gauge(&BACKUP_COMMIT)?,
            },
        })
    }
}
