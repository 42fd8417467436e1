//! How long operations took.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// The longest time that is told apart from longer ones, in microseconds.
const LONGEST_US: u64 = 60_000_000;
/// Significant decimal digits of a recorded time.
const DIGITS: u8 = 3;

/// Times of operations, to the microsecond.
#[derive(Debug, Clone)]
pub struct Latencies(Histogram<u64>);

/// What is told of them, in microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Percentiles {
    /// Median.
    pub p50: u64,
    /// 99 % took no longer.
    pub p99: u64,
    /// 99.9 % took no longer.
    pub p999: u64,
    /// The longest.
    pub max: u64,
}

impl Latencies {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        let histogram = Histogram::new_with_bounds(1, LONGEST_US, DIGITS);
        Self(histogram.expect("the bounds are constants that the histogram accepts"))
    }

    /// Adds one.
    pub fn record(&mut self, took: Duration) {
        self.0.saturating_record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    }

    /// Adds all of another.
    pub fn add(&mut self, other: &Self) {
        let added = self.0.add(&other.0);
        // INVARIANT: both have the same bounds, the only thing that could be refused.
        assert!(added.is_ok(), "histograms of the same bounds add up");
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// Their percentiles.
    #[must_use]
    pub fn percentiles(&self) -> Percentiles {
        Percentiles {
            p50: self.0.value_at_quantile(0.5),
            p99: self.0.value_at_quantile(0.99),
            p999: self.0.value_at_quantile(0.999),
            max: self.0.max(),
        }
    }
}

impl Default for Latencies {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_of_a_thousand_times() {
        let mut low = Latencies::new();
        let mut high = Latencies::new();
        for us in 1..=1000 {
            let half = if us <= 500 { &mut low } else { &mut high };
            half.record(Duration::from_micros(us));
        }
        low.add(&high);
        let expected = Percentiles { p50: 500, p99: 990, p999: 999, max: 1000 };
        assert_eq!((low.count(), low.percentiles()), (1000, expected));
    }

    #[test]
    fn an_hour_is_recorded_as_the_longest() {
        let mut latencies = Latencies::new();
        latencies.record(Duration::from_secs(3600));
        assert!(latencies.percentiles().max >= LONGEST_US);
    }
}
