//! Conditions on bindings: their end, and the current version alone (`docs/access.md`).

use lockbox_core::{Permission, ResourcePath};

use super::*;
use crate::apply::{Held, Unmet, authorize, held_along, may_all_of, require_payload};

const END_MS: u64 = 1_060_000;

fn folder() -> ResourceRef {
    ResourceRef::new(ResourceKind::Folder, "folder")
}

fn secret() -> ResourceRef {
    ResourceRef::new(ResourceKind::Secret, "s")
}

/// A binding that ends a minute after the world's beginning.
fn ending(role: &str, whom: &str) -> AccessBinding {
    let not_after = Some(LogTime::from_ms(END_MS));
    AccessBinding { not_after, ..AccessBinding::new(role, account(whom)) }
}

fn of_current(role: &str, whom: &str) -> AccessBinding {
    AccessBinding { versions: Some(Versions::Current), ..AccessBinding::new(role, account(whom)) }
}

fn change(on: ResourceRef, action: DeltaAction, binding: AccessBinding) -> Command {
    Command::UpdateAccessBindings { resource: on, deltas: vec![BindingDelta { action, binding }] }
}

fn add(on: ResourceRef, binding: AccessBinding) -> Command {
    change(on, DeltaAction::Add, binding)
}

/// A world with a secret of two versions, of which the second is current, and some accounts.
fn world() -> World {
    let mut world = World::new();
    world.create("s", Some("v1"));
    world.run(add_version("s", "v2", MergeBase::Named(version_id("v1"))));
    for name in ["robot", "other"] {
        world.run(Command::CreateServiceAccount(service_account(name)));
    }
    world
}

impl World {
    fn at(&self, ms: u64) -> TimedView<'_> {
        TimedView::new(&self.state, LogTime::from_ms(ms))
    }

    fn path(&self) -> ResourcePath {
        tables::secret_path(&self.state, &self.secret("s")).unwrap()
    }

    fn may(&self, who: &str, permission: Permission, ms: u64) -> bool {
        authorize(&self.at(ms), &account(who), permission, &self.path()).unwrap().allowed()
    }

    fn reads(&self, who: &str, version: &str, ms: u64) -> bool {
        let version = version_id(version);
        require_payload(&self.at(ms), &account(who), &self.path(), Some(&version)).is_ok()
    }

    fn by(&mut self, who: &str, command: Command) -> Envelope {
        let mut envelope = self.envelope(command);
        (envelope.subject, envelope.token) = (account(who), Some(token(None)));
        envelope
    }

    fn bound(&self, on: &ResourceRef) -> Vec<AccessBinding> {
        tables::bindings(&self.state, on).unwrap().bindings().to_vec()
    }
}

#[test]
fn a_right_ends_at_its_end_for_views_and_for_apply() {
    let mut world = world();
    world.run(add(folder(), ending("lockbox.admin", "robot")));
    for permission in [Permission::SecretsGet, Permission::PayloadGet, Permission::VersionsAdd] {
        assert!(world.may("robot", permission, END_MS - 1), "{permission:?}");
        assert!(!world.may("robot", permission, END_MS), "{permission:?}");
    }
    assert!(world.reads("robot", "v1", END_MS - 1) && !world.reads("robot", "v1", END_MS));

    let update = || Command::UpdateSecret {
        secret_id: secret_id("s"),
        changes: SecretChanges { description: Some("d".into()), ..SecretChanges::default() },
    };
    world.now = LogTime::from_ms(END_MS - 1);
    let in_time = world.by("robot", update());
    world.done(&in_time);
    world.now = LogTime::from_ms(END_MS);
    let late = world.by("robot", update());
    assert_eq!(world.refused(&late), Rejection::PermissionDenied);
    // By the log's time, not by the stamp of a proposal that came late: that never goes back.
    world.now = LogTime::from_ms(END_MS - 1);
    let late = world.by("robot", update());
    assert_eq!(world.refused(&late), Rejection::PermissionDenied);
}

#[test]
fn the_right_to_the_current_version_goes_with_the_pointer() {
    let mut world = world();
    let whole_folder = of_current("lockbox.payloadViewer", "robot");
    world.run(add(folder(), whole_folder.clone()));
    let now = world.now.as_ms();
    let readable = |world: &World| ["v1", "v2"].map(|version| world.reads("robot", version, now));
    assert_eq!(readable(&world), [false, true]);
    // Without a version in the question there is none that could be current.
    assert!(!world.may("robot", Permission::PayloadGet, now));
    assert!(!world.may("robot", Permission::SecretsGet, now));
    let back =
        Command::SetCurrentVersion { secret_id: secret_id("s"), version_id: version_id("v1") };
    world.run(back);
    assert_eq!(readable(&world), [true, false]);
    // Both conditions at once, on the secret: each has to be met.
    world.run(change(folder(), DeltaAction::Remove, whole_folder));
    assert_eq!(readable(&world), [false, false]);
    let not_after = Some(LogTime::from_ms(END_MS));
    let both = AccessBinding { not_after, ..of_current("lockbox.payloadViewer", "robot") };
    world.run(add(secret(), both));
    assert_eq!(readable(&world), [true, false]);
    assert!(!world.reads("robot", "v1", END_MS));
}

#[test]
fn conditions_that_make_no_sense_are_refused() {
    let mut world = world();
    world.now = LogTime::from_ms(END_MS - 1);
    let cloud = ResourceRef::new(ResourceKind::Cloud, "cloud");
    let lone = of_current("lockbox.viewer", "robot");
    let kms = of_current("kms.keys.decrypter", "robot");
    let owner = ending("resource-manager.clouds.owner", "robot");
    for (on, binding, field) in [
        (secret(), lone, "conditions.only_current_version"),
        (folder(), kms, "conditions.only_current_version"),
        (cloud, owner, "conditions"),
    ] {
        let set =
            Command::SetAccessBindings { resource: on.clone(), bindings: vec![binding.clone()] };
        for command in [set, add(on, binding)] {
            let refused = world.refuse(command);
            let Rejection::InvalidArgument { field: named, .. } = refused else {
                panic!("{refused:?}")
            };
            assert!(named.ends_with(&format!(".{field}")), "{named}");
        }
    }
    // The last moment that an end may be set at is the one before it.
    world.run(add(secret(), ending("lockbox.viewer", "robot")));
    world.now = LogTime::from_ms(END_MS);
    let refused = world.refuse(add(secret(), ending("lockbox.viewer", "other")));
    let Rejection::InvalidArgument { field, .. } = refused else { panic!("{refused:?}") };
    assert_eq!(field, "access_binding_deltas[0].access_binding.conditions.not_after");
}

/// What has ended is gone for whoever changes the set, and is not stored again.
#[test]
fn what_has_ended_is_cleared_away_and_is_nobodys_change() {
    let mut world = world();
    let lasting = AccessBinding::new("viewer", account("other"));
    world.run(add(folder(), ending("kms.viewer", "robot")));
    assert_eq!(holdings::holdings(&world.state, &account("robot"), 9).unwrap().len(), 1);
    world.now = LogTime::from_ms(END_MS);
    let set = Command::SetAccessBindings { resource: folder(), bindings: vec![lasting.clone()] };
    let operation = world.run(set);
    let added = BindingDelta { action: DeltaAction::Add, binding: lasting.clone() };
    assert_eq!(operation.result, OperationResult::Bindings(vec![added]));
    assert_eq!(world.bound(&folder()), std::slice::from_ref(&lasting));
    assert!(holdings::holdings(&world.state, &account("robot"), 9).unwrap().is_empty());

    world.now = LogTime::from_ms(END_MS - 1);
    let second = AccessBinding {
        not_after: Some(LogTime::from_ms(END_MS + 10)),
        ..ending("kms.viewer", "robot")
    };
    world.run(add(folder(), second.clone()));
    world.now = LogTime::from_ms(END_MS + 10);
    // To take away what has ended is to take away what is not there.
    let operation = world.run(change(folder(), DeltaAction::Remove, second));
    assert_eq!(operation.result, OperationResult::Bindings(Vec::new()));
    assert_eq!(world.bound(&folder()), [lasting]);
}

/// A removal by a client that knows of no conditions leaves no right behind.
#[test]
fn a_plain_removal_takes_the_role_with_all_its_conditions() {
    let mut world = world();
    let plain = AccessBinding::new("lockbox.payloadViewer", account("robot"));
    let kept = ending("lockbox.payloadViewer", "other");
    for binding in [
        plain.clone(),
        ending("lockbox.payloadViewer", "robot"),
        of_current("lockbox.payloadViewer", "robot"),
        kept.clone(),
    ] {
        world.run(add(secret(), binding));
    }
    let exact = ending("lockbox.payloadViewer", "robot");
    world.run(change(secret(), DeltaAction::Remove, exact));
    assert_eq!(world.bound(&secret()).len(), 3);
    world.run(change(secret(), DeltaAction::Remove, plain));
    assert_eq!(world.bound(&secret()), [kept]);
    assert!(!world.reads("robot", "v2", world.now.as_ms()));
}

/// A right that ends leaves nothing behind that does not: no binding, no cloud, no key.
#[test]
fn a_right_that_ends_grants_nothing() {
    let mut world = world();
    let organization = ResourceRef::new(ResourceKind::Organization, "organization");
    let root =
        BindingSet::new([world.bound(&organization), vec![ending("admin", "robot")]].concat());
    let key = (Space::Records, keys::bindings(&organization));
    world.state.0.insert(key, codec::encode(&root));
    let viewer = || AccessBinding::new("viewer", account("robot"));
    let on_version = ResourceRef::new(ResourceKind::SecretVersion, "v1");
    let reader = AccessBinding::new("lockbox.payloadViewer", account("robot"));
    let account_ref = ResourceRef::new(ResourceKind::ServiceAccount, "other");
    let cloud = Command::CreateCloud(crate::domain::command::CreateCloud {
        id: id(CloudId::parse, "second"),
        organization_id: id(OrganizationId::parse, "organization"),
        name: "second".into(),
        description: String::new(),
        labels: BTreeMap::new(),
    });
    let new_key = |of: &str| {
        Command::CreateAuthorizedKey(CreateAuthorizedKey {
            id: id(AuthorizedKeyId::parse, "stolen"),
            service_account_id: id(ServiceAccountId::parse, of),
            description: String::new(),
            algorithm: KeyAlgorithm::Rsa2048,
            public_key_pem: "pem".into(),
            keys_per_account_max: 9,
        })
    };
    for command in [
        add(folder(), viewer()),
        add(secret(), viewer()),
        add(on_version, reader),
        add(account_ref, viewer()),
        cloud,
        new_key("other"),
    ] {
        let name = command.name();
        let envelope = world.by("robot", command);
        assert_eq!(world.refused(&envelope), Rejection::PermissionDenied, "{name}");
    }
    // Everything else it may, and its own keys are its own.
    let create = Command::CreateSecret(Box::new(create_secret("t", Some("w1"))));
    for command in [create, new_key("robot")] {
        let envelope = world.by("robot", command);
        world.done(&envelope);
    }
}

/// Who has power over an account has all that it has, for as long as it has it, and longer.
#[test]
fn power_over_an_account_is_compared_with_its_conditions() {
    let mut world = world();
    let over = |world: &World, ms: u64| {
        may_all_of(&world.at(ms), &account("other"), &account("robot")).unwrap()
    };
    let now = world.now.as_ms();
    world.run(add(folder(), ending("lockbox.admin", "robot")));
    assert!(!over(&world, END_MS - 1), "it is an administrator until then");
    assert!(over(&world, END_MS));
    world.run(add(folder(), ending("lockbox.admin", "other")));
    assert!(!over(&world, now), "its key would outlive the right to it");
    world.run(add(folder(), AccessBinding::new("lockbox.admin", account("other"))));
    assert!(over(&world, now));
    world.run(add(folder(), of_current("lockbox.payloadViewer", "robot")));
    assert!(over(&world, now));
    let lesser = AccessBinding::new("lockbox.admin", account("other"));
    world.run(change(folder(), DeltaAction::Remove, lesser));
    world.run(add(folder(), of_current("lockbox.payloadViewer", "other")));
    assert!(!over(&world, END_MS), "a part of a right is not the right");
}

#[test]
fn what_is_held_is_told_with_what_keeps_it_from_counting() {
    let mut world = world();
    world.run(add(folder(), ending("lockbox.viewer", "robot")));
    world.run(add(secret(), of_current("lockbox.payloadViewer", "robot")));
    let held = |ms: u64, version: Option<&str>| -> Vec<(String, Option<Unmet>)> {
        let mut path = world.path();
        if let Some(version) = version {
            path = path.with_leaf(ResourceRef::new(ResourceKind::SecretVersion, version));
        }
        let held = held_along(&world.at(ms), &account("robot"), &path).unwrap();
        held.into_iter().map(|Held { on, unmet, .. }| (on.id, unmet)).collect()
    };
    let (folder, secret) = ("folder".to_owned(), "s".to_owned());
    let early = [(folder.clone(), None), (secret.clone(), Some(Unmet::NotCurrent))];
    assert_eq!(held(END_MS - 1, None), early);
    assert_eq!(held(END_MS - 1, Some("v1")), early);
    let late = [(folder, Some(Unmet::Ended)), (secret, None)];
    assert_eq!(held(END_MS, Some("v2")), late);
}
