//! Durations on the command line: `30s`, `500ms`, `2m`, `1h`; a bare number means seconds.

use std::time::Duration;

/// Longest duration that a flag takes: more is a slip, and would overflow a deadline.
const DURATION_MAX: Duration = Duration::from_secs(24 * 3600);

/// Reads a duration of at least one millisecond.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| "is no duration like 30s, 500ms or 2m")?;
    let unit_ms = match unit {
        "ms" => 1,
        "s" | "" => 1000,
        "m" => 60 * 1000,
        "h" => 3600 * 1000,
        _ => return Err("has a unit that is none of ms, s, m, h".to_owned()),
    };
    let duration = Duration::from_millis(number.saturating_mul(unit_ms));
    if duration.is_zero() || duration > DURATION_MAX {
        return Err("must be more than 0 and at most 24h".to_owned());
    }
    Ok(duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_known_and_seconds_are_the_default() {
        for (text, ms) in [("30s", 30_000), ("500ms", 500), ("2m", 120_000), ("1h", 3_600_000)] {
            assert_eq!(parse(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        assert_eq!(parse("7"), Ok(Duration::from_secs(7)));
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "s", "-1s", "1.5s", "0", "0s", "25h", "3d", "99999999999999999999s"] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(parse("18446744073709551615h").is_err(), "an overflow");
    }
}
