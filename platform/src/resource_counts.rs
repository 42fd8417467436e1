//! How often something was done with each resource, since the start of this process.
//!
//! Promises bounded memory, however many resources come and go. Refuses to know what is counted,
//! and to be a bill: what is forgotten here is gone.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Resources that are counted at a time. With more, as of deleted ones that nobody has asked about
/// since, all counters begin again, which whoever forms a rate takes for a restart.
const COUNTED_MAX: usize = 100_000;

/// Counters by resource.
#[derive(Debug)]
pub struct ResourceCounts<K> {
    of: Mutex<HashMap<K, u64>>,
}

impl<K> Default for ResourceCounts<K> {
    fn default() -> Self {
        Self { of: Mutex::default() }
    }
}

impl<K: Eq + Hash> ResourceCounts<K> {
    /// Counts one more of a resource.
    pub fn count(&self, resource: K) {
        let mut of = self.lock();
        if of.len() >= COUNTED_MAX && !of.contains_key(&resource) {
            of.clear();
        }
        *of.entry(resource).or_default() += 1;
    }

    /// What was counted of a resource.
    #[must_use]
    pub fn of(&self, resource: &K) -> u64 {
        self.lock().get(resource).copied().unwrap_or_default()
    }

    /// Forgets what was counted of other resources than these.
    pub fn keep(&self, is_kept: impl Fn(&K) -> bool) {
        self.lock().retain(|resource, _| is_kept(resource));
    }

    /// Nothing that panics leaves a counter half changed.
    fn lock(&self) -> MutexGuard<'_, HashMap<K, u64>> {
        self.of.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_resource_is_counted_by_itself_until_it_is_forgotten() {
        let counts = ResourceCounts::default();
        for resource in ["one", "one", "gone"] {
            counts.count(resource);
        }
        assert_eq!([counts.of(&"one"), counts.of(&"gone"), counts.of(&"two")], [2, 1, 0]);
        counts.keep(|resource| *resource != "gone");
        assert_eq!([counts.of(&"one"), counts.of(&"gone")], [2, 0]);
    }

    #[test]
    fn no_more_resources_are_counted_than_are_kept() {
        let counts = ResourceCounts::default();
        (0..COUNTED_MAX).for_each(|resource| counts.count(resource));
        counts.count(0);
        assert_eq!(counts.of(&0), 2);
        counts.count(COUNTED_MAX);
        assert_eq!(counts.lock().len(), 1);
        assert_eq!(counts.of(&COUNTED_MAX), 1);
    }
}
