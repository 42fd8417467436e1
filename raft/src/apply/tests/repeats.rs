//! Repeats have one effect, and the conditions that a request carries hold where it applies.

use super::*;

#[test]
fn a_repeated_proposal_has_one_effect() {
    let mut world = World::new();
    world.create("s", Some("v1"));
    let add = add_version("s", "v2", MergeBase::Default(Some(version_id("v1"))));
    let envelope = world.envelope(add);
    let first = world.done(&envelope);
    let second = world.done(&envelope);
    assert_eq!(first, second);
    assert_eq!(world.secret("s").live_versions, 2);
}

/// Operation ids are random. Should two proposals share one, neither is answered with the other's
/// operation.
#[test]
fn another_proposal_with_the_operation_id_is_no_repeat() {
    let mut world = World::new();
    world.create("s", Some("v1"));
    let add = |version| add_version("s", version, MergeBase::Named(version_id("v1")));
    let first = world.envelope(add("v2"));
    world.done(&first);
    let mut second = world.envelope(add("v3"));
    second.operation_id = first.operation_id;
    assert_eq!(world.done(&second).request_id, second.request_id);
    assert_eq!(world.secret("s").live_versions, 3);
}

#[test]
fn an_idempotency_key_returns_the_first_operation_and_refuses_another_request() {
    let mut world = World::new();
    let claim = |mac: u8| {
        Some(IdempotencyClaim {
            method: "Create".into(),
            key: "key".into(),
            request_mac: [mac; 32].into(),
            mac_key_id: 1,
        })
    };
    let keyed = |world: &mut World, secret: &str, mac: u8| {
        let command = Command::CreateSecret(Box::new(create_secret(secret, None)));
        let mut envelope = world.envelope(command);
        envelope.idempotency = claim(mac);
        envelope
    };
    let envelope = keyed(&mut world, "s", 1);
    let first = world.done(&envelope);
    let envelope = keyed(&mut world, "t", 1);
    let second = world.done(&envelope);
    assert_eq!(first, second);
    assert!(matches!(first.metadata, OperationMetadata::CreateSecret { .. }));
    assert!(tables::secret(&world.state, &secret_id("t")).unwrap().is_none());
    let envelope = keyed(&mut world, "t", 2);
    assert_eq!(world.refused(&envelope), Rejection::IdempotencyConflict);
    // After its retention the key is free again, and its count is gone.
    world.now = world.now.plus(Duration::from_secs(26 * 3600));
    let envelope = world.envelope(Command::CreateSecret(Box::new(create_secret("u", None))));
    world.done(&envelope);
    let admin = account("admin");
    assert_eq!(tables::idempotency_count(&world.state, &admin).unwrap(), 0);
    let envelope = keyed(&mut world, "t", 2);
    assert_ne!(world.done(&envelope).id, first.id);
}

#[test]
fn a_refused_first_call_is_not_remembered() {
    let mut world = World::new();
    let command = add_version("s", "v1", MergeBase::Default(None));
    let mut envelope = world.envelope(command);
    envelope.idempotency = Some(IdempotencyClaim {
        method: "AddVersion".into(),
        key: "key".into(),
        request_mac: [1; 32].into(),
        mac_key_id: 1,
    });
    assert!(matches!(world.refused(&envelope), Rejection::NotFound { .. }));
    world.create("s", None);
    assert_eq!(world.done(&envelope).created_by, account("admin"));
}

#[test]
fn x_if_version_compares_with_the_current_version() {
    let mut world = World::new();
    world.create("s", Some("v1"));
    let command = || add_version("s", "v2", MergeBase::Named(version_id("v1")));
    let mut envelope = world.envelope(command());
    envelope.if_version = Some(version_id("v0"));
    let expected =
        Rejection::CurrentMismatch { expected: version_id("v0"), current: Some(version_id("v1")) };
    assert_eq!(world.refused(&envelope), expected);
    let mut envelope = world.envelope(command());
    envelope.if_version = Some(version_id("v1"));
    world.done(&envelope);
}

#[test]
fn log_time_never_goes_back() {
    let mut world = World::new();
    let start = world.now;
    world.now = LogTime::from_ms(5);
    let operation = world.create("s", None);
    assert_eq!(operation.created_at, start);
    world.now = start.plus(Duration::from_secs(1));
    assert_eq!(world.create("t", None).created_at, world.now);
}
