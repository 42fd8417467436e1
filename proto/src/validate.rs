//! Checks requests against the constraints written in the `.proto` files.
//!
//! Owns what a violation looks like and the entry point [`Validate`]. The checks themselves are
//! generated from the options at build time, for every message, so no constraint is written twice.
//! Promises that a violation names the field and never repeats the value. Refuses to know anything
//! that needs the state of the service (contract §2).

mod path;
mod rules;

/// Generated implementations, one per message.
mod generated {
    #![allow(deprecated, clippy::all)]

    use std::sync::LazyLock;

    use regex::Regex;

    use super::rules::{
        Bounds, BytesRule, EnumRule, Moments, NumberRule, TextRule, TimestampRule, check_duration,
        check_present, check_size,
    };
    use super::{FieldPath, Validate, Violations};

    include!(concat!(env!("OUT_DIR"), "/validate.rs"));
}

pub use path::FieldPath;

/// Violations reported for one message. They travel in response metadata, whose size is limited.
pub const VIOLATIONS_MAX: usize = 16;

/// One constraint that a message breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Path of the field, for example `version_payload_entries[2].key` or `labels[env]`.
    pub field: String,
    /// What is wrong, without the value.
    pub description: String,
}

/// Collects violations, the first [`VIOLATIONS_MAX`] of them.
#[derive(Debug, Default)]
pub struct Violations {
    found: Vec<Violation>,
}

impl Violations {
    /// Records a violation unless enough are known already.
    pub fn push(&mut self, field: &FieldPath<'_>, description: impl Into<String>) {
        if !self.is_full() {
            self.found
                .push(Violation { field: field.to_string(), description: description.into() });
        }
    }

    /// Whether further checks would change nothing.
    pub fn is_full(&self) -> bool {
        self.found.len() >= VIOLATIONS_MAX
    }
}

/// A message that can be checked against its constraints.
pub trait Validate {
    /// Records what this message breaks; `at` is where it sits in the request.
    fn check(&self, at: &FieldPath<'_>, found: &mut Violations);

    /// Returns what this message breaks, in the order of its fields; empty means it is well formed.
    fn validate(&self) -> Vec<Violation> {
        let mut violations = Violations::default();
        self.check(&FieldPath::ROOT, &mut violations);
        violations.found
    }
}
