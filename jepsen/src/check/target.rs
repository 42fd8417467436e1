//! What an answer that the search has to explain shows of the current version, and which ways can
//! still come to it.
//!
//! A burst of twelve AddVersions without an answer has 479 million orders. But a merge keeps the
//! entries that it does not touch, in their order, and puts new ones behind them (`contract §2.6`),
//! and the next answer shows which entries there are. So as long as nothing else can happen than
//! merges onto the current version and steps back to one that is there, a way is a dead end once no
//! version that can be the base has come to what the answer shows, or still can: each has an entry
//! that it does not show and nobody will touch, or lacks one that would have to be in front of
//! another.

use std::collections::BTreeSet;

use super::partition::Move;
use crate::history::answer::{Answer, PayloadEntry, VersionStatus};
use crate::history::call::Call;
use crate::history::ids::{EntryKey, ValueHash};
use crate::model::SecretState;

/// The entries of the current version that an answer shows, in their order.
pub(super) struct Target<'a> {
    entries: Vec<(&'a EntryKey, Option<ValueHash>)>,
    /// Keys that the operation itself may have changed.
    own: BTreeSet<&'a EntryKey>,
}

impl<'a> Target<'a> {
    /// What the answer of a move shows; nothing where it shows no current version.
    pub(super) fn of(found: &Move<'a>) -> Option<Self> {
        let keys_of = |keys: &'a [EntryKey]| keys.iter().map(|key| (key, None)).collect();
        match (&found.op.asked.call, found.answer?) {
            (Call::GetPayload(call), Answer::Payload(view)) if call.version.is_none() => {
                let entries = view.entries.iter().map(|entry| (&entry.key, Some(entry.value)));
                Some(Self { entries: entries.collect(), own: BTreeSet::new() })
            }
            (Call::GetSecret(_), Answer::Secret(view)) => {
                let entries = keys_of(&view.current.as_ref()?.keys);
                Some(Self { entries, own: BTreeSet::new() })
            }
            (Call::AddVersion(call), Answer::Version(view)) if call.base.is_none() => {
                let own = call.changes.iter().map(|change| &change.key).collect();
                Some(Self { entries: keys_of(&view.keys), own })
            }
            _ => None,
        }
    }

    /// Whether these moves, which may still happen, can lead from the state to the answer. True
    /// where that is not certain.
    pub(super) fn may_come(&self, state: &SecretState, open: &[&Move<'_>]) -> bool {
        let SecretState::Live(secret) = state else { return true };
        let Some(current) = secret.current.and_then(|place| secret.versions.get(place)) else {
            return true;
        };
        if current.status != VersionStatus::Active {
            return true;
        }
        // What the answer may be built on: the current version, and those that a move goes back to.
        let mut bases = vec![current];
        let mut touched = self.own.clone();
        for found in open {
            match &found.op.asked.call {
                Call::AddVersion(call) if call.base.is_none() => {
                    touched.extend(call.changes.iter().map(|change| &change.key));
                }
                Call::SetCurrentVersion(call) => {
                    let Some(place) = secret.place_of(&call.version) else { return true };
                    bases.push(&secret.versions[place]);
                }
                Call::AddVersion(_)
                | Call::CreateSecret(_)
                | Call::ScheduleDestruction(_)
                | Call::CancelDestruction(_)
                | Call::DeleteSecret(_) => return true,
                Call::Activate(_)
                | Call::Deactivate(_)
                | Call::UpdateSecret(_)
                | Call::ChangeBinding(_)
                | Call::RevokeToken(_)
                | Call::GetSecret(_)
                | Call::ListVersions(_)
                | Call::GetPayload(_)
                | Call::ListSecrets(_) => {}
            }
        }
        bases.into_iter().any(|base| self.may_be_built_on(&base.content.entries, &touched))
    }

    /// Whether merges that touch these keys can make of these entries what the answer shows.
    fn may_be_built_on(&self, here: &[PayloadEntry], touched: &BTreeSet<&EntryKey>) -> bool {
        let mut behind = 0;
        for entry in here.iter().filter(|entry| !touched.contains(&entry.key)) {
            let shown = self.entries.iter().position(|(key, _)| **key == entry.key);
            let Some(place) = shown else { return false };
            let (_, value) = self.entries[place];
            if place < behind || value.is_some_and(|value| value != entry.value) {
                return false;
            }
            behind = place + 1;
        }
        // What is not here yet comes behind what stays.
        let is_here = |key: &EntryKey| here.iter().any(|entry| entry.key == *key);
        self.entries[..behind].iter().all(|(key, _)| is_here(key))
    }
}

#[cfg(test)]
mod tests {
    use crate::check::jit::{Searched, search};
    use crate::check::partition::partition;
    use crate::check::script::{
        Script, add, create, entries, payload, secret, set_current, version,
    };
    use crate::history::call::Call;
    use crate::history::ids::OpId;
    use crate::history::makers::Makers;

    const KEYS: [&str; 14] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n"];
    /// Far fewer than there are orders.
    const STEPS: u64 = 20_000;

    /// Fourteen AddVersions without an answer, each with a key of its own, and then a payload.
    fn searched(shown: &[(&str, u8)]) -> Searched {
        searched_beside(&[], shown)
    }

    /// These calls without an answer beside them.
    fn searched_beside(beside: &[Call], shown: &[(&str, u8)]) -> Searched {
        let mut script = Script::new();
        let first = version("v0", "first", &["first"]);
        script.done(create(&[("first", 1)]), secret(Some(first)), 1);
        let adds = KEYS.iter().map(|key| add(key, &[(key, 2)]));
        let lost: Vec<OpId> =
            adds.chain(beside.iter().cloned()).map(|call| script.begin(call)).collect();
        for op in lost {
            script.info(op);
        }
        script.done(payload(None), entries("v9", shown), 30);
        let history = script.history();
        let secrets = partition(&history, &Makers::find(&history));
        search(&secrets[0], STEPS)
    }

    #[test]
    fn the_answer_behind_a_burst_tells_in_which_order_it_happened() {
        // Any of them, in any order.
        let backwards = KEYS.iter().rev().step_by(2).map(|key| (*key, 2));
        let shown: Vec<_> = [("first", 1)].into_iter().chain(backwards).collect();
        assert_eq!(searched(&shown), Searched::Legal);
        let all: Vec<_> = [("first", 1)].into_iter().chain(KEYS.map(|key| (key, 2))).collect();
        assert_eq!(searched(&all), Searched::Legal);
    }

    #[test]
    fn steps_back_lead_only_to_what_is_there() {
        let back = [set_current("v0"), set_current("v0"), set_current("v0")];
        // With fourteen adds behind it, for no version that is there fits.
        let read = OpId(18);
        assert_eq!(searched_beside(&back, &[("a", 2)]), Searched::Illegal { op: read });
        assert_eq!(searched_beside(&back, &[("first", 1), ("b", 2)]), Searched::Legal);
    }

    #[test]
    fn what_no_order_explains_is_still_illegal() {
        let read = OpId(15);
        // What was there stays in front.
        let turned = [("a", 2), ("first", 1)];
        assert_eq!(searched(&turned), Searched::Illegal { op: read });
        let lost = [("a", 2)];
        assert_eq!(searched(&lost), Searched::Illegal { op: read });
        let another_value = [("first", 1), ("a", 3)];
        assert_eq!(searched(&another_value), Searched::Illegal { op: read });
        let nobodys = [("first", 1), ("z", 2)];
        assert_eq!(searched(&nobodys), Searched::Illegal { op: read });
    }
}
