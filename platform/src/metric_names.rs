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
/// TLS handshakes by result.
pub const TLS_HANDSHAKES: MetricName =
    MetricName::new("tls_handshakes_total", "TLS handshakes by listener and result.");
/// Open connections by listener.
pub const CONNECTIONS_OPEN: MetricName =
    MetricName::new("connections_open", "Connections open at this moment, by listener.");

/// Every name of this file.
pub const ALL: [MetricName; 9] = [
    RPC_REQUESTS,
    RPC_DURATION,
    RPC_IN_FLIGHT,
    AUDIT_RECORDS,
    AUDIT_BATCH,
    AUDIT_SYNC_DURATION,
    AUDIT_HEALTHY,
    TLS_HANDSHAKES,
    CONNECTIONS_OPEN,
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
