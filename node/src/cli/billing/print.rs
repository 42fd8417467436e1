//! The bill as a table, as JSON and as CSV: in the shape of that of the KMS.

use std::io::{self, Write};

use clap::ValueEnum;
use lockbox_platform::billing::{
    JsonMeter, Meter, Reading, csv_cell, print_columns, print_meters, print_meters_csv, time,
};
use lockbox_proto::lockbox::cluster::v1::CloudUsage;
use serde::Serialize;

use super::Bill;

/// How the bill is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum BillFormat {
    /// For people.
    Table,
    /// One object.
    Json,
    /// One line for each cloud; behind a blank line, one for each meter.
    Csv,
}

#[derive(Serialize)]
struct JsonBill<'a> {
    from: String,
    to: String,
    lines: Vec<JsonLine<'a>>,
    meters: Vec<JsonMeter>,
    #[serde(skip_serializing_if = "Option::is_none")]
    currency: Option<&'a str>,
}

#[derive(Serialize)]
struct JsonLine<'a> {
    cloud_id: &'a str,
    version_hours: String,
    payload_reads: u64,
}

impl<'a> JsonLine<'a> {
    fn of(cloud: &'a CloudUsage) -> Self {
        let (cloud_id, payload_reads) = (cloud.cloud_id.as_str(), cloud.payload_reads);
        Self { cloud_id, version_hours: version_hours(cloud), payload_reads }
    }
}

pub(super) fn print(bill: &Bill, format: BillFormat, output: &mut dyn Write) -> io::Result<()> {
    match format {
        BillFormat::Table => print_table(bill, output),
        BillFormat::Json => {
            serde_json::to_writer_pretty(&mut *output, &json(bill))?;
            writeln!(output)
        }
        BillFormat::Csv => print_csv(bill, output),
    }
}

fn print_table(bill: &Bill, output: &mut dyn Write) -> io::Result<()> {
    let (from, to) = bill.span.ends();
    writeln!(output, "from {} to {}\n", time(from), time(to))?;
    let mut rows = vec![["cloud", "version hours", "payload reads"].map(str::to_owned)];
    for cloud in &bill.clouds {
        let reads = cloud.payload_reads.to_string();
        rows.push([cloud.cloud_id.clone(), version_hours(cloud), reads]);
    }
    print_columns(&rows, output)?;
    writeln!(output)?;
    print_meters(&bill.meters, bill.currency.as_deref(), output)
}

fn print_csv(bill: &Bill, output: &mut dyn Write) -> io::Result<()> {
    writeln!(output, "cloud_id,version_hours,payload_reads")?;
    for cloud in &bill.clouds {
        let (id, hours) = (csv_cell(&cloud.cloud_id), version_hours(cloud));
        writeln!(output, "{id},{hours},{}", cloud.payload_reads)?;
    }
    writeln!(output)?;
    print_meters_csv(&bill.meters, bill.currency.as_deref(), output)
}

fn json(bill: &Bill) -> JsonBill<'_> {
    let (from, to) = bill.span.ends();
    JsonBill {
        from: time(from),
        to: time(to),
        lines: bill.clouds.iter().map(JsonLine::of).collect(),
        meters: bill.meters.iter().map(JsonMeter::of).collect(),
        currency: bill.currency.as_deref(),
    }
}

fn version_hours(cloud: &CloudUsage) -> String {
    Reading::of(Meter::Versions, u128::from(cloud.version_ms), None).quantity()
}

#[cfg(test)]
mod tests {
    use lockbox_platform::billing::{HOUR_MS, Prices, Span};

    use super::*;

    /// The example of the cloud's documentation: 3 secrets of 5 versions in a month of 720 hours, and
    /// 20,000 reads (`contract §7`), in two clouds.
    fn sample() -> Bill {
        let of = |id: &str, versions, payload_reads| CloudUsage {
            cloud_id: id.to_owned(),
            version_ms: HOUR_MS * 720 * versions,
            payload_reads,
        };
        let file = tempfile::NamedTempFile::new().unwrap();
        let list = "currency = \"RUB\"\n[prices]\n\"lockbox.api.v1.get\" = \"4.2\"\n\
                    \"lockbox.storage.v1.active_secrets\" = \"0.5\"\n";
        std::fs::write(file.path(), list).unwrap();
        let prices = Prices::load(file.path()).unwrap();
        let clouds = vec![of("b1gone", 14, 19_999), of("b1gtwo", 1, 1)];
        Bill::of(Span { from_hour: 0, to_hour: 720 }, clouds, Some(&prices))
    }

    fn printed(format: BillFormat) -> String {
        let mut output = Vec::new();
        print(&sample(), format, &mut output).unwrap();
        String::from_utf8(output).unwrap()
    }

    #[test]
    fn every_format_says_the_same() {
        let table = printed(BillFormat::Table);
        assert!(table.starts_with("from 1970-01-01T00:00:00Z to 1970-01-31T00:00:00Z"), "{table}");
        assert!(table.contains("b1gone  10080.000000   19999"), "{table}");
        assert!(table.contains("secret version × hour  10800.000000  5400.000000 RUB"), "{table}");
        assert!(table.contains("10,000 reads           2.000000      8.400000 RUB"), "{table}");
        let csv = printed(BillFormat::Csv);
        let (lines, meters) = csv.split_once("\n\n").unwrap();
        assert!(lines.ends_with("\nb1gtwo,720.000000,1"), "{csv}");
        let reads = "lockbox.api.v1.get,\"10,000 reads\",2.000000,8.400000,RUB\n";
        assert!(meters.ends_with(reads), "{csv}");
        let json: serde_json::Value = serde_json::from_str(&printed(BillFormat::Json)).unwrap();
        assert_eq!(json["lines"][0]["payload_reads"], 19_999);
        assert_eq!(json["meters"][0]["sku"], "lockbox.storage.v1.active_secrets");
        assert_eq!(
            (&json["meters"][1]["amount"], &json["currency"]),
            (&"8.400000".into(), &"RUB".into())
        );
    }
}
