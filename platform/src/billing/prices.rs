//! The price list: what an operator charges for each meter (`contract §7`).
//!
//! Prices are decimal texts, kept as integers: a bill is not the place for rounding by floats.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::config_file::one_line;

/// Parts of one unit of currency that are kept: millionths.
pub const MICROS: u128 = 1_000_000;
/// Digits behind the point that [`MICROS`] holds.
const MICROS_DIGITS: usize = 6;

/// A meter: the KMS's, and the service's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Meter {
    /// Crypto operations.
    Operations,
    /// Stored key versions, by time.
    Storage,
    /// Payload reads.
    Reads,
    /// Stored versions of secrets, by time.
    Versions,
}

impl Meter {
    /// Every meter.
    pub const ALL: [Self; 4] = [Self::Operations, Self::Storage, Self::Reads, Self::Versions];

    /// The id in price lists and reports.
    #[must_use]
    pub const fn sku(self) -> &'static str {
        match self {
            Self::Operations => "kms.api.v1.encryptdecrypt",
            Self::Storage => "kms.storage.v1.software",
            Self::Reads => "lockbox.api.v1.get",
            Self::Versions => "lockbox.storage.v1.active_secrets",
        }
    }

    /// What a price is for.
    #[must_use]
    pub const fn unit(self) -> &'static str {
        match self {
            Self::Operations => "10,000 operations",
            Self::Storage => "key version × hour",
            Self::Reads => "10,000 reads",
            Self::Versions => "secret version × hour",
        }
    }

    /// How many counted things make one unit: operations and reads, or milliseconds of a version.
    #[must_use]
    pub const fn per_unit(self) -> u128 {
        match self {
            Self::Operations | Self::Reads => 10_000,
            Self::Storage | Self::Versions => 3_600_000,
        }
    }
}

/// A price list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prices {
    /// Name of the currency.
    pub currency: String,
    /// Price of one unit of a meter, in millionths of the currency.
    micros: BTreeMap<Meter, u128>,
}

/// Why there is no price list; one sentence.
#[derive(Debug, thiserror::Error)]
pub enum PricesError {
    /// The file cannot be read.
    #[error("cannot read the price list {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is no price list.
    #[error("price list {path} is wrong: {problem}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and what.
        problem: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PricesFile {
    currency: String,
    prices: BTreeMap<String, String>,
}

impl Prices {
    /// Reads a price list: `currency`, and a table `prices` of decimal texts by meter.
    ///
    /// # Errors
    /// [`PricesError`].
    pub fn load(path: &Path) -> Result<Self, PricesError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| PricesError::Read { path: path.to_owned(), source })?;
        Self::parse(&text).map_err(|problem| PricesError::Parse { path: path.to_owned(), problem })
    }

    fn parse(text: &str) -> Result<Self, String> {
        let file: PricesFile = toml::from_str(text).map_err(|error| one_line(text, &error))?;
        let mut micros = BTreeMap::new();
        for (sku, price) in file.prices {
            let meter = Meter::ALL.into_iter().find(|meter| meter.sku() == sku);
            let meter = meter.ok_or_else(|| format!("there is no meter {sku}"))?;
            let price = parse_decimal(&price)
                .ok_or_else(|| format!("the price of {sku} is not a decimal like \"0.0384\""))?;
            micros.insert(meter, price);
        }
        Ok(Self { currency: file.currency, micros })
    }

    /// What a quantity costs, in millionths, rounded half up; none when the meter has no price.
    #[must_use]
    pub fn amount_micros(&self, meter: Meter, counted: u128) -> Option<u128> {
        let per = meter.per_unit();
        self.micros.get(&meter).map(|price| (counted * price + per / 2) / per)
    }
}

/// Prints millionths as a decimal.
#[must_use]
pub fn format_micros(micros: u128) -> String {
    format!("{}.{:06}", micros / MICROS, micros % MICROS)
}

fn parse_decimal(text: &str) -> Option<u128> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || fraction.len() > MICROS_DIGITS || whole.len() > 12 {
        return None;
    }
    let whole: u128 = whole.parse().ok()?;
    let fraction: u128 = format!("{fraction:0<MICROS_DIGITS$}").parse().ok()?;
    Some(whole * MICROS + fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_exact() {
        let text = "currency = \"RUB\"\n[prices]\n\"kms.api.v1.encryptdecrypt\" = \"1.23\"\n";
        let prices = Prices::parse(text).unwrap();
        let amount = |count| prices.amount_micros(Meter::Operations, count).map(format_micros);
        assert_eq!(amount(10_000).as_deref(), Some("1.230000"));
        assert_eq!(amount(1).as_deref(), Some("0.000123"));
        assert_eq!(prices.amount_micros(Meter::Storage, 1), None);
    }

    /// One list may have the prices of both servers.
    #[test]
    fn the_example_has_a_price_for_every_meter() {
        let prices = Prices::parse(include_str!("../../../docs/prices.example.toml")).unwrap();
        for meter in Meter::ALL {
            assert!(prices.amount_micros(meter, meter.per_unit()).is_some(), "{meter:?}");
        }
    }

    #[test]
    fn mistakes_are_named() {
        let parse = |price: &str| {
            Prices::parse(&format!("currency = \"RUB\"\n[prices]\n{price}\n")).unwrap_err()
        };
        assert!(parse("\"kms.x\" = \"1\"").contains("no meter kms.x"));
        for price in ["-1", "1.", "1.1234567", "x", ""] {
            let line = format!("\"kms.storage.v1.software\" = \"{price}\"");
            assert!(parse(&line).contains("not a decimal"), "{price}");
        }
    }
}
