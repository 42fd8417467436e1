//! What a run will do, drawn from one seed before it begins.
//!
//! Pure: the same seed and profile give the same plan on every machine. The plan is printed and
//! stored as JSON, so a run can be repeated years later, also when the drawing has changed.

mod draw;
mod profile;

use serde::{Deserialize, Serialize};

pub use profile::Profile;

use crate::cluster::files::Knobs;
use crate::nemesis::action::{Action, KmsTrouble, Victims};
use crate::nemesis::class::FaultClass;
use crate::random::Random;
use crate::workload::Mix;
use draw::{draw_action, draw_length_ms};

/// Version of the format.
const FORMAT: u32 = 1;
/// A fault begins at least this long before the faults end.
const LAST_BEGIN_MS: u64 = 3_000;
/// A class pauses from this long …
const INTERVAL_MS_MIN: u64 = 4_000;
/// … to this long between two of its faults.
const INTERVAL_MS_MAX: u64 = 9_000;
/// One window of this many has no faults.
const QUIET_ONE_OF: usize = 4;

/// The first kills of a run for the bill are of its leader …
const LEADER_KILLS_OF_A_BILL: usize = 2;
/// … and the first troubles of its KMS are kills: one more than have to take effect, for one that
/// finds nobody does not.
const KMS_KILLS_OF_A_BILL: usize = 3;

/// A plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Version of the format.
    pub format: u32,
    /// What everything is drawn from.
    pub seed: u64,
    /// The kind of run.
    pub profile: Profile,
    /// The nodes of the first membership.
    pub nodes: u16,
    /// Ids for nodes that join later.
    pub spares: u16,
    /// Size of each server's disk.
    pub disk_mebibytes: u32,
    /// Whether unsynced data can be lost.
    pub forgetful: bool,
    /// The nodes' configuration.
    pub knobs: Knobs,
    /// How long each part of the run takes.
    pub phases: Phases,
    /// Which classes are active when.
    pub windows: Vec<Window>,
    /// The faults, by their beginnings.
    pub faults: Vec<PlannedFault>,
}

/// How long each part of the run takes, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Phases {
    /// Load without faults, at the beginning.
    pub quiet_ms: u64,
    /// Load with faults.
    pub faults_ms: u64,
    /// How long the cluster may take to be ready after everything is healed; load goes on.
    pub recovery_ms: u64,
}

/// A time in which the same classes are active.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// When it begins, in milliseconds after the load.
    pub begin_ms: u64,
    /// When it ends.
    pub end_ms: u64,
    /// The classes; none in a quiet one.
    pub active: Vec<FaultClass>,
}

/// A fault of the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedFault {
    /// Its number, from 1.
    pub number: u32,
    /// When it begins, in milliseconds after the load. One of its class that lasts longer than
    /// planned makes it later.
    pub begin_ms: u64,
    /// How long it lasts, in milliseconds.
    pub length_ms: u64,
    /// What it does.
    pub action: Action,
    /// Decides what only the moment shows: which node, which file.
    pub lot: u64,
}

impl Plan {
    /// Draws the plan of a seed.
    #[must_use]
    pub fn draw(seed: u64, profile: Profile) -> Self {
        let shape = profile.shape();
        let windows = draw_windows(seed, profile);
        let end_ms = shape.phases.quiet_ms + shape.phases.faults_ms;
        let mut faults = Vec::new();
        for class in profile.classes() {
            faults.extend(draw_faults(seed, *class, profile, &windows, end_ms));
        }
        faults.sort_by_key(|fault| (fault.begin_ms, fault.action.class()));
        if profile == Profile::Bill {
            kill_for_sure(&mut faults);
        }
        for (fault, number) in faults.iter_mut().zip(1..) {
            fault.number = number;
        }
        let joins = faults.iter().filter(|fault| fault.action.class() == FaultClass::Membership);
        let lost = faults.iter().filter(|fault| fault.action.class() == FaultClass::BitFlip);
        let spares = joins.count() + lost.count();
        Self {
            format: FORMAT,
            seed,
            profile,
            nodes: shape.nodes,
            spares: u16::try_from(spares).unwrap_or(u16::MAX),
            disk_mebibytes: shape.disk_mebibytes,
            forgetful: profile.classes().contains(&FaultClass::PowerLoss),
            knobs: Knobs { purge_within_s: shape.purge_within_s, ..draw_knobs(seed) },
            phases: shape.phases,
            windows,
            faults,
        }
    }

    /// What is asked meanwhile.
    #[must_use]
    pub fn mix(&self) -> Mix {
        let mix = Mix::draw(&mut Random::of_part(self.seed, "mix"));
        match self.profile {
            Profile::Smoke | Profile::SmokeBasic | Profile::Mutants => mix,
            Profile::Soak => mix.doubled(),
            Profile::Bill => mix.of_own_keys(),
        }
    }
}

fn draw_knobs(seed: u64) -> Knobs {
    let mut random = Random::of_part(seed, "knobs");
    let heartbeat_ms = random.between(50, 150);
    let election_min_ms = heartbeat_ms * random.between(3, 5);
    Knobs {
        heartbeat_ms,
        election_min_ms,
        election_max_ms: election_min_ms * 2,
        // Small, or no follower would need a snapshot in so short a run.
        snapshot_entries: random.between(50, 200),
        entries_kept: random.between(0, 50),
        audit_synced: random.chance(25),
        ..Knobs::default()
    }
}

/// The windows of the faults. Classes come from a shuffled deck, so that each of them has its turn
/// before one comes again.
fn draw_windows(seed: u64, profile: Profile) -> Vec<Window> {
    let (shape, classes) = (profile.shape(), profile.classes());
    let mut random = Random::of_part(seed, "windows");
    let (first, length) = (shape.phases.quiet_ms, shape.window_ms);
    let count = usize::try_from(shape.phases.faults_ms / length).unwrap_or(usize::MAX);
    // Not the first: the quiet beginning was quiet enough.
    let mut order: Vec<usize> = (1..count).collect();
    random.shuffle(&mut order);
    let quiet = order.get(..count / QUIET_ONE_OF).unwrap_or_default().to_vec();
    let mut deck = Vec::new();
    let mut windows = Vec::new();
    for (index, begin_ms) in (0..count).zip((first..).step_by(usize::try_from(length).unwrap_or(1)))
    {
        let mut active = Vec::new();
        let wanted = if random.chance(shape.everything_percent) {
            classes.len()
        } else {
            usize::try_from(random.between(shape.active_min, shape.active_max)).unwrap_or(0)
        };
        while !quiet.contains(&index) && active.len() < wanted.min(classes.len()) {
            if deck.is_empty() {
                deck = classes.to_vec();
                random.shuffle(&mut deck);
            }
            // One that comes again too early is left for the next window.
            match deck.iter().position(|class| !active.contains(class)) {
                Some(position) => active.push(deck.remove(position)),
                None => deck.clear(),
            }
        }
        active.sort_unstable();
        windows.push(Window { begin_ms, end_ms: begin_ms + length, active });
    }
    windows
}

fn draw_faults(
    seed: u64,
    class: FaultClass,
    profile: Profile,
    windows: &[Window],
    end_ms: u64,
) -> Vec<PlannedFault> {
    let mut random = Random::of_part(seed, class.name());
    let mut faults = Vec::new();
    let mut free_ms = 0;
    for window in windows.iter().filter(|window| window.active.contains(&class)) {
        let mut begin_ms = free_ms.max(window.begin_ms + random.below(INTERVAL_MS_MIN));
        while begin_ms < window.end_ms && begin_ms + LAST_BEGIN_MS <= end_ms {
            let action = draw_action(class, profile, &mut random);
            let length_ms = draw_length_ms(class, &mut random).min(end_ms - begin_ms);
            let lot = random.next();
            faults.push(PlannedFault { number: 0, begin_ms, length_ms, action, lot });
            free_ms = begin_ms + length_ms + random.between(INTERVAL_MS_MIN, INTERVAL_MS_MAX);
            begin_ms = free_ms;
        }
    }
    faults
}

/// What a bill is reconciled under is not left to the draw.
fn kill_for_sure(faults: &mut [PlannedFault]) {
    let leader = (Action::Kill { who: Victims::Leader }, LEADER_KILLS_OF_A_BILL);
    let kms = (Action::Kms { trouble: KmsTrouble::Kill }, KMS_KILLS_OF_A_BILL);
    for (action, count) in [leader, kms] {
        let is_of_class = |fault: &&mut PlannedFault| fault.action.class() == action.class();
        for fault in faults.iter_mut().filter(is_of_class).take(count) {
            fault.action = action;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_plan_and_another_another() {
        for profile in Profile::ALL {
            assert_eq!(Plan::draw(7, profile), Plan::draw(7, profile));
            assert_ne!(Plan::draw(7, profile).faults, Plan::draw(8, profile).faults);
        }
    }

    #[test]
    fn a_plan_is_read_back_from_its_json() {
        let plan = Plan::draw(3, Profile::Soak);
        let json = serde_json::to_string(&plan).unwrap();
        assert_eq!(serde_json::from_str::<Plan>(&json).unwrap(), plan);
    }

    #[test]
    fn a_quarter_of_the_windows_is_quiet_and_no_fault_begins_there() {
        for seed in 0..50 {
            let plan = Plan::draw(seed, Profile::Smoke);
            let quiet: Vec<_> = plan.windows.iter().filter(|w| w.active.is_empty()).collect();
            assert_eq!(quiet.len(), plan.windows.len() / QUIET_ONE_OF);
            for fault in &plan.faults {
                let inside = |w: &&Window| (w.begin_ms..w.end_ms).contains(&fault.begin_ms);
                let window = plan.windows.iter().find(inside).unwrap();
                assert!(window.active.contains(&fault.action.class()), "{fault:?}");
            }
        }
    }

    #[test]
    fn faults_of_a_class_do_not_overlap_and_end_with_the_phase() {
        for seed in 0..50 {
            let plan = Plan::draw(seed, Profile::Soak);
            let end_ms = plan.phases.quiet_ms + plan.phases.faults_ms;
            for class in FaultClass::ALL {
                let of_class = plan.faults.iter().filter(|fault| fault.action.class() == class);
                let mut free_ms = 0;
                for fault in of_class {
                    assert!(fault.begin_ms >= free_ms, "{fault:?}");
                    free_ms = fault.begin_ms + fault.length_ms;
                }
                assert!(free_ms <= end_ms);
            }
        }
    }

    #[test]
    fn every_smoke_run_has_faults_enough_and_of_classes_enough() {
        for seed in 0..200 {
            let plan = Plan::draw(seed, Profile::Smoke);
            let classes: BTreeSet<_> = plan.faults.iter().map(|f| f.action.class()).collect();
            assert!(plan.faults.len() >= 20, "seed {seed}: {}", plan.faults.len());
            assert!(classes.len() >= 10, "seed {seed}: {classes:?}");
            assert!(plan.spares < 40);
        }
    }

    #[test]
    fn a_soak_has_the_faults_that_it_promises() {
        for seed in 0..20 {
            let plan = Plan::draw(seed, Profile::Soak);
            let of = |class| plan.faults.iter().filter(|f| f.action.class() == class).count();
            assert!(plan.faults.len() >= 400, "seed {seed}: {}", plan.faults.len());
            assert!(of(FaultClass::Membership) >= 30, "{}", of(FaultClass::Membership));
        }
    }

    #[test]
    fn a_bill_has_ends_of_nodes_of_the_leader_and_of_the_kms() {
        for seed in 0..200 {
            let plan = Plan::draw(seed, Profile::Bill);
            let of = |class| plan.faults.iter().filter(|f| f.action.class() == class).count();
            assert!(of(FaultClass::Kill) >= 3, "seed {seed}: {}", of(FaultClass::Kill));
            assert_eq!(of(FaultClass::Kill) + of(FaultClass::Kms), plan.faults.len());
            let how_often = |action| plan.faults.iter().filter(|f| f.action == action).count();
            let leader = how_often(Action::Kill { who: Victims::Leader });
            assert!(leader >= LEADER_KILLS_OF_A_BILL, "seed {seed}: {leader}");
            let kms = how_often(Action::Kms { trouble: KmsTrouble::Kill });
            assert!(kms >= KMS_KILLS_OF_A_BILL, "seed {seed}: {kms}");
            let mix = plan.mix();
            assert_eq!(mix.groups().len(), mix.own_keys);
            assert!(!mix.keys_switched, "what is refused is on no bill");
            assert!(Plan::draw(seed, Profile::Smoke).mix().keys_switched);
        }
    }

    #[test]
    fn knobs_are_what_a_node_accepts() {
        for seed in 0..200 {
            let knobs = draw_knobs(seed);
            assert!(knobs.election_min_ms >= 2 * knobs.heartbeat_ms);
            assert!(knobs.election_max_ms > knobs.election_min_ms);
            assert!((50..=200).contains(&knobs.snapshot_entries));
        }
    }
}
