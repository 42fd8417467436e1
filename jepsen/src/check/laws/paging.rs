//! L16: a list that is walked page by page shows each secret once and misses none, in the order of
//! creation, however the folder changes meanwhile.
//!
//! Each page is judged twice. At its index (`at_index`) it is the next secrets behind the last
//! one of the page before it, whether that one is still there or not. By acknowledgements alone
//! (`by_time`) the pages of a whole walk show every secret that was there all the time, none that
//! was not there when the page was read, and none twice. What a page says of a secret is judged as
//! a read of that secret is, by L1.

mod at_index;
mod by_time;

use std::collections::BTreeMap;

use crate::check::folders::folders;
use crate::history::answer::{Answer, SecretPage};
use crate::history::call::{Call, ListSecrets};
use crate::history::ids::{FolderId, WalkId};
use crate::history::op::Op;

use super::{Case, Law, LawReport, Violation};

/// A page that was answered.
#[derive(Clone, Copy)]
struct Page<'a> {
    op: &'a Op,
    index: u64,
    asked: &'a ListSecrets,
    shown: &'a SecretPage,
}

/// The pages of a walk, one behind the other.
type Walk<'a> = Vec<Page<'a>>;

/// Judges a case.
#[must_use]
pub fn check(case: &Case<'_>) -> LawReport {
    let mut violation = case.history.ops.iter().find_map(refused);
    let folders = folders(case);
    let nobodys = crate::check::folders::Folder::default();
    let (mut whole, mut shown, mut compared, mut doubtful) = (0, 0, 0, 0);
    for (id, walks) in walks(case) {
        let folder = folders.get(id).unwrap_or(&nobodys);
        let pages = walks.iter().flatten();
        compared += pages.clone().count() as u64;
        shown += pages.clone().map(|page| page.shown.secrets.len() as u64).sum::<u64>();
        doubtful += pages.filter(|page| folder.doubtful_births(page.index) > 0).count() as u64;
        whole += walks.iter().filter(|walk| is_whole(walk)).count() as u64;
        violation = violation.or_else(|| at_index::judge(id, folder, &walks));
        violation = violation.or_else(|| by_time::judge(id, folder, &walks));
    }
    let counts = [
        ("whole walks", whole),
        ("pages", compared),
        ("secrets shown", shown),
        ("pages that may show what nobody knows of", doubtful),
    ];
    LawReport::new(Law::L16, violation, &counts, "no list of secrets was walked to its end")
}

/// Who asks is the run's administrator, and the folder is there: nothing can be in the way.
fn refused(op: &Op) -> Option<Violation> {
    let Call::ListSecrets(asked) = &op.asked.call else { return None };
    let Answer::Refused(refusal) = &op.reply()?.answer else { return None };
    let sentence = format!(
        "list_secrets #{} of folder {} was refused: {:?}",
        op.id, asked.folder, refusal.code
    );
    Some(Violation { ops: vec![op.id], sentence })
}

/// All walks, by their folders, each as far as its pages follow one another.
fn walks<'a>(case: &Case<'a>) -> BTreeMap<&'a FolderId, Vec<Walk<'a>>> {
    let mut walks: BTreeMap<(&FolderId, &WalkId), Walk<'a>> = BTreeMap::new();
    for op in &case.history.ops {
        let Call::ListSecrets(asked) = &op.asked.call else { continue };
        let Some(reply) = op.reply() else { continue };
        let Answer::Secrets(shown) = &reply.answer else { continue };
        let walk = walks.entry((&asked.folder, &asked.walk)).or_default();
        let goes_on = match walk.last() {
            Some(page) => page.shown.next.is_some() && page.shown.next == asked.token,
            None => asked.token.is_none(),
        };
        if goes_on {
            walk.push(Page { op, index: reply.index, asked, shown });
        }
    }
    let mut by_folder: BTreeMap<&FolderId, Vec<Walk<'a>>> = BTreeMap::new();
    for ((folder, _), walk) in walks {
        by_folder.entry(folder).or_default().push(walk);
    }
    by_folder
}

/// Whether a walk came to the end of the list.
fn is_whole(walk: &Walk<'_>) -> bool {
    walk.last().is_some_and(|page| page.shown.next.is_none())
}

#[cfg(test)]
mod tests {
    use crate::check::laws::Finding;
    use crate::check::script::{Script, create_in, delete, page, refused, secret_in, secrets};
    use crate::history::answer::Code;

    use super::*;

    /// Three secrets, created at 10, 20 and 30 by the first three entries.
    pub(super) fn script() -> Script {
        let mut script = Script::new();
        for (id, index) in [("a", 1), ("b", 2), ("c", 3)] {
            script.done(create_in("f", id), secret_in("f", id, at(index)), index);
        }
        script
    }

    pub(super) fn at(index: u64) -> i64 {
        i64::try_from(index).unwrap() * 10
    }

    fn finding(script: Script) -> Finding {
        let history = script.history();
        check(&Case::new(&history, None)).finding
    }

    #[test]
    fn a_walk_while_the_folder_changes_holds() {
        let mut script = script();
        script.done(page("w", None), secrets(&[("a", 10), ("b", 20)], Some("b")), 3);
        // The place that the token names goes away, one comes behind it, and one before it goes.
        script.done(delete("b"), secret_in("f", "b", 20), 4);
        script.done(create_in("f", "d"), secret_in("f", "d", 50), 5);
        script.done(delete("a"), secret_in("f", "a", 10), 6);
        script.done(page("w", Some("b")), secrets(&[("c", 30), ("d", 50)], None), 6);
        let history = script.history();
        let report = check(&Case::new(&history, None));
        assert_eq!(report.finding, Finding::Holds);
        let counts: Vec<u64> = report.counts.iter().map(|(_, count)| *count).collect();
        assert_eq!(counts, [1, 2, 4, 0]);
    }

    #[test]
    fn a_walk_that_was_not_ended_is_not_held_to_what_comes() {
        let mut script = script();
        script.done(page("w", None), secrets(&[("a", 10), ("b", 20)], Some("b")), 3);
        let history = script.history();
        let report = check(&Case::new(&history, None));
        assert!(matches!(report.finding, Finding::NotChecked { .. }), "{report:?}");
        assert_eq!(report.counts[1].1, 1);
    }

    #[test]
    fn a_list_that_is_refused_is_a_violation() {
        let mut script = script();
        script.done(page("w", None), refused(Code::NotFound), 3);
        let Finding::Violated { sentence, .. } = finding(script) else { panic!() };
        assert_eq!(sentence, "list_secrets #3 of folder f was refused: NotFound");
    }

    /// Both judge it, so that a server that lies about its index is caught as well.
    #[test]
    fn an_offset_skips_what_moved() {
        let mut script = script();
        script.done(page("w", None), secrets(&[("a", 10), ("b", 20)], Some("2")), 3);
        script.done(delete("a"), secret_in("f", "a", 10), 4);
        script.done(page("w", Some("2")), secrets(&[], None), 4);
        let history = script.history();
        let case = Case::new(&history, None);
        let (folders, walks) = (folders(&case), walks(&case));
        let (id, walks) = walks.first_key_value().unwrap();
        let found = at_index::judge(id, &folders[*id], walks).unwrap();
        let expected = "list_secrets #5 of folder f ends at index 4 before secret c (created by \
                        #2 at index 3)";
        assert_eq!(found.sentence, expected);
        assert_eq!(found.ops.iter().map(|op| op.0).collect::<Vec<_>>(), [2, 3, 5]);
        let found = by_time::judge(id, &folders[*id], walks).unwrap();
        let expected = "the walk from #3 to #5 through folder f misses secret c, which #2 had \
                        created before and nobody deleted until its end";
        assert_eq!(found.sentence, expected);
    }
}
