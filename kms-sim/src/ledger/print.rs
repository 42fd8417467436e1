//! The bill as a table, as JSON and as CSV.

use std::io::{self, Write};

use lockbox_platform::billing::{
    JsonMeter, csv_cell, print_columns, print_meters, print_meters_csv, time,
};
use serde::Serialize;

use super::report::Report;

/// How the bill is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// One object.
    Json,
    /// One line for each line of the bill; behind a blank line, one for each meter.
    Csv,
}

#[derive(Serialize)]
struct JsonReport<'a> {
    from: String,
    to: String,
    lines: Vec<JsonLine<'a>>,
    meters: Vec<JsonMeter>,
    #[serde(skip_serializing_if = "Option::is_none")]
    currency: Option<&'a str>,
}

#[derive(Serialize)]
struct JsonLine<'a> {
    key_id: &'a str,
    key_version_id: &'a str,
    operation: &'a str,
    subject: &'a str,
    billed: u64,
    not_billed: u64,
}

/// Prints the bill.
///
/// # Errors
/// Those of the output.
pub fn print(report: &Report, format: Format, output: &mut dyn Write) -> io::Result<()> {
    match format {
        Format::Table => print_table(report, output),
        Format::Json => {
            serde_json::to_writer_pretty(&mut *output, &json(report))?;
            writeln!(output)
        }
        Format::Csv => print_csv(report, output),
    }
}

fn print_table(report: &Report, output: &mut dyn Write) -> io::Result<()> {
    let (from, to) = report.span.ends();
    writeln!(output, "from {} to {}", time(from), time(to))?;
    writeln!(output)?;
    let header = ["key", "version", "operation", "subject", "billed", "not billed"];
    let mut rows = vec![header.map(str::to_owned)];
    for line in &report.lines {
        rows.push([
            line.key.key_id.clone(),
            line.key.version_id.clone(),
            line.key.operation.to_owned(),
            line.key.subject.clone(),
            line.counts.billed.to_string(),
            line.counts.unbilled.to_string(),
        ]);
    }
    print_columns(&rows, output)?;
    writeln!(output)?;
    print_meters(&report.meters, report.currency.as_deref(), output)
}

fn print_csv(report: &Report, output: &mut dyn Write) -> io::Result<()> {
    writeln!(output, "key_id,key_version_id,operation,subject,billed,not_billed")?;
    for line in &report.lines {
        let cells = [
            csv_cell(&line.key.key_id),
            csv_cell(&line.key.version_id),
            csv_cell(line.key.operation),
            csv_cell(&line.key.subject),
            line.counts.billed.to_string(),
            line.counts.unbilled.to_string(),
        ];
        writeln!(output, "{}", cells.join(","))?;
    }
    writeln!(output)?;
    print_meters_csv(&report.meters, report.currency.as_deref(), output)
}

fn json(report: &Report) -> JsonReport<'_> {
    let (from, to) = report.span.ends();
    JsonReport {
        from: time(from),
        to: time(to),
        lines: report
            .lines
            .iter()
            .map(|line| JsonLine {
                key_id: &line.key.key_id,
                key_version_id: &line.key.version_id,
                operation: line.key.operation,
                subject: &line.key.subject,
                billed: line.counts.billed,
                not_billed: line.counts.unbilled,
            })
            .collect(),
        meters: report.meters.iter().map(JsonMeter::of).collect(),
        currency: report.currency.as_deref(),
    }
}

#[cfg(test)]
mod tests {
    use lockbox_platform::billing::{Meter, Reading, Span};

    use super::*;
    use crate::ledger::counters::Counts;
    use crate::ledger::report::{Line, LineKey};

    fn sample() -> Report {
        let key = LineKey {
            key_id: "k".to_owned(),
            version_id: "v".to_owned(),
            operation: "Decrypt",
            subject: "serviceAccount:a,b".to_owned(),
        };
        Report {
            span: Span { from_hour: 0, to_hour: 24 },
            lines: vec![Line { key, counts: Counts { billed: 20_000, unbilled: 3 } }],
            meters: vec![Reading {
                meter: Meter::Operations,
                counted: 20_000,
                amount_micros: Some(2_460_000),
            }],
            currency: Some("RUB".to_owned()),
        }
    }

    fn printed(format: Format) -> String {
        let mut output = Vec::new();
        print(&sample(), format, &mut output).unwrap();
        String::from_utf8(output).unwrap()
    }

    #[test]
    fn every_format_says_the_same() {
        let table = printed(Format::Table);
        assert!(table.starts_with("from 1970-01-01T00:00:00Z to 1970-01-02T00:00:00Z"), "{table}");
        assert!(table.contains("20000   3"), "{table}");
        assert!(table.contains("10,000 operations  2.000000  2.460000 RUB"), "{table}");
        let csv = printed(Format::Csv);
        let (lines, meters) = csv.split_once("\n\n").unwrap();
        assert!(lines.ends_with("k,v,Decrypt,\"serviceAccount:a,b\",20000,3"), "{csv}");
        let meter = "kms.api.v1.encryptdecrypt,\"10,000 operations\",2.000000,2.460000,RUB\n";
        assert!(meters.ends_with(meter), "{csv}");
        let json: serde_json::Value = serde_json::from_str(&printed(Format::Json)).unwrap();
        assert_eq!(json["lines"][0]["billed"], 20_000);
        assert_eq!(json["meters"][0]["amount"], "2.460000");
    }
}
