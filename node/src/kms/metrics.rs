//! What the breaker does, in `/metrics`; read at each scrape from the breaker itself.

use std::sync::atomic::Ordering;
use std::time::Duration;

use lockbox_platform::metric_names::MetricName;
use lockbox_platform::metrics::{DURATION_BUCKETS, Metrics, MetricsError, Prefix};
use lockbox_platform::request_layer::code_name;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{HistogramVec, IntCounter, IntCounterVec, IntGaugeVec, Opts};
use tonic::{Code, Status};

use super::breaker::State;
use super::{KmsCall, KmsClient};

/// All states with their names, so that the series of a state that was left reads 0.
const STATES: [(State, &str); 3] =
    [(State::Closed, "closed"), (State::Probing, "probing"), (State::Open, "open")];

const CALLS: MetricName =
    MetricName::new("kms_calls_total", "Calls to the KMS, by what was asked and gRPC status code.");
const DURATION: MetricName = MetricName::new(
    "kms_call_duration_seconds",
    "Time from a call to the KMS to its answer, the wait for a turn left out.",
);

/// What is measured of calls to the KMS.
#[derive(Debug, Clone)]
pub(super) struct CallMetrics {
    calls: IntCounterVec,
    duration: HistogramVec,
}

impl CallMetrics {
    pub(super) fn register(metrics: &Metrics) -> Result<Self, MetricsError> {
        let calls = metrics.counters(&CALLS, &["operation", "code"])?;
        let duration = metrics.histograms(&DURATION, &["operation"], &DURATION_BUCKETS)?;
        // There from the start, so that a first failure is a rise.
        for call in KmsCall::ALL {
            calls.with_label_values(&[call.name(), code_name(Code::Ok)]).inc_by(0);
            calls.with_label_values(&[call.name(), code_name(Code::Unavailable)]).inc_by(0);
            drop(duration.with_label_values(&[call.name()]));
        }
        Ok(Self { calls, duration })
    }

    /// Notes how a call has ended.
    pub(super) fn note(&self, call: KmsCall, failure: Option<&Status>, took: Duration) {
        let code = failure.map_or(Code::Ok, Status::code);
        self.calls.with_label_values(&[call.name(), code_name(code)]).inc();
        self.duration.with_label_values(&[call.name()]).observe(took.as_secs_f64());
    }
}

/// The KMS client's metrics.
pub struct KmsCollector {
    kms: KmsClient,
    state: IntGaugeVec,
    opens: IntCounter,
    not_asked: IntCounter,
}

fn options(name: &str, help: &str) -> Opts {
    Opts::new(name, help).namespace(Prefix::Lockbox.as_str())
}

fn counter(name: &'static str, help: &str) -> Result<IntCounter, MetricsError> {
    IntCounter::with_opts(options(name, help)).map_err(|source| MetricsError { name, source })
}

impl KmsCollector {
    /// A collector for this client.
    ///
    /// # Errors
    /// [`MetricsError`] for a malformed name: a fault of the build.
    pub fn new(kms: KmsClient) -> Result<Self, MetricsError> {
        let name = "kms_breaker_state";
        let help = "1 for where the breaker in front of the KMS stands.";
        let state = IntGaugeVec::new(options(name, help), &["state"]);
        Ok(Self {
            kms,
            state: state.map_err(|source| MetricsError { name, source })?,
            opens: counter(
                "kms_breaker_opens_total",
                "Times that the KMS was found not to answer, by a probe too.",
            )?,
            not_asked: counter(
                "kms_calls_not_sent_total",
                "Calls that failed at once because the KMS did not answer or too many waited.",
            )?,
        })
    }
}

impl Collector for KmsCollector {
    fn desc(&self) -> Vec<&Desc> {
        [self.state.desc(), self.opens.desc(), self.not_asked.desc()].concat()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let (now, counts) = (self.kms.breaker.state(), self.kms.breaker.counts());
        for (state, name) in STATES {
            self.state.with_label_values(&[name]).set(i64::from(state == now));
        }
        for (counter, total) in [(&self.opens, &counts.opens), (&self.not_asked, &counts.not_asked)]
        {
            counter.inc_by(total.load(Ordering::Relaxed).saturating_sub(counter.get()));
        }
        [self.state.collect(), self.opens.collect(), self.not_asked.collect()].concat()
    }
}
