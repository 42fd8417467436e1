//! The kinds of constraint that options can express.
//!
//! Owns how each is decided and described (contract §0.4 notation, §1.12). Generated code builds
//! these rules as constants and applies them. A description never repeats the value.

use std::fmt::{self, Display, Formatter};
use std::sync::LazyLock;

use prost_types::{Duration, Timestamp};
use regex::Regex;

use super::{FieldPath, Violations};

/// Seconds of 0001-01-01T00:00:00Z, the first moment a timestamp can name.
const TIMESTAMP_SECONDS_MIN: i64 = -62_135_596_800;
/// Seconds of 9999-12-31T23:59:59Z, the last second a timestamp can name.
const TIMESTAMP_SECONDS_MAX: i64 = 253_402_300_799;
/// About 10,000 years, the limit of the duration type in either direction.
const DURATION_SECONDS_MAX: i64 = 315_576_000_000;
/// Nanoseconds that still belong to one second.
const NANOS_MAX: i32 = 999_999_999;

/// Both ends included.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) min: i64,
    pub(super) max: i64,
}

impl Bounds {
    fn admit(&self, number: i64) -> bool {
        (self.min..=self.max).contains(&number)
    }

    fn admit_count(&self, count: usize) -> bool {
        self.admit(i64::try_from(count).unwrap_or(i64::MAX))
    }
}

impl Display for Bounds {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match (self.min, self.max) {
            (min, max) if min == max => write!(f, "exactly {min}"),
            (i64::MIN, max) => write!(f, "at most {max}"),
            (min, i64::MAX) => write!(f, "at least {min}"),
            (min, max) => write!(f, "{min} to {max}"),
        }
    }
}

/// What a string must be like: a field, an element, or the key or value of a map.
#[derive(Clone, Copy, Debug)]
pub(super) struct TextRule {
    pub(super) noun: &'static str,
    pub(super) required: bool,
    /// In characters.
    pub(super) length: Option<Bounds>,
    /// In bytes of UTF-8.
    pub(super) bytes: Option<Bounds>,
    /// Compiled to match the whole string, with the pattern as its author wrote it.
    pub(super) pattern: Option<(&'static LazyLock<Regex>, &'static str)>,
}

impl TextRule {
    pub(super) fn check(&self, text: &str, at: &FieldPath<'_>, found: &mut Violations) {
        let noun = self.noun;
        if self.required && text.is_empty() {
            return found.push(at, format!("{noun} is required"));
        }
        // Lengths first, so that no pattern runs over more text than the field may hold.
        if let Some(bounds) = self.length.filter(|bounds| !bounds.admit_count(text.chars().count()))
        {
            return found.push(at, format!("{noun} must have {bounds} characters"));
        }
        if let Some(bounds) = self.bytes.filter(|bounds| !bounds.admit_count(text.len())) {
            return found.push(at, format!("{noun} must have {bounds} bytes"));
        }
        if let Some((_, written)) = self.pattern.filter(|(regex, _)| !regex.is_match(text)) {
            found.push(at, format!("{noun} must match {written}"));
        }
    }
}

/// What a byte string must be like.
#[derive(Clone, Copy, Debug)]
pub(super) struct BytesRule {
    pub(super) required: bool,
    /// In bytes.
    pub(super) length: Option<Bounds>,
}

impl BytesRule {
    pub(super) fn check(&self, bytes: &[u8], at: &FieldPath<'_>, found: &mut Violations) {
        if self.required && bytes.is_empty() {
            return found.push(at, "value is required");
        }
        if let Some(bounds) = self.length.filter(|bounds| !bounds.admit_count(bytes.len())) {
            found.push(at, format!("value must have {bounds} bytes"));
        }
    }
}

/// What an integer must be like.
#[derive(Clone, Copy, Debug)]
pub(super) struct NumberRule {
    pub(super) required: bool,
    pub(super) value: Option<Bounds>,
}

impl NumberRule {
    pub(super) fn check(&self, number: i64, at: &FieldPath<'_>, found: &mut Violations) {
        if self.required && number == 0 {
            return found.push(at, "value is required");
        }
        if let Some(bounds) = self.value.filter(|bounds| !bounds.admit(number)) {
            found.push(at, format!("value must be {bounds}"));
        }
    }
}

/// What an enum must be like. A number without a name is refused: acting on a value that this
/// version does not know would be a guess.
#[derive(Clone, Copy, Debug)]
pub(super) struct EnumRule {
    pub(super) required: bool,
    pub(super) is_known: fn(i32) -> bool,
}

impl EnumRule {
    pub(super) fn check(&self, number: i32, at: &FieldPath<'_>, found: &mut Violations) {
        if self.required && number == 0 {
            return found.push(at, "value is required");
        }
        if !(self.is_known)(number) {
            found.push(at, "value is not one of the defined ones");
        }
    }
}

/// A range of moments, both ends included, as seconds and nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moments {
    pub(super) first: (i64, i32),
    pub(super) last: (i64, i32),
    /// The option as its author wrote it.
    pub(super) written: &'static str,
}

/// What a timestamp must be like; always within what the type can express.
#[derive(Clone, Copy, Debug)]
pub(super) struct TimestampRule {
    pub(super) value: Option<Moments>,
}

impl TimestampRule {
    pub(super) fn check(&self, moment: &Timestamp, at: &FieldPath<'_>, found: &mut Violations) {
        let seconds_fit = (TIMESTAMP_SECONDS_MIN..=TIMESTAMP_SECONDS_MAX).contains(&moment.seconds);
        if !seconds_fit || !(0..=NANOS_MAX).contains(&moment.nanos) {
            return found.push(at, "value is not a valid timestamp");
        }
        let pair = (moment.seconds, moment.nanos);
        if let Some(range) = self.value.filter(|range| pair < range.first || pair > range.last) {
            found.push(at, format!("value must lie in {}", range.written));
        }
    }
}

/// Checks that a duration is within what its type can express.
pub(super) fn check_duration(period: &Duration, at: &FieldPath<'_>, found: &mut Violations) {
    let seconds_fit = (-DURATION_SECONDS_MAX..=DURATION_SECONDS_MAX).contains(&period.seconds);
    let nanos_fit = (-NANOS_MAX..=NANOS_MAX).contains(&period.nanos);
    let signs_differ = period.seconds.signum() * i64::from(period.nanos).signum() < 0;
    if !seconds_fit || !nanos_fit || signs_differ {
        found.push(at, "value is not a valid duration");
    }
}

/// Checks that a message, a list or a map is there.
pub(super) fn check_present(is_present: bool, at: &FieldPath<'_>, found: &mut Violations) {
    if !is_present {
        found.push(at, "value is required");
    }
}

/// Checks the number of elements of a list or a map.
pub(super) fn check_size(bounds: Bounds, size: usize, at: &FieldPath<'_>, found: &mut Violations) {
    if !bounds.admit_count(size) {
        found.push(at, format!("there must be {bounds} elements"));
    }
}
