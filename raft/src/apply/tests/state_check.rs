//! The comparison of the members' states, as the log decides it.

use std::collections::BTreeMap;

use lockbox_core::NodeId;

use super::super::register_members;
use super::*;
use crate::domain::state_check::{StateCheck, StateReport, Verdict};

fn by_the_system(world: &mut World, command: Command) {
    let mut envelope = world.envelope(command);
    (envelope.subject, envelope.token) = (Subject::internal(), None);
    assert_eq!(world.apply(&envelope), Outcome::Nothing);
}

fn check(world: &World) -> StateCheck {
    tables::state_check(&world.state).unwrap().unwrap()
}

fn report(world: &mut World, index: u64, node_id: NodeId, byte: u8) {
    let report = StateReport { node_id, hash: [byte; 32] };
    by_the_system(world, Command::ReportStateHash { index, report });
}

/// A world with the members 1 to 3.
fn world() -> World {
    let mut world = World::new();
    let base = world.state.clone();
    let mut overlay = Overlay::new(&base);
    let members: BTreeMap<NodeId, [u8; 16]> = (1..=3).map(|id| (id, [0; 16])).collect();
    register_members(&mut overlay, &members, world.index).unwrap();
    for write in overlay.into_writes() {
        world.state.0.insert((write.space, write.key), write.value.unwrap());
    }
    world
}

#[test]
fn reports_of_members_decide_and_others_come_to_nothing() {
    let mut world = world();
    by_the_system(&mut world, Command::BeginStateCheck);
    let index = world.index;
    let begun = check(&world);
    assert_eq!((begun.index, begun.begun_at, begun.reports.len()), (index, world.now, 0));
    report(&mut world, index + 1, 1, 5);
    report(&mut world, index, 9, 5);
    assert_eq!(check(&world), begun, "of another comparison, or of a stranger");
    report(&mut world, index, 1, 5);
    report(&mut world, index, 1, 6);
    assert_eq!(check(&world).reports, [StateReport { node_id: 1, hash: [5; 32] }]);
    report(&mut world, index, 2, 6);
    report(&mut world, index, 3, 5);
    assert_eq!(check(&world).verdict(&[1, 2, 3]), Verdict::Agreed([5; 32]));
    by_the_system(&mut world, Command::BeginStateCheck);
    assert_eq!(check(&world).index, world.index);
    assert!(check(&world).reports.is_empty());
}

#[test]
fn only_the_system_compares() {
    let mut world = world();
    assert_eq!(world.refuse(Command::BeginStateCheck), Rejection::PermissionDenied);
    let report = StateReport { node_id: 1, hash: [5; 32] };
    let report = Command::ReportStateHash { index: world.index, report };
    assert_eq!(world.refuse(report), Rejection::PermissionDenied);
}

#[test]
fn whoever_applies_is_asked_for_the_hash_of_that_very_entry() {
    let mut world = world();
    let mut overlay = Overlay::new(&world.state);
    let mut begin = world_envelope(Command::BeginStateCheck);
    (begin.subject, begin.token) = (Subject::internal(), None);
    apply_entry(&mut overlay, &codec::encode(&begin), position(world.index + 1)).unwrap();
    assert!(overlay.is_hash_asked());
    world.create("s", None);
    let overlay = Overlay::new(&world.state);
    assert!(!overlay.is_hash_asked());
}

/// An envelope of a world that is borrowed.
fn world_envelope(command: Command) -> Envelope {
    World::new().envelope(command)
}
