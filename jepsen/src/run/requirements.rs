//! What a run of a plan has to have done for its verdict to mean anything.

use std::collections::{BTreeMap, BTreeSet};

use super::recorded_faults::recorded_class;
use crate::check::coverage::Required;
use crate::check::laws::Law;
use crate::history::fault::FaultClass;
use crate::nemesis::action::{Action, Victims};
use crate::plan::{Plan, Profile};

/// A class that is planned so often has to have taken effect once: any single fault may be skipped,
/// for another one has its node.
const PLANNED_OFTEN: u64 = 3;
/// What a run for the bill is about; the others have nothing to look at there.
const LAWS_OF_A_BILL: [Law; 7] =
    [Law::L1, Law::L3, Law::L5, Law::L10, Law::L11, Law::L13, Law::L15];
/// Its calls.
const CALLS_OF_A_BILL: [&str; 2] = ["add_version", "get_payload"];
/// How often its leader has to be killed, while it leads …
const LEADERS_KILLED_OF_A_BILL: u64 = 1;
/// … and its KMS: bills go wrong between two steps, and a server that is stopped takes both.
const KMS_KILLED_OF_A_BILL: u64 = 2;
/// Mutations that have to be tried again under their idempotency keys: a run has about three times
/// as many, by clients that die and by those that ask again though they were answered.
const KEYS_TRIED_AGAIN_OF_A_BILL: u64 = 50;
/// Changes of the membership in an hour.
const MEMBERSHIPS_OF_SOAK: u64 = 30;
/// Committed entries that a dump holds. What was purged before anybody read it is a blind spot.
const DUMPED_OF_THOUSAND: u64 = 995;
/// How often the run's own key is switched off in a minute of load. It could be ten times as often,
/// but the KMS is down at times.
const KEYS_OFF_PER_MINUTE: u64 = 3;
/// How many operations have to be told in a minute that it is off: one such moment has several.
const TRIED_WHILE_OFF_PER_MINUTE: u64 = 10;
/// Successes of each call in a minute of load. A node that never answered one of them was not
/// tested by it.
const SUCCESSES_PER_MINUTE: [(&str, u64); 15] = [
    ("create_secret", 5),
    ("add_version", 200),
    ("set_current_version", 20),
    ("change_binding", 10),
    ("revoke_token", 1),
    ("schedule_destruction", 4),
    ("cancel_destruction", 2),
    ("activate", 2),
    ("deactivate", 2),
    ("update_secret", 4),
    ("delete_secret", 20),
    ("get_secret", 100),
    ("get_payload", 300),
    ("list_versions", 20),
    ("list_secrets", 200),
];

/// What is required of it.
#[must_use]
pub fn required(plan: &Plan) -> Required {
    let minutes = (plan.phases.quiet_ms + plan.phases.faults_ms) / 60_000;
    let is_bill = plan.profile == Profile::Bill;
    let keys_switched = plan.mix().keys_switched;
    let mut laws: BTreeSet<Law> = if is_bill { LAWS_OF_A_BILL.into() } else { Law::ALL.into() };
    let restores = count(plan, |action| *action == Action::Restore) >= PLANNED_OFTEN;
    if !restores {
        laws.remove(&Law::L18);
    }
    let mut planned: BTreeMap<FaultClass, u64> = BTreeMap::new();
    for fault in &plan.faults {
        *planned.entry(recorded_class(fault)).or_default() += 1;
    }
    let mut often: BTreeSet<FaultClass> =
        planned.into_iter().filter(|(_, count)| *count >= PLANNED_OFTEN).map(|(c, _)| c).collect();
    if is_bill {
        often.insert(FaultClass::KmsKilled);
    }
    let sizes = match plan.profile {
        Profile::Smoke => Sizes { ops: 50_000, faults: 15, snapshots: 10, installs: 1 },
        Profile::SmokeBasic => Sizes { ops: 50_000, faults: 10, snapshots: 10, installs: 0 },
        Profile::Soak => Sizes { ops: 1_000_000, faults: 250, snapshots: 100, installs: 100 },
        Profile::Mutants => Sizes { ops: 2_000, faults: 3, snapshots: 1, installs: 0 },
        // Four of five ask the KMS.
        Profile::Bill => Sizes { ops: 12_500, faults: 6, snapshots: 1, installs: 0 },
    };
    Required {
        ops: sizes.ops,
        successes: SUCCESSES_PER_MINUTE
            .iter()
            .filter(|(call, _)| !is_bill || CALLS_OF_A_BILL.contains(call))
            .map(|(call, count)| ((*call).to_owned(), count * minutes))
            .collect(),
        faults: sizes.faults,
        fault_classes: often.into_iter().map(|class| (class, times(plan, class))).collect(),
        leaders_killed: if is_bill { LEADERS_KILLED_OF_A_BILL } else { 0 },
        keys_tried_again: if is_bill { KEYS_TRIED_AGAIN_OF_A_BILL } else { 0 },
        leaderships: 2,
        snapshots: sizes.snapshots,
        installs: sizes.installs,
        dumped_of_thousand: DUMPED_OF_THOUSAND,
        keys_off: if keys_switched { KEYS_OFF_PER_MINUTE * minutes } else { 0 },
        tried_while_off: if keys_switched { TRIED_WHILE_OFF_PER_MINUTE * minutes } else { 0 },
        refused_for_room: u64::from(count(plan, refuses_growth) >= PLANNED_OFTEN),
        restored: u64::from(restores),
        laws,
    }
}

/// How many faults of a plan do this.
fn count(plan: &Plan, does: impl Fn(&Action) -> bool) -> u64 {
    plan.faults.iter().filter(|fault| does(&fault.action)).count() as u64
}

/// Whether so many disks are low that no leader takes what makes the data grow.
const fn refuses_growth(action: &Action) -> bool {
    matches!(action, Action::DiskFull { who: Victims::Majority | Victims::All, low: true })
}

/// How often a class that is planned often has to have taken effect.
const fn times(plan: &Plan, class: FaultClass) -> u64 {
    match (plan.profile, class) {
        (Profile::Soak, FaultClass::Membership) => MEMBERSHIPS_OF_SOAK,
        (Profile::Bill, FaultClass::KmsKilled) => KMS_KILLED_OF_A_BILL,
        _ => 1,
    }
}

struct Sizes {
    ops: u64,
    faults: u64,
    snapshots: u64,
    installs: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bill_requires_kills_of_the_leader_and_of_the_kms_and_second_attempts() {
        for seed in 0..50 {
            let bill = required(&Plan::draw(seed, Profile::Bill));
            assert_eq!(bill.leaders_killed, LEADERS_KILLED_OF_A_BILL);
            assert_eq!(bill.fault_classes[&FaultClass::KmsKilled], KMS_KILLED_OF_A_BILL);
            assert_eq!(bill.keys_tried_again, KEYS_TRIED_AGAIN_OF_A_BILL);
            let smoke = required(&Plan::draw(seed, Profile::Smoke));
            assert_eq!((smoke.leaders_killed, smoke.keys_tried_again), (0, 0));
            assert!(smoke.tried_while_off > 0 && bill.tried_while_off == 0);
        }
    }

    #[test]
    fn a_run_that_makes_backups_has_to_restore_one() {
        let mut restoring = 0;
        for seed in 0..50 {
            let plan = Plan::draw(seed, Profile::Smoke);
            let backups = count(&plan, |action| *action == Action::Restore);
            let required = required(&plan);
            let is_owed = backups >= PLANNED_OFTEN;
            assert_eq!(required.restored > 0, is_owed, "seed {seed}");
            assert_eq!(required.laws.contains(&Law::L18), is_owed, "seed {seed}");
            restoring += u64::from(is_owed);
        }
        assert!(restoring >= 25, "{restoring} of 50");
        let bill = required(&Plan::draw(1, Profile::Bill));
        assert_eq!((bill.restored, bill.refused_for_room), (0, 0));
    }
}
