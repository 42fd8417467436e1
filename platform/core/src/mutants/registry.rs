//! What there is to choose from, and what has no mutant yet.

use super::{Mutant, ROWS};

/// The program that a mutant is one of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// `lockbox`.
    Node,
    /// `kms-sim`.
    Kms,
}

impl Program {
    /// The name of its executable.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Node => "lockbox",
            Self::Kms => "kms-sim",
        }
    }
}

/// One mutant of the registry.
pub struct Seeded {
    /// Which.
    pub mutant: Mutant,
    /// What it is chosen by.
    pub name: &'static str,
    /// The program that has it.
    pub program: Program,
    /// What is wrong with it: one sentence.
    pub broken: &'static str,
    /// The laws of `verification §3.5` that should fire, the likeliest first.
    pub laws: &'static [&'static str],
    /// The fault or setting without which nobody sees it; empty when none is needed.
    pub needs: &'static str,
}

/// A mutant that `verification §3.9` asks for and that cannot be seeded yet.
pub struct Missing {
    /// The name that it will have.
    pub name: &'static str,
    /// What will be wrong with it.
    pub broken: &'static str,
    /// The laws that should fire.
    pub laws: &'static [&'static str],
    /// Why it is not here.
    pub reason: &'static str,
}

/// Every mutant.
pub const SEEDED: &[Seeded] = ROWS;

/// What comes with the features that it breaks: none at present.
pub const MISSING: &[Missing] = &[];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_every_mutant_says_what_should_see_it() {
        let names: BTreeSet<_> =
            SEEDED.iter().map(|s| s.name).chain(MISSING.iter().map(|m| m.name)).collect();
        assert_eq!(names.len(), SEEDED.len() + MISSING.len());
        assert!(SEEDED.len() >= 20);
        for seeded in SEEDED {
            let plain = |c: char| c.is_ascii_lowercase() || c == '-';
            assert!(seeded.name.chars().all(plain), "{}", seeded.name);
            assert!(seeded.broken.ends_with('.') && !seeded.laws.is_empty(), "{}", seeded.name);
            let law = |law: &str| law.strip_prefix('L').and_then(|n| n.parse::<u8>().ok());
            assert!(seeded.laws.iter().all(|l| law(l).is_some_and(|n| (1..=18).contains(&n))));
        }
    }
}
