//! Where in a request a check is.
//!
//! Owns the spelling of field paths. A path is a chain of borrowed steps, so that a valid request
//! costs no allocation; text is made only for a violation.

use std::fmt::{self, Display, Formatter, Write};

/// Characters of a map key that a path shows. Keys come from the caller and may be long.
const MAP_KEY_SHOWN_MAX: usize = 63;

/// A field, an element of a repeated field, or a value of a map.
#[derive(Clone, Copy, Debug)]
pub struct FieldPath<'a> {
    parent: Option<&'a FieldPath<'a>>,
    step: Step<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Step<'a> {
    Root,
    Field(&'static str),
    Index(usize),
    Key(&'a str),
}

impl FieldPath<'static> {
    /// The request itself.
    pub const ROOT: Self = Self { parent: None, step: Step::Root };
}

impl FieldPath<'_> {
    /// A field of the message at this path.
    pub fn field(&self, name: &'static str) -> FieldPath<'_> {
        FieldPath { parent: Some(self), step: Step::Field(name) }
    }

    /// An element of the repeated field at this path.
    pub fn index(&self, index: usize) -> FieldPath<'_> {
        FieldPath { parent: Some(self), step: Step::Index(index) }
    }

    /// A value of the map at this path.
    pub fn key<'b>(&'b self, key: &'b str) -> FieldPath<'b> {
        FieldPath { parent: Some(self), step: Step::Key(key) }
    }
}

impl Display for FieldPath<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let below_root = match self.parent {
            Some(parent) => {
                parent.fmt(f)?;
                !matches!(parent.step, Step::Root)
            }
            None => false,
        };
        match self.step {
            Step::Root => Ok(()),
            Step::Field(name) if below_root => write!(f, ".{name}"),
            Step::Field(name) => f.write_str(name),
            Step::Index(index) => write!(f, "[{index}]"),
            Step::Key(key) => {
                f.write_char('[')?;
                // The path ends up in logs and in metadata: printable ASCII only.
                for letter in key.chars().take(MAP_KEY_SHOWN_MAX) {
                    write!(f, "{}", letter.escape_default())?;
                }
                f.write_str(if key.chars().nth(MAP_KEY_SHOWN_MAX).is_some() { "...]" } else { "]" })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spells_fields_elements_and_keys() {
        let entries = FieldPath::ROOT.field("entries");
        let third = entries.index(2);
        assert_eq!(third.field("key").to_string(), "entries[2].key");
        assert_eq!(FieldPath::ROOT.field("labels").key("env").to_string(), "labels[env]");
        assert_eq!(FieldPath::ROOT.to_string(), "");
    }

    #[test]
    fn tames_hostile_keys() {
        let labels = FieldPath::ROOT.field("labels");
        assert_eq!(labels.key("a\nb\u{e9}").to_string(), "labels[a\\nb\\u{e9}]");
        let shown = labels.key(&"k".repeat(1_000_000)).to_string();
        assert_eq!(shown, format!("labels[{}...]", "k".repeat(MAP_KEY_SHOWN_MAX)));
    }
}
