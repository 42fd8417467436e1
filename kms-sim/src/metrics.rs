//! The metrics of `kms-sim`: crypto calls, the bill and the ledger's disk.
//!
//! Names carry the prefix `kms_`. No label is an id: the series of each key have a path of their
//! own (`usage.rs`), and what is billed of each is in `billing report`.

use lockbox_platform::metric_names::MetricName;
use lockbox_platform::metrics::{COUNT_BUCKETS, DURATION_BUCKETS, Metrics, MetricsError};
use prometheus::{HistogramVec, IntCounterVec, IntGauge};

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
}

impl KmsMetrics {
    /// Registers the metrics.
    ///
    /// # Errors
    /// [`MetricsError`] when they are registered already.
    pub fn register(metrics: &Metrics) -> Result<Self, MetricsError> {
        Ok(Self {
            crypto: metrics.counters(&CRYPTO_OPERATIONS, &["operation", "code"])?,
            ledger: LedgerMetrics {
                billed: metrics.counters(&BILLED_OPERATIONS, &["operation"])?,
                sync: metrics.histograms(&LEDGER_SYNC, &[], &DURATION_BUCKETS)?,
                group: metrics.histograms(&LEDGER_GROUP, &[], &COUNT_BUCKETS)?,
                lost: metrics.gauge(&LEDGER_LOST)?,
            },
        })
    }
}
