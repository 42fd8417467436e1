//! The process's metrics: one registry, one prefix, and the groups that both servers have.
//!
//! Owns the registry. Promises that every name carries the server's prefix and is registered
//! once. Refuses to know what other crates measure: they register their own metrics here.

use prometheus::core::Collector;
use prometheus::{
    HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};

use crate::metric_names::{self as names, MetricName};
use crate::sampled::{Reading, SampledCollector, Series};

/// Upper bounds of the time histograms, in seconds: 100 µs to 10 s.
pub const DURATION_BUCKETS: [f64; 16] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0,
];
/// Upper bounds of the histograms that count things.
pub const COUNT_BUCKETS: [f64; 10] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];

/// What the names of a server's metrics begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prefix {
    /// `lockbox_`
    Lockbox,
    /// `kms_`
    Kms,
}

impl Prefix {
    /// The text, without the underscore.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Lockbox => "lockbox",
            Self::Kms => "kms",
        }
    }
}

/// A metric could not be registered: its name is taken or malformed.
#[derive(Debug, thiserror::Error)]
#[error("metric {name} cannot be registered: {source}")]
pub struct MetricsError {
    /// The name without the prefix.
    pub name: &'static str,
    /// Why not.
    pub source: prometheus::Error,
}

/// What is measured of calls.
#[derive(Debug, Clone)]
pub struct RpcMetrics {
    /// Calls by `method` and `code`.
    pub requests: IntCounterVec,
    /// Seconds by `method`.
    pub duration: HistogramVec,
    /// Calls being answered.
    pub in_flight: IntGauge,
}

/// What is measured of the audit.
#[derive(Debug, Clone)]
pub struct AuditMetrics {
    /// Records by `result`.
    pub records: IntCounterVec,
    /// Records in one write.
    pub batch: HistogramVec,
    /// Seconds of one sync.
    pub sync: HistogramVec,
    /// 1 or 0.
    pub healthy: IntGauge,
    /// Records that wait for the writer.
    pub queue: IntGauge,
    /// The number of the last record.
    pub last_sequence: IntGauge,
    /// What becomes of copies for others.
    pub shipping: ShippingMetrics,
}

/// The receivers of copies of the audit: the values of their label `receiver`.
pub const AUDIT_RECEIVERS: [&str; 2] = ["syslog", "otlp"];

/// What is measured of the copies of the audit for others, each by `receiver`.
#[derive(Debug, Clone)]
pub struct ShippingMetrics {
    /// Records that are confirmed.
    pub shipped: IntCounterVec,
    /// Records that are not.
    pub lag: IntGaugeVec,
    /// Tries that failed.
    pub failures: IntCounterVec,
    /// Records that will never be.
    pub missed: IntCounterVec,
}

impl ShippingMetrics {
    fn new(new: &Registration) -> Result<Self, MetricsError> {
        let labels = ["receiver"];
        let made = Self {
            shipped: new.counters(&names::AUDIT_SHIPPED, &labels)?,
            lag: new.gauges(&names::AUDIT_SHIPPING_LAG, &labels)?,
            failures: new.counters(&names::AUDIT_SHIPPING_FAILURES, &labels)?,
            missed: new.counters(&names::AUDIT_SHIPPING_MISSED, &labels)?,
        };
        // There from the start: a rule on a series that is not there never fires.
        for receiver in AUDIT_RECEIVERS {
            made.lag.with_label_values(&[receiver]).set(0);
            for counter in [&made.shipped, &made.failures, &made.missed] {
                counter.with_label_values(&[receiver]).inc_by(0);
            }
        }
        Ok(made)
    }
}

/// What is measured of connections.
#[derive(Debug, Clone)]
pub struct TlsMetrics {
    /// Handshakes by `listener` and `result`.
    pub handshakes: IntCounterVec,
    /// Open connections by `listener`.
    pub open: IntGaugeVec,
}

/// The registry of a process.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Registry,
    prefix: Prefix,
    /// Calls.
    pub rpc: RpcMetrics,
    /// Audit.
    pub audit: AuditMetrics,
    /// Connections.
    pub tls: TlsMetrics,
    /// When certificates end, by `certificate`: see [`crate::certificate_expiry`].
    pub certificates: IntGaugeVec,
}

impl Metrics {
    /// A registry with the metrics that both servers have. Clones share it.
    ///
    /// # Errors
    /// [`MetricsError`] when two of them have the same name.
    pub fn new(prefix: Prefix) -> Result<Self, MetricsError> {
        let new = Registration { registry: Registry::new(), prefix };
        let durations = DURATION_BUCKETS.as_slice();
        let rpc = RpcMetrics {
            requests: new.counters(&names::RPC_REQUESTS, &["method", "code"])?,
            duration: new.histograms(&names::RPC_DURATION, &["method"], durations)?,
            in_flight: new.gauge(&names::RPC_IN_FLIGHT)?,
        };
        let audit = AuditMetrics {
            records: new.counters(&names::AUDIT_RECORDS, &["result"])?,
            batch: new.histograms(&names::AUDIT_BATCH, &[], &COUNT_BUCKETS)?,
            sync: new.histograms(&names::AUDIT_SYNC_DURATION, &[], durations)?,
            healthy: new.gauge(&names::AUDIT_HEALTHY)?,
            queue: new.gauge(&names::AUDIT_QUEUE)?,
            last_sequence: new.gauge(&names::AUDIT_LAST_SEQUENCE)?,
            shipping: ShippingMetrics::new(&new)?,
        };
        for result in ["written", "failed", "busy", "late"] {
            audit.records.with_label_values(&[result]).inc_by(0);
        }
        let tls = TlsMetrics {
            handshakes: new.counters(&names::TLS_HANDSHAKES, &["listener", "result"])?,
            open: new.gauges(&names::CONNECTIONS_OPEN, &["listener"])?,
        };
        let certificates = new.gauges(&names::CERTIFICATE_EXPIRY, &["certificate"])?;
        Ok(Self { registry: new.registry, prefix, rpc, audit, tls, certificates })
    }

    /// Registers counters of this name, one for each set of label values.
    ///
    /// # Errors
    /// [`MetricsError`] when the name is taken.
    pub fn counters(
        &self,
        name: &MetricName,
        labels: &[&str],
    ) -> Result<IntCounterVec, MetricsError> {
        self.registration().counters(name, labels)
    }

    /// Registers gauges of this name, one for each set of label values.
    ///
    /// # Errors
    /// [`MetricsError`] when the name is taken.
    pub fn gauges(&self, name: &MetricName, labels: &[&str]) -> Result<IntGaugeVec, MetricsError> {
        self.registration().gauges(name, labels)
    }

    /// Registers one gauge.
    ///
    /// # Errors
    /// [`MetricsError`] when the name is taken.
    pub fn gauge(&self, name: &MetricName) -> Result<IntGauge, MetricsError> {
        self.registration().gauge(name)
    }

    /// Registers histograms of this name, one for each set of label values.
    ///
    /// # Errors
    /// [`MetricsError`] when the name is taken or the buckets do not rise.
    pub fn histograms(
        &self,
        name: &MetricName,
        labels: &[&str],
        buckets: &[f64],
    ) -> Result<HistogramVec, MetricsError> {
        self.registration().histograms(name, labels, buckets)
    }

    /// Registers a collector that reads its values at each scrape; it names them itself, prefix
    /// included.
    ///
    /// # Errors
    /// [`MetricsError`] when one of its names is taken.
    pub fn collector(&self, collector: Box<dyn Collector>) -> Result<(), MetricsError> {
        let registered = self.registry.register(collector);
        registered.map_err(|source| MetricsError { name: "collector", source })
    }

    /// Registers series that are read at each scrape. The prefix is put before their names.
    ///
    /// # Errors
    /// [`MetricsError`] when one of their names is taken or malformed.
    pub fn sampled(
        &self,
        series: &'static [Series],
        read: impl Fn(&mut Reading) + Send + Sync + 'static,
    ) -> Result<(), MetricsError> {
        self.collector(Box::new(SampledCollector::new(self.prefix, series, Box::new(read))?))
    }

    /// What the names begin with.
    #[must_use]
    pub const fn prefix(&self) -> Prefix {
        self.prefix
    }

    /// Everything, in the text format that Prometheus reads.
    #[must_use]
    pub fn text(&self) -> String {
        let families = self.registry.gather();
        TextEncoder::new().encode_to_string(&families).unwrap_or_else(|error| {
            tracing::error!(%error, "metrics cannot be encoded");
            String::new()
        })
    }

    fn registration(&self) -> Registration {
        Registration { registry: self.registry.clone(), prefix: self.prefix }
    }
}

/// Makes and registers metrics of one prefix.
struct Registration {
    registry: Registry,
    prefix: Prefix,
}

impl Registration {
    fn options(&self, name: &MetricName) -> Opts {
        Opts::new(name.name, name.help).namespace(self.prefix.as_str())
    }

    fn register<C: Collector + Clone + 'static>(
        &self,
        name: &MetricName,
        made: prometheus::Result<C>,
    ) -> Result<C, MetricsError> {
        let failed = |source| MetricsError { name: name.name, source };
        let collector = made.map_err(failed)?;
        self.registry.register(Box::new(collector.clone())).map_err(failed)?;
        Ok(collector)
    }

    fn counters(&self, name: &MetricName, labels: &[&str]) -> Result<IntCounterVec, MetricsError> {
        self.register(name, IntCounterVec::new(self.options(name), labels))
    }

    fn gauges(&self, name: &MetricName, labels: &[&str]) -> Result<IntGaugeVec, MetricsError> {
        self.register(name, IntGaugeVec::new(self.options(name), labels))
    }

    fn gauge(&self, name: &MetricName) -> Result<IntGauge, MetricsError> {
        self.register(name, IntGauge::with_opts(self.options(name)))
    }

    fn histograms(
        &self,
        name: &MetricName,
        labels: &[&str],
        buckets: &[f64],
    ) -> Result<HistogramVec, MetricsError> {
        let options = HistogramOpts::from(self.options(name)).buckets(buckets.to_vec());
        self.register(name, HistogramVec::new(options, labels))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_carry_the_prefix_of_the_server() -> Result<(), MetricsError> {
        for (prefix, expected) in [
            (Prefix::Lockbox, "lockbox_rpc_requests_total{code=\"OK\",method=\"/a/B\"} 1"),
            (Prefix::Kms, "kms_rpc_requests_total{code=\"OK\",method=\"/a/B\"} 1"),
        ] {
            let metrics = Metrics::new(prefix)?;
            metrics.rpc.requests.with_label_values(&["/a/B", "OK"]).inc();
            assert!(metrics.text().contains(expected), "{}", metrics.text());
        }
        Ok(())
    }

    #[test]
    fn a_name_is_registered_once() -> Result<(), MetricsError> {
        let metrics = Metrics::new(Prefix::Lockbox)?;
        let again = metrics.counters(&names::RPC_REQUESTS, &["method", "code"]);
        assert_eq!(again.err().map(|e| e.name), Some("rpc_requests_total"));
        let own = MetricName::new("seals_total", "Payloads sealed.");
        metrics.counters(&own, &[])?.with_label_values::<&str>(&[]).inc();
        assert!(metrics.text().contains("lockbox_seals_total 1"));
        Ok(())
    }
}
