//! The rules in force, and what was done to packets since they were installed.
//!
//! A fault installs its rules under a number of its own and takes them back by it, so faults that
//! overlap do not undo each other.

use std::collections::{BTreeMap, HashMap};
use std::net::Ipv4Addr;

use super::rule::LinkRule;
use crate::cluster::addresses::Link;

/// A link by its addresses, as a packet names it.
pub(super) type Path = (Ipv4Addr, Ipv4Addr);

/// What was done to packets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Passed on, duplicates not counted.
    pub passed: u64,
    /// Stopped by a blocked link.
    pub blocked: u64,
    /// Lost by chance or in a full queue.
    pub lost: u64,
    /// Passed on later than they came.
    pub delayed: u64,
    /// Passed on twice.
    pub duplicated: u64,
    /// Passed on after later ones.
    pub reordered: u64,
}

impl Counts {
    /// What was done since an earlier look.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Self {
        Self {
            passed: self.passed - earlier.passed,
            blocked: self.blocked - earlier.blocked,
            lost: self.lost - earlier.lost,
            delayed: self.delayed - earlier.delayed,
            duplicated: self.duplicated - earlier.duplicated,
            reordered: self.reordered - earlier.reordered,
        }
    }

    const fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.blocked += other.blocked;
        self.lost += other.lost;
        self.delayed += other.delayed;
        self.duplicated += other.duplicated;
        self.reordered += other.reordered;
    }
}

/// The rules in force.
#[derive(Debug, Default)]
pub(super) struct Table {
    installed: BTreeMap<u64, Vec<(Link, LinkRule)>>,
    in_force: HashMap<Path, LinkRule>,
    counts: HashMap<Path, Counts>,
}

const fn path(link: Link) -> Path {
    (link.from.address(), link.to.address())
}

impl Table {
    pub(super) fn install(&mut self, owner: u64, rules: Vec<(Link, LinkRule)>) {
        self.installed.insert(owner, rules);
        self.combine();
    }

    pub(super) fn remove(&mut self, owner: u64) {
        self.installed.remove(&owner);
        self.combine();
    }

    pub(super) fn clear(&mut self) {
        self.installed.clear();
        self.combine();
    }

    fn combine(&mut self) {
        self.in_force.clear();
        for (link, rule) in self.installed.values().flatten() {
            let in_force = self.in_force.entry(path(*link)).or_default();
            *in_force = in_force.and(*rule);
        }
    }

    pub(super) fn rule(&self, path: Path) -> LinkRule {
        self.in_force.get(&path).copied().unwrap_or_default()
    }

    pub(super) fn is_blocked(&self, path: Path) -> bool {
        self.in_force.get(&path).is_some_and(|rule| rule.blocked)
    }

    pub(super) fn count(&mut self, path: Path) -> &mut Counts {
        self.counts.entry(path).or_default()
    }

    pub(super) fn counts(&self, links: &[Link]) -> Counts {
        let mut sum = Counts::default();
        for counts in links.iter().filter_map(|link| self.counts.get(&path(*link))) {
            sum.add(*counts);
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::addresses::Host::Node;

    #[test]
    fn what_one_fault_takes_back_stays_while_another_holds_it() {
        let link = Link::new(Node(1), Node(2));
        let slow = LinkRule { delay_us: 9, ..LinkRule::default() };
        let mut table = Table::default();
        table.install(1, vec![(link, LinkRule::BLOCKED)]);
        table.install(2, vec![(link, slow), (Link::new(Node(2), Node(1)), slow)]);
        assert!(table.is_blocked(path(link)));
        assert!(!table.is_blocked(path(Link::new(Node(2), Node(1)))));
        table.remove(1);
        assert_eq!(table.rule(path(link)), slow);
        table.clear();
        assert_eq!(table.rule(path(link)), LinkRule::default());
    }
}
