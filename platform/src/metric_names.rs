//! The names of the metrics that both servers have, in one place, with their help texts.
//!
//! A name here has no prefix: [`crate::metrics::Metrics`] puts `lockbox_` or `kms_` before it.
//! No metric has an id of a resource as a label.

/// A metric: its name without the prefix, and what it means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetricName {
    /// The name without `lockbox_` or `kms_`.
    pub name: &'static str,
    /// The help text of the exposition.
    pub help: &'static str,
}

impl MetricName {
    /// A metric of this name and meaning.
    #[must_use]
    pub const fn new(name: &'static str, help: &'static str) -> Self {
        Self { name, help }
    }
}

/// Calls by method and status code.
pub const RPC_REQUESTS: MetricName =
    MetricName::new("rpc_requests_total", "Calls answered, by method and gRPC status code.");
/// Time to answer by method.
pub const RPC_DURATION: MetricName =
    MetricName::new("rpc_duration_seconds", "Time from request to the end of the answer.");
/// Calls being answered.
pub const RPC_IN_FLIGHT: MetricName =
    MetricName::new("rpc_in_flight", "Calls being answered at this moment.");
/// Audit records by result.
pub const AUDIT_RECORDS: MetricName = MetricName::new(
    "audit_records_total",
    "Audit records by result: written, failed (the call was refused), busy (the queue was full), \
     late (the disk did not take it in the call's time).",
);
/// Records in one write of the audit file.
pub const AUDIT_BATCH: MetricName =
    MetricName::new("audit_batch_records", "Audit records that one write carried.");
/// Time of one sync of the audit file.
pub const AUDIT_SYNC_DURATION: MetricName =
    MetricName::new("audit_sync_duration_seconds", "Time of one sync of the audit file.");
/// Whether the audit file accepts records.
pub const AUDIT_HEALTHY: MetricName = MetricName::new(
    "audit_healthy",
    "1 while the audit file accepts records; 0 while calls are refused because it does not.",
);
/// Audit records that wait for the writer.
pub const AUDIT_QUEUE: MetricName =
    MetricName::new("audit_queue_records", "Audit records that wait to be written.");
/// The number of the last record.
pub const AUDIT_LAST_SEQUENCE: MetricName = MetricName::new(
    "audit_last_sequence",
    "Number of the last audit record that was written; 0 before the first of this process.",
);
/// Records that a receiver has, by receiver.
pub const AUDIT_SHIPPED: MetricName = MetricName::new(
    "audit_shipped_records_total",
    "Audit records that a receiver beside the file has confirmed, by receiver.",
);
/// Records that a receiver does not have yet, by receiver.
pub const AUDIT_SHIPPING_LAG: MetricName = MetricName::new(
    "audit_shipping_lag_records",
    "Audit records on disk that a receiver has not confirmed yet; 0 where none is configured.",
);
/// Tries to ship that failed, by receiver.
pub const AUDIT_SHIPPING_FAILURES: MetricName = MetricName::new(
    "audit_shipping_failures_total",
    "Tries to ship audit records that failed, by receiver; they are repeated.",
);
/// Records that no receiver will ever get, by receiver.
pub const AUDIT_SHIPPING_MISSED: MetricName = MetricName::new(
    "audit_shipping_missed_records_total",
    "Audit records that were removed before a receiver had them, or that it refused for good.",
);
/// TLS handshakes by result.
pub const TLS_HANDSHAKES: MetricName =
    MetricName::new("tls_handshakes_total", "TLS handshakes by listener and result.");
/// Open connections by listener.
pub const CONNECTIONS_OPEN: MetricName =
    MetricName::new("connections_open", "Connections open at this moment, by listener.");

/// When certificates end.
pub const CERTIFICATE_EXPIRY: MetricName = MetricName::new(
    "certificate_expiry_timestamp_seconds",
    "When the certificate of a file on disk ends, by what the file is for; seconds since the Unix \
     epoch, 0 while it cannot be read.",
);

/// Every name of this file.
pub const ALL: [MetricName; 16] = [
    RPC_REQUESTS,
    RPC_DURATION,
    RPC_IN_FLIGHT,
    AUDIT_RECORDS,
    AUDIT_BATCH,
    AUDIT_SYNC_DURATION,
    AUDIT_HEALTHY,
    AUDIT_QUEUE,
    AUDIT_LAST_SEQUENCE,
    AUDIT_SHIPPED,
    AUDIT_SHIPPING_LAG,
    AUDIT_SHIPPING_FAILURES,
    AUDIT_SHIPPING_MISSED,
    TLS_HANDSHAKES,
    CONNECTIONS_OPEN,
    CERTIFICATE_EXPIRY,
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_well_formed() {
        let unique: BTreeSet<_> = ALL.iter().map(|metric| metric.name).collect();
        assert_eq!(unique.len(), ALL.len());
        for metric in ALL {
            let shape = |b: u8| b.is_ascii_lowercase() || b == b'_';
            assert!(metric.name.bytes().all(shape), "{}", metric.name);
            assert!(metric.help.ends_with('.'), "{}", metric.name);
        }
    }
}
