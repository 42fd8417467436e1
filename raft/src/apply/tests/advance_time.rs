//! The command that only stamps the time.

use std::time::Duration;

use lockbox_core::Subject;

use super::{Map, World};
use crate::domain::command::Command;
use crate::domain::outcome::{Outcome, Rejection};
use crate::state::{Space, keys, tables};

#[test]
fn advancing_the_time_does_nothing_else() {
    let mut world = World::new();
    world.create("s", None);
    let before = world.state.clone();
    let mut envelope = world.envelope(Command::AdvanceTime);
    world.now = world.now.plus(Duration::from_secs(60));
    envelope.proposed_at = world.now;
    (envelope.subject, envelope.token) = (Subject::internal(), None);
    assert_eq!(world.apply(&envelope), Outcome::Nothing);
    assert_eq!(tables::log_time(&world.state).unwrap(), world.now);
    let times = [keys::SYSTEM_LOG_TIME, keys::SYSTEM_EXPIRY_NEXT];
    let without_time = |state: &Map| {
        let mut rows = state.0.clone();
        for key in times {
            rows.remove(&(Space::System, key.to_vec())).unwrap();
        }
        rows
    };
    assert_eq!(without_time(&world.state), without_time(&before));
}

#[test]
fn advancing_the_time_forgets_what_is_due() {
    let mut world = World::new();
    let operation = world.create("s", None);
    let mut envelope = world.envelope(Command::AdvanceTime);
    envelope.proposed_at = world.now.plus(Duration::from_secs(400 * 24 * 3600));
    (envelope.subject, envelope.token) = (Subject::internal(), None);
    world.apply(&envelope);
    assert!(tables::operation(&world.state, &operation.id).unwrap().is_none());
}

#[test]
fn only_the_system_advances_the_time() {
    let mut world = World::new();
    assert_eq!(world.refuse(Command::AdvanceTime), Rejection::PermissionDenied);
}
