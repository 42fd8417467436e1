//! Writes numbers for readers: counts with separators, durations with a fitting unit.

use std::fmt::{self, Display};

/// Nanoseconds in a millisecond.
pub(super) const MS: u64 = 1_000_000;
/// Nanoseconds in a second.
pub(super) const SECOND: u64 = 1_000 * MS;

/// A count, in groups of three digits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Count(pub(super) u64);

impl Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        for (place, digit) in digits.chars().enumerate() {
            if place > 0 && (digits.len() - place).is_multiple_of(3) {
                f.write_str(",")?;
            }
            write!(f, "{digit}")?;
        }
        Ok(())
    }
}

/// A number of things and their name: `1 operation`, `2 operations`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Things<'a>(pub(super) usize, pub(super) &'a str);

impl Display for Things<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}{}", Count(self.0 as u64), self.1, if self.0 == 1 { "" } else { "s" })
    }
}

/// A duration in nanoseconds, with three significant digits or whole seconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Duration(pub(super) u64);

impl Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ns = self.0;
        let (amount, unit) = if ns >= 120 * SECOND {
            return write!(f, "{} min {} s", ns / (60 * SECOND), ns / SECOND % 60);
        } else if ns >= SECOND {
            (ns as f64 / SECOND as f64, "s")
        } else if ns >= MS {
            (ns as f64 / MS as f64, "ms")
        } else {
            (ns as f64 / 1_000.0, "µs")
        };
        let decimals = if amount >= 100.0 {
            0
        } else if amount >= 10.0 {
            1
        } else {
            2
        };
        write!(f, "{amount:.decimals$} {unit}")
    }
}

/// A moment of a run, in seconds since its beginning.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment(pub(super) u64);

impl Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3} s", self.0 as f64 / SECOND as f64)
    }
}

/// The value below which `part` (0 to 1) of the sorted values lie; 0 of none.
pub(super) fn quantile(sorted: &[u64], part: f64) -> u64 {
    let place = (sorted.len() as f64 * part).ceil() as usize;
    sorted.get(place.saturating_sub(1)).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{Count, Duration, MS, SECOND, quantile};

    #[test]
    fn numbers_read_well() {
        assert_eq!(Count(1_234_567).to_string(), "1,234,567");
        assert_eq!(Count(999).to_string(), "999");
        let durations = [250, 31 * MS, 1_234 * MS, 65 * SECOND, 3_723 * SECOND];
        let written: Vec<String> = durations.iter().map(|&ns| Duration(ns).to_string()).collect();
        assert_eq!(written, ["0.25 µs", "31.0 ms", "1.23 s", "65.0 s", "62 min 3 s"]);
    }

    #[test]
    fn quantiles_are_values_that_were_measured() {
        let values: Vec<u64> = (1..=100).collect();
        assert_eq!(quantile(&values, 0.5), 50);
        assert_eq!(quantile(&values, 0.99), 99);
        assert_eq!(quantile(&values, 1.0), 100);
        assert_eq!(quantile(&[], 0.5), 0);
    }
}
