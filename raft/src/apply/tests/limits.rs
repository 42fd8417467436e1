//! What is refused early and late alike: quotas, full memories, ids that were given before.

use super::*;

/// `contract §2.1`: an id names one secret for ever, whatever its caller repeats.
#[test]
fn the_id_of_a_deleted_secret_never_comes_back() {
    let mut world = World::new();
    world.create("s", Some("v1"));
    world.run(Command::DeleteSecret { secret_id: secret_id("s") });
    // Past every retention, too.
    world.now = world.now.plus(Duration::from_secs(365 * 24 * 3600));
    world.create("t", None);
    let again = Command::CreateSecret(Box::new(create_secret("s", None)));
    assert!(matches!(world.refuse(again), Rejection::AlreadyExists { .. }));
    assert!(secret_id_taken(&world.state, &secret_id("s")).unwrap());
    assert!(!secret_id_taken(&world.state, &secret_id("u")).unwrap());
}

/// Views refuse before a billed call what `apply` would refuse after it.
#[test]
fn views_see_the_same_limits_as_apply() {
    let mut world = World::new();
    world.create("s", None);
    let mut named = create_secret("t", None);
    named.name = "name of s".into();
    named.unique_name = true;
    let mut limits = CreationLimits { secrets_per_cloud_max: 3, unique_name: true };
    let early = |world: &World, limits| {
        let room = room_for_secret(&world.state, &folder_id(), "name of s", limits);
        match room {
            Ok(cloud) => Ok(cloud.secrets),
            Err(Refusal::Rejected(rejection)) => Err(rejection),
            Err(Refusal::Storage(error)) => panic!("{error}"),
        }
    };
    let refused = world.refuse(Command::CreateSecret(Box::new(named.clone())));
    assert_eq!(early(&world, limits), Err(refused));
    limits.unique_name = false;
    assert_eq!(early(&world, limits), Ok(1));
    limits.secrets_per_cloud_max = 1;
    named.unique_name = false;
    named.secrets_per_cloud_max = 1;
    let refused = world.refuse(Command::CreateSecret(Box::new(named)));
    assert_eq!(early(&world, limits), Err(refused));

    let count = codec::encode(&IDEMPOTENCY_RECORDS_MAX);
    world.state.0.insert((Space::Records, keys::idempotency_count(&account("admin"))), count);
    let claim = IdempotencyClaim {
        method: "Create".into(),
        key: "key".into(),
        request_mac: [1; 32].into(),
        mac_key_id: 1,
    };
    let early = recall_or_room(&world.state, &account("admin"), &claim).err();
    assert!(matches!(early, Some(Refusal::Rejected(Rejection::IdempotencyFull))), "{early:?}");
    let command = Command::CreateSecret(Box::new(create_secret("u", None)));
    let mut envelope = world.envelope(command);
    envelope.idempotency = Some(claim);
    assert_eq!(world.refused(&envelope), Rejection::IdempotencyFull);
}
