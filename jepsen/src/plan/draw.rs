//! Draws one fault of a class: what it does and how long it lasts.

use super::Profile;
use crate::cluster::power::Survives;
use crate::cluster::switch::LinkRule;
use crate::nemesis::action::{
    Action, KmsTrouble, Links, Means, MemberChange, SyncTrouble, Victims,
};
use crate::nemesis::class::FaultClass;
use crate::nemesis::grudge::Grudge;
use crate::random::Random;

/// Clocks step by no more than this, so that certificates and tokens stay valid.
const CLOCK_STEP_S_MAX: u64 = 3_600;
/// Microseconds of a millisecond.
const MS: u64 = 1_000;

/// One of these, by its weight.
fn weighted<T: Copy>(choices: &[(u64, T)], last: T, random: &mut Random) -> T {
    let total: u64 = choices.iter().map(|(weight, _)| weight).sum();
    let mut drawn = random.below(total);
    for (weight, choice) in choices {
        if drawn < *weight {
            return *choice;
        }
        drawn -= weight;
    }
    last
}

/// What the fault does.
pub(super) fn draw_action(class: FaultClass, profile: Profile, random: &mut Random) -> Action {
    match class {
        FaultClass::Kill => Action::Kill { who: hit_hard(random) },
        FaultClass::Pause => Action::Pause { who: hit_hard(random) },
        FaultClass::Partition => draw_partition(profile, random),
        FaultClass::ClientCut => Action::ClientCut {
            who: weighted(
                &[(3, Victims::Leader), (3, Victims::One), (1, Victims::Majority)],
                Victims::All,
                random,
            ),
            answers_only: random.chance(50),
        },
        FaultClass::SlowLink => draw_slow_link(random),
        FaultClass::ClockStep => draw_clock_step(random),
        FaultClass::DiskFull => draw_disk_full(random),
        FaultClass::SyncFault => Action::SyncFault {
            who: hit_one(random),
            trouble: match random.below(4) {
                0 => SyncTrouble::FailsOnce,
                1 => SyncTrouble::Fails,
                _ => SyncTrouble::Slow(micros(random.between(5 * MS, 200 * MS))),
            },
        },
        FaultClass::PowerLoss => Action::PowerLoss {
            who: hit_hard(random),
            survives: if random.chance(50) {
                Survives::OnlySynced
            } else {
                Survives::SomeOfTheRest
            },
        },
        FaultClass::BitFlip => Action::BitFlip { bits: if random.chance(70) { 1 } else { 3 } },
        FaultClass::Membership => Action::Membership {
            change: weighted(
                &[
                    (4, MemberChange::Grow),
                    (4, MemberChange::Shrink),
                    (5, MemberChange::Replace),
                    (2, MemberChange::LoseDisk),
                ],
                MemberChange::Replace,
                random,
            ),
        },
        FaultClass::SnapshotStorm => Action::SnapshotStorm { starve: random.chance(60) },
        FaultClass::TransferStorm => {
            Action::TransferStorm { every_ms: random.between(1_000, 3_000) }
        }
        FaultClass::Kms => Action::Kms { trouble: draw_kms(profile, random) },
        FaultClass::RollingRestart => Action::RollingRestart,
        FaultClass::Restore => Action::Restore,
    }
}

/// Anything from one node to all of them.
fn hit_hard(random: &mut Random) -> Victims {
    let choices = [
        (30, Victims::Leader),
        (15, Victims::One),
        (15, Victims::Follower),
        (15, Victims::Minority),
        (13, Victims::Majority),
        (12, Victims::All),
    ];
    weighted(&choices, Victims::One, random)
}

/// No more than the cluster can do without.
fn hit_one(random: &mut Random) -> Victims {
    let choices = [(5, Victims::Leader), (3, Victims::Follower), (2, Victims::Minority)];
    weighted(&choices, Victims::One, random)
}

/// Full disks of no more than the cluster can do without; low ones of so many that what makes the
/// data grow is refused, or of the leader, which has to leave.
fn draw_disk_full(random: &mut Random) -> Action {
    if random.chance(50) {
        return Action::DiskFull { who: hit_one(random), low: false };
    }
    let choices = [(2, Victims::Leader), (3, Victims::Majority), (3, Victims::All)];
    Action::DiskFull { who: weighted(&choices, Victims::All, random), low: true }
}

fn draw_partition(profile: Profile, random: &mut Random) -> Action {
    if !profile.is_enclosed() {
        let grudge = if random.chance(50) { Grudge::IntoLeader } else { Grudge::IntoOne };
        return Action::Partition { grudge, means: Means::Door };
    }
    let grudge = random.pick(&Grudge::ALL).copied().unwrap_or(Grudge::LeaderAlone);
    let means = if random.chance(70) { Means::Switch } else { Means::Filter };
    Action::Partition { grudge, means }
}

fn draw_slow_link(random: &mut Random) -> Action {
    let links = [Links::Peers, Links::OneNode, Links::OutOfLeader, Links::Clients];
    let links = random.pick(&links).copied().unwrap_or(Links::Peers);
    let mut rule = LinkRule::default();
    let kind = random.below(6);
    let all = kind == 5;
    if all || kind == 0 {
        rule.delay_us = micros(random.between(2 * MS, if all { 20 * MS } else { 250 * MS }));
        rule.jitter_us = micros(random.below(u64::from(rule.delay_us)));
    }
    if all || kind == 1 {
        rule.drop_percent = percent(random.between(1, if all { 5 } else { 40 }));
    }
    if all || kind == 2 {
        rule.duplicate_percent = percent(random.between(5, 50));
    }
    if all || kind == 3 {
        rule.reorder_percent = percent(random.between(5, 50));
    }
    if kind == 4 {
        rule.rate_bytes = micros(random.between(20_000, 500_000));
    }
    Action::SlowLink { links, rule }
}

fn draw_clock_step(random: &mut Random) -> Action {
    let who = [Victims::Leader, Victims::One, Victims::Minority, Victims::Majority, Victims::All];
    let who = random.pick(&who).copied().unwrap_or(Victims::One);
    // Small and large steps alike: each power of ten has the same chance.
    let last = [2, 20, 200, CLOCK_STEP_S_MAX];
    let last = random.pick(&last).copied().unwrap_or(CLOCK_STEP_S_MAX);
    let size = i64::try_from(random.between(1, last)).unwrap_or(1);
    Action::ClockStep { who, offset_s: if random.chance(50) { size } else { -size } }
}

fn draw_kms(profile: Profile, random: &mut Random) -> KmsTrouble {
    let by_process = [KmsTrouble::Kill, KmsTrouble::Stop, KmsTrouble::Pause];
    let by_network = [
        KmsTrouble::Slow(micros(random.between(100 * MS, 5_000 * MS))),
        KmsTrouble::Lossy(percent(random.between(20, 60))),
        KmsTrouble::CutOff,
        KmsTrouble::KillBeforeAnswer,
    ];
    let network = match profile {
        Profile::Smoke | Profile::Soak | Profile::Mutants => by_network.as_slice(),
        Profile::SmokeBasic | Profile::Bill => &[],
    };
    let all = [by_process.as_slice(), network].concat();
    random.pick(&all).copied().unwrap_or(KmsTrouble::Kill)
}

/// How long the fault lasts, in milliseconds.
pub(super) fn draw_length_ms(class: FaultClass, random: &mut Random) -> u64 {
    let (shortest, longest) = match class {
        FaultClass::Kill => (0, 10_000),
        FaultClass::Pause => (300, 6_000),
        FaultClass::Partition => (1_500, 12_000),
        FaultClass::ClientCut => (1_000, 6_000),
        FaultClass::SlowLink | FaultClass::ClockStep => (3_000, 12_000),
        FaultClass::DiskFull => (2_000, 6_000),
        FaultClass::SyncFault => (2_000, 8_000),
        FaultClass::PowerLoss => (0, 5_000),
        FaultClass::BitFlip => (4_000, 10_000),
        FaultClass::Membership => (0, 2_000),
        FaultClass::SnapshotStorm => (4_000, 10_000),
        FaultClass::TransferStorm => (4_000, 12_000),
        FaultClass::Kms => (1_000, 8_000),
        FaultClass::RollingRestart | FaultClass::Restore => (0, 0),
    };
    random.between(shortest, longest)
}

fn micros(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

fn percent(value: u64) -> u8 {
    u8::try_from(value).unwrap_or(100)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn what_is_drawn_for_a_class_is_of_it() {
        let mut random = Random::new(1);
        for class in FaultClass::ALL {
            assert_eq!(draw_action(class, Profile::Smoke, &mut random).class(), class);
        }
    }

    #[test]
    fn every_grudge_and_every_trouble_of_the_kms_comes_up() {
        let mut random = Random::new(2);
        let mut draw = |class, profile| {
            let drawn = (0..500).map(|_| draw_action(class, profile, &mut random));
            let names = drawn.map(|action| {
                let text = format!("{action:?}");
                // What is drawn of a delay does not make it another trouble.
                text.chars().filter(|c| !c.is_ascii_digit()).collect::<String>()
            });
            names.collect::<BTreeSet<_>>().len()
        };
        assert_eq!(draw(FaultClass::Partition, Profile::Smoke), 2 * Grudge::ALL.len());
        assert_eq!(draw(FaultClass::Partition, Profile::SmokeBasic), 2);
        assert_eq!(draw(FaultClass::Kms, Profile::Smoke), 7);
        assert_eq!(draw(FaultClass::Kms, Profile::SmokeBasic), 3);
    }
}
