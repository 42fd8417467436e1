//! What the writers' acknowledgements and the payload say together.

use std::collections::BTreeMap;
use std::time::Duration;

use lockbox_proto::yandex::cloud::lockbox::v1::Payload;
use lockbox_proto::yandex::cloud::lockbox::v1::payload::entry::Value;
use serde::Serialize;

use super::writer::{Tally, entry_key, entry_value};
use crate::latency::{Latencies, Percentiles};

/// Entries that are told by name; more are only counted.
const TOLD: usize = 10;

/// Entries that were acknowledged and are not in a payload.
#[derive(Debug, Default)]
pub(super) struct Missing(Vec<String>);

impl Missing {
    /// Looks for every acknowledged entry in the payload that one member answered.
    pub(super) fn check(&mut self, endpoint: &str, payload: &Payload, tallies: &[Tally]) {
        let values: BTreeMap<&str, Option<&Value>> =
            payload.entries.iter().map(|e| (e.key.as_str(), e.value.as_ref())).collect();
        for tally in tallies {
            let expected = Value::BinaryValue(entry_value(tally.writer).to_vec());
            for number in 0..tally.acknowledged {
                let key = entry_key(tally.writer, number);
                if values.get(key.as_str()).copied().flatten() != Some(&expected) {
                    self.0.push(format!("{key} through {endpoint}"));
                }
            }
        }
    }
}

/// The result.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Contended {
    label: String,
    writers: usize,
    seconds: f64,
    /// Entries that were acknowledged, each a version of its own.
    pub(super) commits: usize,
    commits_per_second: f64,
    /// Calls made, for each commit.
    tries_per_commit: f64,
    latency_us: Percentiles,
    errors: BTreeMap<String, u64>,
    /// Acknowledged entries that are not there, by key and member.
    pub(super) lost: Vec<String>,
    /// Why writers stopped before their time.
    pub(super) refused: Vec<String>,
}

impl Contended {
    pub(super) fn new(label: &str, tallies: &[Tally], took: Duration, missing: Missing) -> Self {
        let mut latencies = Latencies::new();
        let mut errors = BTreeMap::new();
        for tally in tallies {
            latencies.add(&tally.latencies);
            for (code, count) in &tally.errors {
                *errors.entry(code.clone()).or_default() += count;
            }
        }
        let commits: usize = tallies.iter().map(|tally| tally.acknowledged).sum();
        let in_time: usize = tallies.iter().map(|tally| tally.in_time).sum();
        let tries: u64 = tallies.iter().map(|tally| tally.tries).sum();
        Self {
            label: label.to_owned(),
            writers: tallies.len(),
            seconds: took.as_secs_f64(),
            commits,
            commits_per_second: in_time as f64 / took.as_secs_f64(),
            tries_per_commit: tries as f64 / commits.max(1) as f64,
            latency_us: latencies.percentiles(),
            errors,
            lost: missing.0,
            refused: tallies.iter().filter_map(|tally| tally.refused.clone()).collect(),
        }
    }

    /// What a person reads.
    pub(super) fn table(&self) -> String {
        let mut text = format!(
            "{} writers, {:.1} s: {} commits, {:.1} commits/s, {:.2} tries per commit, \
             p50 {:.1} ms, p99 {:.1} ms\nacknowledged entries lost: {}\n",
            self.writers,
            self.seconds,
            self.commits,
            self.commits_per_second,
            self.tries_per_commit,
            self.latency_us.p50 as f64 / 1000.0,
            self.latency_us.p99 as f64 / 1000.0,
            self.lost.len(),
        );
        for (code, count) in &self.errors {
            text.push_str(&format!("tried again after {code}: {count}\n"));
        }
        for lost in self.lost.iter().take(TOLD) {
            text.push_str(&format!("lost: {lost}\n"));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use lockbox_proto::yandex::cloud::lockbox::v1::payload::Entry;

    use super::*;

    fn tally(writer: usize, acknowledged: usize) -> Tally {
        Tally {
            writer,
            acknowledged,
            in_time: acknowledged.min(1),
            tries: 3 * acknowledged as u64,
            latencies: Latencies::new(),
            errors: BTreeMap::from([("Aborted".to_owned(), 2)]),
            refused: None,
        }
    }

    fn entry(writer: usize, number: usize, value: &[u8]) -> Entry {
        Entry { key: entry_key(writer, number), value: Some(Value::BinaryValue(value.to_vec())) }
    }

    #[test]
    fn a_missing_and_a_wrong_entry_are_lost_and_an_unacknowledged_one_is_not() {
        let entries = vec![entry(0, 0, b"a"), entry(1, 0, b"x"), entry(2, 0, b"c")];
        let payload = Payload { version_id: String::new(), entries };
        let tallies = [tally(0, 2), tally(1, 1), tally(2, 0)];
        let mut missing = Missing::default();
        missing.check("n1", &payload, &tallies);
        let result = Contended::new("", &tallies, Duration::from_secs(2), missing);
        assert_eq!(result.lost, ["w000-1 through n1", "w001-0 through n1"]);
        assert_eq!((result.commits, result.tries_per_commit), (3, 3.0));
        // What was acknowledged after the time is no throughput.
        assert!((result.commits_per_second - 1.0).abs() < 1e-9);
        assert_eq!(result.errors["Aborted"], 6);
        assert!(result.table().contains("entries lost: 2"));
    }
}
