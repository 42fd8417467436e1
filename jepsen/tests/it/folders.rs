//! The families that are about folders, asked of a service that is right and of some that are not:
//! what the laws say, and whether the search explains every answer.

use std::collections::BTreeSet;

use lockbox_jepsen::check::jit::{STEPS_MAX, Searched, search};
use lockbox_jepsen::check::laws::{Finding, Law, LawReport};
use lockbox_jepsen::check::partition::{Move, partition};
use lockbox_jepsen::check::verdict::{SearchBounds, check_laws, search_all};
use lockbox_jepsen::history::History;
use lockbox_jepsen::history::call::Call;
use lockbox_jepsen::history::makers::Makers;
use lockbox_jepsen::model::dice::Dice;
use lockbox_jepsen::workload::Family;

use crate::brute::is_legal;
use crate::mutate::{MUTATORS, numbered, spread};
use crate::simulated::{Bug, simulate};

const OPS: u64 = 4000;
/// What the oracle can try out in a moment.
const MOVES_MAX: usize = 7;

fn violated(reports: &[LawReport]) -> BTreeSet<Law> {
    let is = |report: &&LawReport| matches!(report.finding, Finding::Violated { .. });
    reports.iter().filter(is).map(|report| report.law).collect()
}

#[test]
fn what_a_right_service_answers_is_explained() {
    for family in [Family::Paging, Family::Quota] {
        for seed in 0..6 {
            let (history, log) = simulate(family, Bug::Nothing, seed, OPS);
            let what = format!("{family:?}, seed {seed}");
            for log in [Some(&log), None] {
                let reports = check_laws(&history, log);
                assert_eq!(violated(&reports), BTreeSet::new(), "{what}: {reports:#?}");
            }
            let reports = check_laws(&history, Some(&log));
            let count = |law, place: usize| {
                let report = reports.iter().find(|report| report.law == law).unwrap();
                report.counts[place].1
            };
            let (walks, doubtful) = (count(Law::L16, 0), count(Law::L16, 3));
            assert!(
                walks > 30 && doubtful == 0,
                "{what}: {walks} walks, {doubtful} doubtful pages"
            );
            if family == Family::Quota {
                let refusals = count(Law::L17, 0);
                assert!(refusals > 200, "{what}: {refusals} refusals");
            }
            let found = search_all(&history, SearchBounds::default());
            assert_eq!((found.illegal, found.unknown), (vec![], vec![]), "{what}");
            assert!(found.secrets > 100, "{what}: {} secrets", found.secrets);
        }
    }
}

#[test]
fn what_is_wrong_is_seen_by_its_law_and_by_no_other() {
    for (family, bug, law) in [
        (Family::Paging, Bug::Offset, Law::L16),
        (Family::Paging, Bug::Time, Law::L16),
        (Family::Paging, Bug::Restarts, Law::L16),
        (Family::Quota, Bug::JudgedEarly, Law::L17),
        (Family::Quota, Bug::NotGivenBack, Law::L17),
    ] {
        for seed in 0..3 {
            let (history, log) = simulate(family, bug, seed, OPS);
            let reports = check_laws(&history, Some(&log));
            assert_eq!(violated(&reports), BTreeSet::from([law]), "{bug:?}, seed {seed}");
        }
    }
}

/// Compares the search with the oracle on every small secret; gives how many are legal and how many
/// are not, and how many of them have a creation that only a page of the folder tells of.
fn compare(history: &History, what: &str) -> [u64; 3] {
    let mut counts = [0; 3];
    for secret in partition(history, &Makers::find(history)) {
        if secret.moves.len() > MOVES_MAX || secret.moves.len() < 2 {
            continue;
        }
        let legal = is_legal(&secret);
        let found = search(&secret, STEPS_MAX);
        assert_eq!(found == Searched::Legal, legal, "{what}: {found:?} of {secret:#?}");
        counts[usize::from(!legal)] += 1;
        let unanswered = |found: &Move<'_>| {
            found.answer.is_none() && matches!(found.op.asked.call, Call::CreateSecret(_))
        };
        counts[2] += u64::from(secret.moves.iter().any(unanswered));
    }
    counts
}

/// Renames that are acknowledged, lost and refused, between pages and across what nobody knows.
#[test]
fn the_search_says_of_a_folder_what_the_oracle_says() {
    let (mut whole, mut broken) = ([0; 3], [0; 3]);
    for seed in 0..40 {
        for family in [Family::Paging, Family::Quota] {
            let (mut history, _) = simulate(family, Bug::Nothing, seed, 200);
            spread(&mut history);
            let counts = compare(&history, &format!("{family:?}, seed {seed}"));
            assert_eq!(counts[1], 0, "{family:?}, seed {seed}: a right answer is called wrong");
            whole = std::array::from_fn(|place| whole[place] + counts[place]);
            for (name, mutator) in MUTATORS {
                let mut other = history.clone();
                if mutator(&mut other, &mut Dice::new(seed)) {
                    let other = numbered(other);
                    let counts = compare(&other, &format!("{family:?}, seed {seed}, {name}"));
                    broken = std::array::from_fn(|place| broken[place] + counts[place]);
                }
            }
        }
    }
    assert!(whole[0] > 500 && whole[2] > 10, "{whole:?}");
    assert!(broken[1] > 50, "{broken:?}");
}
