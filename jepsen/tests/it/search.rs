//! The search against the oracle, over thousands of small histories and broken ones.

use std::collections::BTreeMap;

use lockbox_jepsen::check::jit::{STEPS_MAX, Searched, search};
use lockbox_jepsen::check::partition::partition;
use lockbox_jepsen::history::History;
use lockbox_jepsen::history::makers::Makers;
use lockbox_jepsen::model::dice::Dice;
use lockbox_jepsen::model::synthetic::{Wanted, synthesize};

use crate::brute::is_legal;
use crate::mutate::{MUTATORS, spread};

/// What the oracle can try out in a moment.
const MOVES_MAX: usize = 7;
const HISTORIES: u64 = 3000;

fn small(seed: u64) -> History {
    let mut dice = Dice::new(seed);
    let wanted = Wanted {
        seed,
        ops: 8 + dice.below(5),
        workers: 2 + dice.below(3),
        secrets: 1,
        ops_per_secret: 6,
        info_of_thousand: [0, 100, 300][dice.place(3)],
    };
    let mut history = synthesize(&wanted).unwrap().history;
    spread(&mut history);
    history
}

/// Compares both on every secret of a history; gives (legal, illegal).
fn compare(history: &History, what: &str) -> (u64, u64) {
    let mut counts = (0, 0);
    for secret in partition(history, &Makers::find(history)) {
        if secret.moves.len() > MOVES_MAX || secret.moves.len() < 2 {
            continue;
        }
        let legal = is_legal(&secret);
        let found = search(&secret, STEPS_MAX);
        match found {
            Searched::Legal => assert!(legal, "{what}: called legal: {secret:#?}"),
            Searched::Illegal { op } => {
                assert!(!legal, "{what}: called illegal at {op}: {secret:#?}");
            }
            Searched::Unknown => panic!("{what}: ran out of steps: {secret:#?}"),
        }
        if legal { counts.0 += 1 } else { counts.1 += 1 }
    }
    counts
}

#[test]
fn what_a_correct_service_answers_is_legal() {
    let mut legal = 0;
    for seed in 0..HISTORIES {
        let (some, illegal) = compare(&small(seed), &format!("seed {seed}"));
        assert_eq!(illegal, 0, "seed {seed}: the oracle refuses what the specification made");
        legal += some;
    }
    assert!(legal > HISTORIES / 2, "only {legal} histories were small enough");
}

#[test]
fn broken_histories_are_called_what_the_oracle_calls_them() {
    let mut counts: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for seed in 0..HISTORIES {
        let whole = small(seed);
        for (name, mutator) in MUTATORS {
            let mut dice = Dice::new(seed ^ 0x5eed);
            let mut broken = whole.clone();
            if !mutator(&mut broken, &mut dice) {
                continue;
            }
            let (legal, illegal) = compare(&broken, &format!("seed {seed}, {name}"));
            let count = counts.entry(name).or_default();
            count.0 += legal;
            count.1 += illegal;
        }
    }
    // A mutator that never breaks anything would prove nothing.
    for (name, _) in MUTATORS {
        let (_, illegal) = counts[name];
        assert!(illegal >= 50, "{name}: only {illegal} histories were broken by it");
    }
    println!("{counts:#?}");
}
