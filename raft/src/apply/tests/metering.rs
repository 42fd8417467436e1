//! How long versions are stored (`contract §7`).

use super::*;
use crate::apply::destructions_due;
use crate::domain::metering::StorageMeter;

const HOUR_MS: u64 = 3_600_000;

impl World {
    /// Stored versions, and hours of versions, as the meter of the cloud shows them now.
    fn metered(&self) -> (u64, u64) {
        let cloud = id(CloudId::parse, "cloud");
        let meter = tables::storage_meter(&self.state, &cloud).unwrap();
        meter.map_or((0, 0), |m: StorageMeter| (m.versions, m.version_ms_at(self.now) / HOUR_MS))
    }

    fn hours_later(&mut self, hours: u64) {
        self.now = self.now.plus(Duration::from_millis(hours * HOUR_MS));
    }
}

#[test]
fn versions_are_metered_from_their_creation_to_their_destruction() {
    let mut world = World::new();
    world.create("empty", None);
    assert_eq!(world.metered(), (0, 0));
    world.create("s", Some("v1"));
    world.hours_later(2);
    assert_eq!(world.metered(), (1, 2));
    world.run(add_version("s", "v2", MergeBase::Named(version_id("v1"))));
    world.hours_later(1);
    assert_eq!(world.metered(), (2, 4));
    world.refuse(add_version("s", "v2", MergeBase::Named(version_id("v1"))));
    assert_eq!(world.metered(), (2, 4), "what is refused is not stored");

    // One that waits for its destruction is stored, too.
    world.run(Command::ScheduleVersionDestruction {
        secret_id: secret_id("s"),
        version_id: version_id("v1"),
        pending_ms: HOUR_MS,
        retained_ms: 24 * HOUR_MS,
    });
    world.hours_later(1);
    let due = destructions_due(&world.state, world.now, 1).unwrap().remove(0);
    let mut destroyed = world.envelope(Command::DestroyVersion(Box::new(due)));
    (destroyed.subject, destroyed.token) = (Subject::internal(), None);
    world.done(&destroyed);
    assert_eq!(world.metered(), (1, 6));
    world.hours_later(1);
    world.run(Command::DeleteSecret { secret_id: secret_id("s") });
    world.hours_later(5);
    assert_eq!(world.metered(), (0, 7), "a deleted secret is not stored, and was");
}

/// An earlier build has not counted what it stored.
#[test]
fn a_meter_that_begins_late_does_not_go_below_zero() {
    let mut world = World::new();
    world.create("s", Some("v1"));
    let key = keys::storage_meter(&id(CloudId::parse, "cloud"));
    world.state.0.remove(&(Space::Records, key)).unwrap();
    world.run(Command::DeleteSecret { secret_id: secret_id("s") });
    world.hours_later(3);
    assert_eq!(world.metered(), (0, 0));
    world.create("t", Some("w1"));
    world.hours_later(1);
    assert_eq!(world.metered(), (1, 1));
}
