//! The oracle: tries every order, every subset of what may not have happened, and every way in
//! which versions can have been made. Slow, simple, and shares only the specification.

use lockbox_jepsen::check::partition::{Move, SecretHistory};
use lockbox_jepsen::history::answer::Answer;
use lockbox_jepsen::history::ids::VersionId;
use lockbox_jepsen::model::SecretState;
use lockbox_jepsen::model::step::{clock_passed, step};

/// Whether some order explains every answer.
pub(crate) fn is_legal(history: &SecretHistory<'_>) -> bool {
    let mut shown: Vec<VersionId> = Vec::new();
    for answer in history.moves.iter().filter_map(|found| found.answer) {
        shown.extend(answer.versions().map(|version| version.id.clone()));
        if let Answer::Payload(view) = answer {
            shown.push(view.version.clone());
        }
    }
    shown.sort();
    shown.dedup();
    let uncertain: Vec<usize> =
        (0..history.moves.len()).filter(|place| history.moves[*place].answer.is_none()).collect();
    named_somehow(&history.moves, &uncertain, &shown)
}

fn named_somehow(moves: &[Move<'_>], uncertain: &[usize], shown: &[VersionId]) -> bool {
    let Some((place, rest)) = uncertain.split_first() else {
        return ordered_somehow(moves, (1 << moves.len()) - 1, &SecretState::Absent);
    };
    // As it is: not known, or known to the partition.
    if named_somehow(moves, rest, shown) {
        return true;
    }
    shown.iter().any(|version| {
        let mut named = moves.to_vec();
        named[*place].named.version = version.clone();
        named_somehow(&named, rest, shown)
    })
}

fn ordered_somehow(moves: &[Move<'_>], left: u32, state: &SecretState) -> bool {
    let is_left = |place: usize| left & (1 << place) != 0;
    let must = |place: usize| is_left(place) && moves[place].to.is_some();
    if !(0..moves.len()).any(must) {
        return true;
    }
    (0..moves.len()).filter(|place| is_left(*place)).any(|place| {
        let found = &moves[place];
        let is_before = |other: usize| {
            is_left(other) && other != place && moves[other].to.is_some_and(|to| to < found.from)
        };
        if (0..moves.len()).any(is_before) {
            return false;
        }
        let (subject, call) = (found.op.asked.subject.as_ref(), &found.op.asked.call);
        let mut starts = vec![state.clone()];
        if let Some(answer) = found.answer {
            starts.extend(clock_passed(state, call, answer));
        }
        starts.into_iter().any(|start| {
            let step = step(&start, subject, call, &found.named);
            if found.answer.is_some_and(|answer| !step.answer.agrees(answer)) {
                return false;
            }
            ordered_somehow(moves, left & !(1 << place), &step.next.unwrap_or(start))
        })
    })
}
