//! The laws L1–L18 (`verification §3.5`; L16 and L17 are of `contract §2.11` and `§9`), each in its
//! own file.
//!
//! A law looks at a [`Case`] and answers whether it holds, with numbers that say how much it
//! looked at: a law that held over nothing is told apart from one that held.

pub mod billing;
pub mod bindings;
pub mod convergence;
pub mod current_version;
pub mod deactivation;
pub mod destruction;
pub mod effects;
pub mod idempotency;
pub mod immutability;
pub mod paging;
pub mod plaintext;
pub mod quotas;
pub mod raft_invariants;
pub mod real_time;
pub mod recovery;
pub mod register;
pub mod restored;
pub mod version_list;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::history::ids::OpId;

use super::case::Case;

/// A law.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Law {
    /// Every answer is the specification's at its index.
    L1,
    /// One current version whenever there is a version.
    L2,
    /// Versions never change.
    L3,
    /// Lists of versions only grow, and ids never return.
    L4,
    /// The order of the log is the order of real time.
    L5,
    /// No payload after a deactivation, a deletion or the end of a key was acknowledged.
    L6,
    /// No success after a right was taken, no refusal after it was given.
    L7,
    /// Destruction waits for its time, can be called off until then, and is final.
    L8,
    /// One effect for each idempotency key.
    L9,
    /// Effects are those that were acknowledged or may have happened, once each.
    L10,
    /// Billed once, exactly when served, and for what was asked.
    L11,
    /// No plaintext at rest.
    L12,
    /// Nodes converge.
    L13,
    /// The cluster recovers in time.
    L14,
    /// Raft's own invariants.
    L15,
    /// A list walked page by page shows each secret once and misses none.
    L16,
    /// Quotas are kept, and nothing is refused below them.
    L17,
    /// A restored cluster has the state of its backup.
    L18,
}

impl Law {
    /// All laws, in their order.
    pub const ALL: [Self; 18] = [
        Self::L1,
        Self::L2,
        Self::L3,
        Self::L4,
        Self::L5,
        Self::L6,
        Self::L7,
        Self::L8,
        Self::L9,
        Self::L10,
        Self::L11,
        Self::L12,
        Self::L13,
        Self::L14,
        Self::L15,
        Self::L16,
        Self::L17,
        Self::L18,
    ];

    /// The law in a few words.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::L1 => "every answer is the specification's at its index",
            Self::L2 => "one current version whenever there is a version",
            Self::L3 => "versions never change",
            Self::L4 => "lists of versions only grow, ids never return",
            Self::L5 => "the order of the log is the order of real time",
            Self::L6 => "no payload after deactivation, deletion or the end of a key",
            Self::L7 => "rights end and begin with their acknowledgement",
            Self::L8 => "destruction waits for its time and is final",
            Self::L9 => "one effect for each idempotency key",
            Self::L10 => "effects are what was acknowledged or may have happened",
            Self::L11 => "billed once, exactly when served, and for what was asked",
            Self::L12 => "no plaintext at rest",
            Self::L13 => "nodes converge",
            Self::L14 => "the cluster recovers in time",
            Self::L15 => "invariants of Raft",
            Self::L16 => "pages show each secret once and miss none",
            Self::L17 => "quotas are kept, and nothing is refused below them",
            Self::L18 => "a restored cluster has the state of its backup",
        }
    }

    /// Judges a case.
    #[must_use]
    pub fn check(self, case: &Case<'_>) -> LawReport {
        match self {
            Self::L1 => register::check(case),
            Self::L2 => current_version::check(case),
            Self::L3 => immutability::check(case),
            Self::L4 => version_list::check(case),
            Self::L5 => real_time::check(case),
            Self::L6 => deactivation::check(case),
            Self::L7 => bindings::check(case),
            Self::L8 => destruction::check(case),
            Self::L9 => idempotency::check(case),
            Self::L10 => effects::check(case),
            Self::L11 => billing::check(case),
            Self::L12 => plaintext::check(case),
            Self::L13 => convergence::check(case),
            Self::L14 => recovery::check(case),
            Self::L15 => raft_invariants::check(case),
            Self::L16 => paging::check(case),
            Self::L17 => quotas::check(case),
            Self::L18 => restored::check(case),
        }
    }
}

impl fmt::Display for Law {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// What a law says of a case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LawReport {
    /// The law.
    pub law: Law,
    /// Whether it holds.
    pub finding: Finding,
    /// How much it looked at: each number with what it counts.
    pub counts: Vec<(String, u64)>,
}

/// Whether a law holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Finding {
    /// It holds over all that was looked at.
    Holds,
    /// It does not.
    Violated {
        /// The operations that show it, the offending one last.
        ops: Vec<OpId>,
        /// What happened, in one sentence with numbers.
        sentence: String,
    },
    /// There was nothing to look at.
    NotChecked {
        /// Why.
        why: String,
    },
}

impl LawReport {
    /// A report of the first violation, if there is one; else that the law holds over what was
    /// counted first, or that there was nothing.
    #[must_use]
    pub fn new(
        law: Law,
        violation: Option<Violation>,
        counts: &[(&str, u64)],
        nothing: &str,
    ) -> Self {
        let looked_at = counts.first().map_or(0, |(_, count)| *count);
        let finding = match violation {
            Some(Violation { ops, sentence }) => Finding::Violated { ops, sentence },
            None if looked_at == 0 => Finding::NotChecked { why: nothing.to_owned() },
            None => Finding::Holds,
        };
        let counts = counts.iter().map(|(what, count)| ((*what).to_owned(), *count)).collect();
        Self { law, finding, counts }
    }
}

/// What shows that a law does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The operations, the offending one last.
    pub ops: Vec<OpId>,
    /// One sentence with numbers.
    pub sentence: String,
}

/// For sentences: the time between two stamps in milliseconds.
fn ms(from_ns: u64, to_ns: u64) -> String {
    let micros = to_ns.saturating_sub(from_ns) / 1000;
    format!("{}.{:03} ms", micros / 1000, micros % 1000)
}
