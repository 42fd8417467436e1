//! In which order versions were made, as far as lists tell.
//!
//! A list shows versions newest first, and no version is ever made in front of another (`contract
//! §2.11`). So where two versions are neighbours in any list of a secret's history, the older one
//! is there before the newer one is made, whenever that list was asked for. Ways that make them the
//! other way round need not be followed up to the list, which would refuse them: eight callers who
//! add at the same time have 40,320 orders, of which one list leaves one.

use std::collections::{BTreeMap, BTreeSet};

use super::partition::Move;
use crate::history::answer::Answer;
use crate::history::call::Call;
use crate::history::ids::VersionId;
use crate::model::SecretState;

/// The versions that have to be there before a version is made.
#[derive(Debug, Default)]
pub(super) struct Order {
    older: BTreeMap<VersionId, BTreeSet<VersionId>>,
}

impl Order {
    /// What the lists among these moves tell. Of versions that no move is known to make they tell
    /// nothing: no state has such a version, so the list itself is what no way comes past.
    pub(super) fn of(moves: &[Move<'_>]) -> Self {
        let makes = |found: &&Move<'_>| {
            matches!(found.op.asked.call, Call::AddVersion(_) | Call::CreateSecret(_))
        };
        let known: BTreeSet<_> =
            moves.iter().filter(makes).map(|found| &found.named.version).collect();
        let mut order = Self::default();
        for found in moves {
            let Some(Answer::Versions(list)) = found.answer else { continue };
            for neighbours in list.versions.windows(2) {
                let [newer, older] = neighbours else { continue };
                if known.contains(&older.id) {
                    order.older.entry(newer.id.clone()).or_default().insert(older.id.clone());
                }
            }
        }
        order
    }

    /// Whether all that is older than this version is there.
    pub(super) fn may_be_made(&self, version: &VersionId, state: &SecretState) -> bool {
        let Some(older) = self.older.get(version) else { return true };
        let is_there = |id| state.live().is_some_and(|secret| secret.place_of(id).is_some());
        older.iter().all(is_there)
    }
}

#[cfg(test)]
mod tests {
    use crate::check::jit::{Searched, search};
    use crate::check::partition::partition;
    use crate::check::script::{
        Script, add, create, entries, list, payload, secret, version, versions,
    };
    use crate::history::answer::Answer;
    use crate::history::call::Call;
    use crate::history::ids::OpId;
    use crate::history::makers::Makers;

    const NAMES: [&str; 9] = ["v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9"];
    /// Far fewer than there are orders of nine.
    const STEPS: u64 = 20_000;

    /// Nine AddVersions at the same time, and a list that shows them in this order.
    fn searched(newest_first: &[&str]) -> Searched {
        let mut script = Script::new();
        script.done(create(&[("a", 1)]), secret(Some(version("v0", "first", &["a"]))), 1);
        let begun: Vec<OpId> =
            NAMES.iter().map(|name| script.begin(add(name, &[("a", 2)]))).collect();
        for (name, op) in NAMES.iter().zip(begun) {
            script.ok(op, Answer::Version(version(name, name, &["a"])), 2);
        }
        let shown = newest_first.iter().map(|name| version(name, name, &["a"]));
        let first = version("v0", "first", &["a"]);
        let shown: Vec<_> = shown.chain([first]).collect();
        script.done(list(), versions(&shown), 30);
        let history = script.history();
        let secrets = partition(&history, &Makers::find(&history));
        search(&secrets[0], STEPS)
    }

    /// The first lost add could have made what was read, but was refused if the list is right.
    #[test]
    fn a_wrong_naming_does_not_use_up_the_steps_of_the_right_one() {
        let mut script = Script::new();
        script.done(create(&[("a", 1)]), secret(Some(version("v0", "first", &["a"]))), 1);
        let mut early = add("early", &[("a", 7)]);
        if let Call::AddVersion(call) = &mut early {
            call.if_version = Some("v0".into());
        }
        let early = script.begin(early);
        let begun: Vec<OpId> =
            NAMES.iter().map(|name| script.begin(add(name, &[("a", 2)]))).collect();
        for (name, op) in NAMES.iter().zip(begun) {
            script.ok(op, Answer::Version(version(name, name, &["a"])), 2);
        }
        let shown = NAMES.iter().map(|name| version(name, name, &["a"]));
        let shown: Vec<_> = shown.chain([version("v0", "first", &["a"])]).collect();
        script.done(list(), versions(&shown), 30);
        let late = script.begin(add("late", &[("a", 7)]));
        script.done(payload(None), entries("v99", &[("a", 7)]), 40);
        script.info(early);
        script.info(late);
        let history = script.history();
        let secrets = partition(&history, &Makers::find(&history));
        assert_eq!(search(&secrets[0], STEPS), Searched::Legal);
    }

    #[test]
    fn a_list_tells_in_which_order_versions_were_made() {
        let mut shown = NAMES;
        assert_eq!(searched(&shown), Searched::Legal);
        shown.swap(2, 5);
        assert_eq!(searched(&shown), Searched::Legal);
    }
}
