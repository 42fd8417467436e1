//! The faults that show a mutant soon: a plan with these alone, one after the other.
//!
//! A bug is seen where its fault meets the load; drawn among sixteen classes that takes hours, and
//! every run that misses it costs a minute. A mutant that is not in the table, and every third run
//! of one that is, gets the plan that the profile draws.

use crate::cluster::power::Survives;
use crate::cluster::switch::LinkRule;
use crate::nemesis::action::{Action, KmsTrouble, Links, Means, Victims};
use crate::nemesis::grudge::Grudge;
use crate::plan::{Plan, PlannedFault, Profile};
use crate::random::Random;

/// Load before the first fault, in milliseconds.
const QUIET_MS: u64 = 3_000;
/// Load of a run without faults.
const CALM_MS: u64 = 10_000;
/// Load under faults of a first run; each further one of the same mutant is that much longer.
const FAULTS_MS: u64 = 24_000;
/// Between two faults of a class.
const GAP_MS: (u64, u64) = (1_500, 3_500);
/// No fault begins later than this before the end.
const LAST_BEGIN_MS: u64 = 3_000;
/// Within how long nodes erase what is destroyed when a run looks for it, in seconds: it waits for
/// half of that.
const ERASED_S: u64 = 10;
/// Every so many runs the faults are drawn from all classes.
const GENERAL_EVERY: u64 = 3;

/// A fault that is repeated: what it does, and how long it lasts, at least and at most, in
/// milliseconds.
type Blow = (Action, (u64, u64));

/// Longer than a client waits for a write, so that some of the leader's clients still read from it
/// when the others have another leader.
const LEADER_ALONE: Blow =
    (Action::Partition { grudge: Grudge::LeaderAlone, means: Means::Switch }, (5_000, 8_000));
const ONE_ALONE: Blow =
    (Action::Partition { grudge: Grudge::Single, means: Means::Switch }, (2_000, 4_000));
const PAUSED_LEADER: Blow = (Action::Pause { who: Victims::Leader }, (1_500, 3_000));
const KILLED_LEADER: Blow = (Action::Kill { who: Victims::Leader }, (500, 2_000));
const KILLED_ONE: Blow = (Action::Kill { who: Victims::One }, (500, 2_000));
const KILLED_ALL: Blow = (Action::Kill { who: Victims::All }, (200, 1_000));
const DARK: Blow =
    (Action::PowerLoss { who: Victims::All, survives: Survives::OnlySynced }, (200, 1_000));
const TRANSFERS: Blow = (Action::TransferStorm { every_ms: 1_500 }, (8_000, 12_000));
/// Past every destruction that is scheduled.
const FAST_LEADER: Blow =
    (Action::ClockStep { who: Victims::Leader, offset_s: 3_600 }, (5_000, 8_000));
const KMS_KILLED: Blow = (Action::Kms { trouble: KmsTrouble::Kill }, (300, 1_500));
/// A call that asks it twice still ends within a client's deadline, and meanwhile clients die and
/// ask again.
const KMS_SLOW: Blow = (Action::Kms { trouble: KmsTrouble::Slow(250_000) }, (3_000, 6_000));
const STARVED: Blow = (Action::SnapshotStorm { starve: true }, (4_000, 6_000));

/// Each connection between nodes falls behind the others by itself, so a read can overtake the
/// news that an entry is committed.
const UNEVEN: Blow = (
    Action::SlowLink {
        links: Links::Peers,
        rule: LinkRule {
            blocked: false,
            drop_percent: 8,
            delay_us: 2_000,
            jitter_us: 2_000,
            duplicate_percent: 0,
            reorder_percent: 0,
            rate_bytes: 0,
        },
    },
    (6_000, 9_000),
);

/// Backups, one after the other; the first and the last one are restored.
const BACKED_UP: Blow = (Action::Restore, (0, 500));

/// Which faults.
#[derive(Debug, Clone, Copy)]
pub(super) struct Focus {
    name: &'static str,
    /// None: those that the profile draws.
    blows: Option<&'static [Blow]>,
    log_level: Option<&'static str>,
    /// Within how long nodes erase what is destroyed, if the run is to look for that.
    purge_within_s: Option<u64>,
}

impl Focus {
    /// No fault at all.
    pub(super) const fn calm() -> Self {
        Self::on("calm", &[])
    }

    /// What the profile draws.
    pub(super) const fn general() -> Self {
        Self { name: "general", blows: None, log_level: None, purge_within_s: None }
    }

    const fn on(name: &'static str, blows: &'static [Blow]) -> Self {
        Self { name, blows: Some(blows), log_level: None, purge_within_s: None }
    }

    /// All that the first runs of these mutants have, each once: without a mutant none of them may
    /// show anything.
    pub(super) fn all<'a>(mutants: impl Iterator<Item = &'a str>) -> Vec<Self> {
        let mut all = vec![Self::calm(), Self::general()];
        for focus in mutants.map(Self::of_mutant) {
            if all.iter().all(|known| known.name != focus.name) {
                all.push(focus);
            }
        }
        all
    }

    /// What a run of a mutant is to have, by the number of its runs before.
    pub(super) fn of(mutant: &str, runs_before: u64) -> Self {
        let focused = Self::of_mutant(mutant);
        if runs_before % GENERAL_EVERY == GENERAL_EVERY - 1 {
            let Self { log_level, purge_within_s, .. } = focused;
            return Self { log_level, purge_within_s, ..Self::general() };
        }
        focused
    }

    fn of_mutant(mutant: &str) -> Self {
        match mutant {
            "follower-reads-locally" => Self::on("one-alone", &[ONE_ALONE]),
            "leader-skips-read-index" => Self::on("leader-alone", &[LEADER_ALONE]),
            "timeout-not-proposed" | "ack-before-commit" => {
                Self::on("leader-cut-off-and-killed", &[LEADER_ALONE, KILLED_LEADER])
            }
            "read-ignores-transfer" => Self::on("transfers", &[TRANSFERS]),
            "ack-before-fsync" => Self::on("power-loss", &[DARK]),
            // All at once, or the one that is late gets a snapshot, which heals what is wrong.
            "lost-tail" | "reapplied-after-crash" => Self::on("all-killed", &[KILLED_ALL]),
            "apply-not-atomic" => Self::on("killed", &[KILLED_ONE]),
            "snapshot-omits-operations"
            | "snapshot-omits-bindings"
            | "snapshot-omits-clock"
            | "destroyed-comes-back" => Self::on("snapshots", &[STARVED]),
            "destroy-by-wall-clock" => Self::on("fast-leader", &[FAST_LEADER]),
            "snapshot-omits-membership" => {
                Self::on("snapshots-and-restarts", &[STARVED, KILLED_ONE])
            }
            "keys-forgotten-at-leader-change" => {
                Self::on("leader-changes", &[PAUSED_LEADER, KILLED_LEADER])
            }
            "destroyed-unlisted" => Self::on("backups", &[BACKED_UP]),
            "stale-read-point" => Self::on("uneven-links", &[UNEVEN]),
            "served-unbilled" => Self::on("kms-killed", &[KMS_KILLED]),
            "retry-billed-twice" => Self::on("kms-slow", &[KMS_SLOW, KILLED_LEADER]),
            "two-current-versions"
            | "ids-reused"
            | "lost-update"
            | "deactivate-in-cache"
            | "bindings-cached"
            | "revoked-token-cached"
            | "key-status-cached"
            | "wrong-key-billed"
            | "version-id-reused"
            | "cancel-keeps-timer"
            | "map-order"
            | "page-by-offset"
            | "page-by-time"
            | "page-restarts"
            | "quota-judged-early"
            | "quota-not-given-back"
            | "plaintext-at-rest" => Self::calm(),
            "plaintext-in-log" => {
                Self { name: "calm-debug", log_level: Some("debug"), ..Self::calm() }
            }
            "wrapped-key-kept" => {
                Self { name: "calm-erasing", purge_within_s: Some(ERASED_S), ..Self::calm() }
            }
            _ => Self::general(),
        }
    }

    /// For the directory of a run.
    pub(super) const fn name(&self) -> &'static str {
        self.name
    }

    /// How much nodes tell, if more than usual.
    pub(super) const fn log_level(&self) -> Option<&'static str> {
        self.log_level
    }

    /// The plan of a run.
    pub(super) fn plan(&self, seed: u64, runs_before: u64) -> Plan {
        let mut plan = Plan::draw(seed, Profile::Mutants);
        if let Some(seconds) = self.purge_within_s {
            plan.knobs.purge_within_s = seconds;
        }
        let Some(blows) = self.blows else { return plan };
        plan.phases.quiet_ms = QUIET_MS;
        plan.phases.faults_ms = match blows {
            [] => CALM_MS,
            _ => FAULTS_MS * (1 + runs_before),
        };
        let end_ms = plan.phases.quiet_ms + plan.phases.faults_ms;
        plan.windows.clear();
        plan.faults.clear();
        plan.spares = 0;
        plan.forgetful = blows.iter().any(|(action, _)| matches!(action, Action::PowerLoss { .. }));
        for (action, length_ms) in blows {
            let mut random = Random::of_part(seed, action.class().name());
            // Not all at once.
            let mut begin_ms = QUIET_MS + random.below(GAP_MS.1);
            while begin_ms + LAST_BEGIN_MS <= end_ms {
                let length_ms = random.between(length_ms.0, length_ms.1).min(end_ms - begin_ms);
                let lot = random.next();
                plan.faults.push(PlannedFault {
                    number: 0,
                    begin_ms,
                    length_ms,
                    action: *action,
                    lot,
                });
                begin_ms += length_ms + random.between(GAP_MS.0, GAP_MS.1);
            }
        }
        plan.faults.sort_by_key(|fault| (fault.begin_ms, fault.action.class()));
        for (fault, number) in plan.faults.iter_mut().zip(1..) {
            fault.number = number;
        }
        plan
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::nemesis::class::FaultClass;

    fn classes(plan: &Plan) -> BTreeSet<FaultClass> {
        plan.faults.iter().map(|fault| fault.action.class()).collect()
    }

    #[test]
    fn a_plan_has_the_faults_of_its_focus_and_no_other() {
        for seed in 0..20 {
            let plan = Focus::of("snapshot-omits-membership", 0).plan(seed, 0);
            assert_eq!(classes(&plan), [FaultClass::SnapshotStorm, FaultClass::Kill].into());
            assert!(!plan.forgetful);
            let numbers: Vec<u32> = plan.faults.iter().map(|fault| fault.number).collect();
            assert!(numbers.iter().copied().eq(1..=u32::try_from(numbers.len()).unwrap()));
        }
        let dark = Focus::of("ack-before-fsync", 0).plan(1, 0);
        assert!(dark.forgetful && dark.faults.len() >= 3);
        assert!(Focus::of("lost-update", 0).plan(1, 0).faults.is_empty());
        let switched = Focus::of("key-status-cached", 0).plan(1, 0);
        assert!(switched.faults.is_empty() && switched.mix().keys_switched);
    }

    #[test]
    fn all_sets_of_faults_are_there_once() {
        let all = Focus::all(["lost-tail", "lost-update", "reapplied-after-crash"].into_iter());
        let names: Vec<_> = all.iter().map(Focus::name).collect();
        assert_eq!(names, ["calm", "general", "all-killed"]);
    }

    #[test]
    fn later_runs_are_longer_and_every_third_is_drawn_from_everything() {
        let length = |runs| Focus::of("lost-tail", runs).plan(1, runs).phases.faults_ms;
        assert!(length(1) > length(0) && length(3) > length(1));
        assert_eq!(Focus::of("lost-tail", 2).plan(9, 2), Plan::draw(9, Profile::Mutants));
        assert_eq!(Focus::of("unheard-of", 0).plan(9, 0), Plan::draw(9, Profile::Mutants));
        assert_eq!(Focus::of("plaintext-in-log", 2).log_level(), Some("debug"));
        for runs in [0, 2] {
            let plan = Focus::of("wrapped-key-kept", runs).plan(9, runs);
            assert_eq!(plan.knobs.erased_within_s(), Some(ERASED_S));
        }
        assert_eq!(Focus::calm().plan(9, 0).knobs.erased_within_s(), None);
    }

    #[test]
    fn faults_of_a_class_follow_each_other_within_the_run() {
        for seed in 0..50 {
            let plan = Focus::of("ack-before-commit", 1).plan(seed, 1);
            let end_ms = plan.phases.quiet_ms + plan.phases.faults_ms;
            for class in classes(&plan) {
                let mut free_ms = QUIET_MS;
                for fault in plan.faults.iter().filter(|fault| fault.action.class() == class) {
                    assert!(fault.begin_ms >= free_ms, "{fault:?}");
                    free_ms = fault.begin_ms + fault.length_ms;
                }
                assert!(free_ms <= end_ms);
            }
        }
    }
}
