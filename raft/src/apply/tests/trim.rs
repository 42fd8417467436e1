//! The cap on what is kept: the oldest operations go, none before a day, and no idempotency key
//! finds its record without its operation.

use super::*;
use crate::domain::idempotency::{IDEMPOTENCY_RETENTION, OPERATION_RETENTION_MIN};
use crate::domain::retention::RetentionMeter;

fn set(world: &mut World, bytes_max: u64) {
    let mut envelope = world.envelope(Command::SetRetention { bytes_max });
    (envelope.subject, envelope.token) = (Subject::internal(), None);
    assert_eq!(world.apply(&envelope), Outcome::Nothing);
}

/// An entry that does nothing but to come.
fn advance(world: &mut World) {
    let mut envelope = world.envelope(Command::AdvanceTime);
    (envelope.subject, envelope.token) = (Subject::internal(), None);
    assert_eq!(world.apply(&envelope), Outcome::Nothing);
}

fn meter(world: &World) -> RetentionMeter {
    tables::retention(&world.state).unwrap().unwrap()
}

fn rename(name: &str) -> Command {
    let changes = SecretChanges { name: Some(name.into()), ..SecretChanges::default() };
    Command::UpdateSecret { secret_id: secret_id("s"), changes }
}

fn is_kept(world: &World, operation: &OperationRecord) -> bool {
    tables::operation(&world.state, &operation.id).unwrap().is_some()
}

/// Bytes of the rows that the meter is about.
fn stored(world: &World) -> u64 {
    let is_counted = |(space, key): &(Space, Vec<u8>)| {
        *space == Space::Records
            && ["operations", "operations_of_resources", "changes_in_folders", "idempotency"]
                .contains(&keys::table_name(*space, key))
    };
    let rows = world.state.0.iter().filter(|(place, _)| is_counted(place));
    rows.map(|((_, key), value)| (key.len() + value.len()) as u64).sum()
}

#[test]
fn only_the_system_sets_a_cap() {
    let mut world = World::new();
    assert_eq!(world.refuse(Command::SetRetention { bytes_max: 1 }), Rejection::PermissionDenied);
    assert_eq!(tables::retention(&world.state).unwrap(), None);
}

#[test]
fn what_is_counted_is_what_is_stored() {
    let mut world = World::new();
    set(&mut world, u64::MAX);
    let before = stored(&world);
    world.create("s", Some("v"));
    for number in 0..5 {
        world.run(rename(&format!("name {number}")));
    }
    let mut keyed = world.envelope(rename("keyed"));
    keyed.idempotency = Some(claim("key"));
    world.done(&keyed);
    assert_eq!(meter(&world).bytes, stored(&world) - before);

    // All of it is counted off when its time has come.
    world.now = world.now.plus(crate::domain::idempotency::OPERATION_RETENTION);
    for _ in 0..3 {
        world.now = world.now.plus(Duration::from_secs(2));
        advance(&mut world);
    }
    assert_eq!(meter(&world).bytes, 0);
    assert_eq!(stored(&world), 0);
}

fn claim(key: &str) -> IdempotencyClaim {
    IdempotencyClaim {
        method: "method".into(),
        key: key.into(),
        request_mac: [7; 32].into(),
        mac_key_id: 1,
    }
}

#[test]
fn the_oldest_go_first_and_only_as_many_as_must() {
    let mut world = World::new();
    set(&mut world, u64::MAX);
    world.create("s", None);
    let operations: Vec<_> = (0..20).map(|n| world.run(rename(&format!("name {n:02}")))).collect();
    world.now = world.now.plus(OPERATION_RETENTION_MIN + Duration::from_secs(1));
    let half = meter(&world).bytes / 2;
    set(&mut world, half);
    world.now = world.now.plus(Duration::from_secs(2));
    world.run(rename("last"));
    assert!(!meter(&world).is_over(), "{:?}", meter(&world));
    let kept: Vec<bool> = operations.iter().map(|operation| is_kept(&world, operation)).collect();
    assert!(kept.is_sorted(), "a newer one went before an older one: {kept:?}");
    assert!(kept.iter().any(|kept| *kept) && !kept.iter().all(|kept| *kept), "{kept:?}");
    // From where on nothing is missing is known to who follows the changes.
    let begin = tables::changes_begin(&world.state).unwrap().unwrap();
    let first = operations.iter().find(|operation| is_kept(&world, operation)).unwrap();
    assert_eq!(begin, first.index);
}

#[test]
fn none_goes_within_a_day_however_much_there_is() {
    let mut world = World::new();
    set(&mut world, 0);
    let created = world.create("s", None);
    world.now = world.now.plus(OPERATION_RETENTION_MIN - Duration::from_millis(1));
    let renamed = world.run(rename("new"));
    assert!(meter(&world).is_over());
    assert!(is_kept(&world, &created));
    world.now = world.now.plus(Duration::from_secs(2));
    world.run(rename("newer"));
    assert!(!is_kept(&world, &created) && is_kept(&world, &renamed));
}

#[test]
fn a_key_finds_its_operation_for_as_long_as_it_is_remembered() {
    let mut world = World::new();
    set(&mut world, 0);
    world.create("s", None);
    let mut envelope = world.envelope(rename("keyed"));
    envelope.idempotency = Some(claim("key"));
    let first = world.done(&envelope);
    world.now = world.now.plus(IDEMPOTENCY_RETENTION - Duration::from_secs(1));
    let mut again = world.envelope(rename("keyed"));
    again.idempotency = Some(claim("key"));
    assert_eq!(world.done(&again), first);
    // Past its time it is a new request, and remembered anew for as long.
    world.now = world.now.plus(Duration::from_secs(3600 * 2));
    advance(&mut world);
    let mut later = world.envelope(rename("keyed"));
    later.idempotency = Some(claim("key"));
    let second = world.done(&later);
    assert_ne!(second.id, first.id);
    world.now = world.now.plus(IDEMPOTENCY_RETENTION - Duration::from_secs(1));
    let mut once_more = world.envelope(rename("keyed"));
    once_more.idempotency = Some(claim("key"));
    assert_eq!(world.done(&once_more), second);
}

#[test]
fn many_are_worked_off_a_few_at_a_time_and_nothing_else_goes() {
    let mut world = World::new();
    set(&mut world, u64::MAX);
    world.create("s", None);
    for number in 0..200 {
        world.run(rename(&format!("name {number}")));
    }
    let revoke = Command::RevokeToken(crate::domain::command::RevokeToken {
        token_id: id(TokenId::parse, "other"),
        subject: account("admin"),
        expires_at: world.now.plus(crate::domain::idempotency::OPERATION_RETENTION),
    });
    world.run(revoke);
    world.now = world.now.plus(OPERATION_RETENTION_MIN + Duration::from_secs(1));
    set(&mut world, 0);
    let mut before = meter(&world).bytes;
    let mut entries = 0;
    while meter(&world).is_over() {
        world.now = world.now.plus(Duration::from_secs(2));
        advance(&mut world);
        entries += 1;
        assert!(meter(&world).bytes < before, "nothing went with entry {entries}");
        before = meter(&world).bytes;
    }
    assert!(entries > 1, "an entry's work has a bound");
    assert!(tables::token_revoked(&world.state, &id(TokenId::parse, "other")).unwrap());
    assert!(tables::secret(&world.state, &secret_id("s")).unwrap().is_some());
}

#[test]
fn without_a_cap_rows_are_what_they_were() {
    let mut world = World::new();
    world.create("s", None);
    let queue = Scan {
        space: Space::Records,
        from: keys::expiries(),
        to: keys::prefix_end(&keys::expiries()),
        direction: Direction::Ascending,
        limit: usize::MAX,
    };
    // An array of the fields that a build had before there were caps; the last of them are absent.
    for (_, value) in world.state.scan(&queue).unwrap() {
        let expiry: super::super::retention::Expiry = codec::decode(&value).unwrap();
        assert_eq!(expiry.bytes(), 0);
        assert_eq!(codec::encode(&expiry), value);
    }
    assert_eq!(tables::retention(&world.state).unwrap(), None);
}
