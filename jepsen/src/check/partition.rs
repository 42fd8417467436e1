//! A history cut into one history for each secret, as the search takes it.
//!
//! Secrets do not touch each other, so a history is linearizable if each of these is. What
//! certainly had no effect is left out, and so are reads without an answer.

use std::collections::{BTreeMap, BTreeSet};

use crate::history::History;
use crate::history::answer::{Answer, PayloadEntry};
use crate::history::call::{Call, EntryChange};
use crate::history::ids::{IdempotencyKey, OpId, SecretId, VersionId};
use crate::history::makers::Makers;
use crate::history::op::Op;
use crate::model::Named;

/// Namings that are tried for one secret before the search gives up.
const NAMINGS_MAX: usize = 64;

/// All operations on one secret.
#[derive(Debug, Clone)]
pub struct SecretHistory<'a> {
    /// The secret.
    pub secret: SecretId,
    /// What may or must happen, in the order of beginnings.
    pub moves: Vec<Move<'a>>,
}

/// One operation of it.
#[derive(Debug, Clone)]
pub struct Move<'a> {
    /// The operation.
    pub op: &'a Op,
    /// Order of its beginning.
    pub from: u64,
    /// Order by which it has happened; absent if it may happen at any time since, or never.
    pub to: Option<u64>,
    /// What it answered.
    pub answer: Option<&'a Answer>,
    /// The ids of what it makes, as far as they are known.
    pub named: Named,
    /// Whether nobody knows which version it makes, if it happens.
    pub unnamed: bool,
}

/// Which unnamed move made which version.
pub type Naming = Vec<(usize, VersionId)>;

/// Cuts a history.
#[must_use]
pub fn partition<'a>(history: &'a History, makers: &Makers) -> Vec<SecretHistory<'a>> {
    let mut secrets: BTreeMap<&SecretId, Vec<Move<'a>>> = BTreeMap::new();
    let mut keyed: BTreeMap<(&SecretId, &IdempotencyKey), usize> = BTreeMap::new();
    for op in &history.ops {
        // A page of its folder may tell what a creation without an answer has made.
        let made = || makers.made_by(op.id).map(|(secret, _)| secret);
        let Some(secret) = op.secret().or_else(made) else { continue };
        let Some(found) = as_move(op, makers) else { continue };
        let moves = secrets.entry(secret).or_default();
        if let Some(key) = op.asked.idempotency_key.as_ref().filter(|_| op.may_have_effect()) {
            let place = *keyed.entry((secret, key)).or_insert(moves.len());
            if let Some(first) = moves.get_mut(place)
                && first.op.asked.call == op.asked.call
            {
                join(first, found);
                continue;
            }
        }
        moves.push(found);
    }
    let whole = |(secret, moves): (&SecretId, Vec<Move<'a>>)| SecretHistory {
        secret: secret.clone(),
        moves,
    };
    secrets.into_iter().map(whole).collect()
}

fn as_move<'a>(op: &'a Op, makers: &Makers) -> Option<Move<'a>> {
    if let Some(reply) = op.reply() {
        let answer = Some(&reply.answer);
        let (from, to) = (op.invoked.order, Some(op.ended()));
        return Some(Move { op, from, to, answer, named: Named::by_answer(op), unnamed: false });
    }
    if !op.may_have_effect() {
        return None;
    }
    let mut named = Named::unknown(op.id);
    let made = makers.made_by(op.id);
    if let Some((secret, version)) = made {
        (named.secret, named.version) = (secret.clone(), version.clone());
    }
    let unnamed = made.is_none() && matches!(op.asked.call, Call::AddVersion(_));
    Some(Move { op, from: op.invoked.order, to: None, answer: None, named, unnamed })
}

/// Repeats under one idempotency key are one operation: it begins with the first of them and has
/// happened when the first of them was answered.
fn join<'a>(first: &mut Move<'a>, repeat: Move<'a>) {
    first.to = match (first.to, repeat.to) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    };
    if first.answer.is_none() && repeat.answer.is_some() {
        (first.op, first.answer, first.named) = (repeat.op, repeat.answer, repeat.named);
        first.unnamed = false;
    }
}

impl SecretHistory<'_> {
    /// All ways in which moves without a name can have made the versions that were seen and that
    /// no other move made; absent if there are too many.
    #[must_use]
    pub fn namings(&self) -> Option<Vec<Naming>> {
        let mut namings: Vec<Naming> = vec![Vec::new()];
        for (version, payload) in self.orphans() {
            let mut longer = Vec::new();
            for naming in &namings {
                for place in self.may_have_made(&payload) {
                    if naming.iter().all(|(taken, _)| *taken != place) {
                        let mut with = naming.clone();
                        with.push((place, version.clone()));
                        longer.push(with);
                    }
                }
            }
            if longer.len() > NAMINGS_MAX {
                return None;
            }
            // None at all: nobody can have made that version, and no naming will help.
            if !longer.is_empty() {
                namings = longer;
            }
        }
        Some(namings)
    }

    /// Versions whose payload was read and that no named move made.
    fn orphans(&self) -> BTreeMap<VersionId, Vec<PayloadEntry>> {
        if !self.moves.iter().any(|found| found.unnamed) {
            return BTreeMap::new();
        }
        let named: BTreeSet<&VersionId> = self
            .moves
            .iter()
            .filter(|found| !found.unnamed)
            .map(|found| &found.named.version)
            .collect();
        let mut orphans = BTreeMap::new();
        for found in &self.moves {
            if let Some(Answer::Payload(view)) = found.answer
                && !named.contains(&view.version)
            {
                // Versions never change: a later sight of it that differs is what is wrong.
                orphans.entry(view.version.clone()).or_insert_with(|| view.entries.clone());
            }
        }
        orphans
    }

    fn may_have_made(&self, payload: &[PayloadEntry]) -> Vec<usize> {
        let fits = |change: &EntryChange| match change.value {
            Some(value) => {
                payload.iter().any(|entry| entry.key == change.key && entry.value == value)
            }
            None => payload.iter().all(|entry| entry.key != change.key),
        };
        let made = |found: &Move<'_>| match &found.op.asked.call {
            Call::AddVersion(call) => found.unnamed && call.changes.iter().all(fits),
            _ => false,
        };
        (0..self.moves.len()).filter(|place| made(&self.moves[*place])).collect()
    }

    /// The same history under a naming.
    #[must_use]
    pub fn named(&self, naming: &Naming) -> Self {
        let mut named = self.clone();
        for (place, version) in naming {
            named.moves[*place].named.version = version.clone();
            named.moves[*place].unnamed = false;
        }
        named
    }

    /// The id of the operation of a move.
    #[must_use]
    pub fn op(&self, place: usize) -> OpId {
        self.moves[place].op.id
    }
}

#[cfg(test)]
mod tests {
    use crate::check::jit::{STEPS_MAX, Searched, search};
    use crate::check::script::{
        Script, add, create, delete, entries, get, list, page, payload, refused, secret, version,
        versions,
    };
    use crate::history::answer::{Code, SecretPage, SecretView};
    use crate::history::call::UpdateSecret;

    use super::*;

    fn script() -> Script {
        let mut script = Script::new();
        let first = version("v1", "first", &["a"]);
        script.done(create(&[("a", 1)]), secret(Some(first)), 1);
        script
    }

    fn searched(script: Script) -> Searched {
        let history = script.history();
        let parts = partition(&history, &Makers::find(&history));
        search(&parts[0], STEPS_MAX)
    }

    #[test]
    fn repeats_under_one_key_are_one_operation() {
        let mut script = script();
        script.key = Some("k");
        let lost = script.begin(add("second", &[("b", 2)]));
        script.info(lost);
        script.key = None;
        // It had happened before the repeat began, and the repeat does not do it again.
        script.done(payload(None), entries("v2", &[("a", 1), ("b", 2)]), 2);
        script.key = Some("k");
        let made = Answer::Version(version("v2", "second", &["a", "b"]));
        script.done(add("second", &[("b", 2)]), made, 2);
        let history = script.history();
        let parts = partition(&history, &Makers::find(&history));
        assert_eq!(parts[0].moves.len(), 3);
        assert_eq!(search(&parts[0], STEPS_MAX), Searched::Legal);
    }

    /// Nobody was answered, so only a list tells that one of them had the effect.
    #[test]
    fn repeats_that_are_all_lost_are_one_operation_too() {
        let lost_twice = |shown: &str| {
            let mut script = script();
            script.key = Some("k");
            for _ in 0..2 {
                let lost = script.begin(add("second", &[("b", 2)]));
                script.info(lost);
            }
            script.key = None;
            let shown = [version("v2", shown, &["a", "b"]), version("v1", "first", &["a"])];
            let list = script.done(list(), versions(&shown), 2);
            (searched(script), list)
        };
        assert_eq!(lost_twice("second").0, Searched::Legal);
        let (found, op) = lost_twice("nobody's");
        assert_eq!(found, Searched::Illegal { op });
    }

    fn rename(name: &str) -> Call {
        Call::UpdateSecret(UpdateSecret {
            secret: "s".into(),
            name: Some(name.to_owned()),
            description: None,
            labels: None,
            deletion_protection: None,
            if_version: None,
        })
    }

    fn named(name: &str) -> SecretView {
        let Answer::Secret(view) = secret(Some(version("v1", "first", &["a"]))) else {
            unreachable!()
        };
        SecretView { name: name.to_owned(), ..view }
    }

    /// A creation that nobody was answered, if there was one, a page that shows what it made, and
    /// what the others did with it then.
    fn searched_after_a_page(created: bool, go_on: impl FnOnce(&mut Script) -> OpId) -> Searched {
        let mut script = Script::new();
        if created {
            let lost = script.begin(create(&[("a", 1)]));
            script.info(lost);
        }
        let secrets = vec![named("name")];
        script.done(page("w", None), Answer::Secrets(SecretPage { secrets, next: None }), 1);
        go_on(&mut script);
        searched(script)
    }

    #[test]
    fn a_page_tells_what_a_lost_creation_made() {
        let all = |script: &mut Script| {
            script.done(rename("one"), Answer::Secret(named("one")), 2);
            let lost = script.begin(rename("two"));
            script.info(lost);
            script.done(get(), Answer::Secret(named("two")), 3);
            script.done(rename("three"), Answer::Secret(named("three")), 4);
            script.done(delete("s"), Answer::Secret(named("three")), 5);
            script.done(rename("four"), refused(Code::NotFound), 5)
        };
        assert_eq!(searched_after_a_page(true, all), Searched::Legal);
        // Without a creation it cannot be there.
        assert!(matches!(searched_after_a_page(false, all), Searched::Illegal { .. }));
        let stale = |script: &mut Script| {
            script.done(rename("one"), Answer::Secret(named("one")), 2);
            script.done(get(), Answer::Secret(named("name")), 3)
        };
        assert_eq!(searched_after_a_page(true, stale), Searched::Illegal { op: OpId(3) });
    }

    /// Two operations were lost; one payload shows which of them made the version that is read.
    #[test]
    fn a_payload_names_the_version_of_a_lost_operation() {
        let lose_two = |script: &mut Script| {
            for (description, key) in [("second", "b"), ("third", "c")] {
                let lost = script.begin(add(description, &[(key, 2)]));
                script.info(lost);
            }
        };
        let mut legal = script();
        lose_two(&mut legal);
        legal.done(payload(None), entries("v9", &[("a", 1), ("c", 2)]), 3);
        legal.done(payload(Some("v1")), entries("v1", &[("a", 1)]), 3);
        assert_eq!(searched(legal), Searched::Legal);

        // The values of both in one version: one of them was the base, whichever it was.
        let mut both = script();
        lose_two(&mut both);
        both.done(payload(None), entries("v9", &[("a", 1), ("c", 2), ("b", 2)]), 3);
        assert_eq!(searched(both), Searched::Legal);

        let mut nobodys = script();
        lose_two(&mut nobodys);
        let read = nobodys.done(payload(None), entries("v9", &[("a", 1), ("d", 2)]), 3);
        assert_eq!(searched(nobodys), Searched::Illegal { op: read });
    }
}
