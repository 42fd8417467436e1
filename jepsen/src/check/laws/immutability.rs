//! L3: the same version is the same for ever: its entries and their order, its keys, its
//! description and the time of its creation, from any node, also after a restart, a snapshot or
//! a replacement.
//!
//! A table of first sightings. Needs neither an index nor the order of time.

use std::collections::BTreeMap;

use crate::history::answer::{Answer, PayloadEntry, VersionView};
use crate::history::ids::{EntryKey, OpId, SecretId, VersionId};

use super::{Case, Law, LawReport, Violation};

/// What is known of a version, and who showed it first.
#[derive(Default)]
struct Seen<'a> {
    view: Option<(OpId, &'a VersionView)>,
    payload: Option<(OpId, &'a [PayloadEntry])>,
}

/// Judges a case.
#[must_use]
pub fn check(case: &Case<'_>) -> LawReport {
    let mut table: BTreeMap<(&SecretId, &VersionId), Seen<'_>> = BTreeMap::new();
    let mut sightings = 0;
    let mut violation = None;
    for op in &case.history.ops {
        let (Some(secret), Some(reply)) = (op.secret(), op.success()) else { continue };
        for view in reply.answer.versions() {
            sightings += 1;
            let seen = table.entry((secret, &view.id)).or_default();
            let known = *seen.view.get_or_insert((op.id, view));
            let payload = seen.payload;
            violation = violation.or_else(|| compare_views(secret, op.id, known, view));
            let keys = payload.map(|(by, entries)| (by, keys(entries)));
            violation = violation.or_else(|| compare_keys(secret, op.id, keys?, view, true));
        }
        if let Answer::Payload(payload) = &reply.answer {
            sightings += 1;
            let seen = table.entry((secret, &payload.version)).or_default();
            let known = *seen.payload.get_or_insert((op.id, payload.entries.as_slice()));
            if known.1 != payload.entries && violation.is_none() {
                let sentence = format!(
                    "version {} of secret {secret} had {} entries when #{} read it and other \
                     content ({} entries) when #{} did",
                    payload.version,
                    known.1.len(),
                    known.0,
                    payload.entries.len(),
                    op.id
                );
                violation = Some(Violation { ops: vec![known.0, op.id], sentence });
            }
            let view = seen.view;
            violation = violation.or_else(|| {
                let (by, view) = view?;
                compare_keys(secret, by, (op.id, keys(&payload.entries)), view, false)
            });
        }
    }
    let counts = [("sightings of versions", sightings), ("versions", table.len() as u64)];
    LawReport::new(Law::L3, violation, &counts, "no answer shows a version")
}

fn keys(entries: &[PayloadEntry]) -> Vec<EntryKey> {
    entries.iter().map(|entry| entry.key.clone()).collect()
}

fn compare_views(
    secret: &SecretId,
    op: OpId,
    (by, known): (OpId, &VersionView),
    view: &VersionView,
) -> Option<Violation> {
    let what = if known.keys != view.keys {
        "other entry keys"
    } else if known.created_at_ns != view.created_at_ns {
        "another time of creation"
    } else if known.description != view.description {
        "another description"
    } else {
        return None;
    };
    let sentence = format!(
        "version {} of secret {secret} has {what} in the answer to #{op} than in that to #{by}",
        view.id
    );
    Some(Violation { ops: vec![by, op], sentence })
}

/// The keys that metadata show are those of the payload.
fn compare_keys(
    secret: &SecretId,
    viewed_by: OpId,
    (read_by, keys): (OpId, Vec<EntryKey>),
    view: &VersionView,
    viewed_last: bool,
) -> Option<Violation> {
    if keys == view.keys {
        return None;
    }
    let sentence = format!(
        "version {} of secret {secret} has {} keys in the answer to #{viewed_by} and {} entries, \
         or others, in the payload that #{read_by} read",
        view.id,
        view.keys.len(),
        keys.len()
    );
    let ops = if viewed_last { vec![read_by, viewed_by] } else { vec![viewed_by, read_by] };
    Some(Violation { ops, sentence })
}

#[cfg(test)]
mod tests {
    use crate::check::laws::Finding;
    use crate::check::script::{Script, create, entries, get, payload, secret, version};

    use super::*;

    fn finding(change: impl FnOnce(&mut Script)) -> Finding {
        let mut script = Script::new();
        let first = version("v1", "first", &["a", "b"]);
        script.done(create(&[("a", 1), ("b", 2)]), secret(Some(first)), 1);
        script.done(payload(None), entries("v1", &[("a", 1), ("b", 2)]), 1);
        change(&mut script);
        let history = script.history();
        check(&Case::new(&history, None)).finding
    }

    #[test]
    fn the_same_version_everywhere_holds() {
        let holds = finding(|script| {
            script.done(payload(Some("v1")), entries("v1", &[("a", 1), ("b", 2)]), 9);
            script.done(get(), secret(Some(version("v1", "first", &["a", "b"]))), 9);
        });
        assert_eq!(holds, Finding::Holds);
    }

    #[test]
    fn another_value_and_another_order_are_violations() {
        for other in [[("a", 1), ("b", 9)], [("b", 2), ("a", 1)]] {
            let found = finding(|script| {
                script.done(payload(Some("v1")), entries("v1", &other), 9);
            });
            let Finding::Violated { ops, .. } = found else { panic!("{found:?}") };
            assert_eq!(ops, [OpId(1), OpId(2)]);
        }
    }

    #[test]
    fn another_time_of_creation_is_a_violation() {
        let mut other = version("v1", "first", &["a", "b"]);
        other.created_at_ns += 1;
        let found = finding(|script| {
            script.done(get(), secret(Some(other)), 9);
        });
        let Finding::Violated { sentence, .. } = found else { panic!("{found:?}") };
        let expected = "version v1 of secret s has another time of creation in the answer to #2 \
                        than in that to #0";
        assert_eq!(sentence, expected);
    }

    #[test]
    fn keys_that_are_not_the_payloads_are_a_violation() {
        let mut script = Script::new();
        let first = version("v1", "first", &["a", "c"]);
        script.done(create(&[("a", 1), ("b", 2)]), secret(Some(first)), 1);
        script.done(payload(None), entries("v1", &[("a", 1), ("b", 2)]), 1);
        let history = script.history();
        let found = check(&Case::new(&history, None)).finding;
        assert!(matches!(found, Finding::Violated { .. }), "{found:?}");
    }
}
