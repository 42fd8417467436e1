//! The chain: each line of the audit names the line before it by its hash (`design §10`).
//!
//! Promises: whoever knows the hash of one line can tell of every line before it whether it is
//! still what was written; no number is given twice, also when none is left. Refuses to know files,
//! and what records say.

use std::fmt;
use std::io;
use std::str::FromStr;

use serde::Deserialize;
use sha2::{Digest, Sha256};

/// SHA-256 of one line, its line end left out.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LineHash([u8; 32]);

impl LineHash {
    /// The hash of this line.
    #[must_use]
    pub fn of(line: &[u8]) -> Self {
        Self(Sha256::digest(line).into())
    }

    /// A hash that is known already.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for LineHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for LineHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text is no hash of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is no SHA-256 in 64 hexadecimal digits")]
pub struct NoLineHash;

impl FromStr for LineHash {
    type Err = NoLineHash;

    fn from_str(text: &str) -> Result<Self, NoLineHash> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_no_digits| NoLineHash)?;
        Ok(Self(bytes))
    }
}

/// The record that a chain ends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChainHead {
    /// Its number.
    pub sequence: u64,
    /// The hash of its line.
    pub hash: LineHash,
}

/// No number is left for another record: a number that came twice would hide a loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no number is left for another audit record")]
pub(crate) struct ChainFull;

impl From<ChainFull> for io::Error {
    fn from(full: ChainFull) -> Self {
        Self::other(full)
    }
}

/// Where the next record goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Chain {
    /// The largest number that there is is no record's: there is none behind it.
    next_sequence: u64,
    /// Nothing before the first record of the chain.
    last: Option<LineHash>,
}

impl Chain {
    /// A chain whose first record will have this number: not 0 behind records that an earlier
    /// build wrote without a chain.
    pub(crate) const fn beginning_at(sequence: u64) -> Self {
        Self { next_sequence: sequence, last: None }
    }

    /// The chain behind this record; nothing when no number is left.
    pub(crate) fn after(head: ChainHead) -> Option<Self> {
        let behind = Self::beginning_behind(head.sequence)?;
        Some(Self { last: Some(head.hash), ..behind })
    }

    /// A chain that begins behind a record of this number, which is of none; nothing when no number
    /// is left.
    pub(crate) fn beginning_behind(sequence: u64) -> Option<Self> {
        let next_sequence = sequence.checked_add(1).filter(|next| *next < u64::MAX)?;
        Some(Self::beginning_at(next_sequence))
    }

    /// Writes a record as the next line of the chain.
    ///
    /// # Errors
    /// [`ChainFull`]; nothing is written then.
    pub(crate) fn link(&mut self, lines: &mut String, json: &str) -> Result<(), ChainFull> {
        let next_sequence = self.next_sequence.checked_add(1).ok_or(ChainFull)?;
        let begin = lines.len();
        lines.push_str("{\"sequence\":");
        lines.push_str(&self.next_sequence.to_string());
        match self.last {
            Some(hash) => {
                lines.push_str(",\"previous_hash\":\"");
                lines.push_str(&hash.to_string());
                lines.push_str("\",");
            }
            None => lines.push_str(",\"chain\":\"begins\","),
        }
        lines.push_str(json.strip_prefix('{').unwrap_or(json));
        self.last = Some(LineHash::of(&lines.as_bytes()[begin..]));
        self.next_sequence = next_sequence;
        lines.push('\n');
        Ok(())
    }

    /// The last record; nothing before the first.
    pub(crate) fn head(&self) -> Option<ChainHead> {
        let hash = self.last?;
        Some(ChainHead { sequence: self.next_sequence.saturating_sub(1), hash })
    }
}

/// What a line says of its place in the chain.
#[derive(Debug, Deserialize)]
pub(crate) struct Link {
    pub(crate) sequence: u64,
    /// Of the line before it.
    #[serde(default)]
    pub(crate) previous_hash: Option<String>,
    /// `begins` in the first record of a chain.
    #[serde(default)]
    chain: Option<String>,
    #[serde(default)]
    pub(crate) event_type: Option<String>,
}

impl Link {
    /// Whether it says that it is the first.
    pub(crate) fn begins(&self) -> bool {
        self.chain.as_deref() == Some("begins")
    }

    /// Whether it is of a chain at all: an earlier build wrote records that are not.
    pub(crate) fn is_chained(&self) -> bool {
        self.previous_hash.is_some() || self.begins()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_names_the_one_before_it() {
        let mut chain = Chain::beginning_at(7);
        assert_eq!(chain.head(), None);
        let mut text = String::new();
        chain.link(&mut text, "{\"a\":1}").unwrap();
        chain.link(&mut text, "{\"b\":2}").unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "{\"sequence\":7,\"chain\":\"begins\",\"a\":1}");
        let first = LineHash::of(lines[0].as_bytes());
        assert_eq!(lines[1], format!("{{\"sequence\":8,\"previous_hash\":\"{first}\",\"b\":2}}"));
        let head = ChainHead { sequence: 8, hash: LineHash::of(lines[1].as_bytes()) };
        assert_eq!(chain.head(), Some(head));
        assert_eq!(Chain::after(head), Some(chain));
        assert_eq!(Chain::after(ChainHead { sequence: u64::MAX, ..head }), None);
    }

    #[test]
    fn no_number_is_given_twice_when_none_is_left() {
        let mut chain = Chain::beginning_at(u64::MAX - 1);
        let mut text = String::new();
        chain.link(&mut text, "{\"a\":1}").unwrap();
        let (whole, last) = (text.clone(), chain.head().unwrap());
        assert_eq!(last.sequence, u64::MAX - 1);
        for _ in 0..2 {
            assert_eq!(chain.link(&mut text, "{\"b\":2}"), Err(ChainFull));
        }
        assert_eq!((text, chain.head()), (whole, Some(last)));
        assert_eq!(Chain::after(last), None);
        assert_eq!(Chain::beginning_behind(u64::MAX), None);
        let before = Chain::beginning_behind(u64::MAX - 2).unwrap();
        assert_eq!(before, Chain::beginning_at(u64::MAX - 1));
    }

    #[test]
    fn a_hash_is_read_as_it_is_shown() {
        let hash = LineHash::of(b"a line");
        assert_eq!(hash.to_string().parse(), Ok(hash));
        for wrong in ["", "ab", &"g".repeat(64), &"a".repeat(65)] {
            assert_eq!(wrong.parse::<LineHash>(), Err(NoLineHash), "{wrong}");
        }
    }
}
