//! How long versions are stored, and how often payloads are read (`contract §7`).

use super::*;
use crate::apply::destructions_due;
use crate::domain::metering::{HOUR_MS, UsageMeter};
use crate::domain::read_report::{CloudReads, ReadReport};

/// The first whole hour: the clock of these tests begins inside of an earlier one.
const FIRST_HOUR: u64 = 1;

fn cloud() -> CloudId {
    id(CloudId::parse, "cloud")
}

impl World {
    /// Stored versions, and hours of versions, as the meter of the cloud shows them now.
    fn metered(&self) -> (u64, u64) {
        let meter = tables::usage_meter(&self.state, &cloud()).unwrap();
        meter.map_or((0, 0), |m: UsageMeter| (m.versions, m.version_ms_at(self.now) / HOUR_MS))
    }

    /// Hours of versions, and reads, from one hour up to another, both counted from the first.
    fn used(&self, from: u64, to: u64) -> (u64, u64) {
        let hours = (FIRST_HOUR + from, FIRST_HOUR + to);
        let used = tables::usage_between(&self.state, &cloud(), hours, self.now).unwrap();
        (used.version_ms / HOUR_MS, used.reads)
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
    let key = keys::usage_meter(&cloud());
    world.state.0.remove(&(Space::Records, key)).unwrap();
    world.run(Command::DeleteSecret { secret_id: secret_id("s") });
    world.hours_later(3);
    assert_eq!(world.metered(), (0, 0));
    world.create("t", Some("w1"));
    world.hours_later(1);
    assert_eq!(world.metered(), (1, 1));
}

/// Each hour has what was stored in it, however long nothing changed, and after the secret is gone.
#[test]
fn a_meter_is_read_at_the_end_of_any_hour() {
    let mut world = World::new();
    world.now = LogTime::from_ms(FIRST_HOUR * HOUR_MS);
    world.create("s", Some("v1"));
    assert_eq!(world.used(0, 1), (0, 0), "the hour has just begun");
    world.hours_later(3);
    world.run(add_version("s", "v2", MergeBase::Named(version_id("v1"))));
    world.hours_later(3);
    world.run(Command::DeleteSecret { secret_id: secret_id("s") });
    world.hours_later(3);
    for (from, to, hours) in
        [(0, 1, 1), (0, 3, 3), (2, 4, 3), (3, 6, 6), (5, 9, 2), (6, 99, 0), (0, 99, 9), (50, 60, 0)]
    {
        assert_eq!(world.used(from, to), (hours, 0), "from {from} to {to}");
    }
    world.create("t", Some("w1"));
    assert_eq!(world.used(0, 99), (9, 0), "what was used stays");
    world.hours_later(2);
    assert_eq!((world.used(8, 9), world.used(9, 11), world.used(9, 99)), ((0, 0), (2, 0), (2, 0)));
}

/// As an earlier build has written it, which kept no reads and no hours.
#[test]
fn a_meter_of_an_earlier_build_goes_on() {
    #[derive(minicbor::Encode)]
    struct Earlier {
        #[n(0)]
        cloud_id: CloudId,
        #[n(1)]
        versions: u64,
        #[n(2)]
        version_ms: u64,
        #[n(3)]
        until: LogTime,
    }
    let mut world = World::new();
    world.now = LogTime::from_ms(FIRST_HOUR * HOUR_MS);
    let earlier = Earlier { cloud_id: cloud(), versions: 2, version_ms: 0, until: world.now };
    let key = (Space::Records, keys::usage_meter(&cloud()));
    world.state.0.insert(key, codec::encode(&earlier));
    world.hours_later(2);
    world.create("s", Some("v1"));
    world.hours_later(1);
    assert_eq!((world.used(0, 2), world.used(2, 3), world.used(0, 9)), ((4, 0), (3, 0), (7, 0)));
}

fn report(sequence: u64, reads: &[(&str, u64)]) -> Command {
    let of =
        |&(cloud, reads): &(&str, u64)| CloudReads { cloud_id: id(CloudId::parse, cloud), reads };
    let reads = reads.iter().map(of).collect();
    Command::ReportReads(Box::new(ReadReport { node_id: 1, incarnation: [7; 16], sequence, reads }))
}

impl World {
    /// Reports as a node does.
    fn report(&mut self, command: Command) {
        let mut envelope = self.envelope(command);
        (envelope.subject, envelope.token) = (Subject::internal(), None);
        assert_eq!(self.apply(&envelope), Outcome::Nothing);
    }
}

#[test]
fn reads_are_counted_once_in_the_hour_of_their_report_and_outlive_the_secret() {
    let mut world = World::new();
    world.now = LogTime::from_ms(FIRST_HOUR * HOUR_MS);
    world.create("s", Some("v1"));
    world.report(report(1, &[("cloud", 1_000), ("other", 5)]));
    assert_eq!(world.used(0, 1), (0, 1_000));
    let counted = world.state.clone();
    world.report(report(1, &[("cloud", 1_000), ("other", 5)]));
    assert_eq!(world.state, counted, "the same proposal once more");
    world.hours_later(2);
    world.report(report(2, &[("cloud", 20)]));
    world.run(Command::DeleteSecret { secret_id: secret_id("s") });
    world.hours_later(2);
    assert_eq!(
        (world.used(0, 1), world.used(1, 2), world.used(2, 3)),
        ((1, 1_000), (1, 0), (0, 20))
    );
    assert_eq!(world.used(0, 99), (2, 1_020), "a deleted secret was read");
    let other = tables::usage_meter(&world.state, &id(CloudId::parse, "other")).unwrap().unwrap();
    assert_eq!((other.reads, other.versions), (5, 0));
}

#[test]
fn only_the_system_reports_reads() {
    let mut world = World::new();
    assert_eq!(world.refuse(report(1, &[("cloud", 1)])), Rejection::PermissionDenied);
}
