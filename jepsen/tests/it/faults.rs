//! Every class of faults on a small cluster: it takes effect, and it is healed.

use std::net::UdpSocket;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lockbox_jepsen::cluster::addresses::Host;
use lockbox_jepsen::cluster::observe::NodeView;
use lockbox_jepsen::cluster::part::Part;
use lockbox_jepsen::cluster::power::Survives;
use lockbox_jepsen::cluster::switch::LinkRule;
use lockbox_jepsen::moment::{now, until};
use lockbox_jepsen::nemesis::action::{
    Action, KmsTrouble, Links, Means, MemberChange, SyncTrouble, Victims,
};
use lockbox_jepsen::nemesis::event::{FaultEvent, FaultLog, Outcome};
use lockbox_jepsen::nemesis::grudge::Grudge;
use lockbox_jepsen::nemesis::scene::{Ending, Scene};
use lockbox_jepsen::nemesis::{Begun, fault};
use lockbox_jepsen::random::Random;

use crate::cluster::{Small, WAIT, small, small_in};
use crate::enclosed::enclosed;

/// Hears everything and keeps nothing.
struct Deaf;

impl FaultLog for Deaf {
    fn began(&self, _: &FaultEvent) {}
    fn ended(&self, _: &FaultEvent) {}
    fn majority(&self, _: Instant, _: bool) {}
    fn observed(&self, _: Instant, _: &[NodeView]) {}
    fn unexpected_end(&self, _: Instant, _: &str, _: &str) {}
}

fn scene(small: &Small) -> Scene {
    Scene::new(Arc::clone(&small.cluster), Arc::new(Deaf), Arc::new(Ending::default()))
}

fn all_ready(scene: &Scene) {
    scene.cluster.wait_ready(Part::Kms, WAIT).unwrap();
    for node in scene.cluster.members() {
        scene.cluster.wait_ready(Part::Node(node), WAIT).unwrap();
    }
}

/// Begins a fault, lets it last, looks at it, heals it; the cluster is ready before and after.
/// Returns what it hit; none when this machine or this `lockbox` cannot do it.
fn takes_effect(scene: &Scene, action: Action, lasts: Duration) -> Option<String> {
    all_ready(scene);
    let mut fault = fault(action, Random::new(3));
    let begun = fault.inject(scene).unwrap();
    let target = match begun {
        Begun::Began { target } => target,
        Begun::Skipped { reason } => {
            println!("left out: {action:?}: {reason}");
            fault.heal(scene).unwrap();
            return None;
        }
    };
    fault.during(scene, now() + lasts).unwrap();
    // What needs a packet or a sync to be seen has it at some time.
    let seen = until(WAIT, || {
        let outcome = fault.verify(scene).unwrap();
        (outcome == Outcome::Installed).then_some(())
    });
    let last = fault.verify(scene).unwrap();
    fault.heal(scene).unwrap();
    seen.unwrap_or_else(|| panic!("{action:?} on {target}: {last:?}"));
    all_ready(scene);
    Some(target)
}

const SHORT: Duration = Duration::from_millis(500);

#[test]
fn processes_are_killed_paused_and_restarted() {
    enclosed(|| {
        let small = small(false);
        let scene = scene(&small);
        let leader = until(WAIT, || scene.cluster.leader()).unwrap();
        let hit = takes_effect(&scene, Action::Kill { who: Victims::Leader }, SHORT).unwrap();
        assert_eq!(hit, format!("node-{leader}"));
        takes_effect(&scene, Action::Kill { who: Victims::All }, SHORT).unwrap();
        takes_effect(&scene, Action::Pause { who: Victims::Leader }, Duration::from_secs(2));
        for trouble in [
            KmsTrouble::Kill,
            KmsTrouble::Stop,
            KmsTrouble::Pause,
            KmsTrouble::CutOff,
            KmsTrouble::Slow(100_000),
        ] {
            takes_effect(&scene, Action::Kms { trouble }, SHORT).unwrap();
        }
        takes_effect(&scene, Action::RollingRestart, SHORT).unwrap();
    });
}

#[test]
fn links_are_cut_and_slow() {
    enclosed(|| {
        let small = small(false);
        let scene = scene(&small);
        for grudge in Grudge::ALL {
            let means = Means::Switch;
            takes_effect(&scene, Action::Partition { grudge, means }, SHORT).unwrap();
        }
        let grudge = Grudge::LeaderAlone;
        // By the kernel, when it has a packet filter.
        takes_effect(&scene, Action::Partition { grudge, means: Means::Filter }, SHORT);
        let before = until(WAIT, || scene.cluster.leader()).unwrap();
        let patience = Duration::from_secs(4);
        takes_effect(&scene, Action::Partition { grudge, means: Means::Switch }, patience);
        let after = until(WAIT, || scene.cluster.leader()).unwrap();
        assert_ne!(before, after, "a leader that is alone is followed by another");
        for rule in [
            LinkRule { delay_us: 20_000, jitter_us: 5_000, ..LinkRule::default() },
            LinkRule { drop_percent: 20, ..LinkRule::default() },
            LinkRule { duplicate_percent: 50, ..LinkRule::default() },
            LinkRule { reorder_percent: 50, ..LinkRule::default() },
            LinkRule { rate_bytes: 100_000, ..LinkRule::default() },
        ] {
            takes_effect(&scene, Action::SlowLink { links: Links::Peers, rule }, SHORT).unwrap();
        }
    });
}

#[test]
fn clients_are_cut_off_and_nodes_are_not() {
    enclosed(|| {
        let small = small(false);
        let scene = scene(&small);
        let client = UdpSocket::bind((Host::Client(0).address(), 0)).unwrap();
        let cut = Action::ClientCut { who: Victims::All, answers_only: false };
        let mut fault = fault(cut, Random::new(1));
        fault.inject(&scene).unwrap();
        assert!(scene.majority_reachable());
        client.send_to(b"request", (Host::Node(1).address(), 8443)).unwrap();
        let seen = || (fault.verify(&scene).unwrap() == Outcome::Installed).then_some(());
        until(WAIT, seen).unwrap();
        fault.heal(&scene).unwrap();
    });
}

#[test]
fn clocks_jump_and_disks_fail() {
    enclosed(|| {
        let small = small(true);
        let scene = scene(&small);
        let who = Victims::Follower;
        for offset_s in [3_000, -3_000] {
            takes_effect(&scene, Action::ClockStep { who, offset_s }, SHORT);
        }
        for trouble in [SyncTrouble::Slow(20_000), SyncTrouble::FailsOnce] {
            takes_effect(&scene, Action::SyncFault { who: Victims::Leader, trouble }, SHORT);
        }
        takes_effect(&scene, Action::DiskFull { who }, SHORT).unwrap();
        for survives in [Survives::OnlySynced, Survives::SomeOfTheRest] {
            let who = Victims::All;
            takes_effect(&scene, Action::PowerLoss { who, survives }, SHORT);
        }
        takes_effect(&scene, Action::BitFlip { bits: 1 }, SHORT).unwrap();
    });
}

#[test]
fn without_rights_nodes_are_on_loopback_behind_doors() {
    let small = small_in(false, false);
    let scene = scene(&small);
    for grudge in [Grudge::IntoLeader, Grudge::IntoOne] {
        let cut = Action::Partition { grudge, means: Means::Door };
        takes_effect(&scene, cut, Duration::from_secs(1)).unwrap();
    }
    takes_effect(&scene, Action::Kill { who: Victims::Leader }, SHORT).unwrap();
    takes_effect(&scene, Action::Kms { trouble: KmsTrouble::Pause }, SHORT).unwrap();
    assert!(scene.cluster.switch().is_err());
}

#[test]
fn operators_change_members_and_leaders() {
    enclosed(|| {
        let small = small(false);
        let scene = scene(&small);
        takes_effect(&scene, Action::TransferStorm { every_ms: 500 }, Duration::from_secs(2));
        takes_effect(&scene, Action::SnapshotStorm { starve: false }, Duration::from_secs(1));
        let change = MemberChange::Replace;
        if takes_effect(&scene, Action::Membership { change }, SHORT).is_some() {
            let members = scene.cluster.members();
            assert!(members.len() == 3 && members.contains(&4), "{members:?}");
        }
    });
}
