//! How many calls are let in at one time: as many as are answered within a bounded time.
//!
//! A server that takes all of a load that it cannot carry answers nothing in time: each call waits
//! for all that came before it. What is let in is bounded here, and the rest is refused at once,
//! before it costs anything. The bound is found and not set, for nobody knows how fast the machine
//! and its disk are: while most calls take longer than `wait_max` it shrinks, and while they do not
//! and others are refused it grows. Reads and changes have a bound each, so that who writes too
//! much does not keep out who reads.
//!
//! Promises that [`CALLS_MIN`] of either kind are always let in. So nothing of this is felt below a
//! load that queues, whatever else makes calls slow: a KMS, an election, a secret that many write
//! to. Refuses to know what a call does.

use std::any::TypeId;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lockbox_proto::yandex::cloud::operation::Operation;
use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec};
use prost::Name;
use tokio::time::Instant;

use crate::detach::CALLS_MAX;
use crate::metric_names::MetricName;
use crate::metrics::{Metrics, MetricsError};

/// Calls of one kind that are always let in: twice as many as one secret's queue of writers holds,
/// and answered within a tenth of a second where nothing but the processor is waited for.
pub const CALLS_MIN: usize = 512;
/// Calls of one kind that are let in before anything was measured.
pub const CALLS_AT_START: usize = 1024;
/// Calls that a verdict needs: fewer say nothing of the many.
const ENDED_MIN: u32 = 32;

const REFUSED: MetricName = MetricName::new(
    "calls_refused_total",
    "Calls refused at once because too many were under way, by kind: reads, changes.",
);
const LIMIT: MetricName = MetricName::new(
    "calls_limit",
    "Calls of a kind (reads, changes) that are let in at one time, as found by how long they take.",
);

/// What a call costs: its own time, or a place in the log as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Answers with what is.
    Reads,
    /// Answers with an operation.
    Changes,
}

impl Kind {
    /// The kind of a call with this answer. Who asks for an operation counts as who makes one:
    /// there are few of them, and each waits for a change.
    #[must_use]
    pub fn answering<T: 'static>() -> Self {
        if TypeId::of::<T>() == TypeId::of::<Operation>() { Self::Changes } else { Self::Reads }
    }

    const fn label(self) -> &'static str {
        match self {
            Self::Reads => "reads",
            Self::Changes => "changes",
        }
    }
}

/// What is measured of admission.
#[derive(Debug, Clone)]
pub struct AdmissionMetrics {
    /// Calls refused, by `kind`.
    refused: IntCounterVec,
    /// The bound of each `kind`.
    limit: IntGaugeVec,
}

impl AdmissionMetrics {
    /// Registers them.
    ///
    /// # Errors
    /// [`MetricsError`] when they are there already.
    pub fn register(metrics: &Metrics) -> Result<Self, MetricsError> {
        Ok(Self {
            refused: metrics.counters(&REFUSED, &["kind"])?,
            limit: metrics.gauges(&LIMIT, &["kind"])?,
        })
    }
}

/// The bounds of a server.
#[derive(Debug)]
pub struct Admission {
    reads: Arc<Gate>,
    changes: Arc<Gate>,
    /// The kind of each method of the definitions, by its path.
    kinds: HashMap<String, Kind>,
}

impl Admission {
    /// Lets in what is answered within about this time, most of it.
    #[must_use]
    pub fn new(wait_max: Duration, metrics: &AdmissionMetrics) -> Self {
        let gate = |kind| Arc::new(Gate::new(wait_max, kind, metrics));
        Self { reads: gate(Kind::Reads), changes: gate(Kind::Changes), kinds: kinds() }
    }

    /// Whether a call of this method would find no place now. It is asked before anything of the
    /// call is read, so that a refusal costs next to nothing; no place is taken, for a caller who
    /// does not send the rest must not hold one. What is in no definition of ours, as health is, is
    /// let in.
    #[must_use]
    pub fn turns_away(&self, grpc_path: &str) -> bool {
        let gate = match self.kinds.get(grpc_path) {
            Some(Kind::Reads) => &self.reads,
            Some(Kind::Changes) => &self.changes,
            None => return false,
        };
        gate.is_full()
    }

    /// A place for one call of this kind; none when too many are under way.
    #[must_use]
    pub fn enter(&self, kind: Kind) -> Option<Place> {
        let gate = match kind {
            Kind::Reads => &self.reads,
            Kind::Changes => &self.changes,
        };
        gate.enter().then(|| Place { gate: Arc::clone(gate), began: Instant::now() })
    }
}

/// The kinds of all methods: by what they answer, as [`Kind::answering`].
fn kinds() -> HashMap<String, Kind> {
    let operation = Operation::full_name();
    let mut kinds = HashMap::new();
    for service in lockbox_proto::descriptor_pool().services() {
        for method in service.methods() {
            let is_change = method.output().full_name() == operation;
            let kind = if is_change { Kind::Changes } else { Kind::Reads };
            kinds.insert(format!("/{}/{}", service.full_name(), method.name()), kind);
        }
    }
    kinds
}

/// The place of a call that was let in. Given back when dropped.
#[derive(Debug)]
pub struct Place {
    gate: Arc<Gate>,
    began: Instant,
}

impl Place {
    /// The call has ended, and how: what was refused at once tells nothing of how long calls wait.
    pub fn ended(self, well: bool) {
        let took = self.began.elapsed();
        if well || took > self.gate.wait_max {
            self.gate.took(took);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.gate.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The bound of one kind.
#[derive(Debug)]
struct Gate {
    wait_max: Duration,
    under_way: AtomicUsize,
    limit: AtomicUsize,
    /// Whether somebody was refused since the last verdict.
    refuses: AtomicBool,
    window: Mutex<Window>,
    refused: IntCounter,
    shown_limit: IntGauge,
}

/// What was measured since the last verdict.
#[derive(Debug)]
struct Window {
    began: Instant,
    ended: u32,
    /// Of those, the ones that took too long.
    slow: u32,
}

impl Window {
    fn begin() -> Self {
        Self { began: Instant::now(), ended: 0, slow: 0 }
    }
}

impl Gate {
    fn new(wait_max: Duration, kind: Kind, metrics: &AdmissionMetrics) -> Self {
        let gate = Self {
            wait_max,
            under_way: AtomicUsize::new(0),
            limit: AtomicUsize::new(CALLS_AT_START),
            refuses: AtomicBool::new(false),
            window: Mutex::new(Window::begin()),
            refused: metrics.refused.with_label_values(&[kind.label()]),
            shown_limit: metrics.limit.with_label_values(&[kind.label()]),
        };
        gate.show(CALLS_AT_START);
        gate
    }

    fn show(&self, limit: usize) {
        self.shown_limit.set(i64::try_from(limit).unwrap_or(i64::MAX));
    }

    fn enter(&self) -> bool {
        let others = self.under_way.fetch_add(1, Ordering::Relaxed);
        if others < self.limit.load(Ordering::Relaxed) {
            return true;
        }
        self.under_way.fetch_sub(1, Ordering::Relaxed);
        self.note_refusal();
        false
    }

    /// Whether a call that came now would be refused; one that is told so is.
    fn is_full(&self) -> bool {
        let full = self.under_way.load(Ordering::Relaxed) >= self.limit.load(Ordering::Relaxed);
        if full {
            self.note_refusal();
        }
        full
    }

    fn note_refusal(&self) {
        self.refuses.store(true, Ordering::Relaxed);
        self.refused.inc();
    }

    /// Notes how long a call took. A verdict comes after `wait_max` at the earliest: those that it
    /// is made of then began after the verdict before it, or most of them did.
    fn took(&self, took: Duration) {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        window.ended += 1;
        window.slow += u32::from(took > self.wait_max);
        if window.ended < ENDED_MIN || window.began.elapsed() < self.wait_max {
            return;
        }
        let most_are_slow = window.slow > window.ended / 2;
        *window = Window::begin();
        let refuses = self.refuses.swap(false, Ordering::Relaxed);
        let limit = self.limit.load(Ordering::Relaxed);
        let limit = match (most_are_slow, refuses) {
            (true, _) => (limit - limit / 4).max(CALLS_MIN),
            (false, true) => (limit + limit / 8).min(CALLS_MAX),
            (false, false) => return,
        };
        self.limit.store(limit, Ordering::Relaxed);
        self.show(limit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Prefix;

    const WAIT: Duration = Duration::from_millis(500);

    fn admission() -> (Admission, Metrics) {
        let metrics = Metrics::new(Prefix::Lockbox).unwrap();
        let admission = Admission::new(WAIT, &AdmissionMetrics::register(&metrics).unwrap());
        (admission, metrics)
    }

    /// As many places as there are.
    fn fill(admission: &Admission, kind: Kind) -> Vec<Place> {
        std::iter::from_fn(|| admission.enter(kind)).take(2 * CALLS_MAX).collect()
    }

    /// Fills all places of a kind, and ends their calls after this time.
    async fn round(admission: &Admission, kind: Kind, took: Duration, well: bool) -> usize {
        let places = fill(admission, kind);
        let count = places.len();
        tokio::time::sleep(took).await;
        places.into_iter().for_each(|place| place.ended(well));
        count
    }

    #[test]
    fn what_answers_with_an_operation_is_a_change() {
        assert_eq!(Kind::answering::<Operation>(), Kind::Changes);
        assert_eq!(Kind::answering::<()>(), Kind::Reads);
    }

    #[tokio::test(start_paused = true)]
    async fn who_would_find_no_place_is_turned_away_before_it_is_read() {
        let (admission, _metrics) = admission();
        let (get, update) = (
            "/yandex.cloud.lockbox.v1.SecretService/Get",
            "/yandex.cloud.lockbox.v1.SecretService/Update",
        );
        let health = "/grpc.health.v1.Health/Check";
        assert!(!admission.turns_away(get), "there is room");
        let reads = fill(&admission, Kind::Reads);
        assert!(admission.turns_away(get) && !admission.turns_away(update));
        let changes = fill(&admission, Kind::Changes);
        assert!(admission.turns_away(update) && !admission.turns_away(health));
        drop((reads, changes));
        assert!(!admission.turns_away(get) && !admission.turns_away(update));
    }

    #[tokio::test(start_paused = true)]
    async fn slow_calls_lower_the_bound_to_its_floor_and_quick_ones_raise_it_again() {
        let (admission, metrics) = admission();
        let kind = Kind::Changes;
        assert_eq!(round(&admission, kind, 2 * WAIT, true).await, CALLS_AT_START);
        let mut counts = Vec::new();
        for _ in 0..20 {
            counts.push(round(&admission, kind, 2 * WAIT, true).await);
        }
        assert!(counts[0] < CALLS_AT_START, "{counts:?}");
        assert_eq!(counts.last(), Some(&CALLS_MIN));
        let shown = format!("lockbox_calls_limit{{kind=\"changes\"}} {CALLS_MIN}\n");
        assert!(metrics.text().contains(&shown), "{}", metrics.text());
        for _ in 0..100 {
            round(&admission, kind, WAIT / 2, true).await;
        }
        assert_eq!(round(&admission, kind, WAIT / 2, true).await, CALLS_MAX);
        assert_eq!(fill(&admission, Kind::Reads).len(), CALLS_AT_START, "reads pay for changes");
    }

    #[tokio::test(start_paused = true)]
    async fn quick_calls_that_fill_no_place_change_nothing() {
        let (admission, _metrics) = admission();
        for _ in 0..1000 {
            let place = admission.enter(Kind::Reads).unwrap();
            tokio::time::sleep(WAIT / 100).await;
            place.ended(true);
        }
        assert_eq!(fill(&admission, Kind::Reads).len(), CALLS_AT_START);
    }

    /// Whoever may not do anything must not widen the bound for itself by quick refusals.
    #[tokio::test(start_paused = true)]
    async fn a_call_that_failed_at_once_says_nothing_and_one_that_failed_late_does() {
        let (admission, _metrics) = admission();
        for _ in 0..10 {
            round(&admission, Kind::Reads, WAIT / 2, false).await;
        }
        assert_eq!(round(&admission, Kind::Reads, 2 * WAIT, false).await, CALLS_AT_START);
        assert!(round(&admission, Kind::Reads, 2 * WAIT, false).await < CALLS_AT_START);
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_is_given_back_also_by_a_call_that_panics() {
        let (admission, metrics) = admission();
        drop(fill(&admission, Kind::Reads));
        assert_eq!(fill(&admission, Kind::Reads).len(), CALLS_AT_START);
        let refused = "lockbox_calls_refused_total{kind=\"reads\"} 2\n";
        assert!(metrics.text().contains(refused), "{}", metrics.text());
    }
}
