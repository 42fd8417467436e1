//! Secrets and their versions: what each command leaves behind, and what it refuses.

use super::*;

#[test]
fn every_new_version_becomes_current_whatever_its_base() {
    let mut world = World::new();
    let created = world.create("s", Some("v1"));
    let OperationResult::Secret(snapshot) = &created.result else { panic!("{created:?}") };
    assert_eq!(snapshot.current_version.as_ref().unwrap().id, version_id("v1"));
    world.run(add_version("s", "v2", MergeBase::Default(Some(version_id("v1")))));
    world.run(add_version("s", "v3", MergeBase::Named(version_id("v1"))));
    assert_eq!(world.current("s"), Some(version_id("v3")));
    let set =
        Command::SetCurrentVersion { secret_id: secret_id("s"), version_id: version_id("v1") };
    world.run(set);
    assert_eq!(world.current("s"), Some(version_id("v1")));
    let (versions, next) =
        tables::versions_page(&world.state, &secret_id("s"), u64::MAX, 2).unwrap();
    assert_eq!(versions.iter().map(|v| v.id.as_str()).collect::<Vec<_>>(), ["v3", "v2"]);
    let (rest, end) =
        tables::versions_page(&world.state, &secret_id("s"), next.unwrap(), 2).unwrap();
    assert_eq!(rest.iter().map(|v| v.id.as_str()).collect::<Vec<_>>(), ["v1"]);
    assert_eq!(end, None);
}

#[test]
fn a_merge_on_a_moved_base_is_refused_and_never_loses_a_version() {
    let mut world = World::new();
    world.create("s", Some("v1"));
    world.run(add_version("s", "v2", MergeBase::Default(Some(version_id("v1")))));
    let stale = add_version("s", "v3", MergeBase::Default(Some(version_id("v1"))));
    let current = Some(version_id("v2"));
    assert_eq!(world.refuse(stale), Rejection::BaseMoved { current });
    let generated = add_version("s", "v3", MergeBase::Generated);
    assert!(matches!(world.refuse(generated), Rejection::BaseMoved { .. }));
    let foreign = add_version("s", "v3", MergeBase::Named(version_id("nowhere")));
    assert!(matches!(world.refuse(foreign), Rejection::NotFound { .. }));
}

#[test]
fn quotas_are_exact() {
    let mut world = World::new();
    world.create("s", Some("v1"));
    for (version, base) in [("v2", "v1"), ("v3", "v2")] {
        world.run(add_version("s", version, MergeBase::Default(Some(version_id(base)))));
    }
    let fourth = add_version("s", "v4", MergeBase::Default(Some(version_id("v3"))));
    assert!(matches!(world.refuse(fourth), Rejection::QuotaExceeded { limit: 3, .. }));
    world.create("t", None);
    world.create("u", None);
    let fourth = Command::CreateSecret(Box::new(create_secret("w", None)));
    assert!(matches!(world.refuse(fourth), Rejection::QuotaExceeded { limit: 3, .. }));
    world.run(Command::DeleteSecret { secret_id: secret_id("t") });
    world.create("w", None);
}

#[test]
fn an_inactive_secret_takes_no_version_but_moves_its_pointer() {
    let mut world = World::new();
    world.create("s", Some("v1"));
    world.run(add_version("s", "v2", MergeBase::Default(Some(version_id("v1")))));
    let off =
        Command::SetSecretStatus { secret_id: secret_id("s"), status: SecretStatus::Inactive };
    world.run(off.clone());
    world.run(off);
    let add = add_version("s", "v3", MergeBase::Default(Some(version_id("v2"))));
    assert_eq!(world.refuse(add), Precondition::SecretInactive.into());
    let set =
        Command::SetCurrentVersion { secret_id: secret_id("s"), version_id: version_id("v1") };
    world.run(set);
    assert_eq!(world.current("s"), Some(version_id("v1")));
}

#[test]
fn deletion_leaves_nothing_of_the_secret_behind() {
    let mut world = World::new();
    let before: Vec<_> = world.state.0.keys().cloned().collect();
    world.create("s", Some("v1"));
    world.run(add_version("s", "v2", MergeBase::Default(Some(version_id("v1")))));
    let bind = Command::SetAccessBindings {
        resource: ResourceRef::new(ResourceKind::Secret, "s"),
        bindings: vec![AccessBinding::new("lockbox.viewer", account("reader"))],
    };
    world.run(bind);
    world.run(Command::DeleteSecret { secret_id: secret_id("s") });
    let names_it = |value: &[u8]| value.windows(2).any(|w| w == b"v1" || w == b"v2");
    for ((space, key), value) in &world.state.0 {
        let new = !before.contains(&(*space, key.clone()));
        // Operations, as changes too, and their expiries stay for their retention, the id for good,
        // and so does the cloud's meter.
        let retained = matches!(key.first(), Some(b'o' | b'O' | b'w' | b'x' | b'd' | b'u'));
        // Where the state was when payloads went stays until their traces are gone too.
        let erasure = *space == Space::System && key.starts_with(b"erasure");
        assert!(!new || retained || erasure, "left behind: {space:?} {key:?}");
        assert!(*space != Space::Payloads || !names_it(value));
    }
}

#[test]
fn protection_blocks_deletion_and_only_that() {
    let mut world = World::new();
    world.create("s", None);
    let protect = |on| Command::UpdateSecret {
        secret_id: secret_id("s"),
        changes: SecretChanges { deletion_protection: Some(on), ..SecretChanges::default() },
    };
    world.run(protect(true));
    let delete = Command::DeleteSecret { secret_id: secret_id("s") };
    assert_eq!(world.refuse(delete.clone()), Precondition::DeletionProtected.into());
    world.run(add_version("s", "v1", MergeBase::Default(None)));
    world.run(protect(false));
    world.run(delete);
}

#[test]
fn a_rename_moves_the_name_index() {
    let mut world = World::new();
    world.create("s", None);
    let changes = SecretChanges { name: Some("new".into()), ..SecretChanges::default() };
    world.run(Command::UpdateSecret { secret_id: secret_id("s"), changes });
    let named = |name: &str| tables::secrets_named(&world.state, &folder_id(), name).unwrap();
    assert_eq!(named("new"), [secret_id("s")]);
    assert!(named("name of s").is_empty());
}
