//! What the search may forget of versions that nobody ever saw.
//!
//! An AddVersion without an answer may have made a version that no answer names. Of such a version
//! two things can matter later: its entries while it is current, for the next version may be made
//! on them, and that a list would show it. Ways that differ in anything else have the same future.
//! A burst of lost operations has thousands of such ways and few futures.

use std::sync::Arc;

use crate::history::answer::VersionStatus;
use crate::model::SecretState;
use crate::model::secret::{Content, Version};
use crate::model::step::Named;

/// The state that stands for all that differ from this one only in what nobody can ever see.
pub(super) fn without_the_unseen(state: SecretState) -> SecretState {
    let SecretState::Live(mut secret) = state else { return state };
    if !secret.versions.iter().any(is_unseen) {
        return SecretState::Live(secret);
    }
    let mut seen = Vec::with_capacity(secret.versions.len());
    let mut past = None;
    let mut current = None;
    for (place, version) in secret.versions.into_iter().enumerate() {
        let is_current = secret.current == Some(place);
        let version = match (is_unseen(&version), is_current) {
            (false, _) => version,
            (true, true) => unseen("?now", version.content.entries.clone()),
            (true, false) => {
                past = Some(unseen("?past", Vec::new()));
                continue;
            }
        };
        if is_current {
            current = Some(seen.len());
        }
        seen.push(version);
    }
    // Behind all others, so that no place changes.
    seen.extend(past);
    (secret.versions, secret.current) = (seen, current);
    SecretState::Live(secret)
}

fn is_unseen(version: &Version) -> bool {
    Named::is_unknown(&version.content.id)
}

fn unseen(id: &str, entries: Vec<crate::history::answer::PayloadEntry>) -> Version {
    let content = Arc::new(Content::new(id.into(), String::new(), entries));
    Version { content, status: VersionStatus::Active }
}

#[cfg(test)]
mod tests {
    use crate::check::script::{add, create, set_current};
    use crate::history::call::Call;
    use crate::model::step::step;

    use super::*;

    /// What becomes of these calls, whose versions have these ids.
    fn after(calls: &[(Call, &str)]) -> SecretState {
        let mut state = SecretState::Absent;
        for (call, version) in calls {
            let named = Named { secret: "s".into(), version: (*version).into() };
            state = step(&state, None, call, &named).next.unwrap();
        }
        without_the_unseen(state)
    }

    #[test]
    fn only_the_entries_of_an_unseen_current_version_tell_ways_apart() {
        let first = (create(&[("a", 1)]), "v1");
        let one = |value, id| (add("lost", &[("a", value)]), id);
        let both = after(&[first.clone(), one(2, "?7"), one(3, "?8")]);
        assert_eq!(both, after(&[first.clone(), one(4, "?9"), one(3, "?6")]));
        assert_ne!(both, after(&[first.clone(), one(3, "?8"), one(2, "?7")]));
        assert_ne!(both, after(&[first.clone(), one(3, "?8")]), "a list would show two");
        // Once it is not current its entries do not matter either.
        let back = (set_current("v1"), "v1");
        let gone = after(&[first.clone(), one(2, "?7"), back.clone()]);
        assert_eq!(gone, after(&[first.clone(), one(3, "?8"), back]));
        assert_ne!(gone, after(&[first]), "a list would show one");
    }
}
