//! The report as Markdown.

use std::collections::BTreeMap;

use super::figures::{CPU_TARGETS, FIGURES};
use super::pairs::{OTHER_CORES_MAX, Row, median, rows};
use crate::arguments::Operation;
use crate::record::Record;

/// Shown where nothing was measured.
const NONE: &str = "–";

/// Facts, ratios, processor time, and every cell by itself.
pub(super) fn report(title: &str, facts: &str, records: &[Record]) -> String {
    let mut text = format!("# {title}\n\n");
    for fact in facts.lines().filter(|line| !line.trim().is_empty()) {
        line(&mut text, &format!("- {fact}"));
    }
    line(&mut text, "\n## Ratios\n");
    let explanation = format!(
        "Median of the ratios of the rounds; both sides of a ratio ran in the same round, one \
         after the other. Pairs during which other processes used more than {OTHER_CORES_MAX} \
         cores are left out. Times are p50 / p99 in ms, medians over the rounds."
    );
    line(&mut text, &explanation);
    for figure in &FIGURES {
        let rows = rows(figure, records);
        if rows.is_empty() {
            continue;
        }
        line(&mut text, &format!("\n### {}\n", figure.name));
        line(
            &mut text,
            "| value B | clients | ratio | must | | ours ops/s | ms | theirs ops/s | ms | \
             pairs | left out |",
        );
        line(&mut text, "|---|---|---|---|---|---|---|---|---|---|---|");
        for row in &rows {
            line(&mut text, &ratio_line(row, figure.must_at(row.clients)));
        }
    }
    processor_time(&mut text, records);
    cells(&mut text, records);
    text
}

fn line(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

fn ratio_line(row: &Row<'_>, must: Option<f64>) -> String {
    let ours: Vec<&Record> = row.kept.iter().map(|(ours, _)| *ours).collect();
    let theirs: Vec<&Record> = row.kept.iter().map(|(_, theirs)| *theirs).collect();
    let ratio = row.ratio();
    let columns = [
        row.value_bytes.to_string(),
        row.clients.to_string(),
        ratio.map_or_else(|| NONE.to_owned(), |ratio| format!("**{ratio:.2}**")),
        must.map_or_else(|| NONE.to_owned(), |must| format!("≥ {must}")),
        verdict(ratio.zip(must).map(|(ratio, must)| ratio >= must)).to_owned(),
        number(&ours, 0, |record| Some(record.operations_per_second)),
        times(&ours),
        number(&theirs, 0, |record| Some(record.operations_per_second)),
        times(&theirs),
        row.kept.len().to_string(),
        row.dropped.to_string(),
    ];
    format!("| {} |", columns.join(" | "))
}

const fn verdict(met: Option<bool>) -> &'static str {
    match met {
        Some(true) => "met",
        Some(false) => "**missed**",
        None => "",
    }
}

/// The median of one figure over the rounds.
fn number(records: &[&Record], digits: usize, of: impl Fn(&Record) -> Option<f64>) -> String {
    let median = median(records.iter().filter_map(|record| of(record)));
    median.map_or_else(|| NONE.to_owned(), |value| format!("{value:.digits$}"))
}

fn times(records: &[&Record]) -> String {
    let ms = |of: fn(&Record) -> u64| number(records, 2, |record| Some(of(record) as f64 / 1000.0));
    format!("{} / {}", ms(|record| record.latency_us.p50), ms(|record| record.latency_us.p99))
}

fn processor_time(text: &mut String, records: &[Record]) {
    line(text, "\n## Processor time\n");
    line(text, "| figure | value B | µs | must | |");
    line(text, "|---|---|---|---|---|");
    for target in &CPU_TARGETS {
        let mut by_value: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
        for record in records {
            let fits = record.label == target.label
                && record.operation == target.operation
                && record.clients == target.clients;
            if let Some(us) = record.server_cpu_us.filter(|_| fits) {
                by_value.entry(record.value_bytes).or_default().push(us);
            }
        }
        for (value_bytes, times) in by_value {
            let Some(us) = median(times.into_iter()) else { continue };
            let (name, must, met) = (target.name, target.must_us, us <= target.must_us);
            let verdict = verdict(Some(met));
            line(text, &format!("| {name} | {value_bytes} | {us:.0} | ≤ {must} | {verdict} |"));
        }
    }
}

/// Every measurement: medians over all of its rounds, noisy ones too.
fn cells(text: &mut String, records: &[Record]) {
    line(text, "\n## Every cell\n");
    line(text, "Medians over all rounds, also those that were left out above.\n");
    line(
        text,
        "| system | operation | value B | clients | ops/s | p50 ms | p99 ms | p99.9 ms | max ms | \
         server µs/op | client µs/op | syncs/op | other cores | errors | rounds |",
    );
    line(text, "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|");
    let mut cells: BTreeMap<(&str, Operation, usize, usize), Vec<&Record>> = BTreeMap::new();
    for record in records {
        let at = (record.label.as_str(), record.operation, record.value_bytes, record.clients);
        cells.entry(at).or_default().push(record);
    }
    for ((label, operation, value_bytes, clients), rounds) in cells {
        let operation = format!("{operation:?}").to_lowercase();
        let ms = |of: fn(&Record) -> u64| number(&rounds, 2, |r| Some(of(r) as f64 / 1000.0));
        let errors: u64 = rounds.iter().flat_map(|record| record.errors.values()).sum();
        let columns = [
            number(&rounds, 0, |record| Some(record.operations_per_second)),
            ms(|record| record.latency_us.p50),
            ms(|record| record.latency_us.p99),
            ms(|record| record.latency_us.p999),
            ms(|record| record.latency_us.max),
            number(&rounds, 1, |record| record.server_cpu_us),
            number(&rounds, 1, |record| Some(record.client_cpu_us)),
            number(&rounds, 3, |record| record.syncs_per_operation),
            number(&rounds, 2, |record| Some(record.other_cores)),
            errors.to_string(),
            rounds.len().to_string(),
        ];
        let figures = columns.join(" | ");
        line(text, &format!("| {label} | {operation} | {value_bytes} | {clients} | {figures} |"));
    }
}

#[cfg(test)]
mod tests {
    use super::super::figures::{ETCD_LEADER, OURS_LEADER};
    use super::*;
    use crate::arguments::Members;
    use crate::latency::Percentiles;

    fn record(label: &str, round: u32, operations_per_second: f64, other_cores: f64) -> Record {
        Record {
            label: label.to_owned(),
            round,
            operation: Operation::Get,
            members: Members::Leader,
            clients: 64,
            connections: 8,
            value_bytes: 1024,
            secrets: 1000,
            seconds: 4.0,
            operations: 1,
            operations_per_second,
            latency_us: Percentiles { p50: 1500, p99: 2500, p999: 3000, max: 4000 },
            errors: BTreeMap::from([("Unavailable".to_owned(), 2)]),
            first_error: None,
            server_cpu_us: Some(80.0),
            client_cpu_us: 20.0,
            other_cores,
            stolen_cores: 0.0,
            syncs_per_operation: None,
        }
    }

    #[test]
    fn the_ratio_is_the_median_of_the_quiet_pairs() {
        let mut records = Vec::new();
        for (round, ours, noise) in [(1, 1000.0, 0.0), (2, 3000.0, 0.1), (3, 9000.0, 0.9)] {
            records.push(record(OURS_LEADER, round, ours, noise));
            records.push(record(ETCD_LEADER, round, 1000.0, 0.0));
        }
        // A round that only one side ran is no pair.
        records.push(record(OURS_LEADER, 4, 1.0, 0.0));
        let text = report("Run", "disk: slow", &records);
        let expected = "| 1024 | 64 | **2.00** | ≥ 1.5 | met | 2000 | 1.50 / 2.50 | 1000 | \
                        1.50 / 2.50 | 2 | 1 |";
        assert!(text.contains(expected), "{text}");
        assert!(text.contains("- disk: slow\n"));
        assert!(text.contains("| 1024 | 80 | ≤ 110 | met |"), "{text}");
        let cell = "| etcd-leader | get | 1024 | 64 | 1000 | 1.50 | 2.50 | 3.00 | 4.00 | 80.0 | \
                    20.0 | – | 0.00 | 6 | 3 |";
        assert!(text.contains(cell), "{text}");
    }

    #[test]
    fn a_ratio_below_the_target_is_told() {
        let records = [record(OURS_LEADER, 1, 149.0, 0.0), record(ETCD_LEADER, 1, 100.0, 0.0)];
        assert!(report("Run", "", &records).contains("| **1.49** | ≥ 1.5 | **missed** |"));
    }
}
