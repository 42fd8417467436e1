//! The cluster's beginning, who may do what, and what bindings answer.

use super::*;

#[test]
fn a_cluster_is_initialised_once() {
    let mut world = World::new();
    let cluster = tables::cluster(&world.state).unwrap().unwrap();
    assert_eq!(cluster.created_at, world.now);
    let init = InitCluster {
        cluster,
        organization_id: id(OrganizationId::parse, "other"),
        cloud_id: id(CloudId::parse, "other"),
        folder_id: id(FolderId::parse, "other"),
        folder_name: String::new(),
        admin: service_account("other"),
        admin_key: CreateAuthorizedKey {
            id: id(AuthorizedKeyId::parse, "other"),
            service_account_id: id(ServiceAccountId::parse, "other"),
            description: String::new(),
            algorithm: KeyAlgorithm::Rsa4096,
            public_key_pem: String::new(),
            keys_per_account_max: 0,
        },
        keyring: Vec::new(),
        feature_level: 0,
    };
    let rejection = world.refuse(Command::InitCluster(Box::new(init)));
    assert_eq!(rejection, Precondition::AlreadyInitialised.into());
}

#[test]
fn rights_are_judged_where_the_command_applies() {
    let mut world = World::new();
    world.run(Command::CreateServiceAccount(service_account("editor")));
    let as_editor = |world: &mut World, command: Command| {
        let mut envelope = world.envelope(command);
        envelope.subject = account("editor");
        envelope.token = Some(token(None));
        envelope
    };
    let create = || Command::CreateSecret(Box::new(create_secret("s", Some("v1"))));
    let envelope = as_editor(&mut world, create());
    assert_eq!(world.refused(&envelope), Rejection::PermissionDenied);
    let grant = |action| Command::UpdateAccessBindings {
        resource: ResourceRef::new(ResourceKind::Folder, "folder"),
        deltas: vec![BindingDelta {
            action,
            binding: AccessBinding::new("lockbox.editor", account("editor")),
        }],
    };
    world.run(grant(DeltaAction::Add));
    let envelope = as_editor(&mut world, create());
    let operation = world.done(&envelope);
    assert_eq!(operation.created_by, account("editor"));
    let envelope = as_editor(&mut world, grant(DeltaAction::Add));
    assert_eq!(world.refused(&envelope), Rejection::PermissionDenied);
    world.run(grant(DeltaAction::Remove));
    let add = add_version("s", "v2", MergeBase::Default(Some(version_id("v1"))));
    let envelope = as_editor(&mut world, add);
    assert_eq!(world.refused(&envelope), Rejection::PermissionDenied);
}

#[test]
fn dead_credentials_are_refused() {
    let mut world = World::new();
    let create = || Command::CreateSecret(Box::new(create_secret("s", None)));
    let mut expired = world.envelope(create());
    expired.token = Some(TokenRef { expires_at: world.now, ..token(Some("admin-key")) });
    assert_eq!(world.refused(&expired), Rejection::Unauthenticated);
    let mut unknown_key = world.envelope(create());
    unknown_key.token = Some(token(Some("other-key")));
    assert_eq!(world.refused(&unknown_key), Rejection::Unauthenticated);
    let mut no_token = world.envelope(create());
    no_token.token = None;
    assert_eq!(world.refused(&no_token), Rejection::Unauthenticated);
    let mut stranger = world.envelope(create());
    stranger.subject = account("stranger");
    stranger.token = Some(token(None));
    assert_eq!(world.refused(&stranger), Rejection::Unauthenticated);
    // The system itself may initialise, and nothing else.
    let mut internal = world.envelope(create());
    internal.subject = Subject::internal();
    internal.token = None;
    assert_eq!(world.refused(&internal), Rejection::PermissionDenied);
}

/// `design §7`: a token dies with its credential.

#[test]
fn a_deleted_key_takes_its_tokens_along() {
    let mut world = World::new();
    let key_id = |text: &str| id(AuthorizedKeyId::parse, text);
    let delete = |text: &str| Command::DeleteAuthorizedKey { key_id: key_id(text) };
    world.run(Command::CreateServiceAccount(service_account("robot")));
    world.run(Command::CreateServiceAccount(service_account("other")));
    for key in ["robot-key", "second-key"] {
        world.run(Command::CreateAuthorizedKey(CreateAuthorizedKey {
            id: key_id(key),
            service_account_id: id(ServiceAccountId::parse, "robot"),
            description: String::new(),
            algorithm: KeyAlgorithm::Rsa2048,
            public_key_pem: "pem".into(),
            keys_per_account_max: 9,
        }));
    }
    let mut by_other = world.envelope(delete("robot-key"));
    by_other.subject = account("other");
    by_other.token = Some(token(None));
    assert_eq!(world.refused(&by_other), Rejection::PermissionDenied);
    let operation = world.run(delete("robot-key"));
    assert_eq!(
        operation.metadata,
        OperationMetadata::DeleteAuthorizedKey { key_id: key_id("robot-key") }
    );
    assert_eq!(world.refuse(delete("robot-key")), Rejection::KeyNotFound("robot-key".into()));
    let robot = id(ServiceAccountId::parse, "robot");
    let (left, next) = tables::authorized_keys_page(&world.state, &robot, 0, 9).unwrap();
    assert_eq!((left.len(), left[0].id.as_str(), next), (1, "second-key", None));
    // The account may give up what it has; with the dead key it may nothing any more.
    let mut with_dead_key = world.envelope(delete("second-key"));
    with_dead_key.subject = account("robot");
    with_dead_key.token = Some(token(Some("robot-key")));
    assert_eq!(world.refused(&with_dead_key), Rejection::Unauthenticated);
    let mut own = world.envelope(delete("second-key"));
    own.subject = account("robot");
    own.token = Some(token(Some("second-key")));
    world.done(&own);
}

/// `contract §1.14` no. 12: a folder's operations name the changes, a secret's answer `Empty`.

#[test]
fn bindings_of_folders_answer_with_what_changed() {
    let mut world = World::new();
    world.create("s", None);
    let viewer = AccessBinding::new("lockbox.viewer", account("a"));
    let editor = AccessBinding::new("lockbox.editor", account("a"));
    let delta = |action, binding: &AccessBinding| BindingDelta { action, binding: binding.clone() };
    let set = |kind, on: &str, bindings: &[&AccessBinding]| Command::SetAccessBindings {
        resource: ResourceRef::new(kind, on),
        bindings: bindings.iter().map(|b| (*b).clone()).collect(),
    };
    let folder = ResourceKind::Folder;
    let first = world.run(set(folder, "folder", &[&viewer]));
    assert_eq!(first.result, OperationResult::Bindings(vec![delta(DeltaAction::Add, &viewer)]));
    let second = world.run(set(folder, "folder", &[&editor]));
    let changes = [(DeltaAction::Remove, &viewer), (DeltaAction::Add, &editor)];
    let changes = changes.map(|(action, binding)| delta(action, binding)).to_vec();
    assert_eq!(second.result, OperationResult::Bindings(changes));
    let third = world.run(Command::UpdateAccessBindings {
        resource: ResourceRef::new(folder, "folder"),
        deltas: vec![delta(DeltaAction::Add, &editor), delta(DeltaAction::Remove, &viewer)],
    });
    assert_eq!(third.result, OperationResult::Bindings(Vec::new()));
    let on_secret = world.run(set(ResourceKind::Secret, "s", &[&viewer]));
    assert_eq!(on_secret.result, OperationResult::Empty);
}

#[test]
fn folders_come_in_pages() {
    let world = World::new();
    let mut state = world.state;
    let record = tables::folder(&state, &folder_id()).unwrap().unwrap();
    for name in ["a", "bb", "zz"] {
        let folder = FolderRecord { id: id(FolderId::parse, name), ..record.clone() };
        state.0.insert((Space::Records, keys::folder(&folder.id)), codec::encode(&folder));
    }
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let (page, more) = tables::folders_page(&state, after.as_ref(), 1).unwrap();
        found.extend(page.iter().map(|f| f.id.to_string()));
        after = page.last().map(|f| f.id.clone());
        if !more {
            break;
        }
    }
    assert_eq!(found, ["a", "bb", "zz", "folder"]);
    let first = tables::first_resources(&state).unwrap().unwrap();
    assert_eq!((first.admin_id.as_str(), first.admin_key_id.as_str()), ("admin", "admin-key"));
}

#[test]
fn bindings_name_known_roles_and_subjects() {
    let mut world = World::new();
    let on = |resource: ResourceRef, role: &str, subject: Subject| {
        let delta =
            BindingDelta { action: DeltaAction::Add, binding: AccessBinding::new(role, subject) };
        Command::UpdateAccessBindings { resource, deltas: vec![delta] }
    };
    let cloud = || ResourceRef::new(ResourceKind::Cloud, "cloud");
    let set = |role: &str, subject: Subject| on(cloud(), role, subject);
    let unknown_role = world.refuse(set("lockbox.god", account("a")));
    assert!(matches!(unknown_role, Rejection::InvalidArgument { .. }));
    world.run(Command::CreateServiceAccount(service_account("other-admin")));
    world.run(set("admin", account("other-admin")));
    let mut envelope = world.envelope(set("resource-manager.clouds.owner", account("a")));
    envelope.subject = account("other-admin");
    envelope.token = Some(token(None));
    assert_eq!(world.refused(&envelope), Rejection::PermissionDenied);
    world.run(set("resource-manager.clouds.owner", account("a")));
    world.run(set("lockbox.viewer", account("a")));

    // A role must fit what it is bound on; what does not may still be taken away.
    let folder = ResourceRef::new(ResourceKind::Folder, "folder");
    let secret = ResourceRef::new(ResourceKind::Secret, "s");
    world.create("s", None);
    for (resource, role) in [
        (&folder, "resource-manager.clouds.owner"),
        (&secret, "kms.viewer"),
        (&secret, "iam.serviceAccounts.tokenCreator"),
    ] {
        let one = AccessBinding::new(role, account("a"));
        let set = Command::SetAccessBindings {
            resource: resource.clone(),
            bindings: vec![AccessBinding::new("viewer", account("a")), one.clone()],
        };
        for (command, place) in [
            (set, "access_bindings[1].role_id"),
            (
                on(resource.clone(), role, account("a")),
                "access_binding_deltas[0].access_binding.role_id",
            ),
        ] {
            let refused = world.refuse(command);
            let Rejection::InvalidArgument { field, .. } = refused else { panic!("{refused:?}") };
            assert_eq!(field, place);
        }
        let delta = BindingDelta { action: DeltaAction::Remove, binding: one };
        world
            .run(Command::UpdateAccessBindings { resource: resource.clone(), deltas: vec![delta] });
    }
}

/// A key is the power to be an account, or to lock it out: only for who may no less than it.
#[test]
fn nobody_manages_the_keys_of_who_may_more() {
    let mut world = World::new();
    let key_id = |text: &str| id(AuthorizedKeyId::parse, text);
    let make = |of: &str, key: &str| {
        Command::CreateAuthorizedKey(CreateAuthorizedKey {
            id: key_id(key),
            service_account_id: id(ServiceAccountId::parse, of),
            description: String::new(),
            algorithm: KeyAlgorithm::Rsa2048,
            public_key_pem: "pem".into(),
            keys_per_account_max: 9,
        })
    };
    let delete = |text: &str| Command::DeleteAuthorizedKey { key_id: key_id(text) };
    let bind = |role: &str, name: &str| Command::UpdateAccessBindings {
        resource: ResourceRef::new(ResourceKind::Folder, "folder"),
        deltas: vec![BindingDelta {
            action: DeltaAction::Add,
            binding: AccessBinding::new(role, account(name)),
        }],
    };
    let by = |world: &mut World, who: &str, command: Command| {
        let mut envelope = world.envelope(command);
        envelope.subject = account(who);
        envelope.token = Some(token(None));
        envelope
    };
    for name in ["editor", "boss", "robot"] {
        world.run(Command::CreateServiceAccount(service_account(name)));
    }
    world.run(bind("editor", "editor"));
    world.run(bind("admin", "boss"));
    for key in ["one", "two"] {
        world.run(make("robot", key));
    }
    // The cloud's owner lives in the folder that these two manage.
    for (who, command) in [
        ("editor", delete("admin-key")),
        ("boss", delete("admin-key")),
        ("boss", make("admin", "stolen")),
        ("editor", make("robot", "stolen")),
    ] {
        let envelope = by(&mut world, who, command);
        assert_eq!(world.refused(&envelope), Rejection::PermissionDenied, "{who}");
    }
    let envelope = by(&mut world, "editor", delete("one"));
    world.done(&envelope);
    world.run(bind("lockbox.payloadViewer", "robot"));
    let envelope = by(&mut world, "editor", delete("two"));
    assert_eq!(world.refused(&envelope), Rejection::PermissionDenied);
    for command in [make("robot", "three"), delete("two")] {
        let envelope = by(&mut world, "boss", command);
        world.done(&envelope);
    }
}
