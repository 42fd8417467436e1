//! Scheduled destruction (`contract §2.3`).

use super::*;
use crate::apply::destructions_due;
use crate::domain::erasure::{ERASURES_KEPT, Erasure, ErasurePoint};
use crate::domain::version::{Destruction, VersionRecord, VersionStatus};

const PENDING_MS: u64 = 7_000;
const RETAINED_MS: u64 = 86_400_000;

fn schedule(secret: &str, version: &str) -> Command {
    Command::ScheduleVersionDestruction {
        secret_id: secret_id(secret),
        version_id: version_id(version),
        pending_ms: PENDING_MS,
        retained_ms: RETAINED_MS,
    }
}

fn cancel(secret: &str, version: &str) -> Command {
    Command::CancelVersionDestruction {
        secret_id: secret_id(secret),
        version_id: version_id(version),
    }
}

/// A secret with two versions, of which the second is current.
fn world() -> World {
    let mut world = World::new();
    world.create("s", Some("v1"));
    world.run(add_version("s", "v2", MergeBase::Named(version_id("v1"))));
    world
}

impl World {
    fn later(&mut self, ms: u64) {
        self.now = self.now.plus(Duration::from_millis(ms));
    }

    fn version(&self, version: &str) -> VersionRecord {
        tables::version(&self.state, &secret_id("s"), &version_id(version)).unwrap().unwrap()
    }

    fn has_payload(&self, version: &str) -> bool {
        tables::payload(&self.state, &secret_id("s"), &version_id(version)).unwrap().is_some()
    }

    fn due(&self) -> Vec<Destruction> {
        destructions_due(&self.state, self.now, 10).unwrap()
    }

    fn erasures(&self) -> ErasurePoint {
        tables::erasures(&self.state).unwrap()
    }

    /// The erasures behind the first `done`, if they are still known.
    fn erasures_after(&self, done: u64) -> Option<Vec<Erasure>> {
        tables::erasures_after(&self.state, done, self.erasures()).unwrap()
    }

    fn reaper(&mut self, due: Destruction) -> Envelope {
        let mut envelope = self.envelope(Command::DestroyVersion(Box::new(due)));
        (envelope.subject, envelope.token) = (Subject::internal(), None);
        envelope
    }

    /// What the reaper proposes once everything scheduled is due.
    fn later_reaper(&mut self) -> Envelope {
        self.later(PENDING_MS);
        let [due] = <[_; 1]>::try_from(self.due()).unwrap();
        self.reaper(due)
    }
}

#[test]
fn a_version_is_destroyed_when_its_time_has_come_and_not_before() {
    let mut world = world();
    let operation = world.run(schedule("s", "v2"));
    let destroy_at = world.now.plus(Duration::from_millis(PENDING_MS));
    let OperationMetadata::ScheduleVersionDestruction { destroy_at: told, .. } = operation.metadata
    else {
        panic!("{operation:?}")
    };
    let version = world.version("v2");
    assert_eq!((told, version.destroy_at), (destroy_at, Some(destroy_at)));
    assert_eq!(version.status, VersionStatus::ScheduledForDestruction);
    assert_eq!(world.current("s"), Some(version_id("v2")), "the pointer stays");

    world.later(PENDING_MS - 1);
    assert_eq!(world.due(), []);
    let due = Destruction {
        secret_id: secret_id("s"),
        version_id: version_id("v2"),
        destroy_at,
        retained_ms: RETAINED_MS,
    };
    let early = world.reaper(due.clone());
    let not_yet = Precondition::VersionNotScheduled(version_id("v2")).into();
    assert_eq!(world.refused(&early), not_yet);
    assert!(world.has_payload("v2"), "Cancel still brings it back");
    world.later(1);
    assert_eq!(world.due(), std::slice::from_ref(&due));
    let on_time = world.reaper(due.clone());
    world.done(&on_time);

    let version = world.version("v2");
    assert_eq!((version.status, version.destroy_at), (VersionStatus::Destroyed, None));
    assert_eq!(version.entry_keys, ["password"], "metadata stay");
    assert!(!world.has_payload("v2") && world.has_payload("v1"));
    assert_eq!(world.current("s"), Some(version_id("v2")), "the pointer stays");
    assert_eq!(world.due(), []);
    let again = world.reaper(due);
    assert_eq!(world.refused(&again), not_yet);
    let destroyed: Rejection = Precondition::VersionDestroyed(version_id("v2")).into();
    assert_eq!(world.refuse(schedule("s", "v2")), destroyed);
    assert_eq!(world.refuse(cancel("s", "v2")), destroyed);
}

#[test]
fn a_destruction_that_was_called_off_or_put_off_does_not_happen_at_its_first_time() {
    let mut world = world();
    world.run(schedule("s", "v1"));
    world.later(PENDING_MS);
    let first = world.due().remove(0);
    world.run(cancel("s", "v1"));
    assert_eq!(world.due(), []);
    let first = world.reaper(first);
    let not_scheduled: Rejection = Precondition::VersionNotScheduled(version_id("v1")).into();
    assert_eq!(world.refused(&first), not_scheduled, "it was proposed before");
    let version = world.version("v1");
    assert_eq!((version.status, version.destroy_at), (VersionStatus::Active, None));
    assert_eq!(world.refuse(cancel("s", "v1")), not_scheduled);

    world.run(schedule("s", "v1"));
    world.later(PENDING_MS);
    let first = world.due().remove(0);
    world.run(schedule("s", "v1"));
    assert_eq!(world.due(), [], "the new schedule took the place of the old one");
    let first = world.reaper(first);
    assert_eq!(world.refused(&first), not_scheduled);
    assert!(world.has_payload("v1"));
}

#[test]
fn a_destroyed_version_makes_room_for_another_one() {
    let mut world = world();
    world.run(add_version("s", "v3", MergeBase::Named(version_id("v1"))));
    let fourth = add_version("s", "v4", MergeBase::Named(version_id("v1")));
    world.run(schedule("s", "v2"));
    // It counts as long as it can come back (`contract §2.3`).
    assert!(matches!(world.refuse(fourth.clone()), Rejection::QuotaExceeded { .. }));
    let due = world.later_reaper();
    world.done(&due);
    world.run(fourth);
    assert_eq!(world.secret("s").live_versions, 3);
}

#[test]
fn a_secret_without_an_active_current_version_takes_an_entry_list_without_a_base() {
    let mut world = world();
    world.run(schedule("s", "v2"));
    // As Terraform replaces a version (`contract §2.4`).
    world.run(add_version("s", "v3", MergeBase::Default(None)));
    assert_eq!(world.current("s"), Some(version_id("v3")));
    let scheduled =
        Command::SetCurrentVersion { secret_id: secret_id("s"), version_id: version_id("v2") };
    let not_active: Rejection = Precondition::VersionNotActive(version_id("v2")).into();
    assert_eq!(world.refuse(scheduled), not_active);
}

#[test]
fn only_the_cluster_itself_destroys_and_a_deleted_secret_leaves_no_schedule() {
    let mut world = world();
    world.run(schedule("s", "v1"));
    let due = world.later_reaper();
    let mut by_hand = due.clone();
    (by_hand.subject, by_hand.token) = (account("admin"), Some(token(Some("admin-key"))));
    assert_eq!(world.refused(&by_hand), Rejection::PermissionDenied);
    world.run(Command::DeleteSecret { secret_id: secret_id("s") });
    assert_eq!(world.due(), []);
    assert!(matches!(world.refused(&due), Rejection::NotFound { .. }));
}

#[test]
fn the_destruction_is_no_operation_of_the_secret() {
    let mut world = world();
    world.run(schedule("s", "v1"));
    let listed = |world: &World| {
        let prefix = keys::operations_of(&ResourceRef::new(ResourceKind::Secret, "s"));
        let scan = Scan {
            space: Space::Records,
            to: keys::prefix_end(&prefix),
            from: prefix,
            direction: Direction::Ascending,
            limit: usize::MAX,
        };
        world.state.scan(&scan).unwrap().len()
    };
    let before = listed(&world);
    let due = world.later_reaper();
    let operation = world.done(&due);
    assert_eq!(listed(&world), before);
    // A copy of the proposal has no second effect, and is told so.
    assert_eq!(world.done(&due), operation);
}

#[test]
fn what_is_destroyed_is_noted_for_every_node() {
    let mut world = world();
    let key = |version| keys::payload(&secret_id("s"), &version_id(version));
    world.run(schedule("s", "v1"));
    assert_eq!(world.erasures(), ErasurePoint::default());
    let due = world.later_reaper();
    world.done(&due);
    let expected = ErasurePoint { count: 1, index: world.index, at: world.now };
    assert_eq!(world.erasures(), expected);
    let [first] = <[_; 1]>::try_from(world.erasures_after(0).unwrap()).unwrap();
    assert!(first.keys().contains(&key("v1")) && !first.keys().contains(&key("v2")));
    let marks = world.version("v1").payload_marks.unwrap();
    assert_eq!(marks.patterns(), [[4; 16]], "its message is too short");
    assert_eq!(world.version("v2").payload_marks, None);

    world.create("other", Some("v3"));
    world.run(Command::DeleteSecret { secret_id: secret_id("s") });
    assert_eq!(world.erasures().count, 2);
    let [second] = <[_; 1]>::try_from(world.erasures_after(1).unwrap()).unwrap();
    assert!(second.keys().contains(&key("v1")) && second.keys().contains(&key("v2")));
    assert!(!second.keys().contains(&keys::payload(&secret_id("other"), &version_id("v3"))));
    assert_eq!(world.erasures_after(2), Some(Vec::new()));

    world.create("empty", None);
    world.run(Command::DeleteSecret { secret_id: secret_id("empty") });
    assert_eq!(world.erasures().count, 2, "there was no payload");
}

#[test]
fn a_late_copy_of_what_is_destroyed_is_noted_because_the_log_holds_it() {
    let mut world = world();
    let named = MergeBase::Named(version_id("v1"));
    let add = world.envelope(add_version("s", "v3", named.clone()));
    let operation = world.done(&add);
    assert_eq!(world.done(&add), operation);
    assert_eq!(world.erasures().count, 0, "it is not destroyed");
    world.run(schedule("s", "v3"));
    let due = world.later_reaper();
    world.done(&due);
    assert_eq!(world.done(&add), operation);
    let expected = ErasurePoint { count: 2, index: world.index, at: world.now };
    assert_eq!(world.erasures(), expected);
    assert!(world.erasures_after(1).unwrap()[0].keys().is_empty(), "no row came of it");

    // One that is refused, for its operation is another.
    let copy = world.envelope(add.command.clone());
    assert!(matches!(world.apply(&copy), Outcome::Rejected(_)));
    assert_eq!(world.erasures().count, 3);
    world.run(Command::DeleteSecret { secret_id: secret_id("s") });
    let create = Command::CreateSecret(Box::new(create_secret("s", Some("v1"))));
    let create = world.envelope(create);
    assert!(matches!(world.apply(&create), Outcome::Rejected(_)));
    assert_eq!(world.erasures().index, world.index);
    // What was never stored is not destroyed.
    let before = world.erasures();
    let unknown = world.envelope(add_version("t", "v9", named));
    assert!(matches!(world.apply(&unknown), Outcome::Rejected(_)));
    assert_eq!(world.erasures(), before);
}

#[test]
fn a_merge_that_is_late_for_its_base_is_noted_because_the_log_holds_the_values() {
    for (base, destroyed) in [
        (MergeBase::Named(version_id("v1")), "v1"),
        (MergeBase::Default(Some(version_id("v2"))), "v2"),
    ] {
        let mut world = world();
        world.run(schedule("s", destroyed));
        let scheduled = world.envelope(add_version("s", "v3", base.clone()));
        assert!(matches!(world.apply(&scheduled), Outcome::Rejected(_)));
        assert_eq!(world.erasures().count, 0, "it can still be called back");
        let due = world.later_reaper();
        world.done(&due);
        let late = world.envelope(add_version("s", "v4", base));
        assert!(matches!(world.apply(&late), Outcome::Rejected(_)));
        let expected = ErasurePoint { count: 2, index: world.index, at: world.now };
        assert_eq!(world.erasures(), expected);
    }
}

/// It is sealed anew: the same values, under an id that never was a version's.
#[test]
fn a_late_repeat_of_the_request_is_noted_because_the_log_holds_its_values() {
    let mut world = world();
    let keyed = |world: &mut World, version: &str| {
        let add = add_version("s", version, MergeBase::Named(version_id("v1")));
        let mut envelope = world.envelope(add);
        envelope.idempotency = Some(IdempotencyClaim {
            method: "AddVersion".into(),
            key: "key".into(),
            request_mac: [1; 32].into(),
            mac_key_id: 1,
        });
        envelope
    };
    let first = keyed(&mut world, "v3");
    let operation = world.done(&first);
    let again = keyed(&mut world, "v4");
    assert_eq!(world.done(&again), operation);
    assert_eq!(world.erasures().count, 0, "it is not destroyed");
    world.run(schedule("s", "v3"));
    let due = world.later_reaper();
    world.done(&due);
    let late = keyed(&mut world, "v5");
    assert_eq!(world.done(&late), operation);
    let expected = ErasurePoint { count: 2, index: world.index, at: world.now };
    assert_eq!(world.erasures(), expected);
}

/// Whatever is destroyed after it, and whenever the node began anew.
#[test]
fn the_oldest_erasure_tells_how_far_a_node_is_behind() {
    let mut world = world();
    let since =
        |world: &World, done| tables::erasing_since(&world.state, done, world.erasures()).unwrap();
    assert_eq!(since(&world, 0), None);
    world.run(schedule("s", "v1"));
    let due = world.later_reaper();
    world.done(&due);
    let first = world.now;
    world.later(PENDING_MS);
    world.run(Command::DeleteSecret { secret_id: secret_id("s") });
    assert_eq!(since(&world, 0), Some(first));
    assert_eq!(since(&world, 1), Some(world.now));
    assert_eq!(since(&world, 2), None);
}

#[test]
fn of_more_erasures_than_are_kept_only_the_number_is_known() {
    let mut world = World::new();
    for number in 0..=ERASURES_KEPT {
        let secret = format!("s{number}");
        world.create(&secret, Some(&format!("v{number}")));
        world.run(Command::DeleteSecret { secret_id: secret_id(&secret) });
    }
    assert_eq!(world.erasures().count, ERASURES_KEPT + 1);
    assert_eq!(world.erasures_after(0), None);
    assert!(tables::erasing_since(&world.state, 0, world.erasures()).unwrap().is_some());
    let kept = world.erasures_after(1).unwrap();
    assert_eq!(kept.len() as u64, ERASURES_KEPT);
    let last = keys::payload(&secret_id("s256"), &version_id("v256"));
    assert!(kept.last().unwrap().keys().contains(&last));
}
