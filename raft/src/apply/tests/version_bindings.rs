//! Bindings of single versions (`docs/access.md`).

use lockbox_core::{Permission, ResourcePath};

use super::*;
use crate::apply::{authorize, bound_path, find_resource, require_payload};
use crate::domain::version::{Destruction, VersionRecord};

const RETAINED_MS: u64 = 60_000;

fn version(text: &str) -> ResourceRef {
    ResourceRef::new(ResourceKind::SecretVersion, text)
}

fn reader() -> AccessBinding {
    AccessBinding::new("lockbox.payloadViewer", account("reader"))
}

fn add(on: &str, binding: AccessBinding) -> Command {
    let deltas = vec![BindingDelta { action: DeltaAction::Add, binding }];
    Command::UpdateAccessBindings { resource: version(on), deltas }
}

/// Two secrets, the first with two versions.
fn world() -> World {
    let mut world = World::new();
    world.create("s", Some("v1"));
    world.run(add_version("s", "v2", MergeBase::Named(version_id("v1"))));
    world.create("t", Some("w1"));
    world
}

impl World {
    fn path_of(&self, secret: &str) -> ResourcePath {
        tables::secret_path(&self.state, &self.secret(secret)).unwrap()
    }

    fn reader_may(&self, secret: &str, version: Option<&str>) -> bool {
        let view = TimedView::new(&self.state, self.now);
        let version = version.map(version_id);
        let path = self.path_of(secret);
        require_payload(&view, &account("reader"), &path, version.as_ref()).is_ok()
    }

    fn rows_of_bindings(&self, on: &str) -> usize {
        let key = (Space::Records, keys::bindings(&version(on)));
        usize::from(self.state.0.contains_key(&key))
    }
}

#[test]
fn a_binding_of_a_version_gives_its_payload_and_nothing_else() {
    let mut world = world();
    let operation = world.run(add("v1", reader()));
    let delta = BindingDelta { action: DeltaAction::Add, binding: reader() };
    assert_eq!(operation.result, OperationResult::Bindings(vec![delta]));
    // It is one of its secret's operations, for who may read those.
    assert_eq!(operation.resource, ResourceRef::new(ResourceKind::Secret, "s"));
    assert_eq!(
        operation.metadata,
        OperationMetadata::UpdateAccessBindings { resource: version("v1") }
    );
    let listed = tables::operations_page(&world.state, &operation.resource, u64::MAX, 9).unwrap();
    assert!(listed.0.iter().any(|listed| listed.id == operation.id));

    assert!(world.reader_may("s", Some("v1")));
    assert!(!world.reader_may("s", Some("v2")));
    assert!(!world.reader_may("s", None));
    assert!(!world.reader_may("t", Some("w1")));
    let view = TimedView::new(&world.state, world.now);
    let whole = bound_path(&world.state, &version("v1")).unwrap();
    for permission in Permission::ALL {
        let may = authorize(&view, &account("reader"), *permission, &world.path_of("s")).unwrap();
        assert!(!may.allowed(), "{permission:?}");
        let may = authorize(&view, &account("reader"), *permission, &whole).unwrap();
        assert_eq!(may.allowed(), *permission == Permission::PayloadGet, "{permission:?}");
    }
    let found = find_resource(&world.state, "v1").unwrap().unwrap();
    assert_eq!(found, whole);
    assert_eq!(found.resources().len(), 5);
}

#[test]
fn only_the_role_for_payloads_fits_and_who_may_grant_is_the_secrets_business() {
    let mut world = world();
    for role in ["lockbox.viewer", "lockbox.admin", "admin", "kms.keys.decrypter"] {
        let refused = world.refuse(add("v1", AccessBinding::new(role, account("reader"))));
        let Rejection::InvalidArgument { field, .. } = refused else { panic!("{refused:?}") };
        assert_eq!(field, "access_binding_deltas[0].access_binding.role_id", "{role}");
    }
    let unknown = world.refuse(add("v9", reader()));
    assert_eq!(unknown, Rejection::not_found(ResourceKind::SecretVersion, "v9"));
    for name in ["editor", "granter"] {
        world.run(Command::CreateServiceAccount(service_account(name)));
    }
    let on_secret = |role: &str, whom: &str| Command::UpdateAccessBindings {
        resource: ResourceRef::new(ResourceKind::Secret, "s"),
        deltas: vec![BindingDelta {
            action: DeltaAction::Add,
            binding: AccessBinding::new(role, account(whom)),
        }],
    };
    world.run(on_secret("lockbox.editor", "editor"));
    world.run(on_secret("lockbox.admin", "granter"));
    let by = |world: &mut World, who: &str, command: Command| {
        let mut envelope = world.envelope(command);
        (envelope.subject, envelope.token) = (account(who), Some(token(None)));
        envelope
    };
    let by_editor = by(&mut world, "editor", add("v1", reader()));
    assert_eq!(world.refused(&by_editor), Rejection::PermissionDenied);
    // An administrator of one secret says nothing of another one's versions.
    let of_other = by(&mut world, "granter", add("w1", reader()));
    assert_eq!(world.refused(&of_other), Rejection::PermissionDenied);
    let by_granter = by(&mut world, "granter", add("v1", reader()));
    world.done(&by_granter);
    let set = Command::SetAccessBindings { resource: version("v1"), bindings: Vec::new() };
    world.run(set);
    assert!(!world.reader_may("s", Some("v1")));
}

#[test]
fn bindings_of_a_version_go_with_it() {
    let mut world = world();
    for on in ["v1", "v2", "w1"] {
        world.run(add(on, reader()));
        assert_eq!(world.rows_of_bindings(on), 1);
    }
    let operation = world.run(Command::ScheduleVersionDestruction {
        secret_id: secret_id("s"),
        version_id: version_id("v1"),
        pending_ms: 1_000,
        retained_ms: RETAINED_MS,
    });
    let OperationMetadata::ScheduleVersionDestruction { destroy_at, .. } = operation.metadata
    else {
        panic!("{operation:?}")
    };
    // Until then it can be called off, and the bindings are there again.
    assert_eq!(world.rows_of_bindings("v1"), 1);
    world.run(add("v1", AccessBinding { not_after: Some(LogTime::MAX), ..reader() }));
    world.now = destroy_at;
    let due = Destruction {
        secret_id: secret_id("s"),
        version_id: version_id("v1"),
        destroy_at,
        retained_ms: RETAINED_MS,
    };
    let mut reaper = world.envelope(Command::DestroyVersion(Box::new(due)));
    (reaper.subject, reaper.token) = (Subject::internal(), None);
    world.done(&reaper);
    assert_eq!(world.rows_of_bindings("v1"), 0);
    assert!(!world.reader_may("s", Some("v1")));
    let gone = Precondition::VersionDestroyed(version_id("v1")).into();
    assert_eq!(world.refuse(add("v1", reader())), gone);
    let set = Command::SetAccessBindings { resource: version("v1"), bindings: Vec::new() };
    assert_eq!(world.refuse(set), gone);
    assert!(world.reader_may("s", Some("v2")));

    world.run(Command::DeleteSecret { secret_id: secret_id("s") });
    assert_eq!(world.rows_of_bindings("v2"), 0);
    let unknown = world.refuse(add("v2", reader()));
    assert_eq!(unknown, Rejection::not_found(ResourceKind::SecretVersion, "v2"));
    assert_eq!(world.rows_of_bindings("w1"), 1, "another secret's stay");
    assert_eq!(versions_of_all(&world), ["w1"], "nothing of the deleted secret is left");
}

/// `x-if-version` is for every mutation of a secret (`design §8`), and so for who may read it.
#[test]
fn a_change_of_bindings_expects_the_version_that_it_names() {
    let mut world = world();
    let on_secret = Command::SetAccessBindings {
        resource: ResourceRef::new(ResourceKind::Secret, "s"),
        bindings: Vec::new(),
    };
    for command in [on_secret, add("v1", reader())] {
        let mut envelope = world.envelope(command);
        envelope.if_version = Some(version_id("v1"));
        let expected = version_id("v1");
        let moved = Rejection::CurrentMismatch { expected, current: Some(version_id("v2")) };
        assert_eq!(world.refused(&envelope), moved);
        envelope.if_version = Some(version_id("v2"));
        world.done(&envelope);
    }
}

/// The ids of all versions that have a record.
fn versions_of_all(world: &World) -> Vec<String> {
    let table = keys::versions();
    let rows = world.state.0.iter();
    let rows = rows.filter(|((space, key), _)| *space == Space::Records && key.starts_with(&table));
    rows.map(|(_, row)| codec::decode::<VersionRecord>(row).unwrap().id.to_string()).collect()
}

/// An id stands for one version, in bindings too: it cannot be taken a second time.
#[test]
fn an_id_is_that_of_one_version_in_all_secrets() {
    let mut world = world();
    let again = world.refuse(add_version("t", "v1", MergeBase::Default(Some(version_id("w1")))));
    assert_eq!(again, Rejection::AlreadyExists { kind: ResourceKind::SecretVersion });
    let foreign = tables::version(&world.state, &secret_id("t"), &version_id("v1")).unwrap();
    assert!(foreign.is_none());
}
