//! The seeds of every run: fixed ones, and those that have failed before.
//!
//! `LOCKBOX_SIM_SEED=17 cargo test -p lockbox-raft --test sim seeds -- --nocapture` runs one seed
//! and tells all that happened. `LOCKBOX_SIM_SEEDS=1000..2000` runs many, once each.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::command_parts::KINDS;
use crate::defect::Defect;
use crate::nemesis::FaultKind;
use crate::process::run;
use crate::seeded_bugs::Bug;
use crate::simulation::Report;

/// Seeds that run each time.
const FIXED: Range<u64> = 1..21;
/// Seeds that have failed once, with what they found.
const CORPUS: &str = include_str!("corpus.txt");
/// A defect that none of so many seeds shows is not seen.
const SEEDS_TO_SEE: u64 = 40;
/// Lines of a failed run that a test prints; with `LOCKBOX_SIM_SEED` it is all.
const LINES_MAX: usize = 80;

fn corpus() -> impl Iterator<Item = u64> {
    let seeds = CORPUS.lines().filter(|line| !line.starts_with('#'));
    seeds.filter_map(|line| line.split_whitespace().next()).map(|seed| seed.parse().unwrap())
}

/// One seed, or a range of them, from the environment.
fn chosen() -> Option<(Vec<u64>, bool)> {
    if let Ok(seed) = std::env::var("LOCKBOX_SIM_SEED") {
        return Some((vec![seed.parse().unwrap()], true));
    }
    let range = std::env::var("LOCKBOX_SIM_SEEDS").ok()?;
    let (begin, end) = range.split_once("..").expect("LOCKBOX_SIM_SEEDS is BEGIN..END");
    Some(((begin.parse().unwrap()..end.parse().unwrap()).collect(), false))
}

/// Does the work for every seed, on all processors.
fn for_each(seeds: &[u64], work: impl Fn(u64) + Sync) {
    let next = AtomicUsize::new(0);
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers.min(seeds.len()) {
            scope.spawn(|| {
                while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed)) {
                    work(*seed);
                }
            });
        }
    });
}

fn story(seed: u64, report: &Report, lines_max: usize) -> String {
    let lines = &report.lines[report.lines.len().saturating_sub(lines_max)..];
    let violation = report.violation.as_deref().unwrap_or("no promise was broken");
    format!(
        "{}\nseed {seed}: {violation}\nagain: LOCKBOX_SIM_SEED={seed} cargo test -p lockbox-raft \
         --test sim seeds -- --nocapture\n{:?}\n{:?}",
        lines.join("\n"),
        report.counts,
        report.kinds
    )
}

/// What all runs together have met.
#[derive(Default)]
struct Coverage {
    traces: BTreeSet<String>,
    counts: BTreeMap<String, u64>,
    kinds: BTreeMap<String, u64>,
}

impl Coverage {
    fn add(&mut self, report: &Report) {
        self.traces.insert(report.trace.clone());
        for (name, count) in &report.counts {
            *self.counts.entry(name.clone()).or_default() += count;
        }
        for (kind, count) in &report.kinds {
            *self.kinds.entry(kind.clone()).or_default() += count;
        }
    }

    /// A fault that never came and a command that never took effect prove nothing.
    fn assert_complete(&self, seeds: usize) {
        assert_eq!(self.traces.len(), seeds, "two seeds ran alike: the trace says nothing");
        for kind in FaultKind::ALL {
            let count = self.counts.get(&format!("fault {kind:?}")).copied().unwrap_or(0);
            assert!(count > 0, "{kind:?} never came");
        }
        let needed = [
            "snapshots installed",
            "reads",
            "unanswered",
            "members changed",
            "leadership handed over",
        ];
        for what in needed {
            assert!(self.counts[what] > 0, "no {what}");
        }
        // These make no operation that could be counted.
        let uncounted = [
            "advance_time",
            "anchor_audit_head",
            "report_reads",
            "attest_kms",
            "raise_feature_level",
            "set_retention",
            "begin_state_check",
            "report_state_hash",
        ];
        for kind in KINDS.iter().filter(|kind| !uncounted.contains(kind)) {
            assert!(self.kinds.contains_key(*kind), "{kind} never took effect");
        }
    }
}

#[test]
fn seeds_keep_every_promise_and_repeat_exactly() {
    let fixed = || (FIXED.chain(corpus()).collect::<Vec<u64>>(), false);
    let (seeds, aloud) = chosen().unwrap_or_else(fixed);
    let twice = std::env::var("LOCKBOX_SIM_SEEDS").is_err();
    let (failures, coverage) = (Mutex::new(Vec::new()), Mutex::new(Coverage::default()));
    for_each(&seeds, |seed| {
        let first = run(seed, None);
        if aloud {
            println!("{}", story(seed, &first, usize::MAX));
        }
        if first.violation.is_some() {
            failures.lock().unwrap().push(story(seed, &first, LINES_MAX));
        }
        if twice {
            let second = run(seed, None);
            if first.trace != second.trace {
                failures.lock().unwrap().push(difference(seed, &first, &second));
            }
        }
        coverage.lock().unwrap().add(&first);
    });
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{}\n{} failures", failures.join("\n\n"), failures.len());
    let coverage = coverage.into_inner().unwrap();
    println!("{} seeds: {:?}\n{:?}", seeds.len(), coverage.counts, coverage.kinds);
    if chosen().is_none() {
        coverage.assert_complete(seeds.len());
    }
}

fn difference(seed: u64, first: &Report, second: &Report) -> String {
    let pairs = first.lines.iter().zip(&second.lines);
    let differs = pairs.enumerate().find(|(_, (one, other))| one != other);
    let shown = differs.map_or_else(
        || "all lines are equal; bytes on the wire or states differ".to_owned(),
        |(at, (one, other))| {
            let before = first.lines[at.saturating_sub(5)..at].join("\n");
            format!("{before}\n- {one}\n+ {other}")
        },
    );
    format!("{shown}\nseed {seed} ran differently the second time")
}

/// Runs seeds until one shows the defect.
fn is_seen(defect: Defect) {
    for seed in 1..=SEEDS_TO_SEE {
        if let Some(violation) = run(seed, Some(defect)).violation {
            println!("{}: seed {seed}: {violation}", defect.name());
            return;
        }
    }
    panic!("no seed shows {}", defect.name());
}

#[test]
fn a_callback_before_the_sync_is_seen() {
    is_seen(Defect::Disk(Bug::CallbackBeforeSync));
}

#[test]
fn a_vote_that_is_not_synced_is_seen() {
    is_seen(Defect::Disk(Bug::VoteNotSynced));
}

#[test]
fn last_applied_outside_the_batch_is_seen() {
    is_seen(Defect::Disk(Bug::LastAppliedOutsideTheBatch));
}

#[test]
fn a_skipped_read_barrier_is_seen() {
    is_seen(Defect::SkippedBarrier);
}
