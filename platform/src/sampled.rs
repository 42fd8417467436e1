//! Series whose values are read when somebody asks for them, a group at a time.
//!
//! Promises: a value is that of the moment of the scrape, so nothing is counted twice and no task
//! is needed; a series has the labels that its definition names and no others. Refuses to know what
//! is read.

use std::collections::HashMap;

use prometheus::core::{Collector, Desc};
use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};

use crate::metric_names::MetricName;
use crate::metrics::{MetricsError, Prefix};

/// What a series may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SeriesKind {
    /// Go up and down.
    Gauge,
    /// Only go up, until the process ends.
    Counter,
}

/// A series, or one for each set of values of its labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Series {
    /// Its name without the prefix, and what it means.
    pub name: MetricName,
    /// What it may do.
    pub kind: SeriesKind,
    /// Its labels.
    pub labels: &'static [&'static str],
}

impl Series {
    /// A gauge without labels.
    #[must_use]
    pub const fn gauge(name: &'static str, help: &'static str) -> Self {
        let name = MetricName::new(name, help);
        Self { name, kind: SeriesKind::Gauge, labels: &[] }
    }

    /// A counter without labels.
    #[must_use]
    pub const fn counter(name: &'static str, help: &'static str) -> Self {
        let name = MetricName::new(name, help);
        Self { name, kind: SeriesKind::Counter, labels: &[] }
    }

    /// The same with these labels.
    #[must_use]
    pub const fn by(self, labels: &'static [&'static str]) -> Self {
        Self { labels, ..self }
    }
}

/// What one scrape reads.
#[derive(Debug)]
pub struct Reading {
    series: &'static [Series],
    /// The values of each series.
    metrics: Vec<Vec<Metric>>,
}

impl Reading {
    fn of(series: &'static [Series]) -> Self {
        Self { series, metrics: series.iter().map(|_| Vec::new()).collect() }
    }

    /// Says what the value of a series is, for these values of its labels in their order.
    pub fn set(&mut self, series: &Series, labels: &[&str], value: f64) {
        let place = self.series.iter().position(|known| known == series);
        let Some(place) = place.filter(|_| labels.len() == series.labels.len()) else {
            tracing::error!(name = series.name.name, "a series is read that is not defined so");
            return;
        };
        let mut pairs: Vec<LabelPair> = series
            .labels
            .iter()
            .zip(labels)
            .map(|(name, value)| {
                let mut pair = LabelPair::default();
                pair.set_name((*name).to_owned());
                pair.set_value((*value).to_owned());
                pair
            })
            .collect();
        pairs.sort_by(|a, b| a.name().cmp(b.name()));
        let mut metric = Metric::from_label(pairs);
        match series.kind {
            SeriesKind::Gauge => {
                let mut gauge = Gauge::default();
                gauge.set_value(value);
                metric.set_gauge(gauge);
            }
            SeriesKind::Counter => {
                let mut counter = Counter::default();
                counter.set_value(value);
                metric.set_counter(counter);
            }
        }
        self.metrics[place].push(metric);
    }

    /// The same for a whole number, as most are.
    pub fn count(&mut self, series: &Series, labels: &[&str], value: u64) {
        self.set(series, labels, value as f64);
    }
}

/// Reads a group of series.
type Read = Box<dyn Fn(&mut Reading) + Send + Sync>;

/// A group of series that are read at each scrape.
pub struct SampledCollector {
    series: &'static [Series],
    described: Vec<Desc>,
    read: Read,
}

impl SampledCollector {
    /// A group under this prefix.
    ///
    /// # Errors
    /// [`MetricsError`] for a malformed name: a fault of the build.
    pub fn new(
        prefix: Prefix,
        series: &'static [Series],
        read: Read,
    ) -> Result<Self, MetricsError> {
        let described = series.iter().map(|series| {
            let Series { name: MetricName { name, help }, labels, .. } = *series;
            let labels = labels.iter().map(|label| (*label).to_owned()).collect();
            let name_whole = format!("{}_{name}", prefix.as_str());
            Desc::new(name_whole, help.to_owned(), labels, HashMap::new())
                .map_err(|source| MetricsError { name, source })
        });
        let described = described.collect::<Result<_, _>>()?;
        Ok(Self { series, described, read })
    }
}

impl Collector for SampledCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.described.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut reading = Reading::of(self.series);
        (self.read)(&mut reading);
        let read = self.series.iter().zip(&self.described).zip(reading.metrics);
        let family = |((series, described), metrics): ((&Series, &Desc), Vec<Metric>)| {
            let mut family = MetricFamily::default();
            family.set_name(described.fq_name.clone());
            family.set_help(described.help.clone());
            family.set_field_type(match series.kind {
                SeriesKind::Gauge => MetricType::GAUGE,
                SeriesKind::Counter => MetricType::COUNTER,
            });
            family.set_metric(metrics);
            family
        };
        read.map(family).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;

    const PLAIN: Series = Series::gauge("depth", "How deep it is.");
    const LABELLED: Series = Series::counter("seen_total", "What was seen.").by(&["zone", "kind"]);
    const BOTH: [Series; 2] = [PLAIN, LABELLED];

    #[test]
    fn a_value_is_that_of_the_scrape() {
        let metrics = Metrics::new(Prefix::Kms).unwrap();
        let depth = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(1));
        let read = std::sync::Arc::clone(&depth);
        metrics
            .sampled(&BOTH, move |reading| {
                let depth = read.load(std::sync::atomic::Ordering::Relaxed);
                reading.count(&PLAIN, &[], depth);
                reading.set(&LABELLED, &["north", "bird"], 2.5);
                // Not as it is defined: it is left out.
                reading.set(&LABELLED, &["north"], 7.0);
            })
            .unwrap();
        assert!(metrics.text().contains("\nkms_depth 1\n"), "{}", metrics.text());
        depth.store(4, std::sync::atomic::Ordering::Relaxed);
        let text = metrics.text();
        for line in [
            "# HELP kms_depth How deep it is.",
            "# TYPE kms_depth gauge",
            "kms_depth 4",
            "# TYPE kms_seen_total counter",
            "kms_seen_total{kind=\"bird\",zone=\"north\"} 2.5",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in {text}");
        }
        assert!(!text.contains(" 7"), "{text}");
    }
}
