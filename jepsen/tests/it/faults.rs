//! Every class of faults on a small cluster: it takes effect, and it is healed.

use std::net::UdpSocket;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use lockbox_jepsen::cluster::addresses::{Host, Link};
use lockbox_jepsen::cluster::observe::{NodeView, Role};
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

pub(crate) fn scene(small: &Small) -> Scene {
    Scene::new(Arc::clone(&small.cluster), Arc::new(Deaf), Arc::new(Ending::default()))
}

pub(crate) fn all_ready(scene: &Scene) {
    scene.cluster.wait_ready(Part::Kms, WAIT).unwrap();
    for node in scene.cluster.members() {
        scene.cluster.wait_ready(Part::Node(node), WAIT).unwrap();
    }
}

/// Begins a fault, lets it last, looks at it, heals it; the cluster is ready before and after.
/// Returns what it hit; none when this machine or this `lockbox` cannot do it.
pub(crate) fn takes_effect(scene: &Scene, action: Action, lasts: Duration) -> Option<String> {
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

/// Does something while the nodes have something to write: leadership goes around, and each leader
/// begins with an entry of its own.
fn busy<T>(scene: &Scene, work: impl FnOnce() -> T) -> T {
    let over = AtomicBool::new(false);
    let transfer = || {
        for next in scene.cluster.members().iter().cycle() {
            if over.load(Ordering::Relaxed) {
                return;
            }
            // Who is meant may lead already, or be broken just now.
            if let Some(leader) = scene.cluster.leader() {
                let next = next.to_string();
                scene.cluster.admin().command(leader, &["transfer-leader", &next]).ok();
            }
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(transfer);
        let done = catch_unwind(AssertUnwindSafe(work));
        over.store(true, Ordering::Relaxed);
        done.unwrap_or_else(|panic| resume_unwind(panic))
    })
}

pub(crate) const SHORT: Duration = Duration::from_millis(500);

/// Everyone that a fault can hit.
const VICTIMS: [Victims; 6] = [
    Victims::Leader,
    Victims::One,
    Victims::Follower,
    Victims::Minority,
    Victims::Majority,
    Victims::All,
];

#[test]
fn processes_are_killed_paused_and_restarted() {
    enclosed(|| {
        let small = small(false);
        let scene = scene(&small);
        for who in VICTIMS {
            let hit = takes_effect(&scene, Action::Kill { who }, SHORT).unwrap();
            let count = match who {
                Victims::Majority => 2,
                Victims::All => 3,
                Victims::One | Victims::Leader | Victims::Follower | Victims::Minority => 1,
            };
            assert_eq!(hit.split(' ').count(), count, "{who:?}: {hit}");
            takes_effect(&scene, Action::Pause { who }, SHORT).unwrap();
        }
        takes_effect(&scene, Action::RollingRestart, SHORT).unwrap();
    });
}

#[test]
fn the_leader_is_hit_when_it_is_meant() {
    enclosed(|| {
        let small = small(false);
        let scene = scene(&small);
        let before = leadership(&scene);
        // Longer than an election takes.
        let lasts = Duration::from_secs(3);
        let hit = takes_effect(&scene, Action::Pause { who: Victims::Leader }, lasts).unwrap();
        let (leader, term) = leadership(&scene);
        assert!(term > before.1, "its followers have elected another: {before:?}");
        assert_ne!(hit, format!("node-{leader}"));
        assert_eq!(hit, format!("node-{}", before.0), "unless it lost its leadership just then");
    });
}

/// Who leads, in which term.
fn leadership(scene: &Scene) -> (u16, u64) {
    until(WAIT, || {
        let views = scene.cluster.views();
        let leader = views.iter().filter(|view| view.role == Role::Leader);
        leader.map(|view| (view.node, view.term)).max_by_key(|(_, term)| *term)
    })
    .unwrap()
}

#[test]
fn the_kms_is_gone_silent_slow_and_cut_off() {
    enclosed(|| {
        let small = small(false);
        let scene = scene(&small);
        for trouble in [
            KmsTrouble::Kill,
            KmsTrouble::Stop,
            KmsTrouble::Pause,
            KmsTrouble::Slow(100_000),
            KmsTrouble::Lossy(30),
            KmsTrouble::CutOff,
            KmsTrouble::KillBeforeAnswer,
        ] {
            takes_effect(&scene, Action::Kms { trouble }, SHORT).unwrap();
        }
    });
}

#[test]
fn links_are_cut() {
    enclosed(|| {
        let small = small(false);
        let scene = scene(&small);
        // By the kernel, when it has a packet filter.
        for means in [Means::Switch, Means::Filter] {
            for grudge in Grudge::ALL {
                let hit = takes_effect(&scene, Action::Partition { grudge, means }, SHORT);
                assert!(hit.is_some() || means == Means::Filter, "{grudge:?}");
            }
        }
        let before = leadership(&scene);
        let cut = Action::Partition { grudge: Grudge::LeaderAlone, means: Means::Switch };
        takes_effect(&scene, cut, Duration::from_secs(4)).unwrap();
        let after = leadership(&scene);
        assert!(after.1 > before.1, "a leader that is alone is followed by another: {before:?}");
    });
}

#[test]
fn links_are_slow_lossy_and_out_of_order() {
    enclosed(|| {
        let small = small(false);
        let scene = scene(&small);
        for links in [Links::Peers, Links::OneNode, Links::OutOfLeader, Links::Clients] {
            for rule in [
                LinkRule { delay_us: 20_000, jitter_us: 5_000, ..LinkRule::default() },
                LinkRule { drop_percent: 20, ..LinkRule::default() },
                LinkRule { duplicate_percent: 50, ..LinkRule::default() },
                LinkRule { reorder_percent: 50, ..LinkRule::default() },
                LinkRule { rate_bytes: 100_000, ..LinkRule::default() },
            ] {
                takes_effect(&scene, Action::SlowLink { links, rule }, SHORT).unwrap();
            }
        }
    });
}

#[test]
fn clients_are_cut_off_and_nodes_are_not() {
    enclosed(|| {
        let small = small(false);
        let scene = scene(&small);
        for answers_only in [false, true] {
            let cut = Action::ClientCut { who: Victims::All, answers_only };
            let mut fault = fault(cut, Random::new(1));
            fault.inject(&scene).unwrap();
            assert!(scene.majority_reachable());
            assert_eq!(fault.verify(&scene).unwrap(), Outcome::Installed);
            let (client, node) = (Host::Client(0).address(), Host::Node(1).address());
            let socket = UdpSocket::bind((client, 0)).unwrap();
            let requests = [Link::new(Host::Client(0), Host::Node(1))];
            let switch = scene.cluster.switch().unwrap();
            let before = switch.counts(&requests);
            socket.send_to(b"request", (node, 8443)).unwrap();
            let since = || switch.counts(&requests).since(before);
            let done = until(WAIT, || Some(since()).filter(|c| c.blocked + c.passed > 0)).unwrap();
            assert_eq!(done.blocked > 0, !answers_only, "{done:?}");
            fault.heal(&scene).unwrap();
            all_ready(&scene);
        }
    });
}

#[test]
fn clocks_jump_and_syncs_are_slow_or_fail() {
    enclosed(|| {
        let small = small(false);
        let scene = scene(&small);
        for offset_s in [3_000, -3_000] {
            let who = Victims::Follower;
            takes_effect(&scene, Action::ClockStep { who, offset_s }, SHORT).unwrap();
        }
        let who = Victims::Leader;
        for trouble in [SyncTrouble::Slow(20_000), SyncTrouble::FailsOnce, SyncTrouble::Fails] {
            busy(&scene, || takes_effect(&scene, Action::SyncFault { who, trouble }, SHORT))
                .unwrap();
        }
    });
}

#[test]
fn disks_get_full_and_forget_and_rot() {
    enclosed(|| {
        let small = small(true);
        disks_fail(&scene(&small));
        let scene = scene(&small);
        for who in [Victims::Follower, Victims::Leader] {
            takes_effect(&scene, Action::DiskFull { who, low: false }, SHORT).unwrap();
        }
        for who in [Victims::Leader, Victims::All] {
            takes_effect(&scene, Action::DiskFull { who, low: true }, SHORT).unwrap();
        }
    });
}

fn disks_fail(scene: &Scene) {
    for survives in [Survives::OnlySynced, Survives::SomeOfTheRest] {
        for who in [Victims::Leader, Victims::Majority, Victims::All] {
            takes_effect(scene, Action::PowerLoss { who, survives }, SHORT).unwrap();
        }
    }
    for bits in [1, 3] {
        takes_effect(scene, Action::BitFlip { bits }, SHORT).unwrap();
    }
}

#[test]
fn without_rights_nodes_are_on_loopback_behind_doors() {
    let small = small_in(false, true);
    let scene = scene(&small);
    assert!(scene.cluster.switch().is_err());
    for grudge in [Grudge::IntoLeader, Grudge::IntoOne] {
        let cut = Action::Partition { grudge, means: Means::Door };
        takes_effect(&scene, cut, Duration::from_secs(1)).unwrap();
    }
    takes_effect(&scene, Action::Kill { who: Victims::Leader }, SHORT).unwrap();
    takes_effect(&scene, Action::Kms { trouble: KmsTrouble::Pause }, SHORT).unwrap();
    takes_effect(&scene, Action::ClockStep { who: Victims::All, offset_s: 60 }, SHORT).unwrap();
    disks_fail(&scene);
    starves(&scene);
    let change = MemberChange::Replace;
    takes_effect(&scene, Action::Membership { change }, SHORT).unwrap();
}

/// A follower is cut off until it needs a snapshot, and gets one.
fn starves(scene: &Scene) {
    let storm = Action::SnapshotStorm { starve: true };
    busy(scene, || takes_effect(scene, storm, Duration::from_secs(6))).unwrap();
    let caught_up = || {
        let views = scene.cluster.views();
        let purged = views.iter().map(|view| view.purged).max()?;
        let all = views.len() == 3 && views.iter().all(|view| view.applied >= purged);
        all.then_some(())
    };
    until(WAIT, caught_up).expect("who was starved gets a snapshot");
}

#[test]
fn leaders_and_snapshots_come_one_after_the_other() {
    enclosed(|| {
        let small = small(false);
        let scene = scene(&small);
        let storm = Action::TransferStorm { every_ms: 500 };
        takes_effect(&scene, storm, Duration::from_secs(3)).unwrap();
        let storm = Action::SnapshotStorm { starve: false };
        takes_effect(&scene, storm, Duration::from_secs(2)).unwrap();
        starves(&scene);
    });
}

#[test]
fn members_come_and_go() {
    enclosed(|| {
        let small = small(false);
        let scene = scene(&small);
        let changed = |change| {
            takes_effect(&scene, Action::Membership { change }, SHORT).unwrap();
            let members = scene.cluster.members();
            for gone in (1..=7).filter(|id| !members.contains(id)) {
                assert_eq!(scene.cluster.view(gone), None, "who has left is stopped");
            }
            members
        };
        assert_eq!(changed(MemberChange::Grow), [1, 2, 3, 4]);
        let replaced = changed(MemberChange::Replace);
        assert!(replaced.len() == 4 && replaced.contains(&5), "{replaced:?}");
        assert_eq!(changed(MemberChange::Shrink).len(), 3);
    });
}

#[test]
fn a_member_without_its_disk_refuses_and_is_replaced() {
    enclosed(|| {
        let small = small(true);
        let scene = scene(&small);
        let change = MemberChange::LoseDisk;
        takes_effect(&scene, Action::Membership { change }, SHORT).unwrap();
        let members = scene.cluster.members();
        assert!(members.len() == 3 && members.contains(&4), "{members:?}");
        takes_effect(
            &scene,
            Action::PowerLoss { who: Victims::All, survives: Survives::OnlySynced },
            SHORT,
        )
        .unwrap();
    });
}
