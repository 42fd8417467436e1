//! How a delta becomes the entries of a new version (`contract §2.6`).

use std::collections::{HashMap, HashSet};

use crate::payload::{EntryValue, Payload, PayloadEntry};

/// Limits on the entries of one version (`contract §9`, `§13` no. 39).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PayloadLimits {
    /// Sum of the values, in bytes.
    pub value_bytes_max: usize,
    /// Sum of the keys, in bytes.
    pub key_bytes_max: usize,
    /// Number of entries.
    pub entries_max: usize,
}

impl Default for PayloadLimits {
    fn default() -> Self {
        Self { value_bytes_max: 65_536, key_bytes_max: 65_536, entries_max: 1000 }
    }
}

impl PayloadLimits {
    /// Changes that one request may name: enough to remove every entry of a full version and to
    /// add as many. More cannot make a version that fits, but would fill the audit.
    #[must_use]
    pub const fn changes_max(self) -> usize {
        self.entries_max.saturating_mul(2)
    }

    /// Refuses a request that names more changes than that, or sets larger values than fit into a
    /// version whatever it is merged onto, before anything is done with them.
    ///
    /// # Errors
    /// [`MergeError::TooManyChanges`], [`MergeError::ValuesTooLarge`].
    pub const fn check_changes(self, changes: usize, value_bytes: usize) -> Result<(), MergeError> {
        let limit = self.changes_max();
        if changes > limit {
            return Err(MergeError::TooManyChanges { limit });
        }
        let limit = self.value_bytes_max;
        if value_bytes > limit { Err(MergeError::ValuesTooLarge { limit }) } else { Ok(()) }
    }
}

/// One change of one key.
#[derive(Debug, Clone)]
pub struct EntryChange {
    /// The key.
    pub key: String,
    /// The new value; absent removes the key. An empty value is treated as absent.
    pub value: Option<EntryValue>,
}

impl EntryChange {
    fn removes(&self) -> bool {
        self.value.as_ref().is_none_or(|value| value.as_bytes().is_empty())
    }
}

/// What is wrong with the entries. Names positions and keys, never a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MergeError {
    /// Two changes name the same key (`contract §13` no. 34).
    #[error("key is repeated")]
    DuplicateKey {
        /// Position of the second one.
        position: usize,
    },
    /// An entry of a first version has no value (`contract §2.5`).
    #[error("value is missing or empty")]
    MissingValue {
        /// Its position.
        position: usize,
    },
    /// Nothing is left.
    #[error("a version needs at least one entry")]
    NoEntries,
    /// The sum of the values is too large.
    #[error("values are larger than {limit} bytes together")]
    ValuesTooLarge {
        /// The limit.
        limit: usize,
    },
    /// The sum of the keys is too large.
    #[error("keys are larger than {limit} bytes together")]
    KeysTooLarge {
        /// The limit.
        limit: usize,
    },
    /// The request names too many changes.
    #[error("there are more than {limit} changes")]
    TooManyChanges {
        /// The limit.
        limit: usize,
    },
    /// There are too many entries.
    #[error("there are more than {limit} entries")]
    TooManyEntries {
        /// The limit.
        limit: usize,
    },
}

/// The entries of a first version: every change must set a value (`contract §2.5`).
///
/// # Errors
/// [`MergeError`].
pub fn first_version(
    changes: Vec<EntryChange>,
    limits: PayloadLimits,
) -> Result<Payload, MergeError> {
    if let Some(position) = changes.iter().position(EntryChange::removes) {
        return Err(MergeError::MissingValue { position });
    }
    merge(Payload::default(), changes, limits)
}

/// Applies changes to a base: the order of the base stays, new keys are appended in the order of
/// the request, removing an absent key is no error.
///
/// # Errors
/// [`MergeError`].
pub fn merge(
    base: Payload,
    changes: Vec<EntryChange>,
    limits: PayloadLimits,
) -> Result<Payload, MergeError> {
    require_distinct_keys(&changes)?;
    // One pass with an index: a thousand entries and two thousand changes are a million pairs.
    let mut places: HashMap<String, usize> =
        base.entries.iter().enumerate().map(|(at, entry)| (entry.key.clone(), at)).collect();
    let mut slots: Vec<Option<PayloadEntry>> = base.entries.into_iter().map(Some).collect();
    for change in changes {
        let removes = change.removes();
        match (change.value, places.get(&change.key)) {
            (Some(value), Some(at)) if !removes => {
                slots[*at] = Some(PayloadEntry { key: change.key, value });
            }
            (Some(value), None) if !removes => {
                places.insert(change.key.clone(), slots.len());
                slots.push(Some(PayloadEntry { key: change.key, value }));
            }
            (_, Some(at)) => slots[*at] = None,
            (_, None) => {}
        }
    }
    let entries = slots.into_iter().flatten().collect();
    let merged = Payload { entries };
    check(&merged, limits)?;
    Ok(merged)
}

fn require_distinct_keys(changes: &[EntryChange]) -> Result<(), MergeError> {
    let mut seen = HashSet::with_capacity(changes.len());
    match changes.iter().position(|change| !seen.insert(change.key.as_str())) {
        Some(position) => Err(MergeError::DuplicateKey { position }),
        None => Ok(()),
    }
}

/// Checks the size limits of a whole payload.
///
/// # Errors
/// [`MergeError`].
pub fn check(payload: &Payload, limits: PayloadLimits) -> Result<(), MergeError> {
    if payload.entries.is_empty() {
        return Err(MergeError::NoEntries);
    }
    if payload.entries.len() > limits.entries_max {
        return Err(MergeError::TooManyEntries { limit: limits.entries_max });
    }
    let key_bytes: usize = payload.entries.iter().map(|entry| entry.key.len()).sum();
    if key_bytes > limits.key_bytes_max {
        return Err(MergeError::KeysTooLarge { limit: limits.key_bytes_max });
    }
    if payload.value_bytes() > limits.value_bytes_max {
        return Err(MergeError::ValuesTooLarge { limit: limits.value_bytes_max });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use lockbox_core::Sensitive;

    use super::*;

    fn set(key: &str, value: &str) -> EntryChange {
        let value = Some(EntryValue::Text(Sensitive::new(value.to_owned())));
        EntryChange { key: key.to_owned(), value }
    }

    fn remove(key: &str) -> EntryChange {
        EntryChange { key: key.to_owned(), value: None }
    }

    fn shown(payload: &Payload) -> Vec<(String, String)> {
        let text = |v: &EntryValue| String::from_utf8_lossy(v.as_bytes()).into_owned();
        payload.entries.iter().map(|e| (e.key.clone(), text(&e.value))).collect()
    }

    fn base() -> Payload {
        let changes = vec![set("a", "1"), set("b", "2"), set("c", "3")];
        first_version(changes, PayloadLimits::default()).unwrap()
    }

    fn merged(changes: Vec<EntryChange>) -> Result<Vec<(String, String)>, MergeError> {
        merge(base(), changes, PayloadLimits::default()).map(|payload| shown(&payload))
    }

    fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn keys_keep_their_place_and_new_ones_follow() {
        let changes = vec![set("z", "9"), set("b", "two"), set("d", "4")];
        let expected = pairs(&[("a", "1"), ("b", "two"), ("c", "3"), ("z", "9"), ("d", "4")]);
        assert_eq!(merged(changes), Ok(expected));
    }

    #[test]
    fn both_spellings_remove_and_an_absent_key_is_no_error() {
        let changes = vec![remove("a"), set("c", ""), remove("nowhere")];
        assert_eq!(merged(changes), Ok(pairs(&[("b", "2")])));
    }

    #[test]
    fn no_changes_copy_and_a_binary_may_replace_a_text() {
        assert_eq!(merged(vec![]), Ok(shown(&base())));
        let binary = EntryValue::Binary(Sensitive::new(vec![7]));
        let change = EntryChange { key: "a".into(), value: Some(binary) };
        let payload = merge(base(), vec![change], PayloadLimits::default()).unwrap();
        assert!(matches!(payload.entries[0].value, EntryValue::Binary(_)));
    }

    #[test]
    fn changes_are_as_many_as_replace_a_full_version() {
        let limits = PayloadLimits::default();
        assert_eq!(limits.check_changes(2000, 65_536), Ok(()));
        let refused = limits.check_changes(2001, 0);
        assert_eq!(refused, Err(MergeError::TooManyChanges { limit: 2000 }));
        let refused = limits.check_changes(1, 65_537);
        assert_eq!(refused, Err(MergeError::ValuesTooLarge { limit: 65_536 }));
    }

    /// A quadratic merge of what fits into one message would stop the node for minutes.
    #[test]
    fn many_changes_are_refused_and_not_waited_for() {
        let many = (0..300_000).map(|n| set(&n.to_string(), "v")).collect();
        let refused = first_version(many, PayloadLimits::default()).err();
        assert_eq!(refused, Some(MergeError::TooManyEntries { limit: 1000 }));
    }

    #[test]
    fn limits_and_duplicates_are_refused() {
        assert_eq!(
            merged(vec![set("x", "1"), set("x", "2")]),
            Err(MergeError::DuplicateKey { position: 1 })
        );
        let all = vec![remove("a"), remove("b"), remove("c")];
        assert_eq!(merged(all), Err(MergeError::NoEntries));
        let full = vec![set("one", &"x".repeat(65_536))];
        assert!(first_version(full, PayloadLimits::default()).is_ok());
        let over = vec![set("one", &"x".repeat(65_536)), set("two", "x")];
        assert_eq!(
            first_version(over, PayloadLimits::default()).err(),
            Some(MergeError::ValuesTooLarge { limit: 65_536 })
        );
        assert_eq!(
            first_version(vec![set("a", "1"), remove("b")], PayloadLimits::default()).err(),
            Some(MergeError::MissingValue { position: 1 })
        );
    }
}
