//! Periods on the command line, as Go writes durations: `168h`, `1h30m`, `1.5s`, `250ms`.
//!
//! Longer than any deadline, so not [`super::duration`]; how long is too long is for the server.

/// A period of seconds and billionths of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Period {
    pub(crate) seconds: i64,
    pub(crate) nanos: i32,
}

impl Period {
    /// The period in a request.
    pub(crate) const fn to_wire(self) -> prost_types::Duration {
        prost_types::Duration { seconds: self.seconds, nanos: self.nanos }
    }
}

const BILLION: u128 = 1_000_000_000;

/// Reads a period that is not negative.
pub(crate) fn parse(text: &str) -> Result<Period, String> {
    let wrong = || "is no duration like 168h or 1h30m".to_owned();
    if text.is_empty() {
        return Err(wrong());
    }
    let (mut rest, mut nanos) = (text, 0_u128);
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
        let (number, tail) = rest.split_at(end);
        let unit_end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        let unit_nanos = match unit {
            "h" => 3600 * BILLION,
            "m" => 60 * BILLION,
            "s" => BILLION,
            "ms" => 1_000_000,
            _ => return Err("has a unit that is none of h, m, s, ms".to_owned()),
        };
        nanos = nanos.saturating_add(scaled(number, unit_nanos).ok_or_else(wrong)?);
        rest = tail;
    }
    let seconds = i64::try_from(nanos / BILLION).map_err(|_| "is too long".to_owned())?;
    let nanos = i32::try_from(nanos % BILLION).map_err(|_| wrong())?;
    Ok(Period { seconds, nanos })
}

/// A decimal number of units, in billionths of a second; what is finer is cut off.
fn scaled(number: &str, unit_nanos: u128) -> Option<u128> {
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && part.is_empty() || part.len() > 9 {
        return None;
    }
    let digits = |text: &str| if text.is_empty() { Some(0) } else { text.parse::<u128>().ok() };
    let power = 10_u128.checked_pow(u32::try_from(part.len()).ok()?)?;
    let whole = digits(whole)?.checked_mul(unit_nanos)?;
    whole.checked_add(digits(part)?.checked_mul(unit_nanos)? / power)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_are_read_as_go_writes_them() {
        for (text, seconds, nanos) in [
            ("168h", 604_800, 0),
            ("168h0m0s", 604_800, 0),
            ("1h30m", 5_400, 0),
            ("1.5s", 1, 500_000_000),
            (".5h", 1_800, 0),
            ("250ms", 0, 250_000_000),
            ("0s", 0, 0),
        ] {
            assert_eq!(parse(text), Ok(Period { seconds, nanos }), "{text}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        let overflow = format!("{}h", u128::MAX);
        for text in ["", "7", "d", "7d", "-1s", "1h30", "1..5s", ".s", "1 h", "ч", &overflow] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
