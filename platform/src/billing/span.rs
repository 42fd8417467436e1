//! Which hours a bill is of.

use lockbox_core::LogTime;

/// Milliseconds in an hour.
pub const HOUR_MS: u64 = 3_600_000;

/// A span of whole hours: from the first up to, but not including, the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// First hour, counted from 1970-01-01T00:00:00Z.
    pub from_hour: u64,
    /// Hour behind the last one.
    pub to_hour: u64,
}

impl Span {
    /// The smallest span of whole hours that covers the times between two points.
    #[must_use]
    pub const fn covering(from: LogTime, to: LogTime) -> Self {
        Self { from_hour: from.as_ms() / HOUR_MS, to_hour: to.as_ms().div_ceil(HOUR_MS) }
    }

    /// Its two ends.
    #[must_use]
    pub fn ends(self) -> (LogTime, LogTime) {
        let end = |hour: u64| LogTime::from_ms(hour.saturating_mul(HOUR_MS));
        (end(self.from_hour), end(self.to_hour))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_covers_the_hours_it_touches() {
        let span = Span::covering(LogTime::from_ms(HOUR_MS + 1), LogTime::from_ms(2 * HOUR_MS + 1));
        assert_eq!(span, Span { from_hour: 1, to_hour: 3 });
    }
}
