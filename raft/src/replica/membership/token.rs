//! The membership that an operator saw, as a word that a change can be tied to.

use std::fmt;

use crate::types::{LogId, StoredMembership};

/// The log entry that set a membership: `term.index`, or `none` before the first. Two memberships
/// never share one. The first of all is set at `0.0`, before there are terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct MembershipToken(Option<Place>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    index: u64,
    term: u64,
}

/// Before there is a membership.
const NONE: &str = "none";

impl MembershipToken {
    pub(in crate::replica) fn of(membership: &StoredMembership) -> Self {
        let id = membership.log_id().as_ref();
        Self(id.map(|id| Place { index: id.index, term: id.leader_id.term }))
    }

    /// The log index of the entry; 0 when there is none.
    #[must_use]
    pub fn index(&self) -> u64 {
        self.0.map_or(0, |place| place.index)
    }

    /// The term of the entry; 0 when there is none.
    #[must_use]
    pub fn term(&self) -> u64 {
        self.0.map_or(0, |place| place.term)
    }

    pub(super) fn log_id(self) -> Option<LogId> {
        self.0.map(|place| LogId::new_term_index(place.term, place.index))
    }

    /// Reads what [`fmt::Display`] wrote.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text == NONE {
            return Some(Self(None));
        }
        let (term, index) = text.split_once('.')?;
        // Digits alone: `parse` takes a sign, too.
        let number = |text: &str| {
            let digits = text.bytes().all(|byte| byte.is_ascii_digit());
            if digits { text.parse().ok() } else { None }
        };
        Some(Self(Some(Place { term: number(term)?, index: number(index)? })))
    }
}

impl fmt::Display for MembershipToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(Place { index, term }) => write!(f, "{term}.{index}"),
            None => f.write_str(NONE),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_comes_back_and_nothing_else_is_one() {
        let at = |term, index| MembershipToken(Some(Place { index, term }));
        for token in [at(3, 71), at(0, 0), MembershipToken::default()] {
            assert_eq!(MembershipToken::parse(&token.to_string()), Some(token));
        }
        // The first membership of all is one, and is not taken for none.
        assert_ne!(at(0, 0).log_id(), MembershipToken::default().log_id());
        for wrong in ["", "3", "3.", ".71", "a.b", "-1.2", "+1.2", "3.71.1"] {
            assert_eq!(MembershipToken::parse(wrong), None, "{wrong}");
        }
    }
}
