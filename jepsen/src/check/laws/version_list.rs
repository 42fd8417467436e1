//! L4: the list of versions only grows at its end, and ids never return: every list is an
//! extension of every earlier one in the order of the log, and no id is given twice, neither to
//! a version nor to a secret. The same lists are exported for Elle.

use std::collections::BTreeMap;

use crate::history::answer::{Answer, VersionView};
use crate::history::call::Call;
use crate::history::ids::{OpId, SecretId, VersionId};
use crate::history::makers;

use super::{Case, Law, LawReport, Violation};

/// A list: the index that it reflects, who read it, and its versions, newest first.
type Read<'a> = (u64, OpId, &'a [VersionView]);

/// Judges a case.
#[must_use]
pub fn check(case: &Case<'_>) -> LawReport {
    let mut lists: BTreeMap<&SecretId, Vec<Read<'_>>> = BTreeMap::new();
    let mut versions: BTreeMap<VersionId, OpId> = BTreeMap::new();
    let mut secrets: BTreeMap<&SecretId, OpId> = BTreeMap::new();
    let mut violation = None;
    for op in case.history.ops.iter().filter(|op| !case.resolution.repeats(op.id)) {
        let Some(reply) = op.success() else { continue };
        if let Some((_, version)) = makers::made(op)
            && let Some(other) = versions.insert(version.clone(), op.id)
        {
            let what = format!("version {version}");
            violation = violation.or_else(|| given_twice(&what, other, op.id));
        }
        if let (Call::CreateSecret(_), Answer::Secret(view)) = (&op.asked.call, &reply.answer)
            && let Some(other) = secrets.insert(&view.id, op.id)
        {
            let what = format!("secret {}", view.id);
            violation = violation.or_else(|| given_twice(&what, other, op.id));
        }
        if let (Some(secret), Answer::Versions(list)) = (op.secret(), &reply.answer)
            && list.complete
        {
            lists.entry(secret).or_default().push((reply.index, op.id, &list.versions));
        }
    }
    let mut compared = 0;
    for (secret, mut lists) in lists {
        lists.sort_by_key(|(index, op, list)| (*index, list.len(), *op));
        compared += lists.len() as u64;
        let repeated = lists.iter().find_map(|(_, op, list)| repeats(secret, *op, list));
        violation = violation.or(repeated);
        let broken = lists.windows(2).find_map(|pair| grows(secret, pair[0], pair[1]));
        violation = violation.or(broken);
    }
    let counts = [("lists", compared), ("ids of versions", versions.len() as u64)];
    LawReport::new(Law::L4, violation, &counts, "no whole list was read")
}

fn given_twice(what: &str, one: OpId, other: OpId) -> Option<Violation> {
    let sentence = format!("#{one} and #{other} were both answered with a new {what}");
    Some(Violation { ops: vec![one, other], sentence })
}

fn repeats(secret: &SecretId, op: OpId, list: &[VersionView]) -> Option<Violation> {
    let mut ids: Vec<&VersionId> = list.iter().map(|version| &version.id).collect();
    ids.sort();
    let twice = ids.windows(2).find(|pair| pair[0] == pair[1])?[0];
    let sentence = format!("the list that #{op} read of secret {secret} has {twice} twice");
    Some(Violation { ops: vec![op], sentence })
}

/// The later list ends with the earlier one (they are newest first), and at the same index there
/// is nothing more.
fn grows(
    secret: &SecretId,
    (earlier_index, earlier, before): Read<'_>,
    (later_index, later, after): Read<'_>,
) -> Option<Violation> {
    let extra = after.len().checked_sub(before.len());
    let same = |extra: usize| {
        let tail = after[extra..].iter().map(|version| &version.id);
        tail.eq(before.iter().map(|version| &version.id))
    };
    let grown = extra.is_some_and(same);
    let at_once = earlier_index == later_index && extra != Some(0);
    if grown && !at_once {
        return None;
    }
    let sentence = format!(
        "#{later} read {} versions of secret {secret} at index {later_index}, which do not extend \
         the {} that #{earlier} read at index {earlier_index}",
        after.len(),
        before.len()
    );
    Some(Violation { ops: vec![earlier, later], sentence })
}

#[cfg(test)]
mod tests {
    use crate::check::laws::Finding;
    use crate::check::script::{Script, add, list, version, versions};

    use super::*;

    fn finding(lists: &[(u64, &[&str])]) -> Finding {
        let mut script = Script::new();
        for (index, ids) in lists {
            let shown: Vec<VersionView> = ids.iter().map(|id| version(id, "", &["a"])).collect();
            script.done(list(), versions(&shown), *index);
        }
        let history = script.history();
        check(&Case::new(&history, None)).finding
    }

    #[test]
    fn lists_that_grow_hold_in_whatever_order_they_were_read() {
        let lists: [(u64, &[&str]); 4] =
            [(4, &["v2", "v1"]), (9, &["v3", "v2", "v1"]), (2, &["v1"]), (4, &["v2", "v1"])];
        assert_eq!(finding(&lists), Finding::Holds);
    }

    #[test]
    fn a_version_that_vanishes_changes_place_or_repeats_is_a_violation() {
        let lost: [(u64, &[&str]); 2] = [(4, &["v2", "v1"]), (9, &["v3", "v1"])];
        let expected = "#1 read 2 versions of secret s at index 9, which do not extend the 2 that \
                        #0 read at index 4";
        let Finding::Violated { sentence, .. } = finding(&lost) else { panic!() };
        assert_eq!(sentence, expected);
        for lists in [
            [(4, &["v2", "v1"][..]), (9, &["v1", "v2"][..])],
            [(4, &["v2", "v1"][..]), (4, &["v3", "v2", "v1"][..])],
            [(4, &["v1"][..]), (9, &["v1", "v1"][..])],
        ] {
            assert!(matches!(finding(&lists), Finding::Violated { .. }), "{lists:?}");
        }
    }

    #[test]
    fn an_id_that_is_given_twice_is_a_violation() {
        let mut script = Script::new();
        let made = || Answer::Version(version("v7", "", &["a"]));
        script.done(add("one", &[("a", 1)]), made(), 3);
        script.done(add("two", &[("a", 2)]), made(), 4);
        let history = script.history();
        let found = check(&Case::new(&history, None)).finding;
        let Finding::Violated { sentence, .. } = found else { panic!("{found:?}") };
        assert_eq!(sentence, "#0 and #1 were both answered with a new version v7");
    }
}
