//! The metrics of `kms-sim`: crypto calls, the bill and the ledger's disk.
//!
//! Names carry the prefix `kms_`. No label is an id: counts per key are in `billing report`.

use lockbox_platform::metric_names::MetricName;
use lockbox_platform::metrics::{COUNT_BUCKETS, DURATION_BUCKETS, Metrics, MetricsError};
use lockbox_platform::request_layer::code_name;
use prometheus::{HistogramVec, IntCounterVec};
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

/// What is measured of the ledger.
#[derive(Debug, Clone)]
pub struct LedgerMetrics {
    /// Charged calls by `operation`.
    pub billed: IntCounterVec,
    /// Seconds of one write and sync.
    pub sync: HistogramVec,
    /// Calls in one group.
    pub group: HistogramVec,
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
        let crypto = metrics.counters(&CRYPTO_OPERATIONS, &["operation", "code"])?;
        let billed = metrics.counters(&BILLED_OPERATIONS, &["operation"])?;
        // There from the start: what is not there yet cannot be told from what is not measured.
        for operation in CryptoOperation::ALL {
            crypto.with_label_values(&[operation.as_str(), code_name(Code::Ok)]).inc_by(0);
            billed.with_label_values(&[operation.as_str()]).inc_by(0);
        }
        Ok(Self {
            crypto,
            ledger: LedgerMetrics {
                billed,
                sync: metrics.histograms(&LEDGER_SYNC, &[], &DURATION_BUCKETS)?,
                group: metrics.histograms(&LEDGER_GROUP, &[], &COUNT_BUCKETS)?,
            },
        })
    }
}
