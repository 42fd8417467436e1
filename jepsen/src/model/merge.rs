//! How a delta becomes the entries of a new version (`contract §2.6`).

use std::collections::BTreeSet;

use crate::history::answer::PayloadEntry;
use crate::history::call::EntryChange;

/// Whether two changes name the same key.
#[must_use]
pub fn repeats_a_key(changes: &[EntryChange]) -> bool {
    let mut seen = BTreeSet::new();
    !changes.iter().all(|change| seen.insert(&change.key))
}

/// The entries of the base with the changes applied: a set key keeps its place, a new one follows
/// in the order of the request, and removing an absent one is no error.
#[must_use]
pub fn merge(base: &[PayloadEntry], changes: &[EntryChange]) -> Vec<PayloadEntry> {
    let mut entries = base.to_vec();
    for change in changes {
        let place = entries.iter().position(|entry| entry.key == change.key);
        match (place, change.value) {
            (Some(place), Some(value)) => entries[place].value = value,
            (Some(place), None) => {
                entries.remove(place);
            }
            (None, Some(value)) => entries.push(PayloadEntry { key: change.key.clone(), value }),
            (None, None) => {}
        }
    }
    entries
}

#[cfg(test)]
mod tests {
    use crate::history::ids::ValueHash;

    use super::*;

    fn set(key: &str, value: u8) -> EntryChange {
        EntryChange { key: key.into(), value: Some(ValueHash([value; 16])) }
    }

    fn remove(key: &str) -> EntryChange {
        EntryChange { key: key.into(), value: None }
    }

    fn entries(list: &[(&str, u8)]) -> Vec<PayloadEntry> {
        let entry = |(key, value): &(&str, u8)| PayloadEntry {
            key: (*key).into(),
            value: ValueHash([*value; 16]),
        };
        list.iter().map(entry).collect()
    }

    #[test]
    fn places_are_kept_and_new_keys_follow() {
        let base = entries(&[("a", 1), ("b", 2), ("c", 3)]);
        let merged = merge(&base, &[set("z", 9), set("b", 8), remove("a"), remove("nowhere")]);
        assert_eq!(merged, entries(&[("b", 8), ("c", 3), ("z", 9)]));
        assert_eq!(merge(&base, &[]), base);
    }

    #[test]
    fn repeated_keys_are_seen() {
        assert!(repeats_a_key(&[set("a", 1), remove("b"), remove("a")]));
        assert!(!repeats_a_key(&[set("a", 1), remove("b")]));
    }
}
