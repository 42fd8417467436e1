//! The seeded bugs of `apply` bite: each test runs healthy and as the mutant (`crate::trial`).

use lockbox_core::Mutant;

use super::*;
use crate::apply::destructions_due;
use crate::domain::version::Destruction;
use crate::trial::Trial;

#[test]
fn lost_update() {
    let trial = Trial::of(Mutant::LostUpdate);
    let mut world = World::new();
    world.create("s", Some("v1"));
    world.run(add_version("s", "v2", MergeBase::Default(Some(version_id("v1")))));
    let late = world.envelope(add_version("s", "v3", MergeBase::Default(Some(version_id("v1")))));
    trial.end(matches!(world.apply(&late), Outcome::Done(_)));
}

#[test]
fn map_order() {
    let trial = Trial::of(Mutant::MapOrder);
    let state = || {
        let mut world = World::new();
        let mut create = create_secret("s", Some("v1"));
        let version = create.version.as_mut().unwrap();
        version.entry_keys = (0..20).map(|n| format!("key-{n}")).collect();
        world.run(Command::CreateSecret(Box::new(create)));
        world.state
    };
    trial.end(state() != state());
}

#[test]
fn keys_forgotten_at_leader_change() {
    let trial = Trial::of(Mutant::KeysForgottenAtLeaderChange);
    let mut world = World::new();
    let keyed = |world: &mut World, secret: &str| {
        let command = Command::CreateSecret(Box::new(create_secret(secret, None)));
        let mut envelope = world.envelope(command);
        envelope.idempotency = Some(IdempotencyClaim {
            method: "Create".into(),
            key: "key".into(),
            request_mac: [1; 32].into(),
            mac_key_id: 1,
        });
        world.done(&envelope)
    };
    let first = keyed(&mut world, "s");
    let mut leader_begins = world.envelope(Command::AdvanceTime);
    (leader_begins.subject, leader_begins.token) = (Subject::internal(), None);
    assert!(matches!(world.apply(&leader_begins), Outcome::Nothing));
    trial.end(keyed(&mut world, "t").id != first.id);
}

#[test]
fn ids_reused() {
    let trial = Trial::of(Mutant::IdsReused);
    let mut world = World::new();
    world.create("s", Some("v1"));
    world.run(Command::DeleteSecret { secret_id: secret_id("s") });
    let again = Command::CreateSecret(Box::new(create_secret("s", Some("v1"))));
    let again = world.envelope(again);
    trial.end(matches!(world.apply(&again), Outcome::Done(_)));
}

#[test]
fn reapplied_after_crash() {
    let trial = Trial::of(Mutant::ReappliedAfterCrash);
    let mut world = World::new();
    world.create("s", Some("v1"));
    let add = world.envelope(add_version("s", "v2", MergeBase::Default(Some(version_id("v1")))));
    world.done(&add);
    let before = world.state.clone();
    // The same entry at the same place.
    world.index -= 1;
    world.apply(&add);
    trial.end(world.state != before);
}

/// A cloud with as many secrets as it may have.
fn full() -> World {
    let mut world = World::new();
    for secret in ["s", "t", "u"] {
        world.create(secret, None);
    }
    world
}

/// What comes of one more.
fn one_more(world: &mut World) -> Outcome {
    let create = Command::CreateSecret(Box::new(create_secret("v", None)));
    let envelope = world.envelope(create);
    world.apply(&envelope)
}

#[test]
fn quota_judged_early() {
    let trial = Trial::of(Mutant::QuotaJudgedEarly);
    let mut world = full();
    trial.end(matches!(one_more(&mut world), Outcome::Done(_)));
}

#[test]
fn quota_not_given_back() {
    let trial = Trial::of(Mutant::QuotaNotGivenBack);
    let mut world = full();
    world.run(Command::DeleteSecret { secret_id: secret_id("t") });
    let refused = Outcome::Rejected(Rejection::QuotaExceeded {
        quota: "lockbox.secrets.count".into(),
        limit: 3,
    });
    trial.end(one_more(&mut world) == refused);
}

/// A secret's only version, scheduled, as the reaper proposes it.
fn scheduled() -> (World, Destruction) {
    let mut world = World::new();
    world.create("s", Some("v1"));
    let (secret_id, version_id) = (secret_id("s"), version_id("v1"));
    world.run(Command::ScheduleVersionDestruction {
        secret_id: secret_id.clone(),
        version_id: version_id.clone(),
        pending_ms: 7_000,
        retained_ms: 86_400_000,
    });
    let destroy_at = world.now.plus(Duration::from_secs(7));
    (world, Destruction { secret_id, version_id, destroy_at, retained_ms: 86_400_000 })
}

fn is_destroyed(world: &mut World, due: Destruction) -> bool {
    let mut envelope = world.envelope(Command::DestroyVersion(Box::new(due)));
    (envelope.subject, envelope.token) = (Subject::internal(), None);
    matches!(world.apply(&envelope), Outcome::Done(_))
}

#[test]
fn version_id_reused() {
    let trial = Trial::of(Mutant::VersionIdReused);
    let (mut world, due) = scheduled();
    world.now = due.destroy_at;
    assert!(is_destroyed(&mut world, due));
    let again = world.envelope(add_version("s", "v1", MergeBase::Default(None)));
    trial.end(matches!(world.apply(&again), Outcome::Done(_)));
}

#[test]
fn cancel_keeps_timer() {
    let trial = Trial::of(Mutant::CancelKeepsTimer);
    let (mut world, due) = scheduled();
    world.run(Command::CancelVersionDestruction {
        secret_id: due.secret_id.clone(),
        version_id: due.version_id.clone(),
    });
    world.now = due.destroy_at;
    let still_due = !destructions_due(&world.state, world.now, 10).unwrap().is_empty();
    trial.end(is_destroyed(&mut world, due) && still_due);
}

#[test]
fn destroy_by_wall_clock() {
    let trial = Trial::of(Mutant::DestroyByWallClock);
    let (mut world, due) = scheduled();
    trial.end(is_destroyed(&mut world, due));
}

#[test]
fn wrapped_key_kept() {
    let trial = Trial::of(Mutant::WrappedKeyKept);
    let (mut world, due) = scheduled();
    world.now = due.destroy_at;
    let (secret, version) = (due.secret_id.clone(), due.version_id.clone());
    assert!(is_destroyed(&mut world, due));
    trial.end(tables::payload(&world.state, &secret, &version).unwrap().is_some());
}
