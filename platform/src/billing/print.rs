//! Meters as a table, as JSON and as CSV.

use std::io::{self, Write};

use jiff::Timestamp;
use lockbox_core::LogTime;
use serde::Serialize;

use super::prices::{MICROS, Meter, Prices, format_micros};

/// What one meter shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// The meter.
    pub meter: Meter,
    /// Things counted: operations and reads, or milliseconds of versions.
    pub counted: u128,
    /// What they cost, in millionths; none without a price.
    pub amount_micros: Option<u128>,
}

impl Reading {
    /// So much, at what the list says.
    #[must_use]
    pub fn of(meter: Meter, counted: u128, prices: Option<&Prices>) -> Self {
        let amount_micros = prices.and_then(|prices| prices.amount_micros(meter, counted));
        Self { meter, counted, amount_micros }
    }

    /// Units of the meter, as a decimal.
    #[must_use]
    pub fn quantity(&self) -> String {
        format_micros(self.counted * MICROS / self.meter.per_unit())
    }
}

/// A reading in JSON.
#[derive(Debug, Serialize)]
pub struct JsonMeter {
    sku: &'static str,
    unit: &'static str,
    counted: u64,
    quantity: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    amount: Option<String>,
}

impl JsonMeter {
    /// The reading.
    #[must_use]
    pub fn of(reading: &Reading) -> Self {
        Self {
            sku: reading.meter.sku(),
            unit: reading.meter.unit(),
            counted: u64::try_from(reading.counted).unwrap_or(u64::MAX),
            quantity: reading.quantity(),
            amount: reading.amount_micros.map(format_micros),
        }
    }
}

/// Prints a table of the meters.
///
/// # Errors
/// Those of the output.
pub fn print_meters(
    meters: &[Reading],
    currency: Option<&str>,
    output: &mut dyn Write,
) -> io::Result<()> {
    let mut rows = vec![["meter", "unit", "quantity", "amount"].map(str::to_owned)];
    for reading in meters {
        let currency = currency.unwrap_or_default();
        let amount =
            reading.amount_micros.map(|micros| format!("{} {currency}", format_micros(micros)));
        rows.push([
            reading.meter.sku().to_owned(),
            reading.meter.unit().to_owned(),
            reading.quantity(),
            amount.unwrap_or_else(|| "-".to_owned()),
        ]);
    }
    print_columns(&rows, output)
}

/// Prints the meters as CSV, one line for each.
///
/// # Errors
/// Those of the output.
pub fn print_meters_csv(
    meters: &[Reading],
    currency: Option<&str>,
    output: &mut dyn Write,
) -> io::Result<()> {
    writeln!(output, "meter,unit,quantity,amount,currency")?;
    for reading in meters {
        let cells = [
            csv_cell(reading.meter.sku()),
            csv_cell(reading.meter.unit()),
            reading.quantity(),
            reading.amount_micros.map(format_micros).unwrap_or_default(),
            csv_cell(currency.unwrap_or_default()),
        ];
        writeln!(output, "{}", cells.join(","))?;
    }
    Ok(())
}

/// Prints rows whose columns stand below each other.
///
/// # Errors
/// Those of the output.
pub fn print_columns<const N: usize>(
    rows: &[[String; N]],
    output: &mut dyn Write,
) -> io::Result<()> {
    let widths: [usize; N] = std::array::from_fn(|column| {
        rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)
    });
    for row in rows {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        writeln!(output, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(())
}

/// Quotes what would end a cell (RFC 4180).
#[must_use]
pub fn csv_cell(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

/// A time in RFC 3339.
#[must_use]
pub fn time(at: LogTime) -> String {
    let ms = i64::try_from(at.as_ms()).unwrap_or(i64::MAX);
    Timestamp::from_millisecond(ms).map_or_else(|_| at.to_string(), |at| at.to_string())
}
