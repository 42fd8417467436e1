//! Pages at their indexes: the next secrets that the folder holds there, and no others.

use std::collections::BTreeMap;

use super::{Page, Walk};
use crate::check::folders::{Effect, Folder};
use crate::check::laws::Violation;
use crate::history::ids::{FolderId, SecretId};

/// A page, and the one before it in its walk.
type Turned<'w, 'a> = (&'w Page<'a>, Option<&'w Page<'a>>);

/// The first page in the order of the log that is wrong. Where it is not known whether a secret is
/// there, either is right.
pub(super) fn judge(id: &FolderId, folder: &Folder, walks: &[Walk<'_>]) -> Option<Violation> {
    let mut pages: Vec<Turned<'_, '_>> = Vec::new();
    for walk in walks {
        let before = std::iter::once(None).chain(walk.iter().map(Some));
        pages.extend(walk.iter().zip(before));
    }
    pages.sort_by_key(|(page, _)| (page.index, page.op.id));
    let births: BTreeMap<&SecretId, u64> = folder
        .effects
        .iter()
        .filter(|effect| effect.creates)
        .map(|effect| (&effect.secret, effect.index))
        .collect();
    let mut there: BTreeMap<u64, &Effect> = BTreeMap::new();
    let mut effects = folder.effects.iter().peekable();
    for (page, before) in pages {
        while let Some(effect) = effects.next_if(|effect| effect.index <= page.index) {
            match (effect.creates, births.get(&effect.secret)) {
                (true, _) => drop(there.insert(effect.index, effect)),
                (false, Some(birth)) => drop(there.remove(birth)),
                (false, None) => {}
            }
        }
        let behind = match before.map(|before| before.shown.secrets.last()) {
            None => 0,
            // Of what nobody is known to have created nobody knows the place.
            Some(last) => match last.and_then(|last| births.get(&last.id)) {
                Some(birth) => *birth,
                None => continue,
            },
        };
        let next = there.range(behind + 1..).map(|(_, effect)| *effect);
        let wrong = compare((id, folder), &births, page, next);
        if let Some(mut violation) = wrong {
            violation.ops.extend(before.map(|before| before.op.id));
            violation.ops.push(page.op.id);
            return Some(violation);
        }
    }
    None
}

/// What is wrong with a page where these secrets come next; names the creation that shows it.
fn compare<'a>(
    (id, folder): (&FolderId, &Folder),
    births: &BTreeMap<&SecretId, u64>,
    page: &Page<'_>,
    next: impl Iterator<Item = &'a Effect>,
) -> Option<Violation> {
    let (op, index) = (page.op.id, page.index);
    let others = folder.doubtful_births(index) > 0;
    let mut next = next.peekable();
    let wrong = |effect: Option<&Effect>, what: String| {
        let ops = effect.map(|effect| effect.op).into_iter().collect();
        Some(Violation { ops, sentence: format!("list_secrets #{op} of folder {id} {what}") })
    };
    let told = |effect: &Effect| {
        format!("secret {} (created by #{} at index {})", effect.secret, effect.op, effect.index)
    };
    for view in &page.shown.secrets {
        if others && !births.contains_key(&view.id) {
            continue;
        }
        let is_other = |effect: &&Effect| effect.secret != view.id;
        let gone =
            |effect: &&Effect| is_other(effect) && folder.may_be_deleted(&effect.secret, index);
        while next.next_if(gone).is_some() {}
        let expected = next.next();
        if expected.is_some_and(|effect| effect.secret == view.id) {
            continue;
        }
        let instead = match expected {
            Some(effect) => format!("{} comes next", told(effect)),
            None => "the folder has no further one".to_owned(),
        };
        let what = format!("shows secret {} at index {index}, where {instead}", view.id);
        return wrong(expected, what);
    }
    let doubted = next.next_if(|effect| folder.may_be_deleted(&effect.secret, index)).is_some();
    while next.next_if(|effect| folder.may_be_deleted(&effect.secret, index)).is_some() {}
    let (count, size) = (page.shown.secrets.len(), page.asked.page_size);
    match (&page.shown.next, next.next()) {
        (None, None) => None,
        (None, Some(left)) => {
            wrong(Some(left), format!("ends at index {index} before {}", told(left)))
        }
        (Some(_), None) if others || doubted => None,
        (Some(_), None) => {
            wrong(None, format!("goes on at index {index} behind the last secret of the folder"))
        }
        // A page may end early by its bytes (`contract §9`): those of a run are far too small.
        (Some(_), Some(left)) if u32::try_from(count) != Ok(size) => {
            wrong(Some(left), format!("shows {count} secrets of {size} at index {index}"))
        }
        (Some(_), Some(_)) => None,
    }
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
        let found = judge(id, &folders[*id], walks)?;
        let sentence = found.sentence.strip_prefix("list_secrets #")?;
        Some(sentence.to_owned())
    }

    #[test]
    fn a_page_is_what_comes_next_at_its_index() {
        let mut script = script();
        // Read before the last one came, and answered after.
        script.done(page("w", None), secrets(&[("a", 10), ("b", 20)], None), 2);
        script.done(page("v", None), secrets(&[("a", 10), ("b", 20)], Some("b")), 3);
        script.done(page("v", Some("b")), secrets(&[("c", 30)], None), 3);
        assert_eq!(sentence(script), None);
    }

    #[test]
    fn what_is_skipped_repeated_or_not_there_is_a_violation() {
        for (second, expected) in [
            (
                &[("b", 20), ("c", 30)][..],
                "4 of folder f shows secret b at index 3, where secret c (created by #2 at index \
                 3) comes next",
            ),
            (
                &[("c", 30), ("d", 40)],
                "4 of folder f shows secret d at index 3, where the folder has no further one",
            ),
            (&[], "4 of folder f ends at index 3 before secret c (created by #2 at index 3)"),
        ] {
            let mut script = script();
            script.done(page("w", None), secrets(&[("a", 10), ("b", 20)], Some("b")), 3);
            script.done(page("w", Some("b")), secrets(second, None), 3);
            assert_eq!(sentence(script).as_deref(), Some(expected));
        }
    }

    #[test]
    fn a_token_behind_the_end_and_a_page_cut_short_are_violations() {
        let mut early = script();
        early.done(page("w", None), secrets(&[("a", 10)], Some("a")), 3);
        let expected = "3 of folder f shows 1 secrets of 2 at index 3";
        assert_eq!(sentence(early).as_deref(), Some(expected));
        let mut late = script();
        late.done(delete("c"), secret_in("f", "c", 30), 4);
        late.done(page("w", None), secrets(&[("a", 10), ("b", 20)], Some("b")), 4);
        let expected = "4 of folder f goes on at index 4 behind the last secret of the folder";
        assert_eq!(sentence(late).as_deref(), Some(expected));
    }

    #[test]
    fn what_nobody_knows_may_be_there_or_not_and_the_rest_has_to_be() {
        let doubtful = |shown: &[(&str, i64)], next: Option<&str>| {
            let mut script = script();
            for call in [create_in("f", "d"), delete("b")] {
                let lost = script.begin(call);
                script.info(lost);
            }
            script.done(page("w", None), secrets(shown, next), 4);
            sentence(script)
        };
        assert_eq!(doubtful(&[("a", 10), ("b", 20)], Some("b")), None);
        assert_eq!(doubtful(&[("a", 10), ("c", 30)], None), None);
        assert_eq!(doubtful(&[("a", 10), ("c", 30)], Some("c")), None);
        assert!(doubtful(&[("a", 10), ("d", 40)], None).is_some());
        assert!(doubtful(&[("c", 30), ("d", 40)], None).is_some());
    }
}
