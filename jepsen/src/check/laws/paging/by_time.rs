//! Whole walks by acknowledgements alone: no index is believed here.

use std::collections::BTreeMap;

use super::{Page, Walk, is_whole};
use crate::check::folders::{Folder, Stay};
use crate::check::laws::Violation;
use crate::history::ids::{FolderId, OpId, SecretId};

/// The first walk that is wrong, in the order of their beginnings.
pub(super) fn judge(id: &FolderId, folder: &Folder, walks: &[Walk<'_>]) -> Option<Violation> {
    let mut walks: Vec<&Walk<'_>> = walks.iter().filter(|walk| !walk.is_empty()).collect();
    walks.sort_by_key(|walk| walk[0].op.invoked.order);
    let mut coming: Vec<(&SecretId, &Stay)> = folder.stays.iter().collect();
    coming.sort_by_key(|(_, stay)| std::cmp::Reverse(stay.created.to));
    let mut there: Vec<(&SecretId, &Stay)> = Vec::new();
    for walk in walks {
        let begins = walk[0].op.invoked.order;
        while coming.last().is_some_and(|(_, stay)| stay.created.to < begins) {
            there.extend(coming.pop());
        }
        // What may be gone by now is missing from no later walk either.
        there.retain(|(_, stay)| stay.deleted.is_none_or(|deleted| deleted.from > begins));
        let found = shown_well(id, folder, walk).or_else(|| nothing_missing(id, walk, &there));
        if found.is_some() {
            return found;
        }
    }
    None
}

/// No secret twice, none that was not there, and all in the order of creation.
fn shown_well(id: &FolderId, folder: &Folder, walk: &Walk<'_>) -> Option<Violation> {
    let mut seen: BTreeMap<&SecretId, OpId> = BTreeMap::new();
    let mut latest: Option<(&SecretId, &Stay)> = None;
    let mut created_at_ns = i64::MIN;
    for page in walk {
        let op = page.op.id;
        for view in &page.shown.secrets {
            let wrong = |ops: &[OpId], what: String| {
                let ops = ops.iter().copied().chain([op]).collect();
                let secret = &view.id;
                let sentence =
                    format!("list_secrets #{op} of folder {id} shows secret {secret} {what}");
                Some(Violation { ops, sentence })
            };
            if let Some(other) = seen.insert(&view.id, op) {
                let what = format!("again, which #{other} of the same walk had shown");
                return wrong(&[other], what);
            }
            if view.created_at_ns < created_at_ns {
                return wrong(&[], "behind one that was created later".to_owned());
            }
            created_at_ns = view.created_at_ns;
            let Some(stay) = folder.stays.get(&view.id) else {
                if folder.lost_since.is_none_or(|since| since > page.op.ended()) {
                    return wrong(&[], "that nobody had created there".to_owned());
                }
                continue;
            };
            if let Some((maker, what)) = not_there(page, stay) {
                return wrong(&[maker], what);
            }
            if let Some((before, other)) = latest.filter(|(_, o)| stay.created.to < o.created.from)
            {
                let (own, its) = (stay.created.op, other.created.op);
                let what = format!(
                    "of #{own} behind secret {before}, whose creation #{its} began after that was \
                     acknowledged"
                );
                return wrong(&[own, its], what);
            }
            if latest.is_none_or(|(_, other)| stay.created.from > other.created.from) {
                latest = Some((&view.id, stay));
            }
        }
    }
    None
}

/// Why a secret cannot have been there while a page was read, and which operation shows it.
fn not_there(page: &Page<'_>, stay: &Stay) -> Option<(OpId, String)> {
    if stay.created.from > page.op.ended() {
        let op = stay.created.op;
        return Some((op, format!("before its creation #{op} began")));
    }
    let deleted = stay.deleted.filter(|deleted| deleted.to < page.op.invoked.order)?;
    let op = deleted.op;
    Some((op, format!("after its deletion #{op} was acknowledged")))
}

/// Every secret that was there from the beginning of a whole walk to its end.
fn nothing_missing(
    id: &FolderId,
    walk: &Walk<'_>,
    there: &[(&SecretId, &Stay)],
) -> Option<Violation> {
    let (first, last) = (walk.first()?.op, walk.last()?.op);
    if !is_whole(walk) {
        return None;
    }
    let stays = |stay: &Stay| stay.deleted.is_none_or(|deleted| deleted.from > last.ended());
    let is_shown = |secret: &SecretId| {
        walk.iter().flat_map(|page| &page.shown.secrets).any(|view| view.id == *secret)
    };
    let (secret, stay) = there.iter().find(|(secret, stay)| stays(stay) && !is_shown(secret))?;
    let maker = stay.created.op;
    let sentence = format!(
        "the walk from #{} to #{} through folder {id} misses secret {secret}, which #{maker} had \
         created before and nobody deleted until its end",
        first.id, last.id
    );
    Some(Violation { ops: vec![maker, first.id, last.id], sentence })
}

#[cfg(test)]
mod tests {
    use super::super::tests::script;
    use super::super::{folders, walks};
    use super::*;
    use crate::check::Case;
    use crate::check::script::{Script, create_in, delete, page, secret_in, secrets};

    fn sentence(script: Script) -> Option<String> {
        let history = script.history();
        let case = Case::new(&history, None);
        let (folders, walks) = (folders(&case), walks(&case));
        let (id, walks) = walks.first_key_value().unwrap();
        judge(id, &folders[*id], walks).map(|found| found.sentence)
    }

    /// A walk of two pages, with something between them; it claims no index that could be checked.
    fn walked(between: impl FnOnce(&mut Script), last: &[(&str, i64)]) -> Option<String> {
        let mut script = script();
        script.done(page("w", None), secrets(&[("a", 10), ("b", 20)], Some("b")), 1);
        between(&mut script);
        script.done(page("w", Some("b")), secrets(last, None), 1);
        sentence(script)
    }

    #[test]
    fn what_came_or_went_meanwhile_may_be_shown_or_not() {
        let comes_and_goes = |script: &mut Script| {
            script.done(create_in("f", "d"), secret_in("f", "d", 40), 4);
            let lost = script.begin(delete("c"));
            script.info(lost);
        };
        assert_eq!(walked(comes_and_goes, &[("c", 30), ("d", 40)]), None);
        assert_eq!(walked(comes_and_goes, &[("d", 40)]), None);
        assert_eq!(walked(comes_and_goes, &[("c", 30)]), None);
        let lost = |script: &mut Script| {
            let lost = script.begin(create_in("f", "d"));
            script.info(lost);
        };
        assert_eq!(walked(lost, &[("c", 30), ("d", 40)]), None);
    }

    #[test]
    fn what_was_there_all_the_time_is_missed() {
        let expected = "the walk from #3 to #4 through folder f misses secret c, which #2 had \
                        created before and nobody deleted until its end";
        assert_eq!(walked(|_| {}, &[]).as_deref(), Some(expected));
    }

    #[test]
    fn what_is_shown_twice_or_was_not_there_is_a_violation() {
        let twice = "list_secrets #4 of folder f shows secret b again, which #3 of the same walk \
                     had shown";
        assert_eq!(walked(|_| {}, &[("b", 20), ("c", 30)]).as_deref(), Some(twice));
        let gone = |script: &mut Script| {
            script.done(delete("c"), secret_in("f", "c", 30), 4);
        };
        let deleted = "list_secrets #5 of folder f shows secret c after its deletion #4 was \
                       acknowledged";
        assert_eq!(walked(gone, &[("c", 30)]).as_deref(), Some(deleted));
        let nobodys = "list_secrets #4 of folder f shows secret d that nobody had created there";
        assert_eq!(walked(|_| {}, &[("c", 30), ("d", 40)]).as_deref(), Some(nobodys));
        let mut early = script();
        early.done(page("w", None), secrets(&[("c", 30), ("d", 40)], Some("d")), 3);
        early.done(create_in("f", "d"), secret_in("f", "d", 40), 4);
        let expected = "list_secrets #3 of folder f shows secret d before its creation #4 began";
        assert_eq!(sentence(early).as_deref(), Some(expected));
    }

    #[test]
    fn the_order_is_that_of_creation() {
        let later = |script: &mut Script| {
            script.done(create_in("f", "d"), secret_in("f", "d", 30), 4);
        };
        let turned = "list_secrets #5 of folder f shows secret c of #2 behind secret d, whose \
                      creation #4 began after that was acknowledged";
        assert_eq!(walked(later, &[("d", 30), ("c", 30)]).as_deref(), Some(turned));
        let times = "list_secrets #5 of folder f shows secret c behind one that was created later";
        assert_eq!(walked(later, &[("d", 40), ("c", 30)]).as_deref(), Some(times));
    }
}
