//! The feature level: it only rises, by the system alone, and never past what this build knows.

use lockbox_core::{ClusterId, Subject};

use super::{Map, World, position};
use crate::apply::{apply_entry, found_restored};
use crate::domain::codec;
use crate::domain::command::{Command, Envelope};
use crate::domain::feature_level::FEATURE_LEVEL_MAX;
use crate::domain::outcome::{Outcome, Precondition, Rejection};
use crate::error::StorageFailure;
use crate::state::{Overlay, Space, keys, tables};

fn raise(world: &mut World, level: u32) -> Envelope {
    let mut envelope = world.envelope(Command::RaiseFeatureLevel { level });
    (envelope.subject, envelope.token) = (Subject::internal(), None);
    envelope
}

/// A state as a build wrote it that knew of no levels.
fn at_level_0() -> World {
    let mut world = World::new();
    world.state.0.remove(&(Space::System, keys::SYSTEM_FEATURE_LEVEL.to_vec())).unwrap();
    world
}

fn level(state: &Map) -> u32 {
    tables::feature_level(state).unwrap()
}

#[test]
fn a_cluster_begins_at_the_level_of_its_first_members() {
    assert_eq!(level(&World::new().state), FEATURE_LEVEL_MAX);
    assert_eq!(level(&at_level_0().state), 0);
}

#[test]
fn the_level_rises_and_never_falls() {
    let mut world = at_level_0();
    let before = world.state.clone();
    let envelope = raise(&mut world, 1);
    assert_eq!(world.apply(&envelope), Outcome::Nothing);
    assert_eq!(level(&world.state), 1);
    let mut rest = world.state.clone();
    rest.0.remove(&(Space::System, keys::SYSTEM_FEATURE_LEVEL.to_vec())).unwrap();
    assert_eq!(rest, before, "something else has changed");

    let kept = world.state.clone();
    for lower in [0, 1] {
        let envelope = raise(&mut world, lower);
        assert_eq!(world.apply(&envelope), Outcome::Nothing);
        assert_eq!(world.state, kept, "level {lower}");
    }
}

#[test]
fn only_the_system_raises_the_level() {
    let mut world = at_level_0();
    let refused = world.refuse(Command::RaiseFeatureLevel { level: 1 });
    assert_eq!(refused, Rejection::PermissionDenied);
    assert_eq!(level(&world.state), 0);
}

#[test]
fn what_came_with_a_level_is_refused_below_it() {
    let mut world = at_level_0();
    for command in [Command::BeginStateCheck, Command::SetRetention { bytes_max: 1 }] {
        let mut envelope = world.envelope(command);
        (envelope.subject, envelope.token) = (Subject::internal(), None);
        let refused = Rejection::Precondition(Precondition::FeatureLevel);
        assert_eq!(world.apply(&envelope), Outcome::Rejected(refused));
    }
    assert_eq!(tables::state_check(&world.state).unwrap(), None);
    assert_eq!(tables::retention(&world.state).unwrap(), None);
}

#[test]
fn a_restored_cluster_begins_at_the_level_of_its_build() {
    for world in [at_level_0(), World::new()] {
        let before = tables::cluster(&world.state).unwrap().unwrap();
        let id = ClusterId::parse("lbcrestored").unwrap();
        let mut overlay = Overlay::new(&world.state);
        found_restored(&mut overlay, &before, id, (7, [7; 16]), 99).unwrap();
        assert_eq!(tables::feature_level(&overlay).unwrap(), FEATURE_LEVEL_MAX);
    }
}

#[test]
fn a_level_that_this_build_does_not_know_ends_it() {
    let mut world = World::new();
    let envelope = raise(&mut world, FEATURE_LEVEL_MAX + 1);
    let mut overlay = Overlay::new(&world.state);
    let applied = apply_entry(&mut overlay, &codec::encode(&envelope), position(9));
    let error = applied.unwrap_err();
    assert_eq!(error.failure, StorageFailure::WrongIdentity);
    assert!(error.to_string().contains("use the newer build"), "{error}");
}
