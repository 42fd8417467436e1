//! The grammar of bounds in validation options.
//!
//! Owns the reading of `<=n`, `<n`, `>=n`, `>n`, `n`, `a-b` and of timestamp ranges. Anything else
//! is an error, so that a misspelt option cannot silently allow everything.

/// Days from 0000-03-01 to 1970-01-01 in the proleptic Gregorian calendar.
const DAYS_TO_UNIX_EPOCH: i64 = 719_468;

/// Both ends included; an open end is the limit of `i64`.
#[derive(Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) min: i64,
    pub(crate) max: i64,
}

impl Bounds {
    /// Reads a numeric bound.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let number = |digits: &str| {
            digits.trim().parse::<i64>().map_err(|error| format!("bound `{text}`: {error}"))
        };
        let (min, max) = if let Some(rest) = text.strip_prefix("<=") {
            (i64::MIN, number(rest)?)
        } else if let Some(rest) = text.strip_prefix(">=") {
            (number(rest)?, i64::MAX)
        } else if let Some(rest) = text.strip_prefix('<') {
            (i64::MIN, number(rest)?.checked_sub(1).ok_or("bound below every number")?)
        } else if let Some(rest) = text.strip_prefix('>') {
            (number(rest)?.checked_add(1).ok_or("bound above every number")?, i64::MAX)
        } else if let Some((low, high)) = text.split_once('-').filter(|(low, _)| !low.is_empty()) {
            (number(low)?, number(high)?)
        } else {
            (number(text)?, number(text)?)
        };
        if min > max {
            return Err(format!("bound `{text}` admits nothing"));
        }
        Ok(Self { min, max })
    }

    /// The constant in generated code.
    pub(crate) fn code(self) -> String {
        let end = |number: i64| match number {
            i64::MIN => "i64::MIN".to_owned(),
            i64::MAX => "i64::MAX".to_owned(),
            number => number.to_string(),
        };
        format!("Bounds {{ min: {}, max: {} }}", end(self.min), end(self.max))
    }
}

/// Reads `<first>-<last>`, each `yyyymmddThhmmss.nnnnnnnnn` in UTC, as seconds and nanoseconds.
pub(crate) fn parse_timestamp_range(text: &str) -> Result<[(i64, i32); 2], String> {
    let refuse = || format!("timestamp range `{text}` is not <first>-<last>");
    let (first, last) = text.split_once('-').ok_or_else(refuse)?;
    let range = [parse_moment(first).ok_or_else(refuse)?, parse_moment(last).ok_or_else(refuse)?];
    if range[0] > range[1] { Err(refuse()) } else { Ok(range) }
}

fn parse_moment(text: &str) -> Option<(i64, i32)> {
    let (date, time) = text.split_once('T')?;
    let (clock, nanos) = time.split_once('.')?;
    if date.len() != 8 || clock.len() != 6 || nanos.len() != 9 || !text.is_ascii() {
        return None;
    }
    let part = |digits: &str| digits.parse::<i64>().ok();
    let (year, month, day) = (part(&date[..4])?, part(&date[4..6])?, part(&date[6..])?);
    let (hour, minute, second) = (part(&clock[..2])?, part(&clock[2..4])?, part(&clock[4..])?);
    let valid = (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && (0..24).contains(&hour)
        && (0..60).contains(&minute)
        && (0..60).contains(&second);
    let seconds = unix_days(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second;
    valid.then_some((seconds, nanos.parse().ok()?))
}

/// Days since 1970-01-01. Years begin in March here, so that the leap day is the last of a year.
fn unix_days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - DAYS_TO_UNIX_EPOCH
}
