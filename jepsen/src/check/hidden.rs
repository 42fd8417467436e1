//! What the search may forget of a state because no answer of the history can tell it.
//!
//! An AddVersion without an answer may have made a version that no answer names. Of such a version
//! two things can matter later: its entries while it is current, for the next version may be made
//! on them, and that a list would show it. Ways that differ in anything else have the same future.
//! A burst of lost operations has thousands of such ways and few futures. Not where an answer is a
//! page of a longer list, or the secret may be full: there the place of an unseen version matters,
//! or how many there are.
//!
//! Likewise of a version that answers do name: its values matter while it is current, and later
//! only if a payload of it was answered, or a call goes back to it or builds on it. And in which
//! order versions were made only a list tells. Eight callers who add at the same time have 40,320
//! orders, and few that a later answer can tell apart.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::partition::Move;
use crate::history::answer::{Answer, Code, PayloadEntry, VersionStatus};
use crate::history::call::Call;
use crate::history::ids::{ValueHash, VersionId};
use crate::model::SecretState;
use crate::model::secret::{Content, Version};
use crate::model::step::{Named, VERSIONS_MAX};

/// A value that nobody asks for.
const FORGOTTEN: ValueHash = ValueHash([0; 16]);

/// What the answers and calls of a secret's history look at.
#[derive(Debug, Default)]
pub(super) struct Looks {
    /// Versions whose values somebody reads, goes back to or builds on.
    values: BTreeSet<VersionId>,
    /// Whether there is a list of versions.
    lists: bool,
    /// Whether the place or the number of versions that nobody saw matters: a list is a page of a
    /// longer one, or the secret may have as many versions as it can.
    unseen: bool,
}

impl Looks {
    /// Those of all these moves.
    pub(super) fn of(moves: &[Move<'_>]) -> Self {
        let mut looks = Self::default();
        for found in moves {
            match found.answer {
                Some(Answer::Payload(view)) => drop(looks.values.insert(view.version.clone())),
                Some(Answer::Versions(list)) => {
                    looks.lists = true;
                    looks.unseen |= !list.complete;
                }
                Some(Answer::Refused(refusal)) => {
                    looks.unseen |= refusal.code == Code::ResourceExhausted;
                }
                Some(
                    Answer::Secret(_) | Answer::Version(_) | Answer::Secrets(_) | Answer::Done,
                )
                | None => {}
            }
            let named = match &found.op.asked.call {
                Call::SetCurrentVersion(call) => Some(&call.version),
                Call::AddVersion(call) => call.base.as_ref(),
                Call::GetPayload(call) => call.version.as_ref(),
                _ => None,
            };
            looks.values.extend(named.cloned());
        }
        let adds = |found: &&Move<'_>| matches!(found.op.asked.call, Call::AddVersion(_));
        looks.unseen |= moves.iter().filter(adds).count() >= VERSIONS_MAX;
        looks
    }

    /// The state that stands for all that differ from this one only in what none of them tells.
    pub(super) fn forget(&self, state: SecretState) -> SecretState {
        if self.unseen {
            return state;
        }
        let mut secret = match without_the_unseen(state) {
            SecretState::Live(secret) => secret,
            gone @ (SecretState::Absent | SecretState::Deleted) => return gone,
        };
        for (place, version) in secret.versions.iter_mut().enumerate() {
            let content = &version.content;
            let told = secret.current == Some(place) || self.values.contains(&content.id);
            if told || content.entries.iter().all(|entry| entry.value == FORGOTTEN) {
                continue;
            }
            let forgotten =
                |entry: &PayloadEntry| PayloadEntry { key: entry.key.clone(), value: FORGOTTEN };
            let entries = content.entries.iter().map(forgotten).collect();
            let content = Content::new(content.id.clone(), content.description.clone(), entries);
            version.content = Arc::new(content);
        }
        if !self.lists {
            let current = secret.current.and_then(|place| secret.versions.get(place));
            let current = current.map(|version| version.content.id.clone());
            secret.versions.sort_by(|one, other| one.content.id.cmp(&other.content.id));
            let is_current = |version: &Version| Some(&version.content.id) == current.as_ref();
            secret.current = secret.versions.iter().position(is_current);
        }
        SecretState::Live(secret)
    }
}

/// The state that stands for all that differ from this one only in what nobody can ever see.
fn without_the_unseen(state: SecretState) -> SecretState {
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

    /// The state behind two versions that are made in either order, and one more.
    fn either_order(looks: &Looks) -> [SecretState; 2] {
        let first = (create(&[("a", 1)]), "v1");
        let (one, other) = ((add("one", &[("a", 2)]), "v2"), (add("other", &[("a", 3)]), "v3"));
        let last = (add("last", &[("a", 4)]), "v4");
        let orders = [[&first, &one, &other, &last], [&first, &other, &one, &last]];
        orders.map(|calls| {
            let calls: Vec<_> = calls.into_iter().cloned().collect();
            looks.forget(after(&calls))
        })
    }

    #[test]
    fn the_order_of_versions_matters_to_a_list_alone() {
        let [one, other] = either_order(&Looks::default());
        assert_eq!(one, other);
        let [one, other] = either_order(&Looks { lists: true, ..Looks::default() });
        assert_ne!(one, other);
    }

    #[test]
    fn values_matter_where_somebody_looks_and_while_they_are_current() {
        let first = (create(&[("a", 1)]), "v1");
        let states = |looks: &Looks, last: Option<(Call, &'static str)>| {
            [2, 3].map(|value| {
                let made = (add("made", &[("a", value)]), "v2");
                let calls: Vec<_> = [first.clone(), made].into_iter().chain(last.clone()).collect();
                looks.forget(after(&calls))
            })
        };
        let nobody = Looks::default();
        let [one, other] = states(&nobody, None);
        assert_ne!(one, other, "it is current");
        let last = Some((add("last", &[("a", 4)]), "v3"));
        let [one, other] = states(&nobody, last.clone());
        assert_eq!(one, other);
        let somebody = Looks { values: ["v2".into()].into(), ..Looks::default() };
        let [one, other] = states(&somebody, last.clone());
        assert_ne!(one, other);
        let pages = Looks { unseen: true, lists: true, ..Looks::default() };
        let [one, other] = states(&pages, last);
        assert_ne!(one, other);
    }
}
