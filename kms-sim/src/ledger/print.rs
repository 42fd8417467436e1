//! The bill as a table, as JSON and as CSV.

use std::io::{self, Write};

use jiff::Timestamp;
use lockbox_core::LogTime;
use serde::Serialize;

use super::prices::{MICROS, format_micros};
use super::report::{Reading, Report};

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

#[derive(Serialize)]
struct JsonMeter {
    sku: &'static str,
    unit: &'static str,
    counted: u64,
    quantity: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    amount: Option<String>,
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
    let mut rows = vec![["meter", "unit", "quantity", "amount"].map(str::to_owned)];
    for reading in &report.meters {
        let currency = report.currency.as_deref().unwrap_or_default();
        let amount =
            reading.amount_micros.map(|micros| format!("{} {currency}", format_micros(micros)));
        rows.push([
            reading.meter.sku().to_owned(),
            reading.meter.unit().to_owned(),
            quantity(reading),
            amount.unwrap_or_else(|| "-".to_owned()),
        ]);
    }
    print_columns(&rows, output)
}

fn print_columns<const N: usize>(rows: &[[String; N]], output: &mut dyn Write) -> io::Result<()> {
    let widths: [usize; N] = std::array::from_fn(|column| {
        rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)
    });
    for row in rows {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        writeln!(output, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(())
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
    writeln!(output, "\nmeter,unit,quantity,amount,currency")?;
    for reading in &report.meters {
        let cells = [
            csv_cell(reading.meter.sku()),
            csv_cell(reading.meter.unit()),
            quantity(reading),
            reading.amount_micros.map(format_micros).unwrap_or_default(),
            csv_cell(report.currency.as_deref().unwrap_or_default()),
        ];
        writeln!(output, "{}", cells.join(","))?;
    }
    Ok(())
}

/// Quotes what would end a cell (RFC 4180).
fn csv_cell(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
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
        meters: report
            .meters
            .iter()
            .map(|reading| JsonMeter {
                sku: reading.meter.sku(),
                unit: reading.meter.unit(),
                counted: u64::try_from(reading.counted).unwrap_or(u64::MAX),
                quantity: quantity(reading),
                amount: reading.amount_micros.map(format_micros),
            })
            .collect(),
        currency: report.currency.as_deref(),
    }
}

/// Units of the meter, as a decimal.
fn quantity(reading: &Reading) -> String {
    format_micros(reading.counted * MICROS / reading.meter.per_unit())
}

fn time(at: LogTime) -> String {
    let ms = i64::try_from(at.as_ms()).unwrap_or(i64::MAX);
    Timestamp::from_millisecond(ms).map_or_else(|_| at.to_string(), |at| at.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::counters::Counts;
    use crate::ledger::prices::Meter;
    use crate::ledger::report::{Line, LineKey, Span};

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
