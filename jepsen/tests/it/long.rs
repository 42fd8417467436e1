//! Long histories: what holds is said to hold, quickly, and one planted fault is found.

use std::collections::BTreeSet;

use lockbox_jepsen::check::jit::{STEPS_MAX, Searched, search};
use lockbox_jepsen::check::partition::partition;
use lockbox_jepsen::check::realtime::sweep;
use lockbox_jepsen::check::replay::replay;
use lockbox_jepsen::history::History;
use lockbox_jepsen::history::answer::Answer;
use lockbox_jepsen::history::call::Call;
use lockbox_jepsen::history::ids::OpId;
use lockbox_jepsen::history::log_dump::CommittedLog;
use lockbox_jepsen::history::makers::Makers;
use lockbox_jepsen::history::op::{Op, Outcome};
use lockbox_jepsen::history::resolve::{Fate, resolve};
use lockbox_jepsen::model::synthetic::{Synthetic, Wanted, synthesize};

fn long(ops: u64) -> Synthetic {
    let wanted = Wanted {
        seed: 20_261_124,
        ops,
        workers: 20,
        secrets: 6,
        ops_per_secret: 300,
        info_of_thousand: 10,
    };
    synthesize(&wanted).unwrap()
}

fn current(op: &Op) -> Option<&str> {
    match &op.reply()?.answer {
        Answer::Secret(view) if !op.asked.call.is_mutation() => {
            Some(view.current.as_ref()?.id.as_str())
        }
        _ => None,
    }
}

/// Gives a read late in the history the answer of one that had ended before a third one began,
/// which showed another current version; and nobody ever made the first one current again.
fn plant_stale_read(history: &mut History, keep_index: bool) -> OpId {
    let places: Vec<usize> =
        (0..history.ops.len()).filter(|place| current(&history.ops[*place]).is_some()).collect();
    let came_back: BTreeSet<&str> = history
        .ops
        .iter()
        .filter_map(|op| match &op.asked.call {
            Call::SetCurrentVersion(call) => Some(call.version.as_str()),
            _ => None,
        })
        .collect();
    for late in places.iter().rev().copied().skip(places.len() / 3) {
        let read = &history.ops[late];
        let before = |one: &Op, other: &Op| {
            one.secret() == other.secret() && one.ended() < other.invoked.order
        };
        let reads = || places.iter().rev().map(|place| &history.ops[*place]).skip(places.len() / 3);
        let Some(between) = reads().find(|op| before(op, read)) else { continue };
        let stale = reads().find(|op| {
            let shown = current(op).unwrap_or_default();
            before(op, between) && Some(shown) != current(between) && !came_back.contains(shown)
        });
        let Some(mut stale) = stale.and_then(Op::reply).cloned() else { continue };
        let id = read.id;
        if let Some((_, Outcome::Ok(reply))) = &mut history.ops[late].completed {
            if keep_index {
                stale.index = reply.index;
            }
            *reply = stale;
        }
        return id;
    }
    panic!("no read to plant one in");
}

#[test]
fn two_hundred_thousand_operations_hold_and_a_stale_read_is_found() {
    let Synthetic { mut history, log } = long(200_000);
    let log = CommittedLog::join([log]).unwrap();
    let makers = Makers::find(&history);
    let resolution = resolve(&history, &makers, Some(&log));
    let unknown = resolution.fates().filter(|(_, fate)| matches!(fate, Fate::Unknown { .. }));
    // Updates of one secret that differ and were all lost cannot be told apart.
    let unknown = unknown.count();
    assert!(unknown < 20, "the log does not tell what became of {unknown} operations");

    let whole = replay(&history, &resolution, Some(&log));
    assert_eq!(whole.differences, []);
    assert!(whole.left_to_search < 2000, "left {}", whole.left_to_search);
    assert!(whole.compared > 190_000, "compared {}", whole.compared);
    assert_eq!(sweep(&history).inversions, []);

    // A server that lies about the index is found by replay, one that tells the truth by time.
    let mut lying = history.clone();
    let planted = plant_stale_read(&mut lying, true);
    let found = replay(&lying, &resolution, Some(&log)).differences;
    assert_eq!(found.iter().map(|found| found.op).collect::<Vec<_>>(), [planted]);

    let planted = plant_stale_read(&mut history, false);
    let found = sweep(&history).inversions;
    assert_eq!(found.iter().map(|found| found.later).collect::<Vec<_>>(), [planted]);
}

#[test]
fn without_a_dump_the_search_judges_every_secret_and_finds_the_stale_read() {
    let mut history = long(20_000).history;
    let makers = Makers::find(&history);
    for secret in partition(&history, &makers) {
        let found = search(&secret, STEPS_MAX);
        assert_eq!(found, Searched::Legal, "secret {}", secret.secret);
    }
    let resolution = resolve(&history, &makers, None);
    let whole = replay(&history, &resolution, None);
    assert_eq!(whole.differences, []);
    assert!(whole.left_to_search > 0, "some fates are unknown without a dump");

    let planted = plant_stale_read(&mut history, true);
    let secret = history.op(planted).secret().cloned();
    for found in partition(&history, &makers) {
        let searched = search(&found, STEPS_MAX);
        if Some(&found.secret) == secret.as_ref() {
            assert!(matches!(searched, Searched::Illegal { .. }), "{searched:?}");
        } else {
            assert_eq!(searched, Searched::Legal);
        }
    }
}
